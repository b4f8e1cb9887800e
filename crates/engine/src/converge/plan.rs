//! What becomes of a container that an earlier engine left, decided from what is found of it. Pure.

use runtime::protocol::{Exit, Running};

use crate::Record;
use crate::container::KILLED;
use crate::record::{self, NEVER};
use crate::restart;
use crate::state::Status;

/// What the folder on disk says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Folder {
    /// A create that did not come to its rename. Without a record nothing else was made.
    Creating(Option<Box<Record>>),
    /// `run`: one that was noted, and that the record does not know the end of.
    Whole { record: Box<Record>, run: Option<record::Run> },
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
    /// There is a monitor, and it has not said a word yet.
    Silent { paused: bool },
    /// The monitor or its exit file told the end.
    Ended(Exit),
    /// Neither. `started`: what is left shows that the process was started.
    Nothing { started: bool },
}

/// What to do with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    UndoCreate(Option<Box<Record>>),
    FinishRemoval(Option<Box<Record>>),
    LeaveAlone,
    /// It runs on, or is on its way to.
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
    /// The restart policy wants up what had come to rest, as if a user started it.
    Start,
    /// The restart policy goes on where the earlier engine did not come to it.
    Restart,
    /// It was to be removed after its run.
    Remove,
}

/// `boot_id` is the present one, `now` a time for exits that nobody saw.
pub(super) fn fate(folder: Folder, run: Run, boot_id: &str, now: &str) -> Fate {
    match folder {
        Folder::Creating(record) => Fate::UndoCreate(record),
        Folder::Removing(record) => Fate::FinishRemoval(record),
        Folder::Broken => Fate::LeaveAlone,
        Folder::Whole { mut record, run: noted } => match run {
            Run::Alive { running, paused } => {
                if let Some(noted) = noted {
                    record.has_begun(noted);
                }
                adopt(&mut record, running, paused, boot_id);
                Fate::Adopt(record)
            }
            Run::Silent { paused } if noted.is_some() || record.state.status.has_process() => {
                if let Some(noted) = noted {
                    record.has_begun(noted);
                }
                record.state.status = if paused { Status::Paused } else { Status::Running };
                boot_id.clone_into(&mut record.state.boot_id);
                Fate::Adopt(record)
            }
            // The end is recorded; the monitor of that run is still on its way out.
            Run::Silent { .. } => at_rest(record, true),
            Run::Ended(exit) => match noted {
                Some(noted) => {
                    record.has_begun(noted);
                    ended(record, &exit)
                }
                None if record.state.status.has_process() => ended(record, &exit),
                // Recorded, and not yet cleaned up.
                None => at_rest(record, true),
            },
            Run::Nothing { started } => nothing(record, noted, started, boot_id, now),
        },
    }
}

fn adopt(record: &mut Record, running: Running, paused: bool, boot_id: &str) {
    let state = &mut record.state;
    state.status = if paused { Status::Paused } else { Status::Running };
    state.pid = running.pid;
    state.start_time = running.start_time;
    state.started_at = running.started_at;
    state.oom_killed = running.oom_killed;
    boot_id.clone_into(&mut state.boot_id);
}

fn nothing(
    mut record: Box<Record>,
    noted: Option<record::Run>,
    started: bool,
    boot_id: &str,
    now: &str,
) -> Fate {
    let lost = |code| Exit { code, finished_at: now.into(), ..Exit::default() };
    let Some(noted) = noted else {
        return match record.state.status {
            Status::Running | Status::Paused if record.state.boot_id != boot_id => ended(record, &lost(LOST)),
            Status::Running | Status::Paused => ended(record, &lost(KILLED)),
            _ => at_rest(record, false),
        };
    };
    if noted.boot_id != boot_id || started {
        let code = if started { KILLED } else { LOST };
        record.has_begun(noted);
        return ended(record, &lost(code));
    }
    // The start was stored and never made.
    record.state.run = noted.run;
    at_rest(record, true)
}

/// A run ended while no engine was there: the policy speaks now.
fn ended(mut record: Box<Record>, exit: &Exit) -> Fate {
    let is_wanted = restart::wanted(&record.host_config.restart_policy, record.ended(exit.code));
    let then = match (is_wanted, record.manually_stopped) {
        (true, false) => Then::Restart,
        (true, true) => Then::Start,
        (false, _) if record.host_config.auto_remove => Then::Remove,
        (false, _) => Then::Nothing,
    };
    let is_restart = then == Then::Restart;
    record.restart_count += i64::from(is_restart);
    let status = if is_restart { Status::Restarting } else { Status::Exited };
    crate::container::apply_exit(&mut record, exit, status);
    Fate::Rest { record, settle: true, then }
}

