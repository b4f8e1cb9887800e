//! Installs a finished system call filter; it does not know how filters are made.

use std::os::fd::{FromRawFd, OwnedFd};

use fault::{Call, Error, Result};

use crate::raw::check;

/// One instruction of classic BPF, `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SockFilter {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// What is asked of the kernel beside the filter, `SECCOMP_FILTER_FLAG_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    pub const NONE: Self = Self(0);
    /// The filter gets a listener, which answers for the kernel (seccomp_unotify(2)).
    pub const NEW_LISTENER: Self = Self(1 << 3);

    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Filters the calling thread for good. Needs no_new_privs or CAP_SYS_ADMIN. Returns the listener, if one was asked for.
pub fn install(program: &[SockFilter], flags: Flags) -> Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len())
        .map_err(|_| Error::invalid(format!("a filter of {} instructions is too long", program.len())))?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: `program` points to `length` instructions of the kernel's layout; the kernel copies and verifies them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, &raw const program)
    };
    let number = check(result).call(|| "seccomp SECCOMP_SET_MODE_FILTER")?;
    if !flags.contains(Flags::NEW_LISTENER) {
        return Ok(None);
    }
    // SAFETY: with this flag the call returns a new descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number as i32) }))
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    filter: *const SockFilter,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    #[test]
    fn a_filter_forbids_one_call() {
        let program = [
            SockFilter { code: LOAD_WORD, ..SockFilter::default() },
            SockFilter {
                code: JUMP_EQUAL,
                jump_false: 1,
                value: libc::SYS_sethostname as u32,
                ..SockFilter::default()
            },
            SockFilter { code: RETURN, value: libc::SECCOMP_RET_ERRNO | 77, ..SockFilter::default() },
            SockFilter { code: RETURN, value: libc::SECCOMP_RET_ALLOW, ..SockFilter::default() },
        ];
        let errno = std::thread::spawn(move || {
            install(&program, Flags::NONE).unwrap();
            rustix::system::sethostname(b"never").unwrap_err().raw_os_error()
        });
        assert_eq!(errno.join().unwrap(), 77);
    }

    #[test]
    fn a_broken_filter_is_refused() {
        assert!(install(&[], Flags::NONE).is_err());
    }
}
