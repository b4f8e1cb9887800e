//! The handle that everybody holds: the parts of an engine, opened together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fault::{Error, Result};
use network::Networks;
use registry::client::{self, Registries};
use store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::Policy;

use crate::container::Registry;
use crate::events::Bus;
use crate::monitors::Monitors;
use crate::relay::Relays;
use crate::tasks::Tasks;
use crate::volume::Volumes;
use crate::{Config, Live, converge};

/// An engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: Config,
    live: RwLock<Arc<Live>>,
    store: Store,
    networks: Networks,
    /// As they are reached now, and why so.
    registries: RwLock<(client::Config, Registries)>,
    policy: RwLock<Arc<Policy>>,
    volumes: Volumes,
    containers: Registry,
    events: Bus,
    monitors: Monitors,
    relays: Relays,
    tasks: Tasks,
    /// Tells this boot from others.
    boot_id: String,
    sweep_planned: AtomicBool,
    /// Permits for blocking work.
    blocking: Arc<Semaphore>,
    /// Permits for work that waits for clients.
    transports: Arc<Semaphore>,
}

impl Engine {
    /// Opens what is on disk and finishes or undoes what an earlier engine left half-made; containers that still run
    /// are met again.
    pub async fn open(config: Config) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Parts::open(config)).await;
        let engine = Self(Arc::new(opened.map_err(broken)??));
        converge::converge(&engine).await?;
        engine.0.monitors.prepare(&engine);
        // What an earlier engine did not come to delete.
        engine.sweep_soon();
        Ok(engine)
    }

    /// Ends all tasks. Containers go on; the next engine meets them again.
    pub async fn shutdown(&self) {
        self.0.monitors.close();
        self.0.tasks.end().await;
        // Blocking work ends by itself and cannot be cut, and transports end with the tasks; afterwards nobody uses the
        // store any more.
        for (work, all) in [(&self.0.transports, TRANSPORTS_MAX), (&self.0.blocking, BLOCKING_MAX)] {
            drop(work.clone().acquire_many_owned(all).await);
        }
        self.0.transports.close();
        // Which images were used is written down with every sweep; the last one may be a while ago.
        let store = self.store().clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.remember_uses()).await {
            tracing::warn!(%error, "images' last uses not written down");
        }
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The settings that may change, as they are now.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.0.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_live(&self, live: Live) {
        *self.0.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn networks(&self) -> &Networks {
        &self.0.networks
    }

    pub fn registries(&self) -> Registries {
        self.0.registries.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    pub(crate) fn registries_config(&self) -> client::Config {
        self.0.registries.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Reaches registries in another way from now on; what is under way goes on as it began.
    pub(crate) fn set_registries(&self, config: client::Config) -> Result<()> {
        let registries = Registries::new(config.clone())?;
        *self.0.registries.write().unwrap_or_else(PoisonError::into_inner) = (config, registries);
        Ok(())
    }

    /// What is asked of images now.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for something else from now on. Containers that exist stay.
    pub fn set_policy(&self, policy: Policy) {
        *self.0.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub fn volumes(&self) -> &Volumes {
        &self.0.volumes
    }

    pub fn containers(&self) -> &Registry {
        &self.0.containers
    }

    pub fn events(&self) -> &Bus {
        &self.0.events
    }

    pub(crate) fn monitors(&self) -> &Monitors {
        &self.0.monitors
    }

    pub(crate) fn relays(&self) -> &Relays {
        &self.0.relays
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn boot_id(&self) -> &str {
        &self.0.boot_id
    }

    /// Has the store settle what came, delete what was removed and keep images within their budget, when nobody waits and
    /// many changes have come together.
    pub(crate) fn sweep_soon(&self) {
        if self.0.sweep_planned.swap(true, Ordering::Relaxed) {
            return;
        }
        let engine = self.clone();
        self.tasks().spawn(async move {
            let mut ending = engine.tasks().ending();
            if tokio::time::timeout(SWEEP_DELAY, ending.wait_for(|ending| *ending)).await.is_ok() {
                return;
            }
            engine.0.sweep_planned.store(false, Ordering::Relaxed);
            if let Err(error) = engine.blocking(|engine| engine.store().sweep()).await {
                tracing::warn!(%error, "removed snapshots not deleted");
            }
            if let Err(error) = engine.blocking(crate::image::keep_within_budget).await {
                tracing::warn!(%error, "images not kept within their budget");
            }
        });
    }

    /// Leave to run work that waits for a client on a thread of its own.
    pub(crate) async fn transport(&self) -> Result<OwnedSemaphorePermit> {
        self.0
            .transports
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::unavailable("the engine has ended"))
    }

    /// Runs finite blocking work off the tasks' threads. It runs to its end even if nobody waits any more.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.0.blocking.clone().acquire_owned().await.map_err(broken)?;
        let engine = self.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&engine);
            drop(engine);
            drop(permit);
            result
        });
        worked.await.map_err(broken)?
    }
}

impl Parts {
    fn open(config: Config) -> Result<Self> {
        sys::fs::create_dir_all(config.containers(), 0o710)?;
        sys::fs::create_dir_all(config.run_containers(), 0o700)?;
        let network_config =
            network::Config { state_dir: config.data_root.join("network"), ..config.network.clone() };
        Ok(Self {
            store: Store::open(&config.store())?,
            networks: Networks::open(network_config)?,
            registries: RwLock::new((config.registries.clone(), Registries::new(config.registries.clone())?)),
            policy: RwLock::new(Arc::new(config.policy.clone())),
            volumes: Volumes::open(&config.data_root.join("volumes"))?,
            containers: Registry::default(),
            events: Bus::default(),
            monitors: Monitors::new(),
            relays: Relays::default(),
            tasks: Tasks::new(),
            boot_id: sys::process::boot_id()?,
            sweep_planned: AtomicBool::new(false),
            blocking: Arc::new(Semaphore::new(BLOCKING_MAX as usize)),
            transports: Arc::new(Semaphore::new(TRANSPORTS_MAX as usize)),
            live: RwLock::new(Arc::new(config.live.clone())),
            config,
        })
    }
}

/// A blocking piece of work panicked; its own message is in the log.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("blocking work broke off").with_source(error)
}

/// Pieces of blocking work at one time; more only contend for locks of the kernel.
const BLOCKING_MAX: u32 = 32;

/// Clients that load, save or copy at one time, each with a thread; the others wait.
const TRANSPORTS_MAX: u32 = 128;

/// Deleting trees is slow and slows the file system down for those who create: it waits until a burst is over.
const SWEEP_DELAY: Duration = Duration::from_secs(2);
