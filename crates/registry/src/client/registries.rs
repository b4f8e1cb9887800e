//! Everything that requests share: routes, connections, tokens, limits, and what has been learnt of each host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fault::Result;
use oci::Reference;
use tokio::sync::Semaphore;

use crate::client::authorization::Demand;
use crate::client::exchange::Exchange;
use crate::client::routes::Routes;
use crate::client::single::Singles;
use crate::client::speaker::Speaker;
use crate::client::token::Tokens;
use crate::client::trouble::Trouble;
use crate::client::{Access, Config, Credentials, Repository, listing};

/// The registries as the operator has set them up. Clones share connections, tokens and limits.
#[derive(Clone, Debug)]
pub struct Registries {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) routes: Routes,
    pub(crate) exchange: Exchange,
    pub(crate) tokens: Tokens,
    /// One fetch of a blob at a time.
    pub(crate) blobs: Singles,
    hosts: Mutex<HashMap<String, Host>>,
}

/// What is known of a host, by `host[:port]`.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// `https` or `http`, as it answered last.
    pub(crate) scheme: Option<&'static str>,
    /// What it wanted to see last.
    pub(crate) demand: Option<Demand>,
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
}

impl Registries {
    /// `Invalid`, with dockerd's words, for a mirror, an insecure registry, a proxy or a rule that makes no sense.
    pub fn new(config: Config) -> Result<Self> {
        let routes = Routes::new(&config)?;
        let exchange = Exchange::new(&config, &routes)?;
        let inner = Inner {
            config,
            routes,
            exchange,
            tokens: Tokens::default(),
            blobs: Singles::default(),
            hosts: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The repository of a name where the name itself leads, not a mirror's; nothing is asked yet. `Denied` if a rule
    /// blocks it.
    pub fn repository(
        &self,
        name: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Repository> {
        let mut repositories = self.repositories(name, credentials, access)?;
        Ok(repositories.pop().expect("the last place is the name's own"))
    }

    /// The repositories of a name, mirrors first.
    pub(crate) fn repositories(
        &self,
        name: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Vec<Repository>> {
        let places = self.inner.routes.places(name, credentials, access)?;
        let repository = |place| Repository::new(Speaker::of_repository(self, place, access));
        Ok(places.into_iter().map(repository).collect())
    }

    /// The repositories that a registry lists (`/v2/_catalog`), at most a bounded number.
    pub async fn catalogue(&self, registry: &str, credentials: &Credentials) -> Result<Vec<String>> {
        let place = self.inner.routes.registry(registry, credentials)?;
        let speaker = Speaker::new(self, place, vec!["registry:catalog:*".into()]);
        Ok(listing::catalogue(&speaker).await?)
    }

    /// What is known of a host; made when it is first heard of.
    pub(crate) fn host(&self, name: &str) -> Host {
        self.hosts().entry(name.into()).or_insert_with(|| self.stranger()).clone()
    }

    pub(crate) fn learn(&self, name: &str, lesson: impl FnOnce(&mut Host)) {
        let mut hosts = self.hosts();
        if hosts.len() >= HOSTS_MAX && !hosts.contains_key(name) {
            hosts.clear();
        }
        lesson(hosts.entry(name.into()).or_insert_with(|| self.stranger()));
    }

    fn stranger(&self) -> Host {
        let config = &self.inner.config;
        Host {
            scheme: None,
            demand: None,
            downloads: Arc::new(Semaphore::new(config.downloads_max.max(1))),
            uploads: Arc::new(Semaphore::new(config.uploads_max.max(1))),
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.inner.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait after so many failed attempts; the trouble comes back if there is to be no other.
    pub(crate) fn pause(&self, failed: u32, trouble: Trouble) -> Result<Duration, Trouble> {
        let is_passing = trouble.is_passing();
        self.pause_if(is_passing, failed, trouble)
    }

    /// The same in the middle of a transfer.
    pub(crate) fn pause_of_transfer(&self, failed: u32, trouble: Trouble) -> Result<Duration, Trouble> {
        let is_passing = trouble.is_passing_for_transfers();
        self.pause_if(is_passing, failed, trouble)
    }

    fn pause_if(&self, is_passing: bool, failed: u32, trouble: Trouble) -> Result<Duration, Trouble> {
        let config = &self.inner.config;
        if failed >= config.attempts_max.max(1) || !is_passing {
            return Err(trouble);
        }
        config.backoff.delay(failed, trouble.retry_after()).ok_or(trouble)
    }
}

/// Names come from users: a table that full is begun anew.
const HOSTS_MAX: usize = 1024;
