//! The start of an engine: what an earlier one left is met again, finished or undone.
//!
//! ```text
//! folders, monitors, exit files --look--> Folder, Run --plan::fate--> Fate --apply--> kernel, disk, registry
//! ```
//!
//! Afterwards no snapshot, endpoint, cgroup or folder is without an owner.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fault::{Doing, Error, Kind, Result};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use runtime::cgroup::Cgroup;
use runtime::protocol::{Container, Event, ExecState, Fds, Hello, Request, Target};
use sys::errno::{ECONNREFUSED, ENOENT};

use crate::config::{REMOVING, monitor_socket};
use crate::container::task::{self, Command};
use crate::container::{self, View};
use crate::exec::Execs;
use crate::link::Link;
use crate::monitors::Monitor;
use crate::record::{CREATING, FILE};
use crate::{ContainerId, Engine, MountKind, Record};

use plan::{Fate, Folder, Run, Then};

pub(crate) async fn converge(engine: &Engine) -> Result<()> {
    let found = engine.blocking(look).await.doing(|| "reading containers")?;
    let mut fates = meet_all(engine, found).await?;
    free_the_rest(engine, &fates).await?;
    // Whoever lives is known before anything is removed: an anonymous volume may have another user.
    fates.sort_by_key(|(_, fate, _)| fate.is_removal());
    let mut follow_ups = Vec::new();
    for (id, fate, met) in fates {
        // What is wrong with one container must not keep all others down.
        match apply(engine, id.clone(), fate, met).await {
            Ok(follow_up) => follow_ups.extend(follow_up),
            Err(error) => tracing::error!(container = %id, %error, "left as it is until the next start"),
        }
    }
    // Whoever was to go is gone when the engine is open, as with dockerd; starts go on in the background.
    let (removals, starts): (Vec<_>, Vec<_>) =
        follow_ups.into_iter().partition(|(_, then)| *then == Then::Remove);
    let gone = join_all(removals.into_iter().map(|(id, then)| follow_up(engine.clone(), id, then)));
    if tokio::time::timeout(REMOVAL_PATIENCE, gone).await.is_err() {
        tracing::warn!("removals take long and go on in the background");
    }
    for (id, then) in starts {
        engine.tasks().spawn(follow_up(engine.clone(), id, then));
    }
    Ok(())
}

/// Several at a time, because one that does not answer is waited for.
async fn meet_all(
    engine: &Engine,
    found: BTreeMap<ContainerId, Folder>,
) -> Result<Vec<(ContainerId, Fate, Option<Met>)>> {
    let fate_of = |(id, folder): (ContainerId, Folder)| async move {
        let (run, met) = run_of(engine, &id, &folder).await?;
        let now = sys::time::now_rfc3339_nano();
        Ok((id, plan::fate(folder, run, engine.boot_id(), &now), met))
    };
    stream::iter(found).map(fate_of).buffered(MEETINGS_MAX).try_collect().await
}

/// A removal is a few renames; only a sick disk takes longer.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);

/// Each is a socket and a hop of blocking work at most.
const MEETINGS_MAX: usize = 16;

/// A monitor that is there, and the execs that it told of.
struct Met {
    monitor: Monitor,
    execs: Vec<ExecState>,
}

/// What listens at a monitor's socket.
enum Meeting {
    Nobody,
    /// It has not told yet how it is: it is slow, or its start is.
    Silent(Link),
    Told(Met, Container),
}

/// All folders of containers. Blocks.
fn look(engine: &Engine) -> Result<BTreeMap<ContainerId, Folder>> {
    let mut found = BTreeMap::new();
    for name in sys::fs::read_dir(engine.config().containers())? {
        let Some(name) = name.to_str() else { continue };
        let path = engine.config().containers().join(name);
        if let Some(id) = name.strip_prefix(REMOVING).and_then(|id| id.parse().ok()) {
            found.insert(id, Folder::Removing(boxed(Record::load(&path, FILE))));
        } else if let Ok(id) = name.parse() {
            found.insert(id, folder(&path)?);
        }
    }
    Ok(found)
}

fn folder(path: &Path) -> Result<Folder> {
    let found = Record::load(path, FILE).and_then(|record| {
        let run = record.unknown_run(path)?;
        Ok(Folder::Whole { record: Box::new(record), run })
    });
    match found {
        Ok(whole) => Ok(whole),
        Err(error) if error.kind() == Kind::NotFound && sys::fs::exists(path.join(DOCKERS_RECORD))? => {
            tracing::warn!(folder = %path.display(), "a container of Docker's, left alone");
            Ok(Folder::Broken)
        }
        Err(error) if error.kind() == Kind::NotFound => {
            Ok(Folder::Creating(boxed(Record::load(path, CREATING))))
        }
        Err(error) if error.kind() == Kind::Unsupported => Err(error),
        // Only a volatile record can be lost so, by a power loss, and nothing of it was promised.
        Err(_) if sys::fs::metadata(path.join(FILE))?.size == 0 => Ok(Folder::Creating(None)),
        Err(error) => {
            tracing::error!(%error, "container left alone");
            Ok(Folder::Broken)
        }
    }
}

