//! What the operator says.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Credentials;

/// How to serve. The default is open to whoever reaches the socket, and keeps everything.
#[derive(Clone, Debug)]
pub struct Config {
    pub root: PathBuf,
    /// A file of `user:bcrypt` lines; without it nobody is asked who they are.
    pub htpasswd: Option<PathBuf>,
    /// What the question for a password calls itself.
    pub realm: String,
    /// Tokens of an issuer in place of passwords.
    pub tokens: Option<TokenAccess>,
    /// PEM files: certificate chain, private key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Nothing can be pushed or deleted.
    pub read_only: bool,
    /// Manifests, tags and blobs can be deleted over HTTP.
    pub deletion: bool,
    pub quotas: Vec<Quota>,
    /// What is linked to no manifest is kept for so long: a push uploads blobs first.
    pub grace: Duration,
    /// How often unused blobs are collected; never if zero.
    pub collect_every: Duration,
    /// Addresses that are told of every push, pull, mount and deletion (`http://host/path`).
    pub notify: Vec<String>,
    /// Registries whose images are fetched and kept here when they are asked for.
    pub upstreams: Vec<Upstream>,
    /// For how long a tag of theirs is believed to be what it was.
    pub cache_ttl: Duration,
    /// What is fetched from them takes so many bytes at most, about.
    pub cache_bytes_max: Option<u64>,
    /// Every request is logged, not only with the level for debugging.
    pub access_log: bool,
}

impl Config {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            htpasswd: None,
            realm: "Kogge registry".into(),
            tokens: None,
            tls: None,
            read_only: false,
            deletion: true,
            quotas: Vec::new(),
            grace: Duration::from_secs(3600),
            collect_every: Duration::from_secs(24 * 3600),
            notify: Vec::new(),
            upstreams: Vec::new(),
            cache_ttl: Duration::from_secs(60),
            cache_bytes_max: None,
            access_log: false,
        }
    }
}

/// Bearer tokens, as Docker's registry takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenAccess {
    /// The address where clients get tokens.
    pub realm: String,
    /// What this registry is called there; the audience of its tokens.
    pub service: String,
    pub issuer: String,
    /// PEM files: certificates, whose keys sign tokens or vouch for the certificates that do, and bare public keys.
    pub certificates: Vec<PathBuf>,
    /// Sets of public keys in JSON.
    pub jwks: Vec<PathBuf>,
}

/// A registry that is served from here, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// What the names of its repositories begin with here, in whole parts; empty if everything here is its.
    pub prefix: String,
    /// `https://ghcr.io`, `http://registry:5000/below`; `docker.io` for Docker Hub.
    pub location: String,
    pub credentials: Credentials,
}

/// A bound on what repositories under a prefix hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In whole parts; empty for the whole registry.
    pub prefix: String,
    pub bytes_max: u64,
}

impl Quota {
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.prefix.is_empty()
            || name.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}
