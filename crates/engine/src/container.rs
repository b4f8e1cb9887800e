//! Containers: the verbs that the door calls. Each finds the container, sends its task a command and waits.
//!
//! What must finish is in the task; a caller that goes away in the middle changes nothing.

use std::future::Future;
use std::sync::Arc;

use api::container::{
    Attach, Create, Created, Inspect, ListOptions, Remove, Summary, Update, WaitAnswer, WaitCondition,
};
use fault::{Doing, Error, Kind, Result};
use oci::Platform;

pub(crate) mod task;

mod attach;
mod borrowed;
mod create;
mod defaults;
mod discard;
pub(crate) mod etc;
mod exit;
mod filters;
mod merge;
mod mounts;
mod ports;
mod prepare;
mod registry;
mod removal;
mod show;
mod signal;
mod start;
mod status;
mod still;
mod stop;
mod validate;
mod view;
mod wait;

pub use attach::AttachStream;
pub(crate) use attach::{Joiner, Keys, stream};
pub(crate) use borrowed::hold_netns;
pub(crate) use create::undo as undo_create;
pub(crate) use exit::{KILLED, apply as apply_exit, exit_in, kill_cgroup, read_exit, settle};
pub use registry::{Container, Registry};
pub(crate) use removal::finish as finish_removal;
pub(crate) use still::{is_frozen, while_still};
pub(crate) use validate::{log as check_log, log_size as parse_size};
pub use view::View;

pub(crate) use signal::parse as parse_signal;
pub(crate) use task::Command;

use crate::Engine;

/// Makes a container; `No such image: …` (not found) when the client should pull first.
pub async fn create(engine: &Engine, name: Option<String>, wanted: Create) -> Result<Created> {
    create::create(engine, name, None, wanted).await
}

/// The same, of the image that runs on a platform.
pub async fn create_for(
    engine: &Engine,
    name: Option<String>,
    platform: Option<Platform>,
    wanted: Create,
) -> Result<Created> {
    create::create(engine, name, platform, wanted).await
}

pub async fn start(engine: &Engine, id: &str) -> Result<()> {
    engine.containers().find(id)?.ask(Command::Start).await
}

/// Sends the stop signal, and SIGKILL after the timeout; seconds, negative waits for ever.
pub async fn stop(engine: &Engine, id: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<()> {
    let container = engine.containers().find(id)?;
    let stopped = async {
        let signal = signal_of(&container, signal)?;
        container.ask(|answer| Command::Stop(stop::Order { timeout, signal, restart: false, answer })).await
    };
    told(stopped.await, || format!("cannot stop container: {id}"))
}

pub async fn restart(engine: &Engine, id: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<()> {
    let container = engine.containers().find(id)?;
    let restarted = async {
        let (signal, record) = (signal_of(&container, signal)?, container.view().record.clone());
        // What runs is not stopped for a start that will be refused.
        engine.blocking(move |engine| crate::trust::admit_again(engine, &record)).await?;
        container.ask(|answer| Command::Stop(stop::Order { timeout, signal, restart: true, answer })).await
    };
    told(restarted.await, || format!("Cannot restart container {id}"))
}

/// Nobody would get it where nothing runs, so there nobody minds what it is.
fn signal_of(container: &Container, signal: Option<&str>) -> Result<Option<i32>> {
    if !container.view().record.state.status.is_up() {
        return Ok(None);
    }
    signal.map(parse_signal).transpose()
}

/// Sends a signal, by name or number; empty means SIGKILL.
pub async fn kill(engine: &Engine, id: &str, signal: &str) -> Result<()> {
    let killed = async {
        let container = engine.containers().find(id)?;
        let signal = if signal.is_empty() { signal::KILL } else { parse_signal(signal)? };
        if !(1..=sys::signal::LAST).contains(&signal) {
            return Err(Error::invalid(format!("the linux daemon does not support signal {signal}")));
        }
        container.ask(|answer| Command::Kill { signal, answer }).await
    };
    told(killed.await, || format!("cannot kill container: {id}"))
}

pub async fn pause(engine: &Engine, id: &str) -> Result<()> {
    engine.containers().find(id)?.ask(Command::Pause).await
}

pub async fn unpause(engine: &Engine, id: &str) -> Result<()> {
    engine.containers().find(id)?.ask(Command::Unpause).await
}

/// Begins to wait at once; the future resolves when the condition holds, also for a container that is removed.
pub fn wait(
    engine: &Engine,
    id: &str,
    condition: WaitCondition,
) -> Result<impl Future<Output = WaitAnswer> + Send + use<>> {
    Ok(wait::wait(&*engine.containers().find(id)?, condition))
}

pub async fn remove(engine: &Engine, id: &str, options: Remove) -> Result<()> {
    if options.link {
        return Err(Error::unsupported("removing links"));
    }
    engine.containers().find(id)?.ask(|answer| Command::Remove { options, answer }).await
}

pub async fn rename(engine: &Engine, id: &str, name: &str) -> Result<()> {
    if id.is_empty() || name.is_empty() {
        return Err(Error::invalid("Neither old nor new names may be empty"));
    }
    let container = engine.containers().find(id)?;
    let name = validate::name(name).map_err(|_| {
        let slashed = format!("/{}", name.trim_start_matches('/'));
        Error::invalid(format!("Error when allocating new name: {}", validate::bad_name(&slashed)))
    })?;
    let name = name.to_owned();
    container.ask(|answer| Command::Rename { name, answer }).await
}

pub async fn resize(engine: &Engine, id: &str, height: u16, width: u16) -> Result<()> {
    engine.containers().find(id)?.ask(|answer| Command::Resize { height, width, answer }).await
}

/// Joins the container's streams, before its start too. The caller copies bytes both ways and ends stdin by shutting
/// its side of the socket down.
pub async fn attach(engine: &Engine, id: &str, options: Attach) -> Result<AttachStream> {
    attach::attach(engine, engine.containers().find(id)?, options).await
}

pub async fn list(engine: &Engine, options: ListOptions) -> Result<Vec<Summary>> {
    show::list(engine, options).await
}

pub async fn inspect(engine: &Engine, id: &str, size: bool) -> Result<Inspect> {
    show::inspect(engine, engine.containers().find(id)?, size).await
}

pub async fn update(engine: &Engine, id: &str, _wanted: Update) -> Result<()> {
    engine.containers().find(id)?;
    Err(Error::unsupported("updating a container"))
}

/// Finds a container, for the other nouns.
pub(crate) fn find(engine: &Engine, id: &str) -> Result<Arc<Container>> {
    engine.containers().find(id)
}

/// Docker tells what it tried, but not around an answer that nothing was to be done.
fn told(done: Result<()>, intent: impl FnOnce() -> String) -> Result<()> {
    match done {
        Err(error) if error.kind() == Kind::Unchanged => Err(error),
        done => done.doing(intent),
    }
}
