//! `create`, `start` and `run`.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fault::{Call, Doing, Error, Kind, Result};
use oci::runtime::{Spec, Status};
use runtime::init::{self, Launch, Process, Rootfs};
use runtime::seccomp::Program;
use sys::errno::ENXIO;
use sys::fs::{Access, OpenHow};

use super::args::{Args, Global, Word, missing_id};
use super::container::{Container, RECORD_VERSION, Record, end, gate};
use super::{foreground, report};

/// The flags that `create` and `run` share.
#[derive(Debug, Default)]
struct Flags {
    id: String,
    bundle: PathBuf,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    detach: bool,
    keep: bool,
    pidfd_socket: Option<PathBuf>,
    /// Of the caller's descriptors after those of [`listen_fds`].
    preserve_fds: u16,
    no_pivot: bool,
    /// In the bundle; another than config.json.
    config: PathBuf,
}

fn flags(mut args: Args) -> Result<Flags> {
    let mut flags = Flags { config: "config.json".into(), ..Flags::default() };
    while let Some(word) = args.next()? {
        let flag = match word {
            Word::Flag(flag) => flag,
            Word::Positional(id) if flags.id.is_empty() => {
                flags.id = id;
                continue;
            }
            Word::Positional(extra) => return Err(Error::invalid(format!("unexpected argument {extra:?}"))),
        };
        match flag.as_str() {
            "bundle" | "b" => flags.bundle = args.path()?,
            "console-socket" => flags.console_socket = Some(args.path()?),
            "pid-file" => flags.pid_file = Some(args.path()?),
            "detach" | "d" => flags.detach = true,
            "keep" => flags.keep = true,
            "preserve-fds" => flags.preserve_fds = args.parsed()?,
            "pidfd-socket" => flags.pidfd_socket = Some(args.path()?),
            // No session keyring is made, and nobody's orphans are adopted unasked.
            "no-new-keyring" | "no-subreaper" => {}
            // As crun has it.
            "config" | "f" => flags.config = args.path()?,
            "no-pivot" => flags.no_pivot = true,
            _ => return Err(args.unknown(&flag)),
        }
    }
    if flags.id.is_empty() {
        return Err(missing_id());
    }
    flags.bundle = sys::fs::canonicalize(if flags.bundle.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &flags.bundle
    })?;
    Ok(flags)
}

