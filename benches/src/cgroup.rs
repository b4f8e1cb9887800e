//! Cgroups in which programs are started, so that what they and their children use is counted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fault::{Error, Result};
use runtime::cgroup::Layout;
use sys::fs;
use sys::process::PidFd;
use sys::signal::SIGKILL;

/// A folder of the hierarchy that counts processor time: `cpuacct` of v1, else v2.
#[derive(Debug)]
pub(crate) struct Meter {
    folder: PathBuf,
}

impl Meter {
    /// `path` is from the hierarchy's root, as `/a/b`.
    pub(crate) fn create(path: &str) -> Result<Self> {
        let layout = Layout::of_this_machine()?;
        let v1 = layout.hierarchy("cpuacct").map(|hierarchy| &hierarchy.mount);
        let mount = v1.or(layout.v2.as_ref().map(|unified| &unified.mount));
        let mount = mount.ok_or_else(|| Error::unsupported("counting processor time without cgroups"))?;
        let folder = mount.join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder, 0o755)?;
        Ok(Self { folder })
    }

    /// Processor time used in it and beneath since it was made.
    pub(crate) fn read(&self) -> Result<Duration> {
        let v1 = fs::read_to_string_if_exists(self.folder.join("cpuacct.usage"))?;
        if let Some(nanoseconds) = v1 {
            return number(nanoseconds.trim()).map(Duration::from_nanos);
        }
        let stat = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let used = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        number(used.unwrap_or_default()).map(Duration::from_micros)
    }

    /// A process whose number is written here is counted from then on.
    pub(crate) fn door(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// The processes in it, not beneath.
    pub(crate) fn pids(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(self.door())?.lines().map(str::to_owned).collect())
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::internal(format!("a counter of processor time says {text:?}")))
}

/// Removes a cgroup and all beneath from every hierarchy; none is fine. Their processes must be gone.
pub(crate) fn remove(path: &str) -> Result<()> {
    for mount in Layout::of_this_machine()?.mounts() {
        remove_folder(&mount.join(path.trim_start_matches('/')))?;
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<()> {
    if !fs::exists(folder)? {
        return Ok(());
    }
    for name in fs::read_dir(folder)? {
        let beneath = folder.join(name);
        if fs::lstat(&beneath)?.is_dir() {
            remove_folder(&beneath)?;
        }
    }
    fs::remove_dir(folder)
}

/// Kills all processes in a cgroup and beneath; returns when they are gone.
pub(crate) fn kill(path: &str) -> Result<()> {
    let layout = Layout::of_this_machine()?;
    for mount in layout.mounts() {
        kill_in(&mount.join(path.trim_start_matches('/')))?;
    }
    Ok(())
}

fn kill_in(folder: &Path) -> Result<()> {
    if !fs::exists(folder)? {
        return Ok(());
    }
    for name in fs::read_dir(folder)? {
        let beneath = folder.join(name);
        if fs::lstat(&beneath)?.is_dir() {
            kill_in(&beneath)?;
        }
    }
    for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
        kill_process(pid)?;
    }
    Ok(())
}

/// One that is gone already is fine.
fn kill_process(pid: &str) -> Result<()> {
    let number = pid.parse().map_err(|_| Error::internal(format!("cgroup.procs names {pid:?}")))?;
    let Ok(process) = PidFd::open(number) else { return Ok(()) };
    if process.send_signal(SIGKILL).is_ok() {
        sys::poll::wait_readable(&process, Some(PATIENCE))?;
    }
    Ok(())
}

/// A killed process may still have to write back what it had.
const PATIENCE: Duration = Duration::from_secs(10);
