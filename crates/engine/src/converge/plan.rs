//! What becomes of a container that an earlier engine left, decided from what is found of it. Pure.

use runtime::protocol::{Exit, Running};

use crate::Record;
use crate::container::KILLED;
use crate::record::NEVER;
use crate::restart;
use crate::state::Status;

/// What the folder on disk says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Folder {
    /// A create that did not come to its rename. Without a record nothing else was made.
    Creating(Option<Box<Record>>),
    Whole(Box<Record>),
    /// There is a record that cannot be read. People may be able to; nothing of it is touched.
    Broken,
    /// A removal past its point of no return.
    Removing(Option<Box<Record>>),
}

/// What is found of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Run {
    /// The monitor answered.
    Alive { running: Running, paused: bool },
    /// The monitor or its exit file told the end.
    Ended(Exit),
    /// Neither. `processes`: the cgroup is there, so the process was started.
    Nothing { processes: bool },
}

/// What to do with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    UndoCreate(Option<Box<Record>>),
    FinishRemoval(Option<Box<Record>>),
    LeaveAlone,
    /// It runs on.
    Adopt(Box<Record>),
    /// It does not run. `settle`: the record changed, or a run left something behind.
    Rest {
        record: Box<Record>,
        settle: bool,
        then: Then,
    },
}

impl Fate {
    /// It is no container, or no longer.
    pub(super) fn is_removal(&self) -> bool {
        matches!(self, Self::UndoCreate(_) | Self::FinishRemoval(_))
    }
}

/// What follows for one that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The restart policy wants it up.
    Start,
    /// It was to be removed after its run.
    Remove,
}

/// `boot_id` is the present one, `now` a time for exits that nobody saw.
pub(super) fn fate(folder: Folder, run: Run, boot_id: &str, now: &str) -> Fate {
    match folder {
        Folder::Creating(record) => Fate::UndoCreate(record),
        Folder::Removing(record) => Fate::FinishRemoval(record),
        Folder::Broken => Fate::LeaveAlone,
        Folder::Whole(record) => match run {
            Run::Alive { running, paused } => {
                Fate::Adopt(Box::new(adopted(*record, running, paused, boot_id)))
            }
            Run::Ended(exit) => rest(ended(*record, &exit), true),
            Run::Nothing { processes } => nothing(*record, processes, boot_id, now),
        },
    }
}

fn adopted(mut record: Record, running: Running, paused: bool, boot_id: &str) -> Record {
    let state = &mut record.state;
    state.status = if paused { Status::Paused } else { Status::Running };
    state.pid = running.pid;
    state.start_time = running.start_time;
    state.started_at = running.started_at;
    state.oom_killed = running.oom_killed;
    state.exit_code = 0;
    state.error.clear();
    boot_id.clone_into(&mut state.boot_id);
    record
}

fn ended(mut record: Record, exit: &Exit) -> Record {
    crate::container::apply_exit(&mut record, exit, Status::Exited);
    record
}

fn nothing(mut record: Record, processes: bool, boot_id: &str, now: &str) -> Fate {
    let lost = |code| Exit { code, finished_at: now.into(), ..Exit::default() };
    match record.state.status {
        Status::Running | Status::Paused if record.state.boot_id != boot_id => {
            rest(ended(record, &lost(LOST)), true)
        }
        Status::Running | Status::Paused if processes || record.state.pid != 0 => {
            rest(ended(record, &lost(KILLED)), true)
        }
        Status::Running | Status::Paused => {
            // The start was stored and never made.
            record.state.status =
                if record.state.started_at == NEVER { Status::Created } else { Status::Exited };
            rest(record, true)
        }
        Status::Restarting | Status::Removing | Status::Dead => {
            record.state.status = Status::Exited;
            rest(record, true)
        }
        Status::Created | Status::Exited => rest(record, false),
    }
}

fn rest(record: Record, settle: bool) -> Fate {
    let ran = record.state.started_at != NEVER;
    let policy = &record.host_config.restart_policy;
    let wanted = restart::wanted_at_start(policy, record.state.exit_code, record.manually_stopped);
    let then = match record.state.status {
        Status::Exited if record.host_config.auto_remove && ran => Then::Remove,
        Status::Exited if ran && wanted => Then::Start,
        _ => Then::Nothing,
    };
    Fate::Rest { record: Box::new(record), settle, then }
}

