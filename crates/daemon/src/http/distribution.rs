//! Registries: images that come and go, logins, searches, what a name stands for.
//!
//! A pull or push lives in its answer: when the client goes away the connection drops the answer, and that ends it.

use api::registry::{AUTH_HEADER, AuthConfig, NewManifest, RemoteManifest, SearchOptions, StoredManifest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::image;
use fault::{Doing, Error, Result};
use oci::{Digest, Platform, Reference};

use super::answer::Answer;
use super::images::progress;
use super::json;
use super::request::Request;

pub(crate) async fn pull(request: Request) -> Result<Answer> {
    let query = &request.query;
    let platform = query.given("platform").map(Platform::parse).transpose()?;
    let reference = pulled(query.text("fromImage"), query.text("tag"))?;
    let wanted = image::Pull { reference, platform, auth: auth(&request) };
    progress(image::pull(&request.door.engine, wanted).await?)
}

/// The name that is to be pulled; its tag may be a digest. Old clients end a name without one by a colon.
fn pulled(name: &str, tag: &str) -> Result<Reference> {
    let reference = Reference::parse(name.strip_suffix(':').unwrap_or(name))?;
    match (tag, tag.parse::<Digest>()) {
        ("", _) => Ok(reference),
        (_, Ok(digest)) => Ok(reference.with_digest(digest)),
        (tag, Err(_)) => reference.with_tag(tag),
    }
}

pub(crate) async fn push(request: Request) -> Result<Answer> {
    let reference = Reference::parse(&request.name)?;
    let reference = match request.query.text("tag") {
        "" => reference,
        tag => reference.with_tag(tag)?,
    };
    let platform = request.query.given("platform").map(platform).transpose()?;
    let wanted = image::Push { reference, platform, auth: auth(&request) };
    progress(image::push(&request.door.engine, wanted).await?)
}

/// A platform as an object of JSON.
pub(super) fn platform(text: &str) -> Result<Platform> {
    let platform: Platform = json::parse(text.as_bytes()).and_then(api::from_value).map_err(|error| {
        let why = error.to_string();
        Error::invalid(format!("failed to parse platform: {}", why.trim_start_matches("invalid JSON: ")))
    })?;
    let names_nothing = platform.os.is_empty() && platform.architecture.is_empty();
    let has_more =
        platform.variant.is_some() || platform.os_version.is_some() || !platform.os_features.is_empty();
    if names_nothing && has_more {
        return Err(Error::invalid(
            "optional platform components provided, but OS and Architecture are missing",
        ));
    }
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Error::invalid("both OS and Architecture must be provided"));
    }
    Ok(platform)
}

pub(crate) async fn login(mut request: Request) -> Result<Answer> {
    let auth: AuthConfig = api::from_value(json::parse(&request.bytes().await?)?)?;
    request.ok(&image::login(&request.door.engine, &auth).await?)
}

pub(crate) async fn search(request: Request) -> Result<Answer> {
    let options = SearchOptions {
        term: request.query.text("term").to_owned(),
        limit: request.query.number("limit").doing(|| "invalid limit specified")?.unwrap_or(0),
        filters: request.query.filters()?,
    };
    request.ok(&image::search(&request.door.engine, &options, &auth(&request)).await?)
}

pub(crate) async fn distribution(request: Request) -> Result<Answer> {
    request.ok(&image::distribution(&request.door.engine, &request.name, &auth(&request)).await?)
}

/// Ours alone.
pub(crate) async fn manifest(request: Request) -> Result<Answer> {
    let (manifest, platform) = image::manifest(&request.door.engine, &remote(&request)?).await?;
    let raw = STANDARD.encode(&manifest.bytes);
    request.ok(&RemoteManifest { descriptor: manifest.descriptor, raw, platform })
}

/// Ours alone.
pub(crate) async fn push_manifest(mut request: Request) -> Result<Answer> {
    let wanted = remote(&request)?;
    let NewManifest { media_type, raw, mounts } = api::from_value(json::parse(&request.bytes().await?)?)?;
    let bytes = STANDARD.decode(raw).map_err(|error| Error::invalid(format!("invalid manifest: {error}")))?;
    let mounts: Vec<(Digest, String)> = mounts.into_iter().map(|mount| (mount.digest, mount.from)).collect();
    let engine = &request.door.engine;
    let digest = image::push_manifest(engine, &wanted, &media_type, &bytes, &mounts).await?;
    request.ok(&StoredManifest { digest })
}

fn remote(request: &Request) -> Result<image::Remote> {
    let reference = Reference::parse(&request.name)?.with_default_tag();
    Ok(image::Remote { reference, auth: auth(request), insecure: request.query.flag("insecure") })
}

/// Who asks. What cannot be read counts as nobody, as dockerd has it: it is the registry that refuses.
pub(super) fn auth(request: &Request) -> AuthConfig {
    let header = request.headers.get(AUTH_HEADER).and_then(|value| value.to_str().ok());
    AuthConfig::from_header(header.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_be_a_digest_and_a_name_may_end_in_a_colon() {
        let check = |name: &str, tag: &str, wanted: &str| {
            assert_eq!(pulled(name, tag).unwrap().familiar(), wanted, "{name} {tag}");
        };
        let digest = Digest::sha256(b"");
        check("busybox", "", "busybox");
        check("busybox:", "", "busybox");
        check("busybox:1", "", "busybox:1");
        check("docker.io/library/busybox", "1", "busybox:1");
        check("busybox:1", digest.as_str(), &format!("busybox@{digest}"));
        assert_eq!(pulled("busybox", "-a").unwrap_err().to_string(), "invalid tag format");
        assert_eq!(pulled("busybox", "a:b").unwrap_err().to_string(), "invalid tag format");
    }

    #[test]
    fn a_platform_names_system_and_architecture() {
        let words = |text: &str| platform(text).unwrap_err().to_string();
        assert_eq!(platform(r#"{"os":"linux","architecture":"amd64"}"#).unwrap().to_string(), "linux/amd64");
        assert_eq!(words("{}"), "both OS and Architecture must be provided");
        assert_eq!(words(r#"{"os":"linux"}"#), "both OS and Architecture must be provided");
        assert_eq!(
            words(r#"{"variant":"v7"}"#),
            "optional platform components provided, but OS and Architecture are missing"
        );
        assert!(words("foo").starts_with("failed to parse platform: "));
    }
}