pub(super) fn create(global: &Global, args: Args) -> Result<ExitCode> {
    foreground::protect_own_binary()?;
    let flags = flags(args)?;
    let (_, process) = make(global, &flags, true)?;
    send_handles(&flags, &process)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(global: &Global, args: Args) -> Result<ExitCode> {
    foreground::protect_own_binary()?;
    let flags = flags(args)?;
    let (container, mut process) = make(global, &flags, false)?;
    run_poststart(global, &container)?;
    send_handles(&flags, &process)?;
    if flags.detach {
        return Ok(ExitCode::SUCCESS);
    }
    if flags.console_socket.is_some() {
        process.console = None;
    }
    let exit = foreground::attend(&process);
    if !flags.keep {
        container.destroy(global)?;
    }
    Ok(ExitCode::from(exit? as u8))
}

/// Makes the container and its record, or leaves nothing.
fn make(global: &Global, flags: &Flags, is_gated: bool) -> Result<(Container, Process)> {
    let spec = read_spec(&flags.bundle.join(&flags.config))?;
    let has_terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    if has_terminal && flags.console_socket.is_none() && (is_gated || flags.detach) {
        return Err(Error::invalid("cannot allocate tty if runc will detach without setting console socket"));
    }
    if !has_terminal && flags.console_socket.is_some() {
        return Err(Error::invalid("cannot use console socket if runc will not detach or allocate tty"));
    }
    let folder = Container::folder(&global.root, &flags.id)?;
    sys::fs::create_dir_all(&global.root, 0o711)?;
    match sys::fs::create_dir(&folder, 0o711) {
        Err(error) if error.kind() == Kind::Conflict => {
            return Err(Error::conflict("container with given ID already exists"));
        }
        result => result?,
    }
    sys::crash::point("runtime.create.folder");
    warn_about(global, &spec);
    let made = launch(global, flags, spec, &folder, is_gated);
    if made.is_err() {
        sys::fs::remove_tree(&folder).ok();
    }
    made
}

pub(super) fn warn_about_capabilities(global: &Global, process: &oci::runtime::Process) {
    let (unknown, ambient) = init::refused_capabilities(process);
    if !unknown.is_empty() {
        report::warn(global, &format!("ignoring unknown or unavailable capabilities: {}", unknown.join(" ")));
    }
    for name in ambient {
        let message = format!("can't raise ambient capability {name}: it is not permitted and inheritable");
        report::warn(global, &message);
    }
}

fn warn_about(global: &Global, spec: &Spec) {
    if let Some(process) = &spec.process {
        warn_about_capabilities(global, process);
    }
}

/// The filter of a specification; what it was compiled to is told.
pub(super) fn compile(global: &Global, spec: &Spec) -> Result<Option<Program>> {
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let program = seccomp.map(runtime::seccomp::compile).transpose()?;
    if let Some(program) = &program {
        report::debug(global, || format!("seccomp filter flags: {}", program.flags));
    }
    Ok(program)
}

fn launch(
    global: &Global,
    flags: &Flags,
    mut spec: Spec,
    folder: &Path,
    is_gated: bool,
) -> Result<(Container, Process)> {
    let listen_fds = listen_fds();
    if let Some(process) = spec.process.as_mut().filter(|_| listen_fds > 0) {
        process.env.extend([format!("LISTEN_FDS={listen_fds}"), "LISTEN_PID=1".to_owned()]);
    }
    let gate = gate(folder);
    if is_gated {
        sys::fs::make_fifo(&gate, 0o600)?;
    }
    let root = spec.root.as_ref().ok_or_else(|| Error::invalid("the spec has no root"))?;
    let rootfs = sys::fs::canonicalize(flags.bundle.join(&root.path)).doing(|| "invalid rootfs")?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    // The intent is on disk before the kernel is touched, so that `delete` finds all that a crash leaves.
    let record = Record {
        version: RECORD_VERSION,
        id: flags.id.clone(),
        bundle: flags.bundle.clone(),
        rootfs: rootfs.clone(),
        created: sys::time::now_rfc3339_nano(),
        pid: 0,
        start_time: 0,
        boot_id: sys::process::boot_id()?,
        cgroup: init::cgroup_path(&flags.id, &spec),
        spec,
    };
    let mut container = Container::save(record, folder.to_owned())?;
    sys::crash::point("runtime.create.recorded");
    report::debug(global, || "nsexec container setup: one clone into all namespaces".to_owned());
    let seccomp = compile(global, &container.record.spec)?;
    let launch = Launch {
        id: &flags.id,
        spec: &container.record.spec,
        bundle: &flags.bundle,
        rootfs: Rootfs::Path(&rootfs),
        mount_fds: &[],
        netns: None,
        stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        kept_fds: kept_fds(listen_fds, flags.preserve_fds)?,
        seccomp: seccomp.as_ref(),
        gate: is_gated.then_some(&*gate),
        intent: None,
        dies_with_caller: false,
        // Our own terminal gives them what a screen needs, if our output is one.
        keeps_line_ends: flags.console_socket.is_none(),
        no_pivot: flags.no_pivot,
    };
    let process = init::start(&launch)
        .map_err(|failure| failure.error)
        .doing(|| "unable to start container process: error during container init")?;
    report::debug(global, || format!("child process in init(): {}", process.pid));
    report::debug(global, || "init: closing the pipe to signal completion".to_owned());
    sys::crash::point("runtime.create.started");
    let noted = container.note_process(process.pid).and_then(|()| write_pid_file(flags, process.pid));
    match noted {
        Ok(()) => Ok((container, process)),
        Err(error) => {
            abandon(&process);
            Err(error)
        }
    }
}

/// All of them must be there, or what we open would take their numbers.
pub(super) fn kept_fds(listen: u16, preserve: u16) -> Result<u16> {
    let too_many = || Error::invalid("too many descriptors to preserve");
    let count = listen.checked_add(preserve).ok_or_else(too_many)?;
    for number in 0..preserve {
        let path = format!("/proc/self/fd/{}", 3 + u32::from(listen) + u32::from(number));
        sys::fs::lstat(&path).doing(|| format!("unable to stat preserved-fd {number} (of {preserve})"))?;
    }
    Ok(count)
}

fn write_pid_file(flags: &Flags, pid: i32) -> Result<()> {
    let Some(path) = &flags.pid_file else { return Ok(()) };
    sys::fs::write_swapped(path, pid.to_string(), 0o644)
}

/// Undoes a start whose record could not be kept. The reason for that is what is told.
fn abandon(process: &Process) {
    process.cgroup.kill().ok();
    process.pidfd.wait().ok();
    process.cgroup.remove().ok();
}

fn send_handles(flags: &Flags, process: &Process) -> Result<()> {
    if let Some(path) = &flags.pidfd_socket {
        foreground::send_handle(path, &process.pidfd)?;
    }
    match (&flags.console_socket, &process.console) {
        (Some(path), Some(console)) => foreground::send_handle(path, console),
        _ => Ok(()),
    }
}

/// Sockets that a service manager has opened for us (sd_listen_fds(3)) are the container's.
fn listen_fds() -> u16 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => {
            number("LISTEN_FDS").and_then(|count| u16::try_from(count).ok()).unwrap_or(0)
        }
        _ => 0,
    }
}