/// Docker's exit code of what ran when the machine went down.
const LOST: i32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "this";

    fn record(status: Status, boot: &str, pid: i32) -> Record {
        let mut record = Record::new("4f".repeat(32).parse().unwrap(), "x".into(), NEVER.into());
        record.state.status = status;
        record.state.boot_id = boot.into();
        record.state.pid = pid;
        if status != Status::Created {
            record.state.started_at = "2025-01-01T00:00:00Z".into();
        }
        record
    }

    /// Status, exit code, whether it is settled, and what follows.
    fn check(record: Record, run: Run) -> (Status, i32, bool, Then) {
        match fate(Folder::Whole(Box::new(record)), run, BOOT, "now") {
            Fate::Rest { record, settle, then } => {
                assert_eq!(record.state.pid, 0);
                (record.state.status, record.state.exit_code, settle, then)
            }
            other => panic!("{other:?}"),
        }
    }

    const NOTHING: Run = Run::Nothing { processes: false };

    #[test]
    fn half_made_things_are_undone_or_finished() {
        let record = Box::new(record(Status::Created, "", 0));
        let of = |folder| fate(folder, NOTHING, BOOT, "now");
        assert_eq!(of(Folder::Creating(Some(record.clone()))), Fate::UndoCreate(Some(record.clone())));
        assert_eq!(of(Folder::Removing(Some(record.clone()))), Fate::FinishRemoval(Some(record)));
    }

    #[test]
    fn what_runs_is_adopted() {
        let running = Running { pid: 7, start_time: 9, ..Running::default() };
        for (paused, status) in [(false, Status::Running), (true, Status::Paused)] {
            let run = Run::Alive { running: running.clone(), paused };
            let fate = fate(Folder::Whole(Box::new(record(Status::Running, BOOT, 0))), run, BOOT, "now");
            let Fate::Adopt(record) = fate else { panic!("{fate:?}") };
            assert_eq!((record.state.status, record.state.pid, record.state.start_time), (status, 7, 9));
        }
    }

    #[test]
    fn ends_are_recorded() {
        let exit = Run::Ended(Exit { code: 3, ..Exit::default() });
        assert_eq!(check(record(Status::Running, BOOT, 7), exit), (Status::Exited, 3, true, Then::Nothing));
        let lost = record(Status::Running, "other", 7);
        assert_eq!(check(lost, NOTHING), (Status::Exited, 255, true, Then::Nothing));
        let monitor_died = record(Status::Running, BOOT, 7);
        assert_eq!(check(monitor_died, NOTHING), (Status::Exited, 137, true, Then::Nothing));
        let orphan = check(record(Status::Running, BOOT, 0), Run::Nothing { processes: true });
        assert_eq!(orphan, (Status::Exited, 137, true, Then::Nothing));
    }

    #[test]
    fn a_start_that_was_only_stored_is_undone() {
        let mut first = record(Status::Running, BOOT, 0);
        first.state.started_at = NEVER.into();
        assert_eq!(check(first, NOTHING), (Status::Created, 0, true, Then::Nothing));
        let again = record(Status::Running, BOOT, 0);
        assert_eq!(check(again, NOTHING), (Status::Exited, 0, true, Then::Nothing));
    }

    #[test]
    fn what_rests_stays_as_it_is() {
        assert_eq!(
            check(record(Status::Created, "", 0), NOTHING),
            (Status::Created, 0, false, Then::Nothing)
        );
        assert_eq!(check(record(Status::Exited, "", 0), NOTHING), (Status::Exited, 0, false, Then::Nothing));
    }

    #[test]
    fn policies_speak_afterwards() {
        let with = |name: &str, auto_remove: bool, manually_stopped: bool| {
            let mut record = record(Status::Running, "other", 7);
            record.host_config.restart_policy.name = name.into();
            record.host_config.auto_remove = auto_remove;
            record.manually_stopped = manually_stopped;
            check(record, NOTHING).3
        };
        assert_eq!(with("always", false, true), Then::Start);
        assert_eq!(with("unless-stopped", false, false), Then::Start);
        assert_eq!(with("unless-stopped", false, true), Then::Nothing);
        assert_eq!(with("on-failure", false, false), Then::Start);
        assert_eq!(with("no", true, false), Then::Remove);
    }
}
