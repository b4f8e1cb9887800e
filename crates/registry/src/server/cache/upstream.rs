//! Other registries whose images are served here, and which name leads to which of them.

use std::path::PathBuf;
use std::sync::Arc;

use fault::{Doing, Error, Result};
use oci::Reference;

use crate::client::routes::DOCKER_IO;
use crate::client::{self, Access, Backoff, Credentials, Registries, Repository, Rule};
use crate::server::config;
use crate::server::failure::{Failure, Outcome};

/// All of them, the longest prefix first.
#[derive(Debug)]
pub(crate) struct Upstreams(Vec<Arc<Upstream>>);

#[derive(Debug)]
struct Upstream {
    /// What names of its images begin with here; empty for all.
    prefix: String,
    /// What names of its images begin with elsewhere: `docker.io`.
    domain: String,
    registries: Registries,
    credentials: Credentials,
}

/// A repository of ours that another registry has.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As it is called here.
    pub(crate) name: String,
    upstream: Arc<Upstream>,
    /// Its path there.
    remote: String,
}

impl Source {
    /// `NAME_UNKNOWN` for what is no name there.
    pub(crate) fn repository(&self) -> Outcome<Repository> {
        let Upstream { domain, registries, credentials, .. } = &*self.upstream;
        let name = Reference::parse(&format!("{domain}/{}", self.remote));
        let name = name.map_err(|_| Failure::name_unknown(&self.name))?;
        Ok(registries.repository(&name, credentials, Access::Pull)?)
    }
}

impl Upstreams {
    pub(crate) fn open(upstreams: &[config::Upstream]) -> Result<Self> {
        let open = |upstream: &config::Upstream| {
            Upstream::open(upstream).doing(|| format!("reading the upstream registry {}", upstream.location))
        };
        let mut all = upstreams.iter().map(open).collect::<Result<Vec<_>>>()?;
        all.sort_by_key(|upstream| std::cmp::Reverse(upstream.prefix.len()));
        if let Some(pair) = all.windows(2).find(|pair| pair[0].prefix == pair[1].prefix) {
            return Err(Error::invalid(format!(
                "two upstream registries have the prefix {:?}",
                pair[0].prefix
            )));
        }
        Ok(Self(all.into_iter().map(Arc::new).collect()))
    }

    /// Where a repository comes from; `None` if it is our own. Clients may call it by its path at another registry and
    /// name that (`?ns=docker.io`, as containerd does): then it has to be one of these.
    pub(crate) fn source(&self, name: &str, namespace: Option<&str>) -> Outcome<Option<Source>> {
        let Some(namespace) = namespace else {
            let found = self.0.iter().find_map(|upstream| Some((upstream, below(name, &upstream.prefix)?)));
            return Ok(found.map(|(upstream, remote)| Source {
                name: name.into(),
                upstream: Arc::clone(upstream),
                remote: remote.into(),
            }));
        };
        let upstream = self.0.iter().find(|upstream| upstream.domain == domain_of(namespace));
        let upstream = upstream.ok_or_else(|| Failure::name_unknown(name))?;
        let prefix = &upstream.prefix;
        let local = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        Ok(Some(Source { name: local, upstream: Arc::clone(upstream), remote: name.into() }))
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        self.0.iter().any(|upstream| below(name, &upstream.prefix).is_some())
    }
}

