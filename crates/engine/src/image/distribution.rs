//! What registries are asked without an image coming or going: logins, searches, what a name stands for.

use api::registry::{AuthConfig, Authenticated, Distribution, SearchOptions, SearchResult};
use fault::{Error, Result};
use oci::{Digest, Platform, Reference, media_type};
use registry::client::{self, Access, Found, Key, Registries, Repository};

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
    let found = client::search(&engine.registries(), &search).await?;
    Ok(found.into_iter().filter(|found| wanted.holds(found)).map(result).collect())
}

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
