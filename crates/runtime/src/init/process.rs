//! The last part of every start, of a container's first process as of an exec: from a process in the right namespaces,
//! still all-powerful, to the program with its own rights.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fault::{Call, Error, Kind, Result};
use sys::errno::{EINVAL, EPERM, EROFS};
use sys::fs;

use super::channel::{ChildEnd, errno_text};
use super::plan::ProcessPlan;
use super::program;

/// The child on its way to the exec.
#[derive(Debug)]
pub(super) struct Becoming<'a> {
    pub(super) plan: &'a ProcessPlan,
    pub(super) stdio: [BorrowedFd<'a>; 3],
    pub(super) terminal: Option<BorrowedFd<'a>>,
    program: PathBuf,
    /// The specification's, and $HOME.
    pub(super) env: Vec<CString>,
    is_in_cwd: bool,
    is_locked: bool,
}

type Step = (&'static str, fn(&mut Becoming<'_>) -> Result<()>);

/// After the namespaces and the root.
const STEPS: &[Step] = &[
    ("runtime.init.session", session),
    ("runtime.init.limits", limits),
    ("runtime.init.cwd", cwd),
    ("runtime.init.home", home),
    ("runtime.init.user", user),
    ("runtime.init.program", find_program),
];

impl<'a> Becoming<'a> {
    pub(super) fn new(
        plan: &'a ProcessPlan,
        stdio: [BorrowedFd<'a>; 3],
        terminal: Option<BorrowedFd<'a>>,
    ) -> Self {
        Self {
            plan,
            stdio,
            terminal,
            program: PathBuf::new(),
            env: plan.env.clone(),
            is_in_cwd: false,
            is_locked: false,
        }
    }

    /// Walks the steps up to where only the gate, the filter and the exec are left.
    pub(super) fn prepare(&mut self) -> Result<()> {
        for (name, step) in STEPS {
            step(self)?;
            sys::crash::point(name);
        }
        Ok(())
    }

    /// The parent hands on the listener of a filter that has one, so that one is installed while the parent is there.
    pub(super) fn lock_before_ready(&mut self, channel: &ChildEnd) -> Result<()> {
        if self.plan.identity.has_listener() { self.lock(channel) } else { Ok(()) }
    }

    /// From here on the filter holds.
    pub(super) fn lock(&mut self, channel: &ChildEnd) -> Result<()> {
        if self.is_locked {
            return Ok(());
        }
        let first_to_close = 3 + i32::from(self.plan.kept_fds);
        sys::process::keep_on_exec(3..first_to_close)?;
        sys::process::close_on_exec_from(first_to_close)?;
        if let Some(listener) = self.plan.identity.lock()? {
            channel.hand_over(&listener)?;
        }
        self.is_locked = true;
        Ok(())
    }

    /// Executes the program; returns only with what forbids to try.
    pub(super) fn execute(&self) -> Result<Infallible> {
        let program = CString::new(self.program.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("the program's path holds a NUL byte"))?;
        // An ignored SIGPIPE would be inherited, and some filters do not let us ask later.
        sys::process::default_signals();
        let error = sys::process::execve(&program, &self.plan.args, &self.env);
        // The container counts as started, so this is its own failure: runc says so on its standard error as well.
        let reason = errno_text(error.raw_os_error().unwrap_or_default());
        writeln!(std::io::stderr(), "exec {}: {reason}", self.program.display()).ok();
        sys::process::exit_now(EXEC_FAILED);
    }
}

const EXEC_FAILED: i32 = 255;

/// A session of its own, with the terminal if there is one, and the standard streams in their places.
fn session(becoming: &mut Becoming<'_>) -> Result<()> {
    sys::process::setsid()?;
    match becoming.terminal {
        Some(terminal) => {
            sys::process::set_stdio([terminal; 3])?;
            sys::tty::take_control(terminal)?;
        }
        None => sys::process::set_stdio(becoming.stdio)?,
    }
    give_stdio(becoming.plan.identity.uid)
}

/// The user may open /dev/stdout and the like again, so its files must be his. Devices other than terminals are
/// everybody's and stay as they are.
fn give_stdio(uid: u32) -> Result<()> {
    let streams: [OwnedFd; 3] = [
        std::io::stdin().as_fd().try_clone_to_owned().call(|| "dup")?,
        std::io::stdout().as_fd().try_clone_to_owned().call(|| "dup")?,
        std::io::stderr().as_fd().try_clone_to_owned().call(|| "dup")?,
    ];
    for stream in &streams {
        let stat = fs::fstat(stream)?;
        if stat.uid == uid || stat.rdev == NULL_DEVICE {
            continue;
        }
        match fs::fchown(stream, uid, stat.gid) {
            // As runc: some files cannot be given away, and mostly need not.
            Err(error) if !matches!(error.errno(), Some(EPERM | EINVAL | EROFS)) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Major 1, minor 3.
const NULL_DEVICE: u64 = 1 << 8 | 3;

fn limits(becoming: &mut Becoming<'_>) -> Result<()> {
    becoming.plan.scheduling.apply()?;
    becoming.plan.identity.apply_limits()
}

/// First as the powerful user that we still are; what he may not enter, the container's user may perhaps.
fn cwd(becoming: &mut Becoming<'_>) -> Result<()> {
    match enter_cwd(&becoming.plan.cwd) {
        Err(error) if error.kind() == Kind::Denied => Ok(()),
        result => {
            becoming.is_in_cwd = true;
            result
        }
    }
}

fn enter_cwd(path: &Path) -> Result<()> {
    std::env::set_current_dir(path).call(|| format!("chdir to cwd ({path:?}) set in config.json failed"))?;
    // getcwd(3): a folder outside of the root has a name that begins with "(unreachable)".
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Error::new(
            Kind::Invalid,
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        )),
    }
}

/// Programs count on $HOME; who sets none, or an empty one, gets that of the container's /etc/passwd.
fn home(becoming: &mut Becoming<'_>) -> Result<()> {
    let env = &mut becoming.env;
    if env.iter().any(|entry| entry.as_bytes().strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty())) {
        return Ok(());
    }
    env.retain(|entry| entry.as_bytes() != b"HOME=");
    let passwd = fs::read_bounded("/etc/passwd", PASSWD_BYTES_MAX).unwrap_or_default();
    let home = home_of(becoming.plan.identity.uid, &String::from_utf8_lossy(&passwd));
    env.extend(CString::new(format!("HOME={home}")));
    Ok(())
}

const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// passwd(5): name:password:uid:gid:comment:home:shell
fn home_of(uid: u32, passwd: &str) -> String {
    let uid = uid.to_string();
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str())).then(|| fields.get(5).copied().unwrap_or_default())
    });
    home.filter(|home| !home.is_empty()).unwrap_or("/").to_owned()
}

fn user(becoming: &mut Becoming<'_>) -> Result<()> {
    becoming.plan.identity.become_user()?;
    if becoming.is_in_cwd {
        return Ok(());
    }
    enter_cwd(&becoming.plan.cwd)
}

fn find_program(becoming: &mut Becoming<'_>) -> Result<()> {
    let name = becoming.plan.args.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    becoming.program = program::find(&name, &program::path_variable(&becoming.plan.env))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nuser:x:1000:1000::/home/user:/bin/sh\n";
        assert_eq!(home_of(0, passwd), "/root");
        assert_eq!(home_of(1000, passwd), "/home/user");
        assert_eq!(home_of(7, passwd), "/");
    }
}
