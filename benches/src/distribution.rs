//! An image of a real size on its way from and to a registry, and out of an archive: ours, dockerd, podman, and the floor.
//!
//! ```text
//! files of /usr ── archive of six layers ──load── ours ──push── kogged registry serve ──pull── everybody in turn
//! ```
//! Before each turn the last one's writing and deletions are awaited, outside of the time that counts. A push goes to a
//! registry that has nothing.
//!
//! All of it: `cargo xtask bench --only pull --only push --only load --peer-docker unix://… --podman podman`; a look at whether
//! it still runs: `--runs 10 --megabytes 24`. Ten runs are one round, in which everybody has a turn. The registry is at
//! 127.0.0.1, so that nobody needs to be told that it speaks plain HTTP.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use fault::{Call, Doing, Error, Result};
use sys::fs;

use crate::arguments::Arguments;
use crate::engine::Engine;
use crate::groups::settle;
use crate::host::Host;
use crate::layers::{self, Layers};
use crate::report::{Budget, Row};
use crate::rounds::{Runner, Who, alternate, milliseconds};
use crate::series::Series;
use crate::served::Served;

/// As the archive has it.
const LOADED: &str = "kogge-bench:layers";
const REPOSITORY: &str = "kogge-bench/layers";

pub(crate) fn pull(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    if arguments.podman.is_none() {
        host.lacks("podman to compare pulls with: --podman and the words that start it");
    }
    let scene = Scene::prepare(host, arguments)?;
    let source = scene.serve(host, arguments, "source")?;
    scene.load(&mut host.ours)?;
    host.ours.tag(LOADED, &source.repository(REPOSITORY), "1")?;
    host.ours.push(&source.repository(REPOSITORY), "1")?;
    let name = source.repository(REPOSITORY) + ":1";
    host.ours.forget(&[LOADED, &name])?;
    let blobs = source.layers_of(REPOSITORY, "1")?;
    let mut taken = Taken::default();
    for round in 0..=rounds(arguments) {
        for turn in 0..4 {
            host.interrupts.check()?;
            settle()?;
            match WHO[(round + turn) % 4] {
                Who::Ours => taken.add(Who::Ours, ours(host, |ours| ours.pull(&name))?),
                Who::Dockerd => taken.extend(Who::Dockerd, theirs(host, |theirs| theirs.pull(&name))?),
                Who::Floor => taken.add(Who::Floor, floor(host, arguments, &source, &blobs)?),
                Who::Podman => taken.extend(Who::Podman, podman(arguments, &name)?),
            }
            forget(host, &[&name])?;
        }
    }
    let what = format!("pull of {:.0} MB in {} layers", scene.layers.bytes as f64 / 1e6, blobs.len());
    let mut rows = taken.rows(&what, Some(Budget::TimesFloor(1.4)));
    rows.push(again(host, arguments, &name)?);
    forget(host, &[&name])?;
    Ok(rows)
}

const WHO: [Who; 4] = [Who::Ours, Who::Dockerd, Who::Floor, Who::Podman];

/// Everything is here already.
fn again(host: &mut Host, arguments: &Arguments, name: &str) -> Result<Row> {
    host.ours.pull(name)?;
    let ours = &mut host.ours;
    let mut runners = vec![Runner { who: Who::Ours, meter: None, run: Box::new(|| ours.pull(name)) }];
    if let Some(peer) = &mut host.peer {
        peer.engine.pull(name)?;
        let run = Box::new(|| peer.engine.pull(name));
        runners.push(Runner { who: Who::Dockerd, meter: None, run });
    }
    let needed = alternate(runners, arguments.runs, &host.interrupts)?;
    let series = |who| needed.iter().find(|needed| needed.who == who).map(|needed| needed.wall.clone());
    Ok(Row {
        name: "pull again, nothing new: wall".into(),
        unit: "ms",
        ours: series(Who::Ours).unwrap_or_default(),
        dockerd: series(Who::Dockerd),
        podman: None,
        floor: None,
        budget: Some(Budget::AtMost(20.0)),
    })
}

