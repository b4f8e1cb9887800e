//! An image's name as people write it, made whole: `busybox` is `docker.io/library/busybox`.
//!
//! The grammar and its normalisation are those of the Go module `distribution/reference`; so are the error texts, on
//! which people rely. It does not know whether the name exists.

use std::fmt;
use std::str::FromStr;

use fault::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Digest;

/// `domain/path[:tag][@digest]`, valid since it was parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and normalises. Errors have Docker's texts.
    pub fn parse(text: &str) -> Result<Self> {
        if is_image_id(text) {
            return Err(Error::invalid(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (domain, remainder) = split_domain(text);
        refuse_upper_case(&remainder)?;
        let (name_and_tag, digest) = match remainder.split_once('@') {
            Some((left, digest)) => (left, Some(parse_digest(digest)?)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match name_and_tag.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name_and_tag, None),
        };
        if !is_domain(domain) || !is_path(path) || !tag.is_none_or(is_tag) {
            return Err(invalid_format());
        }
        if path.len() > PATH_LENGTH_MAX {
            return Err(Error::invalid(format!(
                "repository name must not be more than {PATH_LENGTH_MAX} characters"
            )));
        }
        Ok(Self { domain: domain.into(), path: path.into(), tag: tag.map(Into::into), digest })
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Neither tag nor digest was given.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// With `:latest` if neither tag nor digest was given.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// The same repository under another tag, without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        if !is_tag(tag) {
            return Err(Error::invalid("invalid tag format"));
        }
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same repository by digest, without tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository alone.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// As Docker shows it: `busybox:latest`, `ghcr.io/a/b@sha256:…`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The repository as Docker shows it: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.into(),
            _ => self.path.clone(),
        }
    }

    /// The whole name: `docker.io/library/busybox:latest`.
    pub fn canonical(&self) -> String {
        self.with_suffix(self.canonical_name())
    }

    /// The whole repository name: `docker.io/library/busybox`.
    pub fn canonical_name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.canonical()
    }
}

/// The canonical text.
impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.canonical())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.canonical())
    }
}

/// 64 hexadecimal digits: an image id, which Docker never takes for a name.
pub fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Splits off the registry's domain and adds what Docker lets people leave out (`splitDockerDomain`).
fn split_domain(name: &str) -> (&str, String) {
    let Some((first, rest)) = name.split_once('/') else {
        return (DEFAULT_DOMAIN, format!("{OFFICIAL}{name}"));
    };
    let names_a_host = first == "localhost" || first.contains(['.', ':']) || has_upper_case(first);
    let (domain, path) = match first {
        "index.docker.io" | DEFAULT_DOMAIN => (DEFAULT_DOMAIN, rest),
        _ if names_a_host => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain, format!("{OFFICIAL}{path}"));
    }
    (domain, path.into())
}

fn refuse_upper_case(remainder: &str) -> Result<()> {
    let repository = remainder.split_once(':').map_or(remainder, |(left, _)| left);
    if !has_upper_case(repository) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid reference format: repository name ({repository}) must be lowercase")))
}

fn has_upper_case(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

fn parse_digest(text: &str) -> Result<Digest> {
    let (algorithm, hex) = text.split_once(':').ok_or_else(invalid_format)?;
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_hex = hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !algorithm.split(['-', '_', '+', '.']).all(is_word) {
        return Err(invalid_format());
    }
    text.parse()
}

/// `host[:port]`, the host a domain name, an IPv4 address or an IPv6 address in brackets.
pub fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return is_ipv6(address),
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => return domain.split('.').all(is_domain_component),
        },
    };
    let port_is_number =
        port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_is_valid =
        if domain.starts_with('[') { is_ipv6(host) } else { host.split('.').all(is_domain_component) };
    port_is_number && host_is_valid
}

fn is_ipv6(address: &str) -> bool {
    !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

fn is_domain_component(component: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(is_inner)
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Runs of lower case letters and digits, between them `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    let starts_and_ends = component.starts_with(is_alphanumeric) && component.ends_with(is_alphanumeric);
    starts_and_ends && component.split(is_alphanumeric).all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_inner = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
    tag.len() <= TAG_LENGTH_MAX && tag.bytes().next().is_some_and(is_word) && tag.bytes().all(is_inner)
}

fn invalid_format() -> Error {
    Error::invalid("invalid reference format")
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
const PATH_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_made_whole_and_shown_short() {
        let check = |text: &str, canonical: &str, familiar: &str| {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (reference.canonical().as_str(), reference.familiar().as_str()),
                (canonical, familiar)
            );
        };
        let digest = Digest::sha256(b"");
        check("busybox", "docker.io/library/busybox", "busybox");
        check("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36");
        check("docker.io/busybox", "docker.io/library/busybox", "busybox");
        check("index.docker.io/library/busybox:a", "docker.io/library/busybox:a", "busybox:a");
        check("library/a/b", "docker.io/library/a/b", "library/a/b");
        check("me/tool", "docker.io/me/tool", "me/tool");
        check("localhost/a", "localhost/a", "localhost/a");
        check("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b");
        check("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a");
        check("Host/a", "Host/a", "Host/a");
        check("a__b-c---d.e_f", "docker.io/library/a__b-c---d.e_f", "a__b-c---d.e_f");
        let by_digest = format!("ghcr.io/a/b:t@{digest}");
        check(&by_digest, &by_digest, &by_digest);
    }

    #[test]
    fn bad_names_get_docker_s_words() {
        let check = |text: &str, words: &str| {
            assert_eq!(Reference::parse(text).unwrap_err().to_string(), words, "{text}");
        };
        let format = "invalid reference format";
        check("Foo", "invalid reference format: repository name (library/Foo) must be lowercase");
        check("me/Foo:Tag", "invalid reference format: repository name (me/Foo) must be lowercase");
        for text in [
            "", ":", "a:", "a:-", "a b", "/a", "a/", "a//b", "-a", "a-", "a..b", "a___b", "a:b:c", "a@",
            "a@b",
        ] {
            check(text, format);
        }
        check("a.b:x/c", format);
        check("../../etc/passwd", format);
        check(&format!("a@sha256:{}", "0".repeat(31)), format);
        check(&format!("a@sha256:{}", "0".repeat(40)), "invalid checksum digest length");
        check(&format!("a:{}", "t".repeat(129)), format);
        check(&"a".repeat(256), "repository name must not be more than 255 characters");
        let id = "0".repeat(64);
        check(&id, &format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings"));
    }

    #[test]
    fn a_default_tag_is_given_only_to_bare_names() {
        let tagged = |text: &str| Reference::parse(text).unwrap().with_default_tag().familiar();
        assert_eq!(tagged("a"), "a:latest");
        assert_eq!(tagged("a:1"), "a:1");
        let by_digest = format!("a@{}", Digest::sha256(b""));
        assert_eq!(tagged(&by_digest), by_digest);
    }

    proptest! {
        #[test]
        fn both_texts_parse_back_to_the_same_name(text in "([a-zA-Z0-9.-]{1,9}(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,20}(:[A-Za-z0-9_.-]{1,9})?") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.canonical()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ignored = Reference::parse(&text);
        }
    }
}
