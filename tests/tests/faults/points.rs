//! The daemon killed at every crash point of every plan: the next one finishes or undoes.

use std::collections::BTreeSet;
use std::path::Path;

use fixtures::{Daemon, Host, remains};

use crate::witness::{self, Witness};
use crate::{dirt, left, plan};

/// The names of all crash points, read from the sources: whoever adds one need not remember this test.
fn crash_points() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut points = BTreeSet::new();
    let mut open: Vec<_> = ["engine", "store", "network"].map(|name| crates.join(name).join("src")).into();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                points.extend(points_in(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    points
}

fn points_in(source: &str) -> Vec<String> {
    // Unit tests may name points of their own.
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = production.split("crash::point(\"").skip(1);
    calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// What no client's command reaches within a test: a budget spares what was used in the last ten minutes, a repair wants a
/// damaged store, an adoption another engine's. The store's own crash tests kill at each of these.
const IN_THE_STORE: [&str; 3] = ["store.adopt.", "store.budget.", "store.repair."];

/// A plan may pass a point many times; the later ones differ little.
const PASSES_MAX: u32 = 3;

/// One host on which daemons die, with a container that must not notice.
struct Scene {
    host: Host,
    witness: Witness,
}

impl Scene {
    fn new() -> Self {
        let host = Host::new();
        let daemon = host.start();
        witness::image(&daemon.own());
        let witness = Witness::start(&daemon.own(), 20_000);
        daemon.kill();
        Self { host, witness }
    }

    /// Whether a daemon died at this pass of the point, in a client's plan; all is well afterwards.
    fn dies_in_a_plan(&self, point: &str) -> bool {
        let mut dying = self.host.start_with(&[], &[("KOGGE_CRASH", point)]);
        let progress = plan::drive(&mut dying, &self.host);
        let died = !dying.is_alive();
        dying.kill();
        let daemon = self.host.start();
        progress.is_kept(&daemon.own());
        self.is_well(daemon);
        died
    }

    /// The same at a start over whatever an earlier daemon can have left.
    fn dies_at_a_start(&self, point: &str) -> bool {
        dirt::make(&self.host);
        let mut dying = self.host.start_with(&[], &[("KOGGE_CRASH", point)]);
        let died = remains::comes_true(|| !dying.is_alive());
        dying.kill();
        self.is_well(self.host.start());
        died
    }

    fn is_well(&self, daemon: Daemon<'_>) {
        self.witness.lives(&daemon.own());
        left::only(&[&self.witness], &self.host, &daemon);
        daemon.kill();
    }

    fn end(self) {
        let last = self.host.start();
        self.witness.has_lost_nothing(&last.own());
        left::only(&[&self.witness], &self.host, &last);
        last.own().ok(&["rm", "-f", &self.witness.id]);
        left::nothing(&self.host, last);
    }
}

/// What is made once in a host's life.
fn dies_on_a_fresh_host(point: &str) -> bool {
    let host = Host::new();
    let mut dying = host.start_with(&[], &[("KOGGE_CRASH", point)]);
    let died = remains::comes_true(|| !dying.is_alive());
    dying.kill();
    let daemon = host.start();
    witness::image(&daemon.own());
    daemon.own().ok(&["run", "--rm", "busybox", "true"]);
    left::nothing(&host, daemon);
    died
}

/// Every one of these points, with all its passes; returns those that nothing passes.
fn killed_at(points: &[String]) -> Vec<String> {
    let scene = Scene::new();
    let mut unreached = Vec::new();
    for point in points {
        let _named = Named { point, host: &scene.host };
        let passes =
            (1..=PASSES_MAX).take_while(|pass| scene.dies_in_a_plan(&format!("{point}:{pass}"))).count();
        if passes == 0 && !scene.dies_at_a_start(point) && !dies_on_a_fresh_host(point) {
            unreached.push(point.clone());
        }
    }
    scene.end();
    unreached
}

/// Says at which point a check failed.
struct Named<'p> {
    point: &'p str,
    host: &'p Host,
}

impl Drop for Named<'_> {
    #[expect(clippy::print_stderr, reason = "a failed test says where")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon had died at {}\n{}", self.point, self.host.log());
        }
    }
}

#[test]
fn killed_at_every_crash_point_it_finishes_or_undoes() {
    let is_here = |point: &String| !IN_THE_STORE.iter().any(|plan| point.starts_with(plan));
    let points: Vec<String> = crash_points().into_iter().filter(is_here).collect();
    assert!(points.len() > 40, "the points are not found: {points:?}");
    let share = points.len().div_ceil(HOSTS);
    let unreached: Vec<String> = std::thread::scope(|scope| {
        let hosts: Vec<_> =
            points.chunks(share).map(|points| scope.spawn(move || killed_at(points))).collect();
        hosts.into_iter().flat_map(|host| host.join().unwrap()).collect()
    });
    assert!(unreached.is_empty(), "no plan passes these points: {unreached:?}");
}

/// Side by side, because most of the time goes into waiting.
const HOSTS: usize = 3;