/// In a container's folder of Docker's; under the name `dockerd` the data root is the same (moby, container/container.go).
const DOCKERS_RECORD: &str = "config.v2.json";

/// An intent that a crash left unreadable promises nothing.
fn boxed(record: Result<Record>) -> Option<Box<Record>> {
    record.ok().map(Box::new)
}

/// What there is of a container's run.
async fn run_of(engine: &Engine, id: &ContainerId, folder: &Folder) -> Result<(Run, Option<Met>)> {
    let Folder::Whole { record, run: noted } = folder else {
        return Ok((Run::Nothing { started: false }, None));
    };
    let cgroup = match noted {
        Some(noted) => noted.cgroup(record, engine.config()),
        None => record.cgroup(engine.config()),
    };
    let meeting = meet(engine, id).await?;
    let is_silent = matches!(meeting, Meeting::Silent(_));
    match meeting {
        Meeting::Told(met, Container::Running(running)) => {
            let paused = is_paused(engine, id, cgroup).await;
            return Ok((Run::Alive { running, paused }, Some(met)));
        }
        Meeting::Told(_, Container::Exited(exit)) => return Ok((Run::Ended(exit), None)),
        Meeting::Told(_, Container::Awaited) => return Ok((Run::Nothing { started: false }, None)),
        Meeting::Silent(link) if has_processes(engine, cgroup.clone()).await? => {
            let paused = is_paused(engine, id, cgroup).await;
            let met = Met { monitor: Monitor::silent(link), execs: Vec::new() };
            return Ok((Run::Silent { paused }, Some(met)));
        }
        Meeting::Silent(_) | Meeting::Nobody => {}
    }
    let (record, is_noted) = (record.clone(), noted.is_some());
    engine
        .blocking(move |engine| match container::read_exit(engine, &record) {
            Some(exit) if exit.pid != 0 => Ok((Run::Ended(exit), None)),
            _ => {
                if is_silent {
                    give_up(engine, &record.id)?;
                }
                // A run folder is made before the run is noted, and goes after its end is recorded.
                let is_robbed = is_noted && !sys::fs::exists(engine.config().run_folder(&record.id))?;
                Ok((Run::Nothing { started: is_robbed || Cgroup::at(&cgroup)?.exists()? }, None))
            }
        })
        .await
}

async fn is_paused(engine: &Engine, id: &ContainerId, cgroup: PathBuf) -> bool {
    let id = id.clone();
    let frozen = move |engine: &Engine| container::is_frozen(engine, &id, &Cgroup::at(&cgroup)?);
    engine.blocking(frozen).await.unwrap_or(false)
}

async fn has_processes(engine: &Engine, cgroup: PathBuf) -> Result<bool> {
    engine
        .blocking(move |_| {
            let cgroup = Cgroup::at(&cgroup)?;
            Ok(cgroup.exists()? && !cgroup.pids()?.is_empty())
        })
        .await
}

/// Connects to the monitor at its socket. An error says nothing of the monitor: for want of a descriptor no container
/// may be taken for dead.
async fn meet(engine: &Engine, id: &ContainerId) -> Result<Meeting> {
    let socket = monitor_socket(&engine.config().run_folder(id));
    let mut link = match Link::connect(&socket) {
        Ok(link) => link,
        Err(error) if matches!(error.errno(), Some(ENOENT | ECONNREFUSED)) => return Ok(Meeting::Nobody),
        Err(error) => return Err(error.doing(format!("meeting the monitor of container {id}"))),
    };
    // Of the silent ones, those whose container has processes are adopted unheard and tell its task later; the others
    // are given up.
    match tokio::time::timeout(engine.config().monitor_patience, listen(&mut link)).await {
        Ok(Ok((hello, state))) => {
            let met = Met { monitor: Monitor::met_again(link, hello.pid), execs: hello.execs };
            Ok(Meeting::Told(met, state))
        }
        Ok(Err(error)) => {
            tracing::debug!(container = %id, %error, "no monitor");
            Ok(Meeting::Nobody)
        }
        Err(_) => {
            tracing::warn!(container = %id, "the monitor does not answer yet");
            Ok(Meeting::Silent(link))
        }
    }
}

/// Takes the wish back that a silent monitor may still have to fulfil: it looks whether its socket has this name before it
/// starts anything. The cgroup must go afterwards ([`free_cgroups`]), and with it what was started before. Blocks.
fn give_up(engine: &Engine, id: &ContainerId) -> Result<()> {
    sys::fs::remove_file_if_exists(monitor_socket(&engine.config().run_folder(id))).map(drop)
}

