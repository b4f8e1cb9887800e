//! What the operator says about registries.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Credentials;

/// How to reach registries. The default knows no mirrors and no proxies, and has dockerd's limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Registries without (valid) certificates: `host`, `host:port`, or networks as `10.0.0.0/8`. Addresses of this
    /// machine (127.0.0.0/8, ::1) always count, as dockerd has it.
    pub insecure: Vec<String>,
    /// Addresses (`https://mirror.example`) that are asked for images of docker.io before docker.io itself.
    pub mirrors: Vec<String>,
    /// For names that begin so; the longest prefix wins.
    pub rules: Vec<Rule>,
    /// Folders in the form of `/etc/docker/certs.d`: `<folder>/<host:port>/{*.crt,*.cert,*.key}`; all of them count.
    pub certificates: Vec<PathBuf>,
    /// Layers of one registry that are fetched at the same time.
    pub downloads_max: usize,
    /// Layers of one registry that are sent at the same time.
    pub uploads_max: usize,
    /// How often one blob is tried before a pull or push fails.
    pub attempts_max: u32,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    pub proxies: Proxies,
    /// `docker/28.5.1 …`: what registries see as User-Agent.
    pub user_agent: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            rules: Vec::new(),
            certificates: Vec::new(),
            downloads_max: 3,
            uploads_max: 5,
            attempts_max: 5,
            backoff: Backoff::default(),
            proxies: Proxies::default(),
            user_agent: "kogge".into(),
        }
    }
}

/// What becomes of names that begin with a prefix. Output keeps the full names whatever a rule says.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Of canonical names, in whole parts: `docker.io`, `docker.io/library`, `ghcr.io/me/app`.
    pub prefix: String,
    /// Pulls, pushes and everything else of these names are refused.
    pub blocked: bool,
    /// Takes the prefix's place in requests: `registry.example/hub` makes `docker.io/a/b` be asked for there as `hub/a/b`.
    pub location: Option<String>,
    /// For `location`; the user's credentials are for the name and do not go to another host.
    pub credentials: Credentials,
    /// Asked in this order before the location, for pulls only.
    pub mirrors: Vec<Mirror>,
}

/// Another place that may have the same images.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// As `Rule::location`; `http://` in front means that there is no TLS.
    pub location: String,
    pub credentials: Credentials,
}

/// Waiting times between attempts: doubled each time, up to a longest. Zero waits for nothing, as tests want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// As the environment names them: addresses of HTTP proxies, and what is reached without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `NO_PROXY`: hosts, `.domain`s, addresses and networks, `*`; parted by commas.
    pub none: String,
}

impl Proxies {
    /// Those of the process, upper or lower case.
    pub fn from_env() -> Self {
        let variable = |name: &str| {
            let lower = name.to_ascii_lowercase();
            std::env::var(name).or_else(|_| std::env::var(lower)).ok().filter(|value| !value.is_empty())
        };
        Self {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            none: variable("NO_PROXY").unwrap_or_default(),
        }
    }
}
