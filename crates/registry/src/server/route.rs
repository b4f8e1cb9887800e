//! What a path means. Pure; a path that is none of these is refused before anything is looked up.

use oci::Digest;

use crate::server::failure::{Failure, Outcome};

/// A resource of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalogue,
    /// `/v2/<name>/tags/list`
    Tags { name: String },
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest { name: String, key: Key },
    /// `/v2/<name>/blobs/<digest>`
    Blob { name: String, digest: Digest },
    /// `/v2/<name>/blobs/uploads/`
    Uploads { name: String },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload { name: String, id: String },
    /// `/v2/<name>/referrers/<digest>`
    Referrers { name: String, digest: Digest },
    /// `/metrics`
    Metrics,
}

/// How a manifest is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Tag(String),
    Digest(Digest),
}

impl Route {
    pub(crate) fn of(path: &str) -> Outcome<Self> {
        match path {
            "/metrics" => return Ok(Self::Metrics),
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalogue),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(Failure::not_found)?;
        // From the right: a repository's name may itself hold "blobs" or "manifests".
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags { name: checked(name)? });
        }
        if let Some(name) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads { name: checked(name)? });
        }
        let (resource, last) = rest.rsplit_once('/').ok_or_else(Failure::not_found)?;
        if let Some(name) = resource.strip_suffix("/blobs/uploads") {
            return upload(name, last);
        }
        let (name, kind) = resource.rsplit_once('/').ok_or_else(Failure::not_found)?;
        match kind {
            "blobs" => Ok(Self::Blob { name: checked(name)?, digest: digest(last)? }),
            "manifests" => Ok(Self::Manifest { name: checked(name)?, key: key(last)? }),
            "referrers" => Ok(Self::Referrers { name: checked(name)?, digest: digest(last)? }),
            _ => Err(Failure::not_found()),
        }
    }

    /// The repository that it is about.
    pub(crate) fn name_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Base | Self::Catalogue | Self::Metrics => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }

    /// For the `Allow` of a refusal.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalogue | Self::Tags { .. } | Self::Referrers { .. } | Self::Metrics => {
                "GET, HEAD"
            }
            Self::Manifest { .. } => "GET, HEAD, PUT, DELETE",
            Self::Blob { .. } => "GET, HEAD, DELETE",
            Self::Uploads { .. } => "POST",
            Self::Upload { .. } => "GET, PATCH, PUT, DELETE",
        }
    }
}

fn upload(name: &str, id: &str) -> Outcome<Route> {
    if !is_upload_id(id) {
        return Err(Failure::upload_unknown());
    }
    Ok(Route::Upload { name: checked(name)?, id: id.into() })
}

/// A UUID as `Uploads::unique` makes it. It is also the name of a file: nothing else may pass.
pub(crate) fn is_upload_id(id: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let fits = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => is_digit(byte),
    };
    id.len() == 36 && id.bytes().enumerate().all(fits)
}

fn checked(name: &str) -> Outcome<String> {
    if is_name(name) { Ok(name.into()) } else { Err(Failure::name_invalid()) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*` (distribution-spec, "Pulling manifests").
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| is_word(*first) && is_word(*last));
    let separators = component.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends && separators.into_iter().all(is_separator)
}

fn is_separator(text: &str) -> bool {
    matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

/// A digest in a path: what is none is the client's mistake.
pub(crate) fn digest(text: &str) -> Outcome<Digest> {
    text.parse().map_err(|error: fault::Error| Failure::digest_invalid(error.to_string()))
}

fn key(text: &str) -> Outcome<Key> {
    if text.contains(':') {
        return digest(text).map(Key::Digest);
    }
    if is_tag(text) { Ok(Key::Tag(text.into())) } else { Err(Failure::manifest_invalid("invalid tag")) }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// As Docker's grammar has it.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(path: &str) -> Option<Route> {
        Route::of(path).ok()
    }

    #[test]
    fn paths_mean_what_the_specification_says() {
        let name = || "a/b".to_owned();
        let digest = Digest::sha256(b"");
        assert_eq!(route("/v2/"), Some(Route::Base));
        assert_eq!(route("/v2/a/b/tags/list"), Some(Route::Tags { name: name() }));
        let key = Key::Tag("1.0".into());
        assert_eq!(route("/v2/a/b/manifests/1.0"), Some(Route::Manifest { name: name(), key }));
        let key = Key::Digest(digest.clone());
        assert_eq!(
            route(&format!("/v2/a/b/manifests/{digest}")),
            Some(Route::Manifest { name: name(), key })
        );
        assert_eq!(route("/v2/a/b/blobs/uploads/"), Some(Route::Uploads { name: name() }));
        assert_eq!(route("/v2/a/b/blobs/uploads"), Some(Route::Uploads { name: name() }));
        let id = "01234567-89ab-4cde-8f01-23456789abcd".to_owned();
        assert_eq!(route(&format!("/v2/a/b/blobs/uploads/{id}")), Some(Route::Upload { name: name(), id }));
        assert_eq!(route(&format!("/v2/a/b/blobs/{digest}")), Some(Route::Blob { name: name(), digest }));
    }

    #[test]
    fn names_of_resources_may_be_names_of_repositories() {
        let digest = Digest::sha256(b"");
        let name = "blobs/manifests".to_owned();
        assert_eq!(route(&format!("/v2/blobs/manifests/blobs/{digest}")), Some(Route::Blob { name, digest }));
    }

    #[test]
    fn nothing_leads_out() {
        for path in [
            "/",
            "/v2/../x",
            "/v2/a/../manifests/x",
            "/v2/A/tags/list",
            "/v2//tags/list",
            "/v2/a/blobs/uploads/..",
            "/v2/a/blobs/uploads/01234567-89ab-4cde-8f01-23456789abc/",
            "/v2/a/blobs/uploads/0123456789ab-4cde-8f01-23456789abcd--",
            "/v2/a/manifests/..",
            "/v2/a/blobs/sha256:..",
            "/v2/-a/tags/list",
            "/v2/a./tags/list",
            "/v2/a___b/tags/list",
            "/v2/a..b/tags/list",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
        assert!(is_name("a__b/c-d/e---f.g"));
    }

    proptest! {
        #[test]
        fn any_path_is_understood_or_refused(path in ".{0,80}") {
            drop(Route::of(&path));
        }
    }
}
