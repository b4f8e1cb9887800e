//! Terminals: pseudo-terminal pairs, their size, the raw mode.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, Winsize};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// What the terminal emulator holds.
    pub controller: OwnedFd,
    /// What the program gets as its standard streams.
    pub terminal: OwnedFd,
}

/// A new pair from a devpts instance that need not be attached: `dir` is the mount itself, or a root beneath which
/// `path` leads to it.
pub fn open_pty(dir: BorrowedFd<'_>, path: &Path) -> Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ptmx = path.join("ptmx");
    let controller = rustix::fs::openat2(dir, &ptmx, flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .call(|| format!("openat2 {}", ptmx.display()))?;
    rustix::pty::unlockpt(&controller).call(|| "ioctl TIOCSPTLCK")?;
    // The kernel opens the other end through the controller's own mount: no path of a container is trusted.
    let terminal = rustix::pty::ioctl_tiocgptpeer(
        &controller,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .call(|| "ioctl TIOCGPTPEER")?;
    Ok(Pty { controller, terminal })
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub height: u16,
    pub width: u16,
}

pub fn size(terminal: impl AsFd) -> Result<Size> {
    let size = rustix::termios::tcgetwinsize(terminal).call(|| "ioctl TIOCGWINSZ")?;
    Ok(Size { height: size.ws_row, width: size.ws_col })
}

/// The foreground processes get SIGWINCH if the size has changed.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).call(|| "ioctl TIOCSWINSZ")
}

pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Passes the ends of lines on as they are written, without the carriage return that a screen needs.
pub fn keep_line_ends(terminal: impl AsFd) -> Result<()> {
    let mut settings = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr")?;
    settings.output_modes.remove(OutputModes::ONLCR);
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &settings).call(|| "tcsetattr")
}

/// Whether the caller is among the foreground processes of its controlling terminal. The others are stopped when they
/// read from it or change it (SIGTTIN, SIGTTOU).
pub fn is_foreground(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Makes a terminal the controlling one of the calling session leader.
pub fn take_control(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).call(|| "ioctl TIOCSCTTY")
}

/// Keeps a terminal in raw mode, or a silent one, until dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    pub fn enter(terminal: impl AsFd) -> Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned().call(|| "dup")?;
        let before = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr")?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).call(|| "tcsetattr")?;
        Ok(Self { terminal, before })
    }

    /// As [`Self::enter`], but what is written to it goes on being made fit to be read.
    pub fn enter_for_input(terminal: impl AsFd) -> Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned().call(|| "dup")?;
        let before = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr")?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes.insert(OutputModes::OPOST);
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).call(|| "tcsetattr")?;
        Ok(Self { terminal, before })
    }

    /// Only what is typed is not shown, as it suits a password.
    pub fn enter_silent(terminal: impl AsFd) -> Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned().call(|| "dup")?;
        let before = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &silent).call(|| "tcsetattr")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now; then there is nothing to put back.
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount;

    fn pair() -> (OwnedFd, Pty) {
        let options = [("ptmxmode", Some("0666")), ("mode", Some("0620"))];
        let devpts = mount::new_filesystem("devpts", None, &options, mount::Attributes::NO_SUID).unwrap();
        let pty = open_pty(devpts.as_fd(), Path::new("")).unwrap();
        (devpts, pty)
    }

    #[test]
    fn a_pair_comes_from_a_detached_devpts() {
        let (_devpts, pty) = pair();
        assert!(is_terminal(&pty.terminal));
        rustix::io::write(&pty.terminal, b"hi\n").unwrap();
        let mut text = [0; 8];
        let count = rustix::io::read(&pty.controller, &mut text).unwrap();
        assert_eq!(&text[..count], b"hi\r\n");
    }

    #[test]
    fn the_size_is_shared_by_both_ends() {
        let (_devpts, pty) = pair();
        let wanted = Size { height: 33, width: 101 };
        set_size(&pty.controller, wanted).unwrap();
        assert_eq!(size(&pty.terminal).unwrap(), wanted);
    }

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let (_devpts, pty) = pair();
        let is_on =
            |mode: LocalModes| rustix::termios::tcgetattr(&pty.terminal).unwrap().local_modes.contains(mode);
        let guard = Raw::enter(&pty.terminal).unwrap();
        assert!(!is_on(LocalModes::ECHO) && !is_on(LocalModes::ICANON));
        drop(guard);
        let guard = Raw::enter_silent(&pty.terminal).unwrap();
        assert!(!is_on(LocalModes::ECHO) && is_on(LocalModes::ICANON));
        drop(guard);
        assert!(is_on(LocalModes::ECHO));
    }
}
