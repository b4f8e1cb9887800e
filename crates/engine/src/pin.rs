//! A container's first process, held so that it cannot be taken for another one that has its pid later.

use std::os::fd::OwnedFd;

use fault::{Kind, Result};
use sys::errno::ESRCH;
use sys::namespace::Kinds;
use sys::process::PidFd;

use crate::record::State;

/// A handle of the process; `None` if it is gone, even if its pid is somebody else's now. Blocks.
pub(crate) fn first_process(state: &State) -> Result<Option<PidFd>> {
    let process = match PidFd::open(state.pid) {
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(ESRCH) => return Ok(None),
        process => process?,
    };
    let is_it = sys::process::start_time(state.pid).is_ok_and(|start_time| start_time == state.start_time);
    Ok(Some(process).filter(|_| is_it))
}

/// One of its namespaces, likewise. Blocks.
pub(crate) fn namespace(state: &State, kind: Kinds) -> Result<Option<OwnedFd>> {
    let Some(process) = first_process(state)? else { return Ok(None) };
    let opened = sys::namespace::open(&state.pid.to_string(), kind);
    // The process was alive all the time, so the pid was its.
    if process.has_ended()? {
        return Ok(None);
    }
    opened.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs a process that is not ours")]
    fn sleeper() -> (std::process::Child, State) {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id().cast_signed();
        let start_time = sys::process::start_time(pid).unwrap();
        (child, State { pid, start_time, ..State::default() })
    }

    #[test]
    fn a_pid_that_is_another_s_now_is_nobody() {
        let (mut child, state) = sleeper();
        assert!(first_process(&state).unwrap().is_some());
        assert!(namespace(&state, Kinds::IPC).unwrap().is_some());
        let earlier = State { start_time: state.start_time - 1, ..state.clone() };
        assert!(first_process(&earlier).unwrap().is_none());
        assert!(namespace(&earlier, Kinds::IPC).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(first_process(&state).unwrap().is_none());
        assert!(namespace(&state, Kinds::IPC).unwrap().is_none());
    }
}