/// An earlier engine had recorded how it is. `settle`: but not cleaned up.
fn at_rest(mut record: Box<Record>, settle: bool) -> Fate {
    let ended = record.ended(record.state.exit_code);
    let is_wanted = restart::wanted(&record.host_config.restart_policy, ended);
    let then = match record.state.status {
        Status::Restarting => Then::Restart,
        Status::Exited if record.state.started_at != NEVER && is_wanted => Then::Start,
        // As with dockerd, also one that was never started.
        _ if record.host_config.auto_remove => Then::Remove,
        _ => Then::Nothing,
    };
    let is_stable = matches!(record.state.status, Status::Created | Status::Exited);
    if matches!(record.state.status, Status::Removing | Status::Dead) {
        record.state.status = Status::Exited;
    }
    Fate::Rest { record, settle: settle || !is_stable, then }
}

/// Docker's exit code of what ran when the machine went down.
const LOST: i32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// As an engine left it.
    fn record(status: Status) -> Record {
        let mut record = Record::new("4f".repeat(32).parse().unwrap(), "x".into(), NEVER.into());
        record.state.status = status;
        record.state.run = 1;
        if status != Status::Created {
            record.state.started_at = "2025-01-01T00:00:00Z".into();
        }
        if status.has_process() {
            record.state.pid = 7;
            record.state.boot_id = BOOT.into();
        }
        record
    }

    fn with_policy(status: Status, name: &str, maximum_retry_count: i64) -> Record {
        let mut record = record(status);
        record.host_config.restart_policy =
            api::host_config::RestartPolicy { name: name.into(), maximum_retry_count };
        record
    }

    fn noted(boot: &str) -> Option<record::Run> {
        let began_at = "2025-02-02T00:00:00Z".into();
        Some(record::Run { run: 2, boot_id: boot.into(), began_at, ..record::Run::default() })
    }

    fn whole(record: Record, run: Option<record::Run>) -> Folder {
        Folder::Whole { record: Box::new(record), run }
    }

    fn rested(record: Record, noted: Option<record::Run>, run: Run) -> (Record, bool, Then) {
        match fate(whole(record, noted), run, BOOT, "now") {
            Fate::Rest { record, settle, then } => {
                assert_eq!(record.state.pid, 0);
                (*record, settle, then)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Status, exit code, whether it is settled, and what follows.
    fn check(record: Record, noted: Option<record::Run>, run: Run) -> (Status, i32, bool, Then) {
        let (record, settle, then) = rested(record, noted, run);
        (record.state.status, record.state.exit_code, settle, then)
    }

    fn exit(code: i32) -> Run {
        Run::Ended(Exit { code, pid: 7, ..Exit::default() })
    }

    const BOOT: &str = "this";
    const NOTHING: Run = Run::Nothing { started: false };

    #[test]
    fn half_made_things_are_undone_or_finished() {
        let record = Box::new(record(Status::Created));
        let of = |folder| fate(folder, NOTHING, BOOT, "now");
        assert_eq!(of(Folder::Creating(Some(record.clone()))), Fate::UndoCreate(Some(record.clone())));
        assert_eq!(of(Folder::Removing(Some(record.clone()))), Fate::FinishRemoval(Some(record)));
    }

    #[test]
    fn what_runs_is_adopted() {
        let running = Running { pid: 7, start_time: 9, ..Running::default() };
        for (paused, status) in [(false, Status::Running), (true, Status::Paused)] {
            let run = Run::Alive { running: running.clone(), paused };
            let mut stopped = record(Status::Exited);
            (stopped.manually_stopped, stopped.restart_count, stopped.state.exit_code) = (true, 5, 137);
            let fate = fate(whole(stopped, noted(BOOT)), run, BOOT, "now");
            let Fate::Adopt(record) = fate else { panic!("{fate:?}") };
            assert_eq!((record.state.status, record.state.pid, record.state.start_time), (status, 7, 9));
            assert_eq!((record.state.run, record.state.exit_code), (2, 0));
            assert_eq!((record.manually_stopped, record.restart_count), (false, 0), "as the run had them");
        }
    }

    #[test]
    fn ends_are_recorded() {
        use Status::{Created, Exited, Running};
        // A run that is only noted, and one that the record knows because of a rename.
        for (found, noted) in [(record(Created), noted(BOOT)), (record(Running), None)] {
            assert_eq!(check(found.clone(), noted.clone(), exit(3)), (Exited, 3, true, Then::Nothing));
            let orphan = check(found.clone(), noted.clone(), Run::Nothing { started: true });
            assert_eq!(orphan, (Exited, 137, true, Then::Nothing));
            let (record, ..) = rested(found, noted, exit(3));
            assert_ne!(record.state.started_at, NEVER);
        }
        assert_eq!(check(record(Running), None, NOTHING), (Exited, 137, true, Then::Nothing));
        assert_eq!(check(record(Created), noted("other"), NOTHING), (Exited, 255, true, Then::Nothing));
        let mut lost = record(Running);
        lost.state.boot_id = "other".into();
        assert_eq!(check(lost, None, NOTHING), (Exited, 255, true, Then::Nothing));
    }

    #[test]
    fn an_end_counts_once() {
        for status in [Status::Restarting, Status::Exited] {
            let (record, settle, then) = rested(with_policy(status, "always", 0), None, exit(3));
            assert_eq!((record.restart_count, settle), (0, true));
            assert_eq!(then, if status == Status::Restarting { Then::Restart } else { Then::Start });
        }
    }

    #[test]
    fn a_start_that_was_only_stored_is_undone() {
        for status in [Status::Created, Status::Exited] {
            let (record, settle, then) = rested(record(status), noted(BOOT), NOTHING);
            assert_eq!((record.state.status, settle, then), (status, true, Then::Nothing));
            assert_eq!(record.state.run, 2, "not noted any more");
        }
        let restarting = with_policy(Status::Restarting, "always", 0);
        assert_eq!(check(restarting, noted(BOOT), NOTHING), (Status::Restarting, 0, true, Then::Restart));
    }

    #[test]
    fn what_rests_stays_as_it_is() {
        for status in [Status::Created, Status::Exited] {
            assert_eq!(check(record(status), None, NOTHING), (status, 0, false, Then::Nothing));
        }
    }

    /// Name, most retries, retries so far, exit code, stopped by hand: what follows an end, and a rest.
    #[test]
    fn policies_speak_afterwards() {
        use Then::{Nothing, Restart, Start};
        let table = [
            ("always", 0, 7, 0, false, Restart, Start),
            ("always", 0, 0, 0, true, Start, Start),
            ("unless-stopped", 0, 0, 0, false, Restart, Start),
            ("unless-stopped", 0, 0, 137, true, Nothing, Nothing),
            ("on-failure", 0, 9, 1, false, Restart, Start),
            ("on-failure", 3, 2, 1, false, Restart, Start),
            ("on-failure", 3, 3, 1, false, Nothing, Nothing),
            ("on-failure", 0, 0, 0, false, Nothing, Nothing),
            ("on-failure", 0, 0, 143, true, Start, Start),
            ("no", 0, 0, 1, false, Nothing, Nothing),
            ("", 0, 0, 1, false, Nothing, Nothing),
        ];
        for (name, most, count, code, stopped, after_end, after_rest) in table {
            let with = |status| {
                let mut record = with_policy(status, name, most);
                (record.restart_count, record.manually_stopped) = (count, stopped);
                record.state.exit_code = code;
                record
            };
            let row = (name, most, count, code, stopped);
            let (record, _, then) = rested(with(Status::Running), None, exit(code));
            assert_eq!(then, after_end, "{row:?}");
            let is_restart = then == Restart;
            assert_eq!(record.restart_count, count + i64::from(is_restart), "{row:?}");
            assert_eq!(record.state.status == Status::Restarting, is_restart, "{row:?}");
            assert_eq!(check(with(Status::Exited), None, NOTHING).3, after_rest, "{row:?}");
            assert_eq!(check(with(Status::Created), None, NOTHING).3, Nothing, "{row:?}");
        }
    }

    #[test]
    fn what_was_to_be_removed_is_removed() {
        for (status, noted, run) in [
            (Status::Created, noted(BOOT), exit(0)),
            (Status::Created, noted("other"), NOTHING),
            (Status::Created, None, NOTHING),
            (Status::Exited, None, NOTHING),
        ] {
            let mut record = record(status);
            record.host_config.auto_remove = true;
            assert_eq!(check(record, noted, run).3, Then::Remove);
        }
    }
}