/// Of what came from a registry, and of what came from an archive: only that has to be compressed by us.
pub(crate) fn push(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let scene = Scene::prepare(host, arguments)?;
    let source = scene.serve(host, arguments, "source")?;
    let repository = source.repository(REPOSITORY);
    let name = format!("{repository}:1");
    scene.load(&mut host.ours)?;
    host.ours.tag(LOADED, &repository, "1")?;
    host.ours.push(&repository, "1")?;
    host.ours.forget(&[LOADED, &name])?;
    let (mut pulled, mut loaded) = (Taken::default(), Taken::default());
    for round in 0..=rounds(arguments) {
        for turn in 0..2 {
            host.interrupts.check()?;
            match WHO[(round + turn) % 2] {
                Who::Ours => {
                    host.ours.pull(&name)?;
                    pulled
                        .add(Who::Ours, scene.pushed(host, arguments, Who::Ours, &name)?.unwrap_or_default());
                    host.ours.forget(&[&name])?;
                    scene.load(&mut host.ours)?;
                    loaded.add(
                        Who::Ours,
                        scene.pushed(host, arguments, Who::Ours, LOADED)?.unwrap_or_default(),
                    );
                    host.ours.forget(&[LOADED])?;
                }
                _ => {
                    // To dockerd both are the same: it keeps trees only.
                    let Some(peer) = &mut host.peer else { continue };
                    scene.load(&mut peer.engine)?;
                    let took = scene.pushed(host, arguments, Who::Dockerd, LOADED)?;
                    pulled.extend(Who::Dockerd, took);
                    loaded.extend(Who::Dockerd, took);
                    forget(host, &[LOADED])?;
                }
            }
        }
    }
    let size = scene.layers.bytes as f64 / 1e6;
    let mut rows = pulled.rows(&format!("push of {size:.0} MB as pulled"), None);
    rows.extend(loaded.rows(&format!("push of {size:.0} MB as loaded"), None));
    Ok(rows)
}

pub(crate) fn load(host: &mut Host, arguments: &Arguments) -> Result<Vec<Row>> {
    let scene = Scene::prepare(host, arguments)?;
    let mut taken = Taken::default();
    for round in 0..=rounds(arguments) {
        for turn in 0..2 {
            host.interrupts.check()?;
            settle()?;
            match WHO[(round + turn) % 2] {
                Who::Ours => taken.add(Who::Ours, ours(host, |ours| scene.load(ours))?),
                _ => taken.extend(Who::Dockerd, theirs(host, |theirs| scene.load(theirs))?),
            }
            forget(host, &[LOADED])?;
        }
    }
    Ok(taken.rows(&format!("load of {:.0} MB in 6 layers", scene.layers.bytes as f64 / 1e6), None))
}

/// The archive, and where everything else lies.
struct Scene {
    folder: PathBuf,
    layers: Layers,
}

impl Scene {
    fn prepare(host: &Host, arguments: &Arguments) -> Result<Self> {
        let folder = host.disk_folder().join("registry");
        fs::create_dir_all(&folder, 0o700)?;
        let made = layers::make(&folder.join("layers.tar"), LOADED, arguments.megabytes * MEGABYTE);
        Ok(Self { layers: made.doing(|| "making an image of files of /usr")?, folder })
    }

    fn load(&self, engine: &mut Engine) -> Result<()> {
        engine.load(&self.layers.archive)?;
        engine.has(LOADED)
    }

    /// A registry of its own that has nothing.
    fn serve(&self, host: &Host, arguments: &Arguments, name: &str) -> Result<Served> {
        Served::start(&arguments.programs, &self.folder.join(name), &host.registry_meter)
    }

    /// A push of what an engine has under this name, to a fresh registry.
    fn pushed(&self, host: &mut Host, arguments: &Arguments, who: Who, name: &str) -> Result<Option<Took>> {
        let fresh = self.serve(host, arguments, "fresh")?;
        let repository = fresh.repository("kogge-bench/pushed");
        settle()?;
        let act = |engine: &mut Engine| engine.push(&repository, "1");
        let took = match who {
            Who::Ours => {
                host.ours.tag(name, &repository, "1")?;
                Some(ours(host, act)?)
            }
            _ => {
                if let Some(peer) = &mut host.peer {
                    peer.engine.tag(name, &repository, "1")?;
                }
                theirs(host, act)?
            }
        };
        fresh.layers_of("kogge-bench/pushed", "1").doing(|| "looking for what was pushed")?;
        forget(host, &[&format!("{repository}:1")])?;
        drop(fresh);
        fs::remove_tree(self.folder.join("fresh"))?;
        Ok(took)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_tree(&self.folder) {
            eprintln!("bench: {error}");
        }
    }
}

fn forget(host: &mut Host, names: &[&str]) -> Result<()> {
    host.ours.forget(names)?;
    host.peer.as_mut().map_or(Ok(()), |peer| peer.engine.forget(names))
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    wall: f64,
    cpu: Option<f64>,
}

