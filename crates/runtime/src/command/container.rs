//! A container as the command line knows it: its folder, its record, its state; and what needs no more than that.
//!
//! ```text
//! <root>/<id>/state.json   what was created, and its process
//! <root>/<id>/exec.fifo    there as long as the container waits for `start`
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fault::{Doing, Error, Kind, Result};
use oci::runtime::{NamespaceKind, Spec, State, Status};
use runtime::cgroup::Cgroup;
use serde::{Deserialize, Serialize};
use sys::errno::{EINVAL, ESRCH};
use sys::process::PidFd;
use sys::signal::{SIGKILL, SIGTERM};

use super::args::{Args, Global, Word, missing_id};
use super::report;

/// `state.json`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of this format.
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// RFC 3339.
    pub(super) created: String,
    /// 0 until it has one.
    pub(super) pid: i32,
    /// With the pid and the boot it names the process for good.
    pub(super) start_time: u64,
    pub(super) boot_id: String,
    pub(super) cgroup: PathBuf,
    pub(super) spec: Spec,
}

pub(super) const RECORD_VERSION: u32 = 1;

/// A container that has a record.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) record: Record,
    folder: PathBuf,
}

impl Container {
    pub(super) fn folder(root: &Path, id: &str) -> Result<PathBuf> {
        let is_valid = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
        if id.is_empty() {
            return Err(missing_id());
        }
        if !id.chars().all(is_valid) || id == "." || id == ".." {
            return Err(Error::invalid("invalid container ID format"));
        }
        Ok(root.join(id))
    }

    pub(super) fn load(root: &Path, id: &str) -> Result<Self> {
        let folder = Self::folder(root, id)?;
        let text = sys::fs::read_to_string_if_exists(folder.join("state.json"))?;
        let text = text.ok_or_else(|| Error::not_found("container does not exist"))?;
        let record: Record = serde_json::from_str(&text)
            .map_err(|error| Error::internal("reading state.json").with_source(error))?;
        if record.version != RECORD_VERSION {
            return Err(Error::invalid(format!(
                "state.json has version {}, this is {RECORD_VERSION}",
                record.version
            )));
        }
        Ok(Self { record, folder })
    }

    /// Writes a new container's record, whole or not at all.
    pub(super) fn save(record: Record, folder: PathBuf) -> Result<Self> {
        let container = Self { record, folder };
        container.write()?;
        Ok(container)
    }

    /// Adds the first process.
    pub(super) fn note_process(&mut self, pid: i32) -> Result<()> {
        self.record.pid = pid;
        self.record.start_time = sys::process::start_time(pid)?;
        self.write()
    }

    pub(super) fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.record)
            .map_err(|error| Error::internal("writing state.json").with_source(error))?;
        sys::fs::write_swapped(self.folder.join("state.json"), text, 0o600)
    }

    pub(super) fn gate(&self) -> PathBuf {
        gate(&self.folder)
    }

    pub(super) fn cgroup(&self) -> Result<Cgroup> {
        Cgroup::at(&self.record.cgroup)
    }

    /// Its first process, if that still runs.
    pub(super) fn process(&self) -> Result<Option<PidFd>> {
        if self.record.pid == 0 || sys::process::boot_id()? != self.record.boot_id {
            return Ok(None);
        }
        let pidfd = match PidFd::open(self.record.pid) {
            Err(error) if error.errno() == Some(ESRCH) => return Ok(None),
            // An ended thread that is no longer a process (pidfd_open(2)).
            Err(error) if error.errno() == Some(EINVAL) => return Ok(None),
            result => result?,
        };
        // Another process may have the number by now; the handle then is of that one.
        let is_same =
            sys::process::start_time(self.record.pid).is_ok_and(|time| time == self.record.start_time);
        Ok((is_same && !pidfd.has_ended()?).then_some(pidfd))
    }

    /// Whether its processes end with its first one, because that is the first of a pid namespace.
    fn has_own_pids(&self) -> bool {
        let linux = self.record.spec.linux.as_ref();
        let mut namespaces = linux.into_iter().flat_map(|linux| &linux.namespaces);
        namespaces.any(|ns| ns.kind == NamespaceKind::Pid && ns.path.as_os_str().is_empty())
    }

    pub(super) fn status(&self) -> Result<Status> {
        if self.record.pid == 0 {
            return Ok(Status::Creating);
        }
        if self.process()?.is_none() {
            return Ok(Status::Stopped);
        }
        if sys::fs::exists(self.gate())? {
            return Ok(Status::Created);
        }
        Ok(if self.cgroup()?.is_frozen()? { Status::Paused } else { Status::Running })
    }

    pub(super) fn state(&self) -> Result<State> {
        let status = self.status()?;
        Ok(State {
            version: self.record.spec.version.clone(),
            id: self.record.id.clone(),
            status,
            pid: if status == Status::Stopped { 0 } else { self.record.pid },
            bundle: self.record.bundle.clone(),
            annotations: self.record.spec.annotations.clone(),
        })
    }

    /// Ends and forgets everything; safe to repeat after a crash.
    pub(super) fn destroy(&self, global: &Global) -> Result<()> {
        let cgroup = self.cgroup()?;
        if cgroup.exists()? {
            cgroup.kill()?;
            cgroup.remove()?;
        }
        sys::crash::point("runtime.delete.cgroup");
        let state = State { status: Status::Stopped, pid: 0, ..self.state()? };
        sys::fs::remove_tree(&self.folder)?;
        let hooks = self.record.spec.hooks.as_ref().map_or(&[][..], |hooks| &hooks.poststop);
        // runtime.md, "Lifecycle", step 13: with their failures all goes on.
        for error in runtime::init::run_all_hooks("poststop", hooks, &state) {
            report::warn(global, &error.to_string());
        }
        Ok(())
    }
}

