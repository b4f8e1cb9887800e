//! Which registries a name leads to: pure, from the operator's configuration.
//!
//! ```text
//!   name --longest rule--> blocked, or: the rule's mirrors, docker.io's mirrors, the rule's location or the name's own
//! ```
//! Mirrors serve pulls only. A user's credentials are for the registry in the name: no other host gets them.

use std::net::IpAddr;

use fault::{Error, Result};
use hyper::http::uri::PathAndQuery;
use ipnet::IpNet;
use oci::Reference;

use crate::client::{Access, Config, Credentials, Rule};

/// A repository at one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `host[:port]`.
    pub(crate) host: String,
    /// In front of `/v2/`: empty but for mirrors of docker.io that lie deeper.
    pub(crate) base: String,
    /// The repository's path there.
    pub(crate) path: String,
    pub(crate) transport: Transport,
    pub(crate) credentials: Credentials,
    pub(crate) is_mirror: bool,
}

/// How a registry may be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TLS with a valid certificate, unless the address turns out to be of an insecure network.
    Secure,
    /// TLS with any certificate, else plain HTTP.
    Insecure,
    /// The operator wrote `http://`.
    Plain,
}

/// The configuration, checked.
#[derive(Debug)]
pub(crate) struct Routes {
    insecure: Insecure,
    mirrors: Vec<Location>,
    rules: Vec<Checked>,
}

#[derive(Debug)]
struct Checked {
    rule: Rule,
    location: Option<Location>,
    mirrors: Vec<(Location, Credentials)>,
}

/// Registries that need no valid certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Insecure {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

#[derive(Clone, Debug)]
struct Location {
    is_plain: bool,
    host: String,
    path: String,
}

