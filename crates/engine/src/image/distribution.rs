//! What registries are asked without an image coming or going: logins, searches, what a name stands for.

use api::registry::{AuthConfig, Authenticated, Distribution, SearchOptions, SearchResult};
use fault::{Error, Result};
use futures_util::future::join_all;
use oci::{Digest, Platform, Reference, media_type};
use registry::client::{self, Access, Credentials, Found, Key, Registries, Repository};

use super::progress::credentials;
use crate::Engine;

/// Asks a registry whether the credentials are good.
pub async fn login(engine: &Engine, auth: &AuthConfig) -> Result<Authenticated> {
    let login = client::Login { server: auth.serveraddress.clone(), credentials: credentials(auth) };
    let identity_token = client::login(&engine.registries(), &login).await?;
    Ok(Authenticated { identity_token, status: "Login Succeeded".into() })
}

/// What a name stands for in its registry.
pub async fn distribution(engine: &Engine, name: &str, auth: &AuthConfig) -> Result<Distribution> {
    if oci::reference::is_image_id(name) {
        return Err(Error::internal("no manifest found for full image ID"));
    }
    let reference = Reference::parse(name)?;
    if reference.familiar_name() == "scratch" {
        return Err(Error::invalid("'scratch' is a reserved name"));
    }
    let reference = reference.with_default_tag();
    let resolved = client::resolve(&engine.registries(), &reference, &credentials(auth)).await?;
    let platforms = Some(resolved.platforms).filter(|platforms| !platforms.is_empty());
    Ok(Distribution { descriptor: resolved.descriptor, platforms })
}

/// A manifest or index, byte for byte, and what a manifest's configuration says of its platform.
pub async fn manifest(engine: &Engine, wanted: &Remote) -> Result<(client::Manifest, Option<Platform>)> {
    let repository = wanted.repository(engine, Access::Pull)?;
    let manifest = repository.manifest(&Key::of(&wanted.reference)).await?;
    if !media_type::is_manifest(&manifest.descriptor.media_type) {
        return Ok((manifest, None));
    }
    let image: oci::Manifest = serde_json::from_slice(&manifest.bytes).map_err(|error| {
        Error::invalid(format!("invalid manifest {}: {error}", manifest.descriptor.digest))
    })?;
    let config = repository.blob(&image.config).await?;
    let platform = serde_json::from_slice::<Platform>(&config).ok();
    Ok((manifest, platform))
}

/// Stores a manifest or index under a name, after blobs that other repositories of the registry have.
pub async fn push_manifest(
    engine: &Engine,
    wanted: &Remote,
    media_type: &str,
    bytes: &[u8],
    mounts: &[(Digest, String)],
) -> Result<Digest> {
    let repository = wanted.repository(engine, Access::Push)?;
    for (digest, from) in mounts {
        let is_there = repository.blob_head(digest).await?.is_some();
        if !is_there && !repository.blob_mount(digest, from).await? {
            return Err(Error::unavailable(format!("failed to mount blob {digest} from {from}")));
        }
    }
    repository.manifest_put(&Key::of(&wanted.reference), media_type, bytes).await
}

/// A name at a registry, and who asks.
#[derive(Clone, Debug)]
pub struct Remote {
    pub reference: Reference,
    pub auth: AuthConfig,
    /// The registry needs no (valid) certificate, for this once.
    pub insecure: bool,
}

impl Remote {
    fn repository(&self, engine: &Engine, access: Access) -> Result<Repository> {
        let mut registries = engine.registries();
        if self.insecure {
            let mut config = engine.registries_config();
            config.insecure.push(self.reference.domain().to_owned());
            registries = Registries::new(config)?;
        }
        registries.repository(&self.reference, &credentials(&self.auth), access)
    }
}

/// Repositories with a term, as their registry ranks them.
pub async fn search(
    engine: &Engine,
    options: &SearchOptions,
    auth: &AuthConfig,
) -> Result<Vec<SearchResult>> {
    let Some(wanted) = Wanted::of(options)? else { return Ok(Vec::new()) };
    let limit = u32::try_from(options.limit)
        .map_err(|_| Error::invalid(format!("limit {} is outside the range of [1, 100]", options.limit)))?;
    let search = client::Search { term: options.term.clone(), limit, credentials: credentials(auth) };
    let found = search_all(engine, search).await?;
    Ok(found.into_iter().filter(|found| wanted.holds(found)).map(result).collect())
}

/// A term that names no registry is looked for in all that the operator has set up, docker.io first. One that does not
/// answer hides no other.
async fn search_all(engine: &Engine, search: client::Search) -> Result<Vec<Found>> {
    let registries = engine.registries();
    if names_registry(&search.term) {
        return client::search(&registries, &search).await;
    }
    let limit = if search.limit == 0 { SEARCH_LIMIT } else { search.limit as usize };
    let others = set_up(&engine.registries_config()).into_iter().map(|host| client::Search {
        term: format!("{host}/{}", search.term),
        limit: search.limit,
        // The user's credentials are docker.io's.
        credentials: Credentials::Anonymous,
    });
    let all: Vec<client::Search> = std::iter::once(search.clone()).chain(others).collect();
    let answers = join_all(all.iter().map(|search| client::search(&registries, search))).await;
    let (mut found, mut failure) = (Vec::new(), None);
    for (search, answer) in all.iter().zip(answers) {
        match answer {
            Ok(answer) => found.push(answer.into_iter().map(|one| named_whole(one, search)).collect()),
            Err(error) => {
                tracing::info!(term = search.term, %error, "a registry was not searched");
                failure.get_or_insert(error);
            }
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(in_turns(found, limit)),
    }
}

/// The registry stands in front of what is not docker.io's.
fn named_whole(found: Found, search: &client::Search) -> Found {
    let host = search.term.split('/').next().filter(|_| names_registry(&search.term));
    match host.filter(|host| !found.name.starts_with(&format!("{host}/"))) {
        Some(host) => Found { name: format!("{host}/{}", found.name), ..found },
        None => found,
    }
}

/// The best of each registry, then the second best of each, and so on.
fn in_turns(found: Vec<Vec<Found>>, limit: usize) -> Vec<Found> {
    let mut rest: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(rest.iter_mut().filter_map(Iterator::next));
        if all.len() == before || all.len() >= limit {
            all.truncate(limit);
            return all;
        }
    }
}

