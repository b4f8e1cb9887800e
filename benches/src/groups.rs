//! What is measured, and the budgets.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fault::{Call, Doing, Result};

use crate::archive;
use crate::arguments::Arguments;
use crate::distribution;
use crate::engine::Engine;
use crate::host::Host;
use crate::memory;
use crate::report::{Budget, Row};
use crate::rounds::{Needed, Runner, Who, alternate};
use crate::series::Series;

type Group = (&'static str, fn(&mut Host, &Arguments) -> Result<Vec<Row>>);

const GROUPS: &[Group] = &[
    ("api", api),
    ("exec", exec),
    ("cli", cli),
    ("import", import),
    ("pull", distribution::pull),
    ("push", distribution::push),
    ("load", distribution::load),
    ("memory", memory),
    ("registry", registry),
];

/// Those that were asked for.
pub(crate) fn run(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, group) in GROUPS.iter().filter(|(name, _)| arguments.wants(name)) {
        eprintln!("measuring {name}");
        rows.extend(group(host, arguments).doing(|| format!("measuring {name}"))?);
    }
    Ok(rows)
}

/// create, start, wait and remove over the socket.
fn api(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (network, parts, times) in [("none", 12.0, Some(3.0)), ("bridge", 8.0, None)] {
        let (ours, floor) = (&mut host.ours, &mut host.floor);
        let mut runners = vec![
            Runner { who: Who::Ours, meter: Some(&host.our_meter), run: Box::new(|| ours.cycle(network)) },
            Runner { who: Who::Floor, meter: Some(&host.floor_meter), run: Box::new(|| floor.run(network)) },
        ];
        if let Some(peer) = &mut host.peer {
            runners.push(theirs(|| peer.engine.cycle(network)));
        }
        let needed = alternate(runners, arguments.runs, &host.interrupts)?;
        let name = format!("API create+start+wait+remove, {network}");
        rows.push(wall(&name, &needed, Budget::PartOfDockerd(parts)));
        rows.extend(cpu(&name, &needed, times.map(Budget::TimesFloor)));
    }
    Ok(rows)
}

fn registry(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    if arguments.registry.is_none() {
        host.lacks("another registry to compare with: --peer-registry ADDRESS:PORT@PID");
    }
    crate::registry::measure(arguments, &host.interrupts)
}

fn exec(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let sleepers = Sleepers::start(host)?;
    let ours = &mut host.ours;
    let run = Box::new(|| ours.exec(&sleepers.ours));
    let mut runners = vec![Runner { who: Who::Ours, meter: Some(&host.our_meter), run }];
    if let (Some(peer), Some(id)) = (&mut host.peer, &sleepers.peer) {
        runners.push(theirs(|| peer.engine.exec(id)));
    }
    let needed = alternate(runners, arguments.runs, &host.interrupts);
    sleepers.end(host)?;
    let needed = needed?;
    let mut rows = vec![wall("API exec", &needed, Budget::PartOfDockerd(12.0))];
    rows.extend(cpu("API exec", &needed, None));
    Ok(rows)
}

/// `kogge` with our daemon against `docker` with dockerd.
fn cli(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (network, parts) in [("none", 10.0), ("bridge", 7.0)] {
        let mut runners = vec![ours(|| host.kogge.run(network))];
        if let Some(client) = host.peer.as_ref().and_then(|peer| peer.client.as_ref()) {
            runners.push(theirs(|| client.run(network)));
        }
        let needed = alternate(runners, arguments.runs, &host.interrupts)?;
        rows.push(wall(&format!("run --rm, {network}"), &needed, Budget::PartOfDockerd(parts)));
    }
    let sleepers = Sleepers::start(host)?;
    let mut runners = vec![ours(|| host.kogge.exec(&sleepers.ours))];
    let client = host.peer.as_ref().and_then(|peer| peer.client.as_ref());
    if let (Some(client), Some(id)) = (client, &sleepers.peer) {
        runners.push(theirs(|| client.exec(id)));
    }
    let needed = alternate(runners, arguments.runs, &host.interrupts);
    sleepers.end(host)?;
    rows.push(wall("exec", &needed?, Budget::PartOfDockerd(7.0)));
    Ok(rows)
}

fn ours<'a>(run: impl FnMut() -> Result<()> + 'a) -> Runner<'a> {
    Runner { who: Who::Ours, meter: None, run: Box::new(run) }
}

fn theirs<'a>(run: impl FnMut() -> Result<()> + 'a) -> Runner<'a> {
    Runner { who: Who::Dockerd, meter: None, run: Box::new(run) }
}

/// A container a side, to exec in.
struct Sleepers {
    ours: String,
    peer: Option<String>,
}

impl Sleepers {
    fn start(host: &mut Host) -> Result<Self> {
        let ours = host.ours.sleeper("none")?;
        let peer = host.peer.as_mut().map(|peer| peer.engine.sleeper("none")).transpose()?;
        Ok(Self { ours, peer })
    }

