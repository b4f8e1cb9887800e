//! The daemon's life: lock, sockets, engine, answers, signals, end.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Engine;
use fault::{Call, Doing, Error, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::ending::{self, Ending};
use crate::host::Host;
use crate::http::Door;
use crate::listen::{self, Listener};
use crate::pid_file::PidFile;
use crate::settings::Settings;
use crate::{config_file, log, policy};

/// Runs until a signal ends it. Containers go on.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    sys::malloc::keep_small(ARENAS_MAX);
    let level = log::open(settings.level(), settings.log_format);
    for name in &settings.ignored {
        warn!("--{name} means nothing to this daemon and is ignored");
    }
    for text in &settings.warnings {
        warn!("{text}");
    }
    for (name, why) in &settings.deprecated {
        warn!("{name} is deprecated: {why}");
    }
    let inherited = sys::inherited::listeners()?;
    runtime()?.block_on(live(settings, &level, inherited))
}

/// The threads under everything.
pub(crate) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(BLOCKING_IDLE)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .call(|| "starting the runtime")
}

async fn live(settings: &Settings, level: &log::Level, mut inherited: Vec<OwnedFd>) -> Result<()> {
    let mut signals = Signals::open()?;
    make_folders(settings)?;
    let _alone = lock(&settings.data_root, LOCK_PATIENCE).await?;
    let _pid_file = PidFile::write(&settings.pid_file)?;
    let mut listeners = Vec::new();
    for host in settings.hosts() {
        let host = Host::parse(&host)?;
        listeners.extend(listen::open(&host, &settings.group, &mut inherited).await?);
    }
    let engine = Engine::open(engine_config(settings)?).await.doing(|| "failed to start daemon")?;
    info!("daemon has completed initialization");

    let (end, ending) = ending::channel();
    let mut doors = serve_all(listeners, &engine, &ending);
    while let Wanted::Reload = signals.next().await {
        reload(settings, level, &engine).await;
    }
    info!("the daemon ends; containers go on");
    end.say();
    while doors.join_next().await.is_some() {}
    engine.shutdown().await;
    Ok(())
}

fn serve_all(listeners: Vec<Listener>, engine: &Engine, ending: &Ending) -> JoinSet<()> {
    let door = Arc::new(Door { engine: engine.clone() });
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(listen::serve(listener, Arc::clone(&door), ending.clone()));
    }
    doors
}

pub(crate) fn make_folders(settings: &Settings) -> Result<()> {
    sys::fs::create_dir_all(&settings.data_root, 0o711)?;
    sys::fs::create_dir_all(&settings.exec_root, 0o700)
}

/// One daemon a data root. The lock dies with its process, and a moment later with children that this process was just
/// starting when it was killed: until they have executed their program they share its descriptors.
pub(crate) async fn lock(data_root: &Path, patience: Duration) -> Result<sys::fs::Lock> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some(lock) = sys::fs::Lock::try_acquire(lock_file(data_root))? {
            return Ok(lock);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(Error::conflict(format!("another daemon is running on the data root {}", data_root.display())))
}

fn lock_file(data_root: &Path) -> PathBuf {
    data_root.join("kogged.lock")
}

pub(crate) fn engine_config(settings: &Settings) -> Result<engine::Config> {
    let default = engine::Config::default();
    let network = network::Config {
        bridge: settings.bridge.clone(),
        table: table(&settings.bridge),
        mtu: settings.mtu.unwrap_or(default.network.mtu),
        address: settings.address,
        pools: match settings.pools.is_empty() {
            true => default.network.pools,
            false => settings.pools.clone(),
        },
        ..default.network
    };
    Ok(engine::Config {
        data_root: settings.data_root.clone(),
        run_root: settings.exec_root.clone(),
        runtime: runtime_program()?,
        cgroup_parent: settings.cgroup_parent.clone(),
        network,
        registries: settings.registries.clone(),
        policy: policy::read(settings)?,
        dns: settings.dns.clone(),
        live: live_settings(settings),
        image_budget: settings
            .image_budget
            .map(|bytes_max| engine::ImageBudget { bytes_max, spared_for: IMAGES_SPARED_FOR }),
        ..engine::Config::default()
    })
}

/// What a reload may change.
fn live_settings(settings: &Settings) -> engine::Live {
    engine::Live {
        defaults: settings.defaults.clone(),
        labels: settings.labels.clone(),
        warnings: settings.warnings.clone(),
        debug: settings.debug,
    }
}

/// Compose pulls all images of a project before it creates the first container.
const IMAGES_SPARED_FOR: Duration = Duration::from_secs(10 * 60);

/// Two daemons on one host have two bridges, and must have two tables of rules.
fn table(bridge: &str) -> String {
    if bridge == "kogge0" { "kogge".to_owned() } else { format!("kogge-{bridge}") }
}

/// The runtime lies beside the daemon, or where programs lie.
fn runtime_program() -> Result<PathBuf> {
    let own = std::env::current_exe().call(|| "readlink /proc/self/exe")?;
    let folders = own.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = folders.chain(std::env::split_paths(&path)).map(|folder| folder.join("kogge-runtime"));
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        Error::not_found(format!("kogge-runtime lies neither beside {} nor in PATH", own.display()))
    })
}

async fn reload(settings: &Settings, level: &log::Level, engine: &Engine) {
    match try_reload(settings, engine).await {
        Ok(wanted) => {
            level.set(wanted.level());
            info!(level = %wanted.level(), "reloaded the configuration");
        }
        Err(error) => error!(%error, "reloading the configuration"),
    }
}

async fn try_reload(settings: &Settings, engine: &Engine) -> Result<Settings> {
    let wanted = config_file::reloaded(settings)?;
    let policy = policy::read(&wanted)?;
    engine::system::reload(engine, live_settings(&wanted), wanted.registries.clone()).await?;
    engine.set_policy(policy);
    Ok(wanted)
}

enum Wanted {
    Reload,
    End,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn open() -> Result<Self> {
        let open = |kind| signal(kind).call(|| "sigaction");
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            hangup: open(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::End,
            _ = self.interrupt.recv() => Wanted::End,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}

/// Half a second: much longer than an exec takes, and soon enough to hear of a daemon that really runs.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Two threads are enough to copy bytes and wait; blocking work has its own.
const WORKERS: usize = 2;

/// Finite file and kernel work; more at once only makes a disk slower.
const BLOCKING_MAX: usize = 32;

/// Their stacks are memory, so idle ones leave soon.
const BLOCKING_IDLE: Duration = Duration::from_secs(2);

/// Touched pages count, and deep recursion has no place here.
const STACK_BYTES: usize = 1 << 20;

/// More would keep freed memory in more places.
const ARENAS_MAX: i32 = 2;