/// A start that was under way when the earlier engine died comes to its end first.
async fn listen(link: &mut Link) -> Result<(Hello, Container)> {
    let Event::Hello(hello) = link.next().await? else {
        return Err(Error::invalid("a monitor's first word is not hello"));
    };
    if hello.container != Container::Awaited {
        let container = hello.container.clone();
        return Ok((hello, container));
    }
    loop {
        match link.next().await? {
            Event::Started(running) => return Ok((hello, Container::Running(running))),
            Event::StartFailed { .. } => return Ok((hello, Container::Awaited)),
            Event::Exited(exit) => return Ok((hello, Container::Exited(exit))),
            _ => {}
        }
    }
}

/// Everything in kernel and store that belongs to nobody alive, before anything is started.
async fn free_the_rest(engine: &Engine, fates: &[(ContainerId, Fate, Option<Met>)]) -> Result<()> {
    let config = engine.config();
    let left_alone = fates.iter().filter(|(_, fate, _)| *fate == Fate::LeaveAlone).map(|(id, ..)| id);
    let alive: Vec<ContainerId> = running(fates).map(|(id, _)| id).chain(left_alone).cloned().collect();
    let netns: Vec<(ContainerId, i32)> =
        running(fates).map(|(id, record)| (id.clone(), record.state.pid)).collect();
    let uses: Vec<(String, String)> = running(fates).flat_map(|(_, record)| uses(record)).collect();
    let ended: Vec<PathBuf> = at_rest(fates).map(|record| record.cgroup(config)).collect();
    let lasting = fates.iter().filter(|(_, fate, _)| !fate.is_removal());
    let known: BTreeSet<ContainerId> = lasting.map(|(id, ..)| id.clone()).collect();
    stop_strangers(engine, &known).await?;
    engine
        .blocking(move |engine| {
            free_cgroups(engine, &alive)?;
            ended.iter().for_each(|cgroup| free_cgroup(cgroup));
            let ids: Vec<&str> = alive.iter().map(ContainerId::as_str).collect();
            engine.networks().converge(&ids)?;
            for id in &alive {
                if let Some(endpoint) = engine.networks().endpoint(id.as_str()) {
                    engine.relays().start(engine, id, &endpoint, engine.networks().relays(&endpoint));
                }
            }
            for (id, pid) in &netns {
                container::hold_netns(engine, id, *pid);
            }
            engine.volumes().converge(&uses)?;
            free_snapshots(engine, &known)
        })
        .await
}

/// Its volumes, each with its id.
fn uses(record: &Record) -> impl Iterator<Item = (String, String)> {
    let volumes = record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    volumes.map(|mount| (mount.name.clone(), record.id.to_string()))
}

fn running(fates: &[(ContainerId, Fate, Option<Met>)]) -> impl Iterator<Item = (&ContainerId, &Record)> {
    fates.iter().filter_map(|(id, fate, _)| match fate {
        Fate::Adopt(record) => Some((id, &**record)),
        _ => None,
    })
}

/// Those whose last run may have left something.
fn at_rest(fates: &[(ContainerId, Fate, Option<Met>)]) -> impl Iterator<Item = &Record> {
    fates.iter().filter_map(|(_, fate, _)| match fate {
        Fate::Rest { record, settle: true, .. } => Some(&**record),
        _ => None,
    })
}

/// Monitors whose containers have no record: their processes end, and so do they.
async fn stop_strangers(engine: &Engine, known: &BTreeSet<ContainerId>) -> Result<()> {
    let names = engine.blocking(|engine| sys::fs::read_dir(engine.config().run_containers())).await?;
    let ids = names.iter().filter_map(|name| name.to_str()?.parse::<ContainerId>().ok());
    for id in ids.filter(|id| !known.contains(id)) {
        if let Meeting::Told(met, Container::Running(_)) = meet(engine, &id).await? {
            drop(tokio::time::timeout(END_PATIENCE, kill(met.monitor.link)).await);
        }
        let folder = engine.config().run_folder(&id);
        engine.blocking(move |_| sys::fs::remove_tree(&folder)).await?;
    }
    Ok(())
}

/// A killed container's end is told at once.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Until the monitor tells the end, or is gone.
async fn kill(mut link: Link) -> Result<()> {
    link.send(Request::Signal { target: Target::Container, signal: 9 }, Fds::default())?;
    while !matches!(link.next().await?, Event::Exited(_)) {}
    Ok(())
}

