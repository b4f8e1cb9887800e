//! Everything that a bench stands on, in the order in which it has to go.

use std::path::Path;

use fault::{Doing, Result};
use sys::fs;
use sys::mount::{self, Propagation};
use sys::namespace::{self, Kinds};

use crate::archive;
use crate::arguments::Arguments;
use crate::cgroup::{self, Meter};
use crate::clients::Client;
use crate::daemon::{Daemon, Places};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::floor::Floor;
use crate::rounds::Interrupts;

pub(crate) const FOLDER: &str = "/var/tmp/kogge-bench";
pub(crate) const CGROUP: &str = "/kogge-bench";
const RUN: &str = "/run/kogge-bench";
const BRIDGE: &str = "kgbench0";

/// The engines and the floor, ready to run. Fields are dropped from the first to the last.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) floor: Floor,
    pub(crate) peer: Option<Peer>,
    pub(crate) ours: Engine,
    pub(crate) kogge: Client,
    daemon: Daemon,
    pub(crate) floor_meter: Meter,
    pub(crate) registry_meter: Meter,
    /// Of the daemon, its monitors, and of the containers beneath.
    pub(crate) our_meter: Meter,
    /// Of the daemon and its monitors alone.
    pub(crate) daemon_meter: Meter,
    pub(crate) interrupts: Interrupts,
    lacking: Vec<String>,
    disk: Disk,
    _rest: Rest,
}

/// The engine that we are compared with. It was there before and stays.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) engine: Engine,
    pub(crate) client: Option<Client>,
}

impl Host {
    pub(crate) fn prepare(arguments: &Arguments) -> Result<Self> {
        let interrupts = Interrupts::open()?;
        // What is mounted from here on goes with the last process, however it ends.
        namespace::unshare(Kinds::MOUNT)?;
        mount::set_propagation(mount::current_folder(), Path::new("/"), Propagation::Slave, true)?;
        clear()?;
        let rest = Rest;
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder, 0o700)?;
        let disk = Disk::create(&folder.join("disk.img"), &folder.join("disk"))?;
        let (our_meter, daemon_meter) = (meter("ours")?, meter("ours/daemon")?);
        let (daemon, mut ours) = Daemon::start(&arguments.programs, places(&disk), &daemon_meter)?;
        let root = archive::busybox()?;
        ours.make_image(&root)?;
        let (floor_meter, registry_meter) = (meter("floor")?, meter("registry")?);
        let (floor_folder, floor_cgroup) =
            (disk.folder().join("floor"), format!("{CGROUP}/floor/containers"));
        let floor = Floor::start(&arguments.programs, &floor_folder, &root, &floor_meter, &floor_cgroup)?;
        let mut lacking = Vec::new();
        let peer = peer(arguments, &root, &mut lacking)?;
        let kogge = Client::new(arguments.programs.join("kogge"), &daemon.socket());
        Ok(Self {
            floor,
            peer,
            ours,
            kogge,
            daemon,
            floor_meter,
            registry_meter,
            our_meter,
            daemon_meter,
            interrupts,
            lacking,
            disk,
            _rest: rest,
        })
    }

    pub(crate) fn restart_daemon(&mut self) -> Result<()> {
        self.ours = self.daemon.restart(&self.daemon_meter)?;
        Ok(())
    }

    /// The disk on which the stores lie.
    pub(crate) fn disk_folder(&self) -> &Path {
        self.disk.folder()
    }

    /// What could not be compared, and why.
    pub(crate) fn lacking(&self) -> &[String] {
        &self.lacking
    }

    pub(crate) fn lacks(&mut self, what: impl Into<String>) {
        self.lacking.push(what.into());
    }
}

fn meter(name: &str) -> Result<Meter> {
    Meter::create(&format!("{CGROUP}/{name}"))
}

fn places(disk: &Disk) -> Places {
    Places {
        data: disk.folder().join("data"),
        run: RUN.into(),
        bridge: BRIDGE,
        cgroup_parent: format!("{CGROUP}/ours/containers"),
    }
}

fn peer(arguments: &Arguments, root: &[u8], lacking: &mut Vec<String>) -> Result<Option<Peer>> {
    let Some(socket) = &arguments.peer else {
        lacking.push("all ratios to dockerd: no socket named (--peer-docker or KOGGE_BENCH_DOCKER)".into());
        return Ok(None);
    };
    let mut engine = match Engine::connect(socket) {
        Ok(engine) => engine,
        Err(error) => {
            lacking.push(format!("all ratios to dockerd: {error}"));
            return Ok(None);
        }
    };
    engine.make_image(root).doing(|| "preparing dockerd")?;
    let client = arguments.client.as_ref().map(|program| Client::new(program.clone(), socket));
    if client.is_none() {
        lacking.push("the command lines' ratios: no stock client named (--client)".into());
    }
    Ok(Some(Peer { engine, client }))
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.engine.forget_image() {
            eprintln!("bench: {error}");
        }
    }
}

/// Folders and cgroups, once nobody uses them any more.
#[derive(Debug)]
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        if let Err(error) = clear() {
            eprintln!("bench: {error}");
        }
    }
}

/// Also what a bench has left that was killed.
fn clear() -> Result<()> {
    cgroup::kill(CGROUP)?;
    cgroup::remove(CGROUP)?;
    for folder in [FOLDER, RUN] {
        if fs::exists(folder)? {
            fs::remove_tree(folder)?;
        }
    }
    Ok(())
}
