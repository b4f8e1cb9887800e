//! Who a process is and what it may do: user, groups, capabilities, limits.
//!
//! The calls act on the calling thread only, as the kernel has it; they are for processes with one thread.

use fault::{Call, Error, Result};

use crate::raw::check;

/// The effective user.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group.
pub fn group() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Changes the real, effective and saved user.
pub fn set_user(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed. The raw call, because glibc's would signal other threads.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
        .call(|| format!("setresuid {uid}"))?;
    Ok(())
}

/// Changes the real, effective and saved group.
pub fn set_group(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed. The raw call, because glibc's would signal other threads.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
        .call(|| format!("setresgid {gid}"))?;
    Ok(())
}

/// Replaces the supplementary groups.
pub fn set_groups(gids: &[u32]) -> Result<()> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, gids.len(), gids.as_ptr()) }).call(|| "setgroups")?;
    Ok(())
}

/// Returns the mask before.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { libc::umask(mask) }
}

/// Capabilities as bits, bit N being capability number N.
pub type CapabilitySet = u64;

/// The three sets that capset(2) takes at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
}

pub fn set_capabilities(sets: CapabilitySets) -> Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let part = |shift: u32| CapabilityData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [part(0), part(32)];
    // SAFETY: version 3 takes two data records, which live during the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).call(|| "capset")?;
    Ok(())
}

pub fn capabilities() -> Result<CapabilitySets> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 fills two data records.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })
        .call(|| "capget")?;
    let join = |pick: fn(&CapabilityData) -> u32| u64::from(pick(&data[0])) | u64::from(pick(&data[1])) << 32;
    Ok(CapabilitySets {
        effective: join(|part| part.effective),
        permitted: join(|part| part.permitted),
        inheritable: join(|part| part.inheritable),
    })
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes from the bounding set whatever `keep` lacks, up to `last`, the kernel's last capability.
pub fn limit_bounding_set(keep: CapabilitySet, last: u32) -> Result<()> {
    for number in (0..=last).filter(|number| keep & (1 << number) == 0) {
        prctl(libc::PR_CAPBSET_DROP, number.into(), 0, "prctl PR_CAPBSET_DROP")?;
    }
    Ok(())
}

/// Replaces the ambient set; each must be permitted and inheritable.
pub fn set_ambient(set: CapabilitySet, last: u32) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, "prctl PR_CAP_AMBIENT_CLEAR_ALL")?;
    for number in (0..=last).filter(|number| set & (1 << number) != 0) {
        prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as u64,
            number.into(),
            "prctl PR_CAP_AMBIENT_RAISE",
        )?;
    }
    Ok(())
}

/// The number of the kernel's last capability.
pub fn last_capability() -> Result<u32> {
    let path = "/proc/sys/kernel/cap_last_cap";
    let text = std::fs::read_to_string(path).call(|| format!("read {path}"))?;
    text.trim_end().parse().map_err(|_| Error::internal(format!("{path}: {text:?}")))
}

/// Whether permitted capabilities survive the change from root to another user.
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0, "prctl PR_SET_KEEPCAPS")
}

/// No program that is executed from now on gives more rights; cannot be undone.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, "prctl PR_SET_NO_NEW_PRIVS")
}

fn prctl(option: i32, first: u64, second: u64, what: &'static str) -> Result<()> {
    // SAFETY: the callers pass options that take integers only.
    check(i64::from(unsafe { libc::prctl(option, first, second, 0, 0) })).call(|| what)?;
    Ok(())
}

/// `resource` is an `RLIMIT_*` number; [`u64::MAX`] is unlimited.
pub fn set_resource_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives during the call; the old limit is not asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    check(result).call(|| format!("prlimit {resource}"))?;
    Ok(())
}

/// The number of a limit by its name, `RLIMIT_NOFILE`.
pub fn resource_number(name: &str) -> Option<u32> {
    RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[expect(clippy::unnecessary_cast, reason = "the constants' type is another one with other C libraries")]
const RESOURCES: &[(&str, u32)] = &[
    ("RLIMIT_AS", libc::RLIMIT_AS as u32),
    ("RLIMIT_CORE", libc::RLIMIT_CORE as u32),
    ("RLIMIT_CPU", libc::RLIMIT_CPU as u32),
    ("RLIMIT_DATA", libc::RLIMIT_DATA as u32),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE as u32),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS as u32),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK as u32),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE as u32),
    ("RLIMIT_NICE", libc::RLIMIT_NICE as u32),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE as u32),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC as u32),
    ("RLIMIT_RSS", libc::RLIMIT_RSS as u32),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO as u32),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME as u32),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING as u32),
    ("RLIMIT_STACK", libc::RLIMIT_STACK as u32),
];

/// How willingly the kernel kills the caller when memory runs out, -1000 to 1000.
pub fn set_oom_score_adj(score: i32) -> Result<()> {
    let path = "/proc/self/oom_score_adj";
    std::fs::write(path, score.to_string()).call(|| format!("write {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, whose identity dies with it.
    fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(f).join().unwrap()
    }

    #[test]
    fn capabilities_are_set_for_the_thread_alone() {
        let before = capabilities().unwrap();
        let chown = on_thread(|| {
            let wanted = CapabilitySets { effective: 1, permitted: 1 | 1 << 33, inheritable: 0 };
            set_capabilities(wanted).unwrap();
            assert_eq!(capabilities().unwrap(), wanted);
            wanted
        });
        assert_ne!(before, chown);
        assert_eq!(capabilities().unwrap(), before);
    }

    #[test]
    fn a_user_keeps_capabilities_if_asked_to() {
        let inside = on_thread(|| {
            set_keep_capabilities(true).unwrap();
            set_groups(&[5, 6]).unwrap();
            set_group(1000).unwrap();
            set_user(1000).unwrap();
            capabilities().unwrap()
        });
        assert_eq!(inside.effective, 0);
        assert_ne!(inside.permitted, 0);
    }

    #[test]
    fn ambient_needs_inheritable() {
        on_thread(|| {
            let last = last_capability().unwrap();
            assert!(set_ambient(1, last).is_err());
            let mut sets = capabilities().unwrap();
            sets.inheritable = 1;
            set_capabilities(sets).unwrap();
            set_ambient(1, last).unwrap();
        });
    }

    #[test]
    fn limits_have_names() {
        assert_eq!(resource_number("RLIMIT_NOFILE"), Some(7));
        assert_eq!(resource_number("RLIMIT_NOTHING"), None);
    }
}