fn ours(host: &mut Host, act: impl FnOnce(&mut Engine) -> Result<()>) -> Result<Took> {
    let (before, start) = (host.our_meter.read()?, Instant::now());
    act(&mut host.ours)?;
    let wall = milliseconds(start.elapsed());
    Ok(Took { wall, cpu: Some(milliseconds(host.our_meter.read()?.saturating_sub(before))) })
}

fn theirs(host: &mut Host, act: impl FnOnce(&mut Engine) -> Result<()>) -> Result<Option<Took>> {
    let Some(peer) = &mut host.peer else { return Ok(None) };
    let (before, start) = (peer.engine.processor_time()?, Instant::now());
    act(&mut peer.engine)?;
    let wall = milliseconds(start.elapsed());
    let used = peer.engine.processor_time()?.saturating_sub(before);
    Ok(Some(Took { wall, cpu: Some(milliseconds(used)) }))
}

fn floor(host: &mut Host, arguments: &Arguments, source: &Served, blobs: &[String]) -> Result<Took> {
    let folder = host.disk_folder().join("floor-pull");
    fs::create_dir_all(&folder, 0o700)?;
    let mut words = vec![source.address().to_string(), REPOSITORY.to_owned(), folder.display().to_string()];
    words.extend(blobs.iter().cloned());
    let words: Vec<_> = words.into_iter().map(Into::into).collect();
    let (before, start) = (host.floor_meter.read()?, Instant::now());
    let program = arguments.programs.join("bench-pull-floor");
    let process = crate::daemon::spawn_in(&host.floor_meter, &program, &words, &[])?;
    let ended = process.wait()?;
    let wall = milliseconds(start.elapsed());
    if ended.code != 0 {
        return Err(Error::internal(format!("bench-pull-floor ended with {ended:?}")));
    }
    let cpu = Some(milliseconds(host.floor_meter.read()?.saturating_sub(before)));
    fs::remove_tree(&folder)?;
    Ok(Took { wall, cpu })
}

/// The words that start it are the user's, because it may live in a root of its own.
fn podman(arguments: &Arguments, name: &str) -> Result<Option<Took>> {
    let Some(words) = &arguments.podman else { return Ok(None) };
    let run = |more: &[&str]| {
        let mut all = words.split_whitespace().chain(more.iter().copied());
        let mut command = Command::new(all.next().unwrap_or_default());
        let output = command.args(all).stdin(Stdio::null()).output().call(|| format!("starting {words}"))?;
        let told = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(Error::internal(format!("{words}: {}", told()))) }
    };
    let start = Instant::now();
    run(&["pull", "--quiet", "--tls-verify=false", name])?;
    let wall = milliseconds(start.elapsed());
    run(&["rmi", "--force", name])?;
    Ok(Some(Took { wall, cpu: None }))
}

fn rounds(arguments: &Arguments) -> usize {
    (arguments.runs / RUNS_PER_ROUND).max(ROUNDS_MIN)
}

const RUNS_PER_ROUND: usize = 10;
const ROUNDS_MIN: usize = 1;
const MEGABYTE: u64 = 1_000_000;

/// Everybody's turns; the first of each warms up.
#[derive(Default)]
struct Taken(Vec<(Who, Vec<Took>)>);

impl Taken {
    fn add(&mut self, who: Who, took: Took) {
        eprintln!("  {who:?}: {:.0} ms, cpu {:.0}", took.wall, took.cpu.unwrap_or_default());
        match self.0.iter_mut().find(|(known, _)| *known == who) {
            Some((_, all)) => all.push(took),
            None => self.0.push((who, vec![took])),
        }
    }

    fn extend(&mut self, who: Who, took: Option<Took>) {
        if let Some(took) = took {
            self.add(who, took);
        }
    }

    fn series(&self, who: Who, part: impl Fn(&Took) -> Option<f64>) -> Option<Series> {
        let (_, all) = self.0.iter().find(|(known, _)| *known == who)?;
        all[1..].iter().map(part).collect::<Option<Vec<f64>>>().map(Series)
    }

    fn rows(&self, name: &str, cpu_budget: Option<Budget>) -> Vec<Row> {
        let row = |what: &str, budget, part: &dyn Fn(&Took) -> Option<f64>| Row {
            name: format!("{name}: {what}"),
            unit: "ms",
            ours: self.series(Who::Ours, part).unwrap_or_default(),
            dockerd: self.series(Who::Dockerd, part),
            podman: self.series(Who::Podman, part),
            floor: self.series(Who::Floor, part),
            budget,
        };
        vec![
            row("wall", Some(Budget::PartOfDockerd(2.0)), &|took| Some(took.wall)),
            row("cpu", cpu_budget, &|took| took.cpu),
        ]
    }
}