impl Upstream {
    fn open(upstream: &config::Upstream) -> Result<Self> {
        let config::Upstream { prefix, location, credentials } = upstream;
        let (scheme, rest) = location.split_once("://").unwrap_or(("https", location));
        if rest.contains('@') {
            return Err(Error::invalid("an address holds no user: see --proxy-auth"));
        }
        let (host, path) =
            rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        let domain = domain_of(host).to_owned();
        if !Reference::parse(&format!("{domain}/x/x")).is_ok_and(|name| name.domain() == domain) {
            return Err(Error::invalid(format!(
                "{host:?} is no registry's host: it has neither a dot nor a port"
            )));
        }
        let rule = Rule {
            prefix: domain.clone(),
            location: Some([&format!("{scheme}://{host}"), path].join("/")),
            credentials: credentials.clone(),
            ..Rule::default()
        };
        let is_moved = scheme != "https" || !path.is_empty();
        let config = client::Config {
            rules: is_moved.then_some(rule).into_iter().collect(),
            certificates: CERTIFICATES.iter().map(PathBuf::from).collect(),
            attempts_max: ATTEMPTS_MAX,
            backoff: Backoff { first: std::time::Duration::from_millis(200), ..Backoff::default() },
            proxies: client::Proxies::from_env(),
            user_agent: "Kogge registry".into(),
            ..client::Config::default()
        };
        let registries = Registries::new(config)?;
        let upstream = Self {
            prefix: prefix.trim_matches('/').into(),
            domain,
            registries,
            credentials: credentials.clone(),
        };
        Ok(upstream)
    }
}

/// docker.io's machines have other names.
fn domain_of(host: &str) -> &str {
    if DOCKER_HOSTS.contains(&host) { DOCKER_IO } else { host }
}

/// What follows a prefix, in whole parts.
fn below<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    if prefix.is_empty() { Some(name) } else { name.strip_prefix(prefix)?.strip_prefix('/') }
}

const DOCKER_HOSTS: &[&str] = &["docker.io", "index.docker.io", "registry-1.docker.io"];
/// Where Docker and Kogge look for certificates of registries.
const CERTIFICATES: &[&str] = &["/etc/docker/certs.d", "/etc/kogge/certs.d"];
/// A client waits for what is tried here, and tries again itself.
const ATTEMPTS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(all: &[(&str, &str)]) -> Result<Upstreams> {
        let upstream = |(prefix, location): &(&str, &str)| config::Upstream {
            prefix: (*prefix).into(),
            location: (*location).into(),
            credentials: Credentials::Anonymous,
        };
        Upstreams::open(&all.iter().map(upstream).collect::<Vec<_>>())
    }

    #[test]
    fn names_lead_to_upstreams() {
        let all = [
            ("", "https://registry-1.docker.io"),
            ("ghcr", "https://ghcr.io"),
            ("in/side", "http://x:5000/y"),
        ];
        let all = upstreams(&all).unwrap();
        let check = |name: &str, namespace: Option<&str>, expected: Option<(&str, &str, &str)>| {
            let source = all.source(name, namespace).unwrap_or_default();
            let told = source.as_ref().map(|source| {
                (source.name.as_str(), source.upstream.domain.as_str(), source.remote.as_str())
            });
            assert_eq!(told, expected, "{name} {namespace:?}");
        };
        check("library/a", None, Some(("library/a", "docker.io", "library/a")));
        check("ghcr/me/a", None, Some(("ghcr/me/a", "ghcr.io", "me/a")));
        check("ghcrme/a", None, Some(("ghcrme/a", "docker.io", "ghcrme/a")));
        check("in/side/b", None, Some(("in/side/b", "x:5000", "b")));
        check("me/a", Some("ghcr.io"), Some(("ghcr/me/a", "ghcr.io", "me/a")));
        check("library/a", Some("docker.io"), Some(("library/a", "docker.io", "library/a")));
        check("me/a", Some("quay.io"), None);
        assert!(all.source("me/a", Some("quay.io")).is_err());
    }

    #[test]
    fn what_is_under_no_prefix_is_ours() {
        let all = upstreams(&[("hub", "docker.io")]).unwrap();
        assert!(all.source("mine", None).unwrap().is_none());
        assert!(all.covers("hub/a") && !all.covers("hub") && !all.covers("mine"));
    }

    #[test]
    fn what_is_no_registry_is_refused() {
        for location in ["ftp://x.y", "https://user:secret@x.y", "https://", "nodots", "https://a b"] {
            let error = upstreams(&[("", location)]).unwrap_err();
            assert!(!error.to_string().is_empty(), "{location}");
        }
        assert!(upstreams(&[("a", "x.y"), ("a/", "z.y")]).is_err());
    }
}