    fn end(&self, host: &mut Host) -> Result<()> {
        host.ours.remove(&self.ours)?;
        match (&mut host.peer, &self.peer) {
            (Some(peer), Some(id)) => peer.engine.remove(id),
            _ => Ok(()),
        }
    }
}

/// A root file system of a real size becomes an image.
fn import(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let Some(root) = &arguments.root else {
        host.lacks("import: no root named (--root)");
        return Ok(Vec::new());
    };
    let (mut ours, mut dockerd) = (Vec::new(), Vec::new());
    for round in 0..=(arguments.runs / RUNS_PER_IMPORT).max(IMPORTS_MIN) {
        host.interrupts.check()?;
        let our_time = timed_import(&mut host.ours, root)?;
        let their_time = host.peer.as_mut().map(|peer| timed_import(&mut peer.engine, root)).transpose()?;
        // The first one warms the archive's pages.
        if round > 0 {
            ours.push(our_time);
            dockerd.extend(their_time);
        }
    }
    Ok(vec![Row {
        name: format!("import of {:.0} MB", megabytes(root)?),
        unit: "s",
        ours: Series(ours),
        dockerd: host.peer.is_some().then_some(Series(dockerd)),
        podman: None,
        floor: None,
        budget: Some(Budget::PartOfDockerd(3.0)),
    }])
}

const RUNS_PER_IMPORT: usize = 6;
const IMPORTS_MIN: usize = 3;

fn timed_import(engine: &mut Engine, root: &Path) -> Result<f64> {
    settle()?;
    let (length, archive) = archive::never_seen(root)?;
    let start = Instant::now();
    engine.import(length, archive)?;
    let needed = start.elapsed().as_secs_f64();
    engine.forget_import()?;
    Ok(needed)
}

/// The one before must not leave its writing, nor its deletions, to the next one.
pub(crate) fn settle() -> Result<()> {
    std::thread::sleep(QUIET);
    Command::new("sync").status().call(|| "starting sync").map(drop)
}

const QUIET: Duration = Duration::from_secs(1);

fn megabytes(path: &PathBuf) -> Result<f64> {
    Ok(sys::fs::metadata(path)?.size as f64 / 1e6)
}

/// Of a daemon that has just started and run a few containers, and of each container more.
fn memory(host: &mut Host, _: &Arguments) -> Result<Vec<Row>> {
    host.restart_daemon()?;
    for _ in 0..FEW {
        host.ours.cycle("bridge")?;
    }
    let idle = settled_pss(host)?;
    let mut ids = Vec::new();
    let measured = grow(host, &mut ids);
    for id in ids {
        host.ours.remove(&id)?;
    }
    let (few, many) = measured?;
    let each = (many - few) / (MANY - FEW) as f64;
    Ok(vec![
        row("idle PSS", "MB", idle / 1024.0, 12.0),
        row(&format!("PSS per container, (at {MANY} - at {FEW}) / {}", MANY - FEW), "KB", each, 250.0),
    ])
}

const FEW: usize = 10;
const MANY: usize = 100;

/// PSS with few and with many containers. Those started are in `ids` even if it fails.
fn grow(host: &mut Host, ids: &mut Vec<String>) -> Result<(f64, f64)> {
    start_up_to(host, ids, FEW)?;
    let few = settled_pss(host)?;
    start_up_to(host, ids, MANY)?;
    Ok((few, settled_pss(host)?))
}

fn start_up_to(host: &mut Host, ids: &mut Vec<String>, count: usize) -> Result<()> {
    while ids.len() < count {
        host.interrupts.check()?;
        ids.push(host.ours.sleeper("bridge")?);
    }
    Ok(())
}

fn settled_pss(host: &Host) -> Result<f64> {
    std::thread::sleep(3 * QUIET);
    memory::pss(&host.daemon_meter)
}

fn row(name: &str, unit: &'static str, value: f64, most: f64) -> Row {
    let budget = Some(Budget::AtMost(most));
    Row {
        name: name.into(),
        unit,
        ours: Series(vec![value]),
        dockerd: None,
        podman: None,
        floor: None,
        budget,
    }
}

fn wall(name: &str, needed: &[Needed], budget: Budget) -> Row {
    let series = |who| needed.iter().find(|needed| needed.who == who).map(|needed| needed.wall.clone());
    Row {
        name: format!("{name}: wall"),
        unit: "ms",
        ours: series(Who::Ours).unwrap_or_default(),
        dockerd: series(Who::Dockerd),
        podman: None,
        floor: series(Who::Floor),
        budget: Some(budget),
    }
}

fn cpu(name: &str, needed: &[Needed], budget: Option<Budget>) -> Option<Row> {
    let series = |who| needed.iter().find(|needed| needed.who == who).and_then(|needed| needed.cpu.clone());
    let ours = series(Who::Ours)?;
    Some(Row {
        name: format!("{name}: cpu"),
        unit: "ms",
        ours,
        dockerd: None,
        podman: None,
        floor: series(Who::Floor),
        budget,
    })
}
