//! Signals by number and by name. Knows signal(7)'s names only; what a program does with a wrong one is its own affair.

pub use libc::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP,
    SIGSYS, SIGTERM, SIGTRAP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
};

/// The highest number there is; real-time signals included.
pub const LAST: i32 = 64;

/// The number of `TERM` or `SIGTERM`, in any case. Real-time signals have no name here.
pub fn number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number)
}

/// What the C library says of a signal, in lower case.
pub fn description(number: i32) -> String {
    // SAFETY: the call takes no memory; what it returns is a text that stays until the calling thread asks again.
    let text = unsafe { libc::strsignal(number) };
    if text.is_null() {
        return format!("signal {number}");
    }
    // SAFETY: checked above, and copied before anybody can ask again.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().to_lowercase()
}

const NAMES: &[(&str, i32)] = &[
    ("HUP", SIGHUP),
    ("INT", SIGINT),
    ("QUIT", SIGQUIT),
    ("ILL", SIGILL),
    ("TRAP", SIGTRAP),
    ("ABRT", SIGABRT),
    ("IOT", SIGABRT),
    ("BUS", SIGBUS),
    ("FPE", SIGFPE),
    ("KILL", SIGKILL),
    ("USR1", SIGUSR1),
    ("SEGV", SIGSEGV),
    ("USR2", SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", SIGCHLD),
    ("CLD", SIGCHLD),
    ("CONT", SIGCONT),
    ("STOP", SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", SIGTTIN),
    ("TTOU", SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_and_without_prefix() {
        for (name, expected) in [("TERM", 15), ("sigkill", 9), ("Cld", 17), ("SIGPOLL", 29)] {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        for name in ["", "SIG", "FOO", "15", "SIGRTMIN"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