fn names_registry(term: &str) -> bool {
    term.split_once('/').is_some_and(|(first, _)| is_host(first))
}

fn is_host(word: &str) -> bool {
    word.contains(['.', ':']) || word == "localhost"
}

/// Registries that the configuration names, each once.
fn set_up(config: &client::Config) -> Vec<String> {
    let hosts = config.insecure.iter().filter(|one| !one.contains('/')).cloned();
    let open = config.rules.iter().filter(|rule| !rule.blocked);
    let of_rules = open.flat_map(|rule| [Some(&rule.prefix), rule.location.as_ref()]).flatten();
    let of_rules = of_rules.filter_map(|text| text.split('/').next()).map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    for host in hosts.chain(of_rules).filter(|host| is_host(host) && host != "docker.io") {
        if !all.contains(&host) && all.len() < REGISTRIES_MAX {
            all.push(host);
        }
    }
    all
}

/// dockerd's, when a client says nothing.
const SEARCH_LIMIT: usize = 25;
/// Asked at the same time.
const REGISTRIES_MAX: usize = 16;

/// The filters of a search.
struct Wanted {
    official: Option<bool>,
    stars: i64,
}

impl Wanted {
    /// `None` if nothing can fit: there are no automated builds any more.
    fn of(options: &SearchOptions) -> Result<Option<Self>> {
        let filters = &options.filters;
        filters.allow(&["is-automated", "is-official", "stars"])?;
        if filters.flag("is-automated", false)? {
            return Ok(None);
        }
        let official = filters.flag("is-official", false)?;
        let stars = filters.values("stars").map(stars).collect::<Result<Vec<i64>>>()?;
        Ok(Some(Self {
            official: filters.contains("is-official").then_some(official),
            stars: stars.into_iter().max().unwrap_or(0).max(0),
        }))
    }

    fn holds(&self, found: &Found) -> bool {
        self.official.is_none_or(|official| official == found.official) && found.stars >= self.stars
    }
}

fn stars(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "invalid filter 'stars={text}': strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })
}

fn result(found: Found) -> SearchResult {
    SearchResult {
        star_count: found.stars,
        is_official: found.official,
        name: found.name,
        is_automated: false,
        description: found.description,
    }
}

#[cfg(test)]
mod tests {
    use api::filters::Filters;

    use super::*;

    fn wanted(filters: &str) -> Result<Option<Wanted>> {
        let filters = Filters::parse(filters).unwrap();
        Wanted::of(&SearchOptions { filters, ..SearchOptions::default() })
    }

    #[test]
    fn filters_choose_by_stars_and_origin() {
        let found = Found { stars: 5, official: true, ..Found::default() };
        let holds = |filters: &str| wanted(filters).unwrap().unwrap().holds(&found);
        assert!(holds("") && holds(r#"{"stars":["2","5"],"is-official":["true"]}"#));
        assert!(!holds(r#"{"stars":["2","6"]}"#) && !holds(r#"{"is-official":["false"]}"#));
        assert!(wanted(r#"{"is-automated":["true"]}"#).unwrap().is_none());
    }

    #[test]
    fn all_registries_that_are_set_up_take_their_turns() {
        let rule = |prefix: &str, blocked: bool, location: Option<&str>| client::Rule {
            prefix: prefix.into(),
            blocked,
            location: location.map(Into::into),
            ..client::Rule::default()
        };
        let config = client::Config {
            insecure: vec!["10.0.0.0/8".into(), "reg.local:5000".into()],
            rules: vec![
                rule("docker.io/library", false, Some("mirror.local/hub")),
                rule("bad.local", true, None),
                rule("reg.local:5000/team", false, None),
            ],
            ..client::Config::default()
        };
        assert_eq!(set_up(&config), ["reg.local:5000", "mirror.local"]);
        let found = |names: &[&str]| -> Vec<Found> {
            names.iter().map(|name| Found { name: (*name).into(), ..Found::default() }).collect()
        };
        let names = |limit| -> Vec<String> {
            let all = in_turns(vec![found(&["a", "b", "c"]), found(&[]), found(&["x", "y"])], limit);
            all.into_iter().map(|one| one.name).collect()
        };
        assert_eq!(names(25), ["a", "x", "b", "y", "c"]);
        assert_eq!(names(3), ["a", "x", "b"]);
        assert!(names_registry("localhost/a") && names_registry("h:1/a") && !names_registry("me/app"));
    }

    #[test]
    fn what_makes_no_sense_is_told_in_dockerd_s_words() {
        let words = |filters: &str| wanted(filters).err().unwrap().to_string();
        assert_eq!(words(r#"{"a":["b"]}"#), "invalid filter 'a'");
        assert_eq!(
            words(r#"{"stars":["b"]}"#),
            r#"invalid filter 'stars=b': strconv.Atoi: parsing "b": invalid syntax"#
        );
        assert_eq!(words(r#"{"is-official":["b"]}"#), "invalid filter 'is-official=[b]'");
    }
}
