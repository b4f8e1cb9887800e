//! What a host leaves in the kernel: found by namespace and by cgroup, ended through pidfds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::process::PidFd;
use sys::signal::SIGKILL;

/// The processes in a network namespace, given as `/proc/PID/ns/net` shows it.
pub fn in_netns(namespace: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link == namespace))
        .collect()
}

/// The parent of a process: a container's monitor, if it is a container's first.
pub fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// All folders of a cgroup, below included, the deepest first, in every hierarchy.
pub fn cgroups(path: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mounted: Vec<_> = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().collect();
    let roots = mounted.iter().map(fs::DirEntry::path).chain([PathBuf::from("/sys/fs/cgroup")]);
    for root in roots.map(|root| root.join(path.trim_start_matches('/'))).filter(|root| root.is_dir()) {
        collect(root, &mut all);
    }
    all
}

fn collect(folder: PathBuf, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(entry.path(), into);
        }
    }
    into.push(folder);
}

/// Kills these processes and all in the cgroup, and removes it. What resists is left: the test has its verdict.
pub fn end(pids: &[i32], cgroup: &str) {
    let cgroups = cgroups(cgroup);
    let read = |folder: &PathBuf| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let inside: Vec<String> = cgroups.iter().map(read).collect();
    let inside = inside.iter().flat_map(|text| text.lines()).filter_map(|pid| pid.parse().ok());
    let handles: Vec<PidFd> =
        pids.iter().copied().chain(inside).filter_map(|pid| PidFd::open(pid).ok()).collect();
    cgroups.iter().for_each(|folder| thaw(folder));
    handles.iter().for_each(|handle| drop(handle.send_signal(SIGKILL)));
    eventually(|| handles.iter().all(|handle| handle.has_ended().unwrap_or(true)));
    eventually(|| cgroups.iter().all(|folder| fs::remove_dir(folder).is_ok() || !folder.exists()));
}

/// A frozen process of cgroup v1 does not even die.
fn thaw(folder: &Path) {
    let state = folder.join("freezer.state");
    if state.exists() {
        drop(fs::write(state, "THAWED"));
    }
}

/// Whether a condition comes true before patience ends. For what the kernel does in its own time and tells nobody.
#[must_use = "it may not have come true"]
pub fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..LOOKS {
        if condition() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    condition()
}

fn eventually(condition: impl FnMut() -> bool) {
    // What resists is left.
    let _has_come_true = comes_true(condition);
}

const LOOKS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(5);
