//! How much memory processes take, pages that are shared counted in parts.

use fault::{Error, Kind, Result};
use sys::errno::ESRCH;

use crate::cgroup::Meter;

/// The sum over the processes of a cgroup, not of those beneath, in kilobytes of 1024.
pub(crate) fn pss(group: &Meter) -> Result<f64> {
    group.pids()?.iter().try_fold(0.0, |sum, pid| Ok(sum + of_process(pid)? as f64))
}

/// Of one process, in kilobytes of 1024.
pub(crate) fn pss_of(pid: u32) -> Result<f64> {
    of_process(&pid.to_string()).map(|pss| pss as f64)
}

/// A process that has just ended takes none.
fn of_process(pid: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    match sys::fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| Error::internal(format!("{path} names no Pss"))),
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(ESRCH) => Ok(0),
        Err(error) => Err(error),
    }
}

fn parse(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn pss_is_found() {
        let rollup =
            "55-7f ---p 00000000 00:00 0 [rollup]\nRss:    1600 kB\nPss:     812 kB\nPss_Dirty:   1 kB\n";
        assert_eq!(super::parse(rollup), Some(812));
    }
}
