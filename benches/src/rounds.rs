//! Runs in alternation, each after a pause, with wall time and the processor time of a cgroup.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fault::{Doing, Error, Result};
use sys::signal::{SIGINT, SIGTERM};

use crate::cgroup::Meter;
use crate::series::Series;

/// Someone who does the same as the others.
pub(crate) struct Runner<'a> {
    pub(crate) who: Who,
    /// Where its processor time is counted.
    pub(crate) meter: Option<&'a Meter>,
    pub(crate) run: Box<dyn FnMut() -> Result<()> + 'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Dockerd,
    Floor,
    Podman,
}

/// What one runner needed, in milliseconds.
#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) who: Who,
    pub(crate) wall: Series,
    /// From a run's start to the next one's, so that work put off is in it.
    pub(crate) cpu: Option<Series>,
}

/// A person types a command after the last one is long done: the kernel's first cgroup move after some quiet, and
/// processors gone to sleep, cost what loops without pauses hide.
pub(crate) const PAUSE: Duration = Duration::from_millis(60);

const WARM_UP: usize = 2;

/// Ends a bench early, with all of its tidying up.
#[derive(Debug)]
pub(crate) struct Interrupts(OwnedFd);

impl Interrupts {
    /// From now on SIGINT and SIGTERM wait here.
    pub(crate) fn open() -> Result<Self> {
        sys::poll::signals(&[SIGINT, SIGTERM]).map(Self)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match sys::poll::next_signal(&self.0)? {
            Some(signal) => Err(Error::unavailable(format!("ended by signal {signal}"))),
            None => Ok(()),
        }
    }
}

/// Everybody once a round, who begins changes.
pub(crate) fn alternate(
    mut runners: Vec<Runner<'_>>,
    runs: usize,
    interrupts: &Interrupts,
) -> Result<Vec<Needed>> {
    let mut taken: Vec<Taken> = runners.iter().map(|_| Taken::default()).collect();
    for round in 0..WARM_UP + runs {
        for turn in 0..runners.len() {
            let index = (round + turn) % runners.len();
            interrupts.check()?;
            std::thread::sleep(PAUSE);
            let runner = &mut runners[index];
            taken[index].one(runner).doing(|| format!("{:?}, run {round}", runner.who))?;
        }
    }
    std::thread::sleep(PAUSE);
    runners.iter().zip(taken).map(|(runner, taken)| taken.needed(runner)).collect()
}

#[derive(Default)]
struct Taken {
    wall: Vec<f64>,
    /// The counter before each run.
    cpu: Vec<Duration>,
}

impl Taken {
    fn one(&mut self, runner: &mut Runner<'_>) -> Result<()> {
        self.cpu.extend(runner.meter.map(Meter::read).transpose()?);
        let start = Instant::now();
        (runner.run)()?;
        self.wall.push(milliseconds(start.elapsed()));
        Ok(())
    }

    fn needed(mut self, runner: &Runner<'_>) -> Result<Needed> {
        self.cpu.extend(runner.meter.map(Meter::read).transpose()?);
        let steps = self.cpu.windows(2).map(|pair| milliseconds(pair[1] - pair[0]));
        let cpu = runner.meter.map(|_| Series(steps.skip(WARM_UP).collect()));
        Ok(Needed { who: runner.who, wall: Series(self.wall.split_off(WARM_UP)), cpu })
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn runs_alternate_and_warm_ups_do_not_count() {
        let order = RefCell::new(String::new());
        let order_now = &order;
        let runner = |who, name| Runner {
            who,
            meter: None,
            run: Box::new(move || {
                order_now.borrow_mut().push(name);
                Ok(())
            }),
        };
        let interrupts = Interrupts::open().unwrap();
        let runners = vec![runner(Who::Ours, 'o'), runner(Who::Floor, 'f')];
        let needed = alternate(runners, 1, &interrupts).unwrap();
        assert_eq!(*order.borrow(), "offoof");
        assert_eq!(needed.iter().map(|needed| needed.wall.0.len()).collect::<Vec<_>>(), [1, 1]);
    }
}
