//! `exec`: a further process in a running container.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fault::{Doing, Error, Result};
use oci::runtime::{Capabilities, Process, Status};
use runtime::cgroup::SubCgroup;
use runtime::exec::ExecLaunch;

use super::args::{Args, Global, Word, missing_id};
use super::container::Container;
use super::create::{SPEC_BYTES_MAX, compile, kept_fds, warn_about_capabilities};
use super::{foreground, report};

#[derive(Debug, Default)]
struct Flags {
    id: String,
    args: Vec<String>,
    process: Option<PathBuf>,
    cwd: Option<PathBuf>,
    env: Vec<String>,
    tty: bool,
    user: Option<String>,
    groups: Vec<u32>,
    detach: bool,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    no_new_privileges: bool,
    capabilities: Vec<String>,
    ignore_paused: bool,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u16,
    cgroups: Vec<SubCgroup>,
}

fn flags(mut args: Args) -> Result<Flags> {
    let mut flags = Flags::default();
    loop {
        let flag = match args.next()?.ok_or_else(missing_id)? {
            Word::Flag(flag) => flag,
            Word::Positional(id) => {
                flags.id = id;
                flags.args = args.rest()?;
                return Ok(flags);
            }
        };
        match flag.as_str() {
            "process" | "p" => flags.process = Some(args.path()?),
            "cwd" => flags.cwd = Some(args.path()?),
            "env" | "e" => flags.env.push(args.value()?),
            "tty" | "t" => flags.tty = true,
            "user" | "u" => flags.user = Some(args.value()?),
            "additional-gids" | "g" => flags.groups.push(args.number()?),
            "detach" | "d" => flags.detach = true,
            "pid-file" => flags.pid_file = Some(args.path()?),
            "console-socket" => flags.console_socket = Some(args.path()?),
            "no-new-privs" => flags.no_new_privileges = true,
            "cap" | "c" => flags.capabilities.push(args.value()?),
            "ignore-paused" => flags.ignore_paused = true,
            "preserve-fds" => flags.preserve_fds = args.parsed()?,
            "pidfd-socket" => flags.pidfd_socket = Some(args.path()?),
            "cgroup" => flags.cgroups.push(SubCgroup::parse(&args.value()?)?),
            "process-label" | "apparmor" => {
                return Err(Error::unsupported(format!("--{flag}")));
            }
            _ => return Err(args.unknown(&flag)),
        }
    }
}

/// A failure of ours has another exit code than any that programs use for themselves.
pub(super) fn exec(global: &Global, args: Args) -> Result<ExitCode> {
    Ok(execute(global, args).unwrap_or_else(|error| {
        report::failed(global, &error);
        ExitCode::from(EXEC_FAILED)
    }))
}

const EXEC_FAILED: u8 = 255;

fn execute(global: &Global, args: Args) -> Result<ExitCode> {
    foreground::protect_own_binary()?;
    let flags = flags(args)?;
    let container = Container::load(&global.root, &flags.id)?;
    match container.status()? {
        Status::Stopped => return Err(Error::conflict("cannot exec in a stopped container")),
        Status::Paused if !flags.ignore_paused => {
            return Err(Error::conflict(
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        _ => {}
    }
    let wanted = wanted(&flags, &container)?;
    if wanted.terminal && flags.detach && flags.console_socket.is_none() {
        return Err(Error::invalid("cannot allocate tty if runc will detach without setting console socket"));
    }
    warn_about_capabilities(global, &wanted);
    let process = launch(global, &container, &wanted, &flags)?;
    if let Some(path) = &flags.pid_file {
        sys::fs::write_swapped(path, process.pid.to_string(), 0o644)?;
    }
    finish(&flags, process)
}

fn launch(
    global: &Global,
    container: &Container,
    wanted: &Process,
    flags: &Flags,
) -> Result<runtime::init::Process> {
    let target = container.process()?.ok_or_else(|| Error::conflict("cannot exec in a stopped container"))?;
    let linux = container.record.spec.linux.as_ref();
    report::debug(global, || "nsexec container setup: one setns into all namespaces".to_owned());
    if let Some(mask) = runtime::exec::first_affinity(wanted)? {
        report::debug(global, || format!("nsexec: affinity: {mask:#x}"));
    }
    let seccomp = compile(global, &container.record.spec)?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let cgroup = container.cgroup()?;
    let process = runtime::exec::exec(&ExecLaunch {
        pid: container.record.pid,
        pidfd: target.as_fd(),
        process: wanted,
        linux,
        cgroup: &cgroup,
        sub_cgroups: &flags.cgroups,
        seccomp: seccomp.as_ref(),
        stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        kept_fds: kept_fds(0, flags.preserve_fds)?,
        keeps_line_ends: flags.console_socket.is_none(),
        state: Some(&container.state()?),
    })
    .map_err(|failure| failure.error)
    .doing(|| "exec failed: unable to start container process")?;
    report::debug(global, || format!("child process in init(): {}", process.pid));
    report::debug(global, || "setns_init: about to exec".to_owned());
    Ok(process)
}

fn finish(flags: &Flags, mut process: runtime::init::Process) -> Result<ExitCode> {
    if let Some(path) = &flags.pidfd_socket {
        foreground::send_handle(path, &process.pidfd)?;
    }
    if let (Some(path), Some(console)) = (&flags.console_socket, &process.console) {
        foreground::send_handle(path, console)?;
        process.console = None;
    }
    if flags.detach {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(foreground::attend(&process)? as u8))
}

/// From a file, or the container's own process with the flags' changes.
fn wanted(flags: &Flags, container: &Container) -> Result<Process> {
    if let Some(path) = &flags.process {
        return read_process(path);
    }
    if flags.args.is_empty() {
        return Err(Error::invalid("exec args cannot be empty"));
    }
    let own = container.record.spec.process.clone().unwrap_or_default();
    let mut process = Process { terminal: flags.tty, args: flags.args.clone(), ..own };
    process.env.extend(flags.env.iter().cloned());
    process.no_new_privileges |= flags.no_new_privileges;
    if let Some(cwd) = &flags.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &flags.user {
        (process.user.uid, process.user.gid) = parse_user(user)?;
    }
    process.user.additional_gids.extend(&flags.groups);
    add_capabilities(&mut process, &flags.capabilities);
    Ok(process)
}

fn read_process(path: &Path) -> Result<Process> {
    let text = sys::fs::read_bounded(path, SPEC_BYTES_MAX)?;
    oci::runtime::read(&text)
        .map_err(|error| Error::invalid(format!("reading {}", path.display())).with_source(error))
}

/// `UID[:GID]`; names are no matter of a runtime.
fn parse_user(text: &str) -> Result<(u32, u32)> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let number = |part: &str, what| {
        part.parse().map_err(|_| Error::invalid(format!("parsing {part} as int for {what} failed")))
    };
    Ok((number(uid, "uid")?, number(gid, "gid")?))
}

fn add_capabilities(process: &mut Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let own = process.capabilities.get_or_insert_with(Capabilities::default);
    // What the container's processes inherit the further ones shall inherit too, ambient or not.
    let inherits = !own.inheritable.is_empty();
    for set in [&mut own.bounding, &mut own.effective, &mut own.permitted] {
        set.extend(names.iter().cloned());
    }
    for set in [&mut own.inheritable, &mut own.ambient].into_iter().filter(|_| inherits) {
        set.extend(names.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        assert_eq!(parse_user("1000").unwrap(), (1000, 0));
        assert_eq!(parse_user("1:2").unwrap(), (1, 2));
        assert!(parse_user("root").is_err());
    }
}
