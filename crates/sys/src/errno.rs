//! The numbers of errno(3) that callers branch on (`fault::Error::errno`).

pub use libc::{
    EACCES, EAGAIN, EBUSY, ECHILD, ECONNREFUSED, EDQUOT, EEXIST, EINVAL, ELOOP, ENODEV, ENOENT, ENOSPC,
    ENOTDIR, ENXIO, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, EROFS, ESRCH, EXDEV,
};