pub(super) fn gate(folder: &Path) -> PathBuf {
    folder.join("exec.fifo")
}

pub(super) fn delete(global: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut force, mut id) = (false, None);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "f" || flag == "force" => force = true,
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) => id = Some(word),
        }
    }
    let id = id.ok_or_else(missing_id)?;
    let container = match Container::load(&global.root, &id) {
        Err(error) if error.kind() == Kind::NotFound => return delete_remains(global, &id, force, error),
        result => result?,
    };
    match (container.status()?, force) {
        (Status::Stopped, _) => {}
        // A container that was never started has nothing to lose.
        (Status::Created, _) | (_, true) => end(&container)?,
        (status, false) => {
            let status = serde_json::to_string(&status).unwrap_or_default();
            return Err(Error::conflict(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.trim_matches('"')
            )));
        }
    }
    container.destroy(global)?;
    Ok(ExitCode::SUCCESS)
}

/// What a create that died has left: a folder without a record.
fn delete_remains(global: &Global, id: &str, force: bool, error: Error) -> Result<ExitCode> {
    let folder = Container::folder(&global.root, id)?;
    if sys::fs::exists(&folder)? {
        sys::fs::remove_tree(&folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if force { Ok(ExitCode::SUCCESS) } else { Err(error) }
}

pub(super) fn end(container: &Container) -> Result<()> {
    let Some(process) = container.process()? else { return Ok(()) };
    container.cgroup()?.kill()?;
    process.send_signal(SIGKILL).ok();
    if !sys::poll::wait_readable(&process, Some(END_TIMEOUT))? {
        return Err(Error::unavailable("the container's process does not end"));
    }
    Ok(())
}

/// A killed process ends as soon as the kernel lets it; one that hangs in the kernel longer is worth an error.
const END_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn kill(global: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut all, mut words) = (false, Vec::new());
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "a" || flag == "all" => all = true,
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) => words.push(word),
        }
    }
    let mut words = words.into_iter();
    let id = words.next().ok_or_else(missing_id)?;
    let signal = words.next().map_or(Ok(SIGTERM), |name| signal_number(&name))?;
    let container = Container::load(&global.root, &id)?;
    if all {
        container.cgroup()?.signal(signal)?;
        return Ok(ExitCode::SUCCESS);
    }
    if signal == SIGKILL && !container.has_own_pids() {
        return kill_everybody(&container);
    }
    let process = container.process()?.ok_or_else(|| Error::conflict("container not running"))?;
    process.send_signal(signal).doing(|| format!("sending signal {signal}"))?;
    if signal == SIGKILL && container.cgroup()?.is_frozen()? {
        container.cgroup()?.thaw()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Without a pid namespace of its own the end of the first process is not that of the others.
fn kill_everybody(container: &Container) -> Result<ExitCode> {
    let cgroup = container.cgroup()?;
    if cgroup.pids()?.is_empty() {
        return Err(Error::conflict("container not running"));
    }
    cgroup.kill()?;
    Ok(ExitCode::SUCCESS)
}

fn signal_number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>()
        && (0..=sys::signal::LAST).contains(&number)
    {
        return Ok(number);
    }
    sys::signal::number(text).ok_or_else(|| Error::invalid(format!("unknown signal {text:?}")))
}

pub(super) fn pause(global: &Global, mut args: Args) -> Result<ExitCode> {
    let container = Container::load(&global.root, &args.only_id()?)?;
    if container.status()? != Status::Running {
        return Err(Error::conflict("container not running"));
    }
    container.cgroup()?.freeze()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn resume(global: &Global, mut args: Args) -> Result<ExitCode> {
    let container = Container::load(&global.root, &args.only_id()?)?;
    if container.status()? != Status::Paused {
        return Err(Error::conflict("container not paused"));
    }
    container.cgroup()?.thaw()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal_number("9").unwrap(), 9);
        assert_eq!(signal_number("SIGTERM").unwrap(), 15);
        assert_eq!(signal_number("hup").unwrap(), 1);
        assert!(signal_number("65").is_err());
        assert!(signal_number("NOPE").is_err());
    }

    #[test]
    fn ids_are_names_of_folders() {
        let folder = |id| Container::folder(Path::new("/run"), id);
        assert_eq!(folder("a-b_c+1.2").unwrap(), Path::new("/run/a-b_c+1.2"));
        for bad in ["", ".", "..", "a/b", "a b"] {
            assert!(folder(bad).is_err(), "{bad}");
        }
    }
}