/// Cgroups of containers that are not alive. Blocks.
fn free_cgroups(engine: &Engine, alive: &[ContainerId]) -> Result<()> {
    let parent = Path::new(&engine.config().cgroup_parent);
    let mut names = BTreeSet::new();
    for folder in Cgroup::at(parent)?.folders() {
        if sys::fs::exists(&folder)? {
            names.extend(sys::fs::read_dir(&folder)?);
        }
    }
    let ids = names.iter().filter_map(|name| name.to_str()?.parse::<ContainerId>().ok());
    ids.filter(|id| !alive.contains(id)).for_each(|id| free_cgroup(&parent.join(id.as_str())));
    Ok(())
}

fn free_cgroup(cgroup: &Path) {
    if let Err(error) = container::kill_cgroup(cgroup) {
        tracing::warn!(cgroup = %cgroup.display(), %error, "cgroup not removed");
    }
}

/// Snapshots of containers that are no more. Blocks.
fn free_snapshots(engine: &Engine, known: &BTreeSet<ContainerId>) -> Result<()> {
    for key in engine.store().snapshot_keys()? {
        let stray = key.parse::<ContainerId>().is_ok_and(|id| !known.contains(&id));
        if stray {
            engine.store().snapshot_remove(&key)?;
        }
    }
    Ok(())
}

/// Makes a fate come true; tells what is to follow once all containers are known.
async fn apply(
    engine: &Engine,
    id: ContainerId,
    fate: Fate,
    met: Option<Met>,
) -> Result<Option<(ContainerId, Then)>> {
    match fate {
        Fate::UndoCreate(record) => {
            let undo = move |engine: &Engine| {
                match record {
                    Some(record) => container::undo_create(engine, &record),
                    None => {
                        engine.store().snapshot_remove(id.as_str())?;
                        sys::fs::remove_tree(engine.config().folder(&id))?;
                    }
                }
                Ok(())
            };
            engine.blocking(undo).await?;
            Ok(None)
        }
        Fate::LeaveAlone => Ok(None),
        Fate::FinishRemoval(record) => {
            let finish = move |engine: &Engine| match record {
                Some(record) => container::finish_removal(engine, &record),
                None => sys::fs::remove_tree(engine.config().removing_folder(&id)),
            };
            engine.blocking(finish).await?;
            Ok(None)
        }
        Fate::Adopt(record) => {
            adopt(engine, *record, met).await?;
            Ok(None)
        }
        Fate::Rest { record, settle, then } => {
            lay_down(engine, *record, settle).await?;
            Ok((then != Then::Nothing).then_some((id, then)))
        }
    }
}

async fn adopt(engine: &Engine, record: Record, met: Option<Met>) -> Result<()> {
    let folder = engine.config().folder(&record.id);
    let mut execs = engine.blocking(move |_| Execs::load(&folder)).await?;
    let (monitor, states) = met.map_or((None, Vec::new()), |met| (Some(met.monitor), met.execs));
    execs.met_again(&states);
    tracing::info!(container = %record.id, pid = record.state.pid, "met again");
    let mut view = View::of(record);
    view.endpoint = engine.networks().endpoint(view.record.id.as_str());
    register(engine, view, monitor, execs)
}

async fn lay_down(engine: &Engine, record: Record, settle: bool) -> Result<()> {
    let folder = engine.config().folder(&record.id);
    let settled = record.clone();
    let execs = engine
        .blocking(move |engine| {
            if settle && let Err(error) = container::settle(engine, &settled) {
                // On a full disk for one; the exit file stays for the next engine.
                tracing::error!(container = %settled.id, %error, "exit not recorded");
            }
            if let Err(error) = restore_snapshot(engine, &settled) {
                tracing::error!(container = %settled.id, %error, "without its root");
            }
            Execs::load(&folder)
        })
        .await?;
    register(engine, View::of(record), None, execs)
}

/// The record was durable when it was told, the snapshot was not.
fn restore_snapshot(engine: &Engine, record: &Record) -> Result<()> {
    engine.store().snapshot_restore(record.id.as_str(), Some(&record.image_id.parse()?))
}

fn register(engine: &Engine, view: View, monitor: Option<Monitor>, execs: Execs) -> Result<()> {
    engine.containers().reserve(&view.record.name, &view.record.id)?;
    for exec in execs.ids() {
        engine.containers().add_exec(&exec, &view.record.id);
    }
    task::spawn(engine, view, monitor, execs);
    Ok(())
}

async fn follow_up(engine: Engine, id: ContainerId, then: Then) {
    let Some(container) = engine.containers().get(id.as_str()) else { return };
    let options = api::container::Remove { volumes: true, ..Default::default() };
    let (done, trouble) = match then {
        Then::Start => (container.ask(Command::Start).await, "restart policy not followed"),
        Then::Restart => (container.ask(Command::Due).await, "restart policy not followed"),
        Then::Remove => {
            let removed = container.ask(|answer| Command::Remove { options, answer }).await;
            (removed, "not removed after its run")
        }
        Then::Nothing => return,
    };
    if let Err(error) = done {
        tracing::warn!(container = %id, %error, "{trouble}");
    }
}