fn read_spec(path: &Path) -> Result<Spec> {
    let text = match sys::fs::read_bounded(path, SPEC_BYTES_MAX) {
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(Error::not_found(format!("JSON specification file {} not found", path.display())));
        }
        result => result?,
    };
    let spec: Spec = oci::runtime::read(&text)
        .map_err(|error| Error::invalid(format!("reading {}", path.display())).with_source(error))?;
    if !spec.version.starts_with("1.") {
        return Err(Error::invalid(format!("unsupported ociVersion {:?}", spec.version)));
    }
    Ok(spec)
}

/// Thousands of mounts and variables fit.
pub(super) const SPEC_BYTES_MAX: u64 = 16 << 20;

pub(super) fn start(global: &Global, mut args: Args) -> Result<ExitCode> {
    let container = Container::load(&global.root, &args.only_id()?)?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return Err(Error::conflict("cannot start a container that has stopped")),
        _ => return Err(Error::conflict("cannot start an already running container")),
    }
    open_gate(&container.gate())?;
    run_poststart(global, &container)?;
    Ok(ExitCode::SUCCESS)
}

/// Only one `start` gets the fifo: whoever removes it.
fn open_gate(path: &Path) -> Result<()> {
    let how = OpenHow { access: Access::Write, nonblock: true, ..OpenHow::READ };
    let mut gate = match sys::fs::open(path, &how) {
        // fifo(7): nobody has it open, so the container is dead.
        Err(error) if error.errno() == Some(ENXIO) => {
            return Err(Error::conflict("cannot start a container that has stopped"));
        }
        result => result?,
    };
    sys::fs::remove_file(path)?;
    sys::crash::point("runtime.start.gate");
    gate.write_all(b"0").call(|| "opening the gate")
}

/// runtime.md, "Lifecycle", step 9: with a failure of these the container ends.
fn run_poststart(global: &Global, container: &Container) -> Result<()> {
    let Some(hooks) = &container.record.spec.hooks else { return Ok(()) };
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let run = init::run_hooks("poststart", &hooks.poststart, &container.state()?);
    if run.is_err() {
        // The hook's failure is what is told; what cannot be ended is found by `delete`.
        end(container).and_then(|()| container.destroy(global)).ok();
    }
    run
}
