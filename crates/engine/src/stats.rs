//! What containers use: one sample a second, from their cgroups and network interfaces.
//!
//! A container that does not run uses nothing: its samples are zeros, as Docker's.

mod read;

pub(crate) use read::Host;

use std::sync::Arc;
use std::time::Duration;

use api::stats::{Cpu, Stats};
use fault::{Error, Kind, Result};
use futures_util::stream::{self, BoxStream, StreamExt};
use runtime::cgroup::Cgroup;
use tokio::time::{Interval, MissedTickBehavior};

use crate::container::{self, Container, View};
use crate::record::NEVER;
use crate::{Engine, Status};

/// Samples of a container: all while it exists with `follow`, else one. It compares with the second before, unless
/// `one_shot` wants it at once.
pub async fn stream(
    engine: &Engine,
    id: &str,
    follow: bool,
    one_shot: bool,
) -> Result<BoxStream<'static, Result<Stats>>> {
    if follow && one_shot {
        return Err(Error::invalid("cannot have stream=true and one-shot=true"));
    }
    let container = container::find(engine, id)?;
    let samples = Samples::new(engine, container);
    if follow {
        return Ok(samples.stream().boxed());
    }
    // Nothing will come of waiting for a second sample of nothing.
    let once = one_shot || !samples.is_running();
    Ok(samples.stream().skip(usize::from(!once)).take(1).boxed())
}

/// Goes from sample to sample.
struct Samples {
    engine: Engine,
    container: Arc<Container>,
    previous: Option<(String, Cpu)>,
    ticks: Interval,
}

/// Docker's.
const INTERVAL: Duration = Duration::from_secs(1);

impl Samples {
    fn new(engine: &Engine, container: Arc<Container>) -> Self {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { engine: engine.clone(), container, previous: None, ticks }
    }

    fn is_running(&self) -> bool {
        self.container.view().record.state.status.has_process()
    }

    fn stream(self) -> impl stream::Stream<Item = Result<Stats>> + Send {
        stream::unfold(Some(self), async |samples| {
            let mut samples = samples?;
            match samples.next().await {
                Ok(sample) => sample.map(|sample| (Ok(sample), Some(samples))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The next sample; `None` when the container or the engine goes.
    async fn next(&mut self) -> Result<Option<Stats>> {
        if self.is_over().await {
            return Ok(None);
        }
        let view = self.container.view();
        let mut stats = self.engine.blocking(move |engine| sample(engine, &view)).await?;
        if let Some((read, cpu)) = self.previous.replace((stats.read.clone(), stats.cpu_stats.clone())) {
            (stats.preread, stats.precpu_stats) = (read, cpu);
        }
        Ok(Some(stats))
    }

    /// Waits for the next tick, unless all ends before.
    async fn is_over(&mut self) -> bool {
        let mut view = self.container.view.clone();
        let mut ending = self.engine.tasks().ending();
        tokio::select! {
            biased;
            _ = view.wait_for(|view| view.gone) => true,
            _ = ending.wait_for(|ending| *ending) => true,
            _ = self.ticks.tick() => false,
        }
    }
}

/// A container's sample, zeros if it does not run or ends while it is looked at. Blocks.
fn sample(engine: &Engine, view: &View) -> Result<Stats> {
    let record = &view.record;
    let bare = Stats {
        name: format!("/{}", record.name),
        id: record.id.to_string(),
        read: NEVER.into(),
        preread: NEVER.into(),
        ..Stats::default()
    };
    if !matches!(record.state.status, Status::Running | Status::Paused) {
        return Ok(bare);
    }
    match read::read(&Cgroup::at(&view.cgroup(engine.config()))?, record) {
        Ok(stats) => Ok(Stats { name: bare.name, id: bare.id, preread: bare.preread, ..stats }),
        Err(error) if error.kind() == Kind::NotFound => Ok(bare),
        Err(error) => Err(error),
    }
}
