//! The life of a container as a table: which action leads from where to where, with which events, and with which
//! words Docker refuses the others. Pure.
//!
//! ```text
//!              start            pause
//!   Created ---------> Running <-------> Paused        Running, Paused --exit--> Exited
//!                       |  ^             (unpause)     Exited --start--> Running
//!          exit, policy |  | due
//!                       v  |                           Created, Exited, Dead --remove--> Removing --> (gone)
//!                     Restarting --stop, kill--> Exited               Removing --fail--> Dead
//! ```

use fault::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::ContainerId;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Created,
    Running,
    Paused,
    /// Between two runs that the restart policy makes.
    Restarting,
    Exited,
    Removing,
    /// A removal failed; only another removal is left.
    Dead,
}

impl Status {
    /// As inspect and the list show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// There is a process.
    pub fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// What Docker's `State.Running` says: also between two runs.
    pub fn is_up(self) -> bool {
        self.has_process() || self == Self::Restarting
    }
}

/// What is asked for by users, and (from `Due` on) what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Kill,
    Pause,
    Unpause,
    Exec,
    Attach,
    Resize,
    Remove,
    /// The wait of the restart policy is over.
    Due,
    /// The process ended for good.
    Exit,
    /// The process ended and the restart policy wants another run.
    ExitForNow,
    RemoveFailed,
}

/// A step of the life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: Status,
    /// In order; sent when the step is done. Those that leave the container where it is are not among them: a signal, an
    /// attach or a resize is told by whoever knows its details.
    pub(crate) events: &'static [&'static str],
}

/// Who is spoken of when an action is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) name: &'a str,
}

/// The step that an action makes, or Docker's refusal.
pub(crate) fn transition(from: Status, action: Action, subject: Subject<'_>) -> Result<Edge> {
    edge(from, action).ok_or_else(|| refusal(from, action, subject))
}

fn edge(from: Status, action: Action) -> Option<Edge> {
    EDGES
        .iter()
        .find(|(status, done, ..)| (*status, *done) == (from, action))
        .map(|&(_, _, to, events)| Edge { to, events })
}

use Action as A;
use Status as S;

const EDGES: &[(Status, Action, Status, &[&str])] = &[
    (S::Created, A::Start, S::Running, &["start"]),
    (S::Created, A::Attach, S::Created, &[]),
    (S::Created, A::Remove, S::Removing, &["destroy"]),
    (S::Running, A::Stop, S::Running, &[]),
    (S::Running, A::Kill, S::Running, &[]),
    (S::Running, A::Pause, S::Paused, &["pause"]),
    (S::Running, A::Exec, S::Running, &[]),
    (S::Running, A::Attach, S::Running, &[]),
    (S::Running, A::Resize, S::Running, &[]),
    (S::Running, A::Exit, S::Exited, &["die"]),
    (S::Running, A::ExitForNow, S::Restarting, &["die"]),
    (S::Paused, A::Stop, S::Paused, &[]),
    (S::Paused, A::Kill, S::Paused, &[]),
    (S::Paused, A::Unpause, S::Running, &["unpause"]),
    (S::Paused, A::Resize, S::Paused, &[]),
    (S::Paused, A::Exit, S::Exited, &["die"]),
    (S::Paused, A::ExitForNow, S::Restarting, &["die"]),
    (S::Restarting, A::Due, S::Running, &["start"]),
    (S::Restarting, A::Stop, S::Exited, &["stop"]),
    (S::Restarting, A::Kill, S::Exited, &[]),
    (S::Restarting, A::Exit, S::Exited, &[]),
    (S::Exited, A::Start, S::Running, &["start"]),
    (S::Exited, A::Attach, S::Exited, &[]),
    (S::Exited, A::Remove, S::Removing, &["destroy"]),
    (S::Dead, A::Remove, S::Removing, &["destroy"]),
    (S::Removing, A::RemoveFailed, S::Dead, &[]),
];

fn refusal(from: Status, action: Action, subject: Subject<'_>) -> Error {
    let id = subject.id;
    let not_running = || Error::conflict(format!("container {id} is not running"));
    let restarting =
        || Error::conflict(format!("Container {id} is restarting, wait until the container is running"));
    match (action, from) {
        (A::Start, S::Paused) => Error::conflict("cannot start a paused container, try unpause instead"),
        (A::Start, S::Running | S::Restarting) => Error::unchanged("container is already running"),
        (A::Start, _) => Error::conflict("container is marked for removal and cannot be started"),
        (A::Stop, _) => Error::unchanged("container is already stopped"),
        (A::Pause, S::Paused) => Error::conflict(format!("Container {id} is already paused")),
        (A::Pause | A::Exec, S::Restarting) => restarting(),
        (A::Unpause, _) => Error::internal(format!("Container {id} is not paused")),
        (A::Exec, S::Paused) => Error::conflict(format!(
            "Container {} is paused, unpause the container before exec",
            subject.name
        )),
        (A::Attach, S::Paused) => {
            Error::conflict(format!("container {id} is paused, unpause the container before attach"))
        }
        (A::Attach, S::Restarting) => {
            Error::conflict(format!("container {id} is restarting, wait until the container is running"))
        }
        (A::Attach, _) => Error::conflict(format!("container {id} is marked for removal")),
        (A::Remove, S::Removing) => {
            Error::conflict(format!("removal of container {} is already in progress", subject.name))
        }
        (A::Remove, S::Paused) => Error::conflict(format!(
            "cannot remove container \"{}\": container is paused and must be unpaused first",
            subject.name
        )),
        (A::Remove, _) => Error::conflict(format!(
            "cannot remove container \"{}\": container is {}: stop the container before removing or force remove",
            subject.name,
            from.as_str()
        )),
        (A::Kill | A::Pause | A::Exec | A::Resize, _) => not_running(),
        (A::Due | A::Exit | A::ExitForNow | A::RemoveFailed, _) => {
            Error::internal(format!("container {id} is {}: {action:?} does not happen to it", from.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUSES: [Status; 7] =
        [S::Created, S::Running, S::Paused, S::Restarting, S::Exited, S::Removing, S::Dead];
    const ACTIONS: [Action; 13] = [
        A::Start,
        A::Stop,
        A::Kill,
        A::Pause,
        A::Unpause,
        A::Exec,
        A::Attach,
        A::Resize,
        A::Remove,
        A::Due,
        A::Exit,
        A::ExitForNow,
        A::RemoveFailed,
    ];

    /// Every pair is decided: an edge or a refusal, and this is all of them.
    #[test]
    fn the_whole_table() {
        let id: ContainerId = "4f".repeat(32).parse().unwrap();
        let subject = Subject { id: &id, name: "web" };
        let mut text = String::new();
        for action in ACTIONS {
            for from in STATUSES {
                let end = match transition(from, action, subject) {
                    Ok(edge) => format!("{} {:?}", edge.to.as_str(), edge.events),
                    Err(error) => format!("{error:?}").replace(id.as_str(), "ID"),
                };
                text += &format!("{action:?} {}: {end}\n", from.as_str());
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn no_pair_has_two_edges() {
        for (index, (from, action, ..)) in EDGES.iter().enumerate() {
            let again = EDGES[index + 1..].iter().any(|edge| (edge.0, edge.1) == (*from, *action));
            assert!(!again, "{from:?} {action:?}");
        }
    }

    #[test]
    fn every_state_can_be_left_by_users_or_facts() {
        for from in STATUSES {
            assert!(EDGES.iter().any(|edge| edge.0 == from && edge.2 != from), "{from:?}");
        }
    }
}