impl Routes {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let checked = |rule: &Rule| -> Result<Checked> {
            check_prefix(&rule.prefix)?;
            let location = rule.location.as_deref().map(Location::parse).transpose()?;
            let mirror = |mirror: &crate::client::Mirror| {
                Location::parse(&mirror.location).map(|location| (location, mirror.credentials.clone()))
            };
            let mirrors = rule.mirrors.iter().map(mirror).collect::<Result<_>>()?;
            Ok(Checked { rule: rule.clone(), location, mirrors })
        };
        Ok(Self {
            insecure: Insecure::new(&config.insecure)?,
            mirrors: config.mirrors.iter().map(|mirror| docker_mirror(mirror)).collect::<Result<_>>()?,
            rules: config.rules.iter().map(checked).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn insecure(&self) -> &Insecure {
        &self.insecure
    }

    /// The places of a name, to be asked in this order; never none. `Denied` if a rule blocks the name.
    pub(crate) fn places(
        &self,
        name: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Vec<Place>> {
        let canonical = name.canonical_name();
        let checked = self.rule_for(&canonical);
        if checked.is_some_and(|checked| checked.rule.blocked) {
            return Err(Error::denied(format!("{} is blocked by the registry rules", name.familiar_name())));
        }
        let mut places = Vec::new();
        if access == Access::Pull {
            for (mirror, credentials) in checked.into_iter().flat_map(|checked| &checked.mirrors) {
                let path = rewritten(&canonical, checked, mirror);
                places.push(Place { is_mirror: true, ..self.place(mirror, path, credentials) });
            }
            for mirror in self.mirrors.iter().filter(|_| name.domain() == DOCKER_IO) {
                let place = self.place(mirror, name.path().into(), &Credentials::Anonymous);
                places.push(Place { is_mirror: true, base: mirror.path.clone(), ..place });
            }
        }
        let own = Location { is_plain: false, host: host_of(name.domain()).into(), path: String::new() };
        places.push(match checked.and_then(|checked| Some((checked, checked.location.as_ref()?))) {
            None => self.place(&own, name.path().into(), credentials),
            Some((checked, location)) => {
                let is_own = host_of(&location.host) == own.host && !location.is_plain;
                let credentials = if is_own { credentials } else { &checked.rule.credentials };
                self.place(location, rewritten(&canonical, Some(checked), location), credentials)
            }
        });
        Ok(places)
    }

    /// A registry itself, without a repository. Rules are for names and say nothing here, but whole registries may be
    /// blocked or moved.
    pub(crate) fn registry(&self, domain: &str, credentials: &Credentials) -> Result<Place> {
        let domain = if domain == INDEX_DOCKER_IO { DOCKER_IO } else { domain };
        if !oci::reference::is_domain(domain) {
            return Err(Error::invalid(format!("invalid registry name {domain:?}")));
        }
        let own = Location { is_plain: false, host: host_of(domain).into(), path: String::new() };
        let Some(checked) = self.rules.iter().find(|checked| checked.rule.prefix == domain) else {
            return Ok(self.place(&own, String::new(), credentials));
        };
        if checked.rule.blocked {
            return Err(Error::denied(format!("{domain} is blocked by the registry rules")));
        }
        let Some(location) = &checked.location else {
            return Ok(self.place(&own, String::new(), credentials));
        };
        Ok(self.place(location, String::new(), &checked.rule.credentials))
    }

    fn rule_for(&self, canonical: &str) -> Option<&Checked> {
        let fitting = self.rules.iter().filter(|checked| is_below(canonical, &checked.rule.prefix));
        fitting.max_by_key(|checked| checked.rule.prefix.len())
    }

    fn place(&self, location: &Location, path: String, credentials: &Credentials) -> Place {
        let host = host_of(&location.host);
        let transport = match location.is_plain {
            true => Transport::Plain,
            false if self.insecure.has_host(host) => Transport::Insecure,
            false => Transport::Secure,
        };
        Place {
            host: host.into(),
            base: String::new(),
            path,
            transport,
            credentials: credentials.clone(),
            is_mirror: false,
        }
    }
}

/// The path of a name at a location that takes its rule's prefix's place.
fn rewritten(canonical: &str, checked: Option<&Checked>, location: &Location) -> String {
    let prefix = checked.map(|checked| checked.rule.prefix.as_str()).unwrap_or_default();
    let rest = canonical.strip_prefix(prefix).unwrap_or(canonical).trim_start_matches('/');
    match (location.path.as_str(), rest) {
        ("", rest) => rest.into(),
        (path, "") => path.into(),
        (path, rest) => format!("{path}/{rest}"),
    }
}

fn is_below(canonical: &str, prefix: &str) -> bool {
    canonical.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The machine that serves a domain: docker.io's has another name.
fn host_of(domain: &str) -> &str {
    if domain == DOCKER_IO { REGISTRY_DOCKER_IO } else { domain }
}

impl Insecure {
    fn new(entries: &[String]) -> Result<Self> {
        let loopback = ["127.0.0.0/8", "::1/128"].map(String::from);
        let mut insecure = Self::default();
        for entry in entries.iter().chain(&loopback) {
            insecure.add(entry)?;
        }
        Ok(insecure)
    }

    /// moby, daemon/pkg/registry/config.go, `loadInsecureRegistries`.
    fn add(&mut self, entry: &str) -> Result<()> {
        if entry.starts_with('-') || entry.ends_with('-') {
            return Err(Error::invalid(format!(
                "invalid index name ({entry}). Cannot begin or end with a hyphen"
            )));
        }
        let host = match entry.split_once("://") {
            Some((scheme, host)) if ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => host,
            Some(_) => {
                return Err(Error::invalid(format!("insecure registry {entry} should not contain '://'")));
            }
            None => entry,
        };
        match host.parse::<IpNet>() {
            Ok(network) => self.networks.push(network.trunc()),
            Err(_) => {
                check_host(host).map_err(|error| {
                    Error::invalid(format!("insecure registry {host} is not valid: {error}"))
                })?;
                self.hosts.push(host.into());
            }
        }
        Ok(())
    }

    /// By name, or by the address that stands in the name's place.
    pub(crate) fn has_host(&self, host: &str) -> bool {
        let name = bare(host);
        let address = name.parse::<IpAddr>().ok();
        self.hosts.iter().any(|known| known == host)
            || name == "localhost"
            || address.is_some_and(|address| self.has_address(address))
    }

    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// A host without port and brackets.
fn bare(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn check_host(host: &str) -> Result<()> {
    let name = bare(host);
    if !oci::reference::is_domain(host) && host.parse::<IpAddr>().is_err() {
        return Err(Error::invalid(format!("invalid host {name:?}")));
    }
    let port = host[name.len().min(host.len())..].rsplit_once(':').map(|(_, port)| port);
    match port {
        Some(port) if host.parse::<IpAddr>().is_err() && port.parse::<u16>().is_err() => {
            Err(Error::invalid(format!("invalid port {port:?}")))
        }
        _ => Ok(()),
    }
}

impl Location {
    fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        if !["http", "https"].contains(&scheme) {
            return Err(Error::invalid(format!(
                "invalid registry rule: unsupported scheme {scheme:?} in {text:?}"
            )));
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_host(host).map_err(|error| error.doing(format!("invalid registry rule {text:?}")))?;
        let path = path.trim_end_matches('/');
        if !path.is_empty() && Reference::parse(&format!("localhost/{path}")).is_err() {
            return Err(Error::invalid(format!(
                "invalid registry rule {text:?}: {path:?} is no repository's name"
            )));
        }
        Ok(Self { is_plain: scheme == "http", host: host.into(), path: path.into() })
    }
}

/// moby, daemon/pkg/registry/config.go, `ValidateMirror`.
fn docker_mirror(text: &str) -> Result<Location> {
    let not_an_address = || Error::invalid(format!("invalid mirror: {text:?} is not a valid URI"));
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        Error::invalid(format!(
            "invalid mirror: no scheme specified for {text:?}: must use either 'https://' or 'http://'"
        ))
    })?;
    if !["http", "https"].contains(&scheme) {
        return Err(Error::invalid(format!(
            "invalid mirror: unsupported scheme {scheme:?} in {text:?}: must use either 'https://' or 'http://'"
        )));
    }
    if rest.contains(['?', '#']) {
        return Err(Error::invalid(format!("invalid mirror: query or fragment at end of the URI {text:?}")));
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some((user, host)) = host.rsplit_once('@') {
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        let shown = format!("{scheme}://{user}:xxxxx@{host}/{path}");
        return Err(Error::invalid(format!(
            "invalid mirror: username/password not allowed in URI {shown:?}"
        )));
    }
    check_host(host).map_err(|_| not_an_address())?;
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    if !path.is_empty() {
        path.parse::<PathAndQuery>().map_err(|_| not_an_address())?;
    }
    Ok(Location { is_plain: scheme == "http", host: host.into(), path })
}

fn check_prefix(prefix: &str) -> Result<()> {
    let domain = prefix.split('/').next().unwrap_or_default();
    // Alone, `docker.io/team` would be the image `team` of `library`.
    let is_name = Reference::parse(&format!("{prefix}/x"))
        .is_ok_and(|name| name.is_name_only() && is_below(&name.canonical_name(), prefix));
    if is_name && oci::reference::is_domain(domain) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid registry rule: {prefix:?} is no beginning of a full image name")))
}

pub(crate) const DOCKER_IO: &str = "docker.io";
const INDEX_DOCKER_IO: &str = "index.docker.io";
const REGISTRY_DOCKER_IO: &str = "registry-1.docker.io";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Mirror;

    fn user() -> Credentials {
        Credentials::Basic { user: "me".into(), password: "secret".into() }
    }

    /// `transport host base path credentials`, a place a line.
    fn places(config: &Config, name: &str, access: Access) -> Vec<String> {
        let routes = Routes::new(config).unwrap();
        let places = routes.places(&Reference::parse(name).unwrap(), &user(), access).unwrap();
        let line = |place: &Place| {
            let Place { host, base, path, transport, credentials, .. } = place;
            format!("{transport:?} {host}{base} {path} {credentials:?}")
        };
        places.iter().map(line).collect()
    }

    const ME: &str = "Basic { user: \"me\" }";

    #[test]
    fn names_lead_to_their_own_registry() {
        let check = |name: &str, expected: &str| {
            assert_eq!(places(&Config::default(), name, Access::Push), [format!("{expected} {ME}")]);
        };
        check("busybox", "Secure registry-1.docker.io library/busybox");
        check("ghcr.io/me/app:1", "Secure ghcr.io me/app");
        check("localhost:5000/app", "Insecure localhost:5000 app");
        check("127.0.0.2:5000/app", "Insecure 127.0.0.2:5000 app");
        check("[::1]:5000/app", "Insecure [::1]:5000 app");
        check("10.0.0.1:5000/app", "Secure 10.0.0.1:5000 app");
    }

    #[test]
    fn insecure_registries_are_named_or_in_a_network() {
        let insecure = ["old.example:5000", "http://bare.example", "10.0.0.0/8"].map(String::from).to_vec();
        let config = Config { insecure, ..Config::default() };
        let transport =
            |name: &str| places(&config, name, Access::Pull)[0].split(' ').next().unwrap().to_owned();
        assert_eq!(transport("old.example:5000/a"), "Insecure");
        assert_eq!(transport("old.example/a"), "Secure");
        assert_eq!(transport("bare.example/a"), "Insecure");
        assert_eq!(transport("10.1.2.3/a"), "Insecure");
        assert_eq!(transport("11.1.2.3/a"), "Secure");
    }

    #[test]
    fn mirrors_of_docker_io_come_first_and_get_no_credentials() {
        let mirrors =
            ["https://mirror.example/deep/", "http://plain.example:8080"].map(String::from).to_vec();
        let config = Config { mirrors, ..Config::default() };
        assert_eq!(
            places(&config, "busybox", Access::Pull),
            [
                "Secure mirror.example/deep library/busybox Anonymous".to_owned(),
                "Plain plain.example:8080 library/busybox Anonymous".into(),
                format!("Secure registry-1.docker.io library/busybox {ME}"),
            ]
        );
        assert_eq!(places(&config, "busybox", Access::Push).len(), 1);
        assert_eq!(places(&config, "ghcr.io/a/b", Access::Pull).len(), 1);
    }

    #[test]
    fn rules_rewrite_mirror_and_block_by_the_longest_prefix() {
        let token = Credentials::Bearer { token: "t".into() };
        let config = Config {
            rules: vec![
                Rule {
                    prefix: "docker.io".into(),
                    location: Some("own.example/hub".into()),
                    credentials: token.clone(),
                    ..Rule::default()
                },
                Rule { prefix: "docker.io/library".into(), blocked: true, ..Rule::default() },
                Rule {
                    prefix: "docker.io/team".into(),
                    location: Some("own.example/us".into()),
                    ..Rule::default()
                },
                Rule {
                    prefix: "ghcr.io/me".into(),
                    mirrors: vec![Mirror { location: "http://near:5000/cache".into(), credentials: token }],
                    location: Some("ghcr.io/moved".into()),
                    ..Rule::default()
                },
            ],
            ..Config::default()
        };
        assert_eq!(places(&config, "you/app", Access::Pull), ["Secure own.example hub/you/app Bearer"]);
        assert_eq!(places(&config, "team/app", Access::Pull), ["Secure own.example us/app Anonymous"]);
        assert_eq!(
            places(&config, "ghcr.io/me/app", Access::Pull),
            ["Plain near:5000 cache/app Bearer".to_owned(), format!("Secure ghcr.io moved/app {ME}")]
        );
        assert_eq!(places(&config, "ghcr.io/me/app", Access::Push).len(), 1);
        assert_eq!(
            places(&config, "ghcr.io/meme/app", Access::Pull),
            [format!("Secure ghcr.io meme/app {ME}")]
        );
        let routes = Routes::new(&config).unwrap();
        let error = routes.places(&Reference::parse("busybox").unwrap(), &user(), Access::Pull).unwrap_err();
        assert_eq!(error.to_string(), "busybox is blocked by the registry rules");
    }

    #[test]
    fn nonsense_is_refused_with_dockerd_s_words() {
        let check =
            |config: Config, words: &str| assert_eq!(Routes::new(&config).unwrap_err().to_string(), words);
        let mirror = |text: &str| Config { mirrors: vec![text.into()], ..Config::default() };
        check(
            mirror("ftp://a"),
            "invalid mirror: unsupported scheme \"ftp\" in \"ftp://a\": must use either 'https://' or 'http://'",
        );
        check(mirror("https://a/?q"), "invalid mirror: query or fragment at end of the URI \"https://a/?q\"");
        check(
            mirror("https://me:secret@a/"),
            "invalid mirror: username/password not allowed in URI \"https://me:xxxxx@a/\"",
        );
        check(mirror("https://a b"), "invalid mirror: \"https://a b\" is not a valid URI");
        let insecure = |text: &str| Config { insecure: vec![text.into()], ..Config::default() };
        check(insecure("ftp://a"), "insecure registry ftp://a should not contain '://'");
        check(insecure("-a"), "invalid index name (-a). Cannot begin or end with a hyphen");
        check(insecure("a b"), "insecure registry a b is not valid: invalid host \"a b\"");
        check(insecure("a.b:99999"), "insecure registry a.b:99999 is not valid: invalid port \"99999\"");
        let rule = |prefix: &str| Config {
            rules: vec![Rule { prefix: prefix.into(), ..Rule::default() }],
            ..Config::default()
        };
        check(rule("a.b/Not"), "invalid registry rule: \"a.b/Not\" is no beginning of a full image name");
        check(rule("library/a"), "invalid registry rule: \"library/a\" is no beginning of a full image name");
    }
}
