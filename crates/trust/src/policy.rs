//! The operator's policy: for which names a signature, a digest, or nothing at all is asked.
//!
//! ```json
//! { "version": 1, "rules": [
//!     { "prefix": "registry.example/prod", "require": "signature", "keys": ["/etc/kogge/keys/release.pub"] },
//!     { "prefix": "docker.io",             "require": "digest" },
//!     { "prefix": "evil.example",          "require": "reject", "reason": "see ticket 7" },
//!     { "prefix": "",                      "require": "nothing" } ] }
//! ```
//!
//! The rule with the longest prefix counts, in whole parts of the canonical name; without a rule nothing is asked.

use fault::{Doing, Error, Result};
use oci::{Digest, Reference};
use serde::Deserialize;

use crate::{PublicKey, Signature};

/// What is asked for which names. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Without a slash at its end; empty for all names.
    prefix: String,
    requirement: Requirement,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    Nothing,
    /// The name must be given with a digest.
    Digest,
    /// One of these keys must have signed the image.
    Signature(Vec<PublicKey>),
    /// The name is refused, and why.
    Reject(String),
}

/// An image that is about to be used.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub naming: Naming<'a>,
    /// Of the manifests that the image is known by: what the name stands for, and what an index led to.
    pub digests: &'a [Digest],
    /// Whatever was found for one of the digests, by anybody.
    pub signatures: &'a [Signature],
}

/// How an image was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Naming<'a> {
    Name(&'a Reference),
    /// By its id, which pins it; it has to do for all the names that it has.
    Id {
        /// As errors call it.
        id: &'a str,
        names: &'a [Reference],
    },
}

/// What spoke for an image; the most comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was asked.
    Unasked,
    /// It was named by its digest.
    Pinned,
    /// The key with this fingerprint signed it.
    Signed(Digest),
}

impl Policy {
    /// Reads the policy file; `read_key` gives the text of a key file. Unknown fields are errors: a misspelt
    /// requirement must not be a missing one.
    pub fn parse(text: &str, read_key: &mut dyn FnMut(&str) -> Result<String>) -> Result<Self> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| Error::invalid("the policy is not understood").with_source(error))?;
        if file.version != VERSION {
            return Err(Error::unsupported(format!("policies of version {}", file.version)));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for row in file.rules {
            let rule = row.rule(read_key)?;
            if rules.iter().any(|known| known.prefix == rule.prefix) {
                return Err(Error::invalid(format!("the policy has two rules for \"{}\"", rule.prefix)));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// Nothing is asked of any name.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Prefixes and what is asked for them, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Requirement)> {
        self.rules.iter().map(|rule| (rule.prefix.as_str(), &rule.requirement))
    }

    /// What is asked for a name.
    pub fn requirement(&self, name: &Reference) -> &Requirement {
        self.asked_of(&name.canonical_name())
    }

    /// An image without a name is under the rule for all names.
    fn asked_of(&self, full_name: &str) -> &Requirement {
        let fitting = self.rules.iter().filter(|rule| covers(&rule.prefix, full_name));
        fitting.max_by_key(|rule| rule.prefix.len()).map_or(&Requirement::Nothing, |rule| &rule.requirement)
    }

    /// Whether an image may be used under a name. `Denied` says what is missing.
    pub fn check(&self, image: &Image<'_>) -> Result<Verdict> {
        match image.naming {
            Naming::Name(name) => {
                let pinned = name.digest().is_some();
                judge(self.requirement(name), image, pinned, &name.familiar())
            }
            Naming::Id { id, names: [] } => judge(self.asked_of(""), image, true, id),
            Naming::Id { names, .. } => {
                let judged =
                    names.iter().map(|name| judge(self.requirement(name), image, true, &name.familiar()));
                judged
                    .collect::<Result<Vec<_>>>()
                    .map(|all| all.into_iter().max().unwrap_or(Verdict::Unasked))
            }
        }
    }
}

fn judge(requirement: &Requirement, image: &Image<'_>, pinned: bool, name: &str) -> Result<Verdict> {
    match requirement {
        Requirement::Nothing => Ok(Verdict::Unasked),
        Requirement::Reject(reason) => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            Err(Error::denied(format!("image {name} is rejected by the policy{reason}")))
        }
        Requirement::Digest if pinned => Ok(Verdict::Pinned),
        Requirement::Digest => Err(Error::denied(format!(
            "image {name} is not named by its digest, as the policy asks: use {}@sha256:…",
            repository(name)
        ))),
        Requirement::Signature(keys) => signer(image, keys).doing(|| format!("image {name}")),
    }
}

fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// The first signature of an accepted key for one of the image's digests; else the nearest miss. What somebody else has put
/// beside a good signature does not spoil it.
fn signer(image: &Image<'_>, keys: &[PublicKey]) -> Result<Verdict> {
    let mut foreign_key = false;
    let mut foreign_image = None;
    for signature in image.signatures {
        match (signature.signer(keys), signature.digest()) {
            (Some(key), Ok(digest)) if image.digests.contains(&digest) => {
                return Ok(Verdict::Signed(key.fingerprint()));
            }
            (Some(_), Ok(digest)) => {
                foreign_image = Some(format!("the signature is of another image, {digest}"));
            }
            (Some(_), Err(error)) => foreign_image = Some(error.to_string()),
            (None, _) => foreign_key = true,
        }
    }
    Err(Error::denied(match (foreign_image, foreign_key) {
        (Some(words), _) => words,
        (None, true) => "signed, but by none of the keys that the policy accepts".to_owned(),
        (None, false) => "not signed, and the policy asks for a signature".to_owned(),
    }))
}

/// In whole parts: `docker.io/lib` does not cover `docker.io/library/x`.
fn covers(prefix: &str, name: &str) -> bool {
    prefix.is_empty()
        || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    rules: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    prefix: String,
    require: Word,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Word {
    Nothing,
    Digest,
    Signature,
    Reject,
}

impl Row {
    fn rule(self, read_key: &mut dyn FnMut(&str) -> Result<String>) -> Result<Rule> {
        let prefix = self.prefix.trim_end_matches('/').to_owned();
        if self.require != Word::Signature && !self.keys.is_empty() {
            return Err(Error::invalid(format!(
                "the policy's rule for \"{prefix}\" has keys but asks for no signature"
            )));
        }
        let requirement = match self.require {
            Word::Nothing => Requirement::Nothing,
            Word::Digest => Requirement::Digest,
            Word::Reject => Requirement::Reject(self.reason),
            Word::Signature => Requirement::Signature(keys(&prefix, &self.keys, read_key)?),
        };
        Ok(Rule { prefix, requirement })
    }
}

fn keys(
    prefix: &str,
    paths: &[String],
    read_key: &mut dyn FnMut(&str) -> Result<String>,
) -> Result<Vec<PublicKey>> {
    if paths.is_empty() {
        return Err(Error::invalid(format!(
            "the policy asks \"{prefix}\" for a signature but names no keys"
        )));
    }
    let read = |path: &String| {
        read_key(path)
            .and_then(|text| PublicKey::from_pem(&text))
            .doing(|| format!("the policy's key {path}"))
    };
    paths.iter().map(read).collect()
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use fault::Kind;
    use proptest::prelude::*;

    use super::*;
    use crate::PrivateKey;

    fn policy(rules: &str, key: &PrivateKey) -> Result<Policy> {
        let pem = key.public().to_pem();
        Policy::parse(&format!(r#"{{"version":1,"rules":[{rules}]}}"#), &mut |_| Ok(pem.clone()))
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    const SIGNED: &str = r#"{"prefix":"a.example/prod","require":"signature","keys":["k"]}"#;

    /// What the policy says of `a.example/prod/app` with these signatures.
    fn judged(key: &PrivateKey, signatures: &[Signature]) -> Result<Verdict> {
        let (name, digest) = (reference("a.example/prod/app"), Digest::sha256(b"manifest"));
        policy(SIGNED, key).unwrap().check(&Image {
            naming: Naming::Name(&name),
            digests: &[digest],
            signatures,
        })
    }

    #[test]
    fn a_signature_of_an_accepted_key_speaks_for_an_image() {
        let key = PrivateKey::generate().unwrap();
        let (name, digest) = (reference("a.example/prod/app"), Digest::sha256(b"manifest"));
        for signature in Signature::create(&key, &name, &digest).unwrap() {
            let verdict = judged(&key, &[signature]).unwrap();
            assert_eq!(verdict, Verdict::Signed(key.public().fingerprint()));
        }
    }

    #[test]
    fn an_unsigned_image_a_foreign_key_and_a_foreign_image_are_each_refused_by_name() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let (name, digest) = (reference("a.example/prod/app"), Digest::sha256(b"manifest"));
        let refusal = |signatures: &[Signature]| {
            let error = judged(&key, signatures).unwrap_err();
            assert_eq!(error.kind(), Kind::Denied);
            error.to_string()
        };
        assert_eq!(refusal(&[]), "image a.example/prod/app: not signed, and the policy asks for a signature");
        let foreign = Signature::claim(&other, &name, &digest).unwrap();
        assert_eq!(
            refusal(&[foreign]),
            "image a.example/prod/app: signed, but by none of the keys that the policy accepts"
        );
        let moved = Signature::claim(&key, &name, &Digest::sha256(b"another")).unwrap();
        assert!(refusal(&[moved]).contains("the signature is of another image, sha256:"));
        for mut tampered in Signature::create(&key, &name, &digest).unwrap() {
            tampered.payload[20] ^= 1;
            assert!(refusal(&[tampered]).contains("none of the keys"));
        }
        let chatter = key.sign(b"words").unwrap();
        let chatter = Signature::from_layer(b"words".to_vec(), &STANDARD.encode(chatter)).unwrap();
        assert!(refusal(&[chatter]).contains("the signed claim is not one about an image"));
    }

    #[test]
    fn a_good_signature_counts_whatever_lies_beside_it() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let (name, digest) = (reference("a.example/prod/app"), Digest::sha256(b"manifest"));
        let beside = [
            Signature::claim(&other, &name, &digest).unwrap(),
            Signature::claim(&key, &name, &Digest::sha256(b"another")).unwrap(),
            Signature::from_layer(b"words".to_vec(), &STANDARD.encode(key.sign(b"words").unwrap())).unwrap(),
            Signature::claim(&key, &name, &digest).unwrap(),
        ];
        assert!(judged(&key, &beside).is_ok());
        assert!(judged(&key, &beside[..3]).is_err());
    }

    #[test]
    fn an_image_by_its_id_has_to_do_for_all_its_names() {
        let key = PrivateKey::generate().unwrap();
        let rules = format!(
            r#"{SIGNED},{{"prefix":"b.example","require":"digest"}},{{"prefix":"","require":"reject"}},
            {{"prefix":"docker.io","require":"nothing"}}"#
        );
        let policy = policy(&rules, &key).unwrap();
        let check = |names: &[&str]| {
            let names: Vec<Reference> = names.iter().map(|name| reference(name)).collect();
            let naming = Naming::Id { id: "sha256:12", names: &names };
            policy.check(&Image { naming, digests: &[], signatures: &[] }).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["busybox:1"]), Ok(Verdict::Unasked));
        assert_eq!(check(&["busybox:1", "b.example/x:1"]), Ok(Verdict::Pinned));
        let unsigned = "image a.example/prod/app:1: not signed, and the policy asks for a signature";
        assert_eq!(check(&["busybox:1", "a.example/prod/app:1"]), Err(unsigned.into()));
        assert_eq!(check(&[]), Err("image sha256:12 is rejected by the policy".into()));
    }

    #[test]
    fn the_longest_prefix_in_whole_parts_counts() {
        let key = PrivateKey::generate().unwrap();
        let rules = r#"{"prefix":"","require":"reject","reason":"unknown"},
            {"prefix":"docker.io","require":"digest"},
            {"prefix":"docker.io/library/","require":"nothing"}"#;
        let policy = policy(rules, &key).unwrap();
        assert_eq!(*policy.requirement(&reference("busybox")), Requirement::Nothing);
        assert_eq!(*policy.requirement(&reference("librarian/x")), Requirement::Digest);
        assert_eq!(*policy.requirement(&reference("b.example/x")), Requirement::Reject("unknown".into()));
        assert_eq!(*Policy::default().requirement(&reference("b.example/x")), Requirement::Nothing);
    }

    #[test]
    fn a_name_is_pinned_by_its_digest() {
        let key = PrivateKey::generate().unwrap();
        let policy = policy(r#"{"prefix":"docker.io","require":"digest"}"#, &key).unwrap();
        let check = |name: &str| {
            policy.check(&Image { naming: Naming::Name(&reference(name)), digests: &[], signatures: &[] })
        };
        let pinned = format!("busybox@{}", Digest::sha256(b"manifest"));
        assert_eq!(check(&pinned).unwrap(), Verdict::Pinned);
        for (name, shown) in [("busybox", "busybox"), ("busybox:1", "busybox:1")] {
            assert_eq!(
                check(name).unwrap_err().to_string(),
                format!("image {shown} is not named by its digest, as the policy asks: use busybox@sha256:…")
            );
        }
    }

    #[test]
    fn a_policy_that_says_less_than_it_seems_is_refused() {
        let key = PrivateKey::generate().unwrap();
        for rules in [
            r#"{"prefix":"a","require":"signature"}"#,
            r#"{"prefix":"a","require":"signature","keyz":["k"]}"#,
            r#"{"prefix":"a","require":"signatures","keys":["k"]}"#,
            r#"{"prefix":"a","require":"digest","keys":["k"]}"#,
            r#"{"prefix":"a","require":"digest"},{"prefix":"a/","require":"nothing"}"#,
        ] {
            assert_eq!(policy(rules, &key).unwrap_err().kind(), Kind::Invalid, "{rules}");
        }
        let later = Policy::parse(r#"{"version":2,"rules":[]}"#, &mut |_| Ok(String::new()));
        assert_eq!(later.unwrap_err().kind(), Kind::Unsupported);
    }

    proptest! {
        #[test]
        fn any_text_is_a_policy_or_refused(text: String) {
            drop(Policy::parse(&text, &mut |_| Ok(String::new())));
        }
    }
}
