//! Signed tokens (RFC 7515 and 7519): three parts of base64, RS256, ES256 or EdDSA.
//!
//! The key is one that the operator named: by the token's `kid`, or any that the signature fits; or it is the key of the
//! certificate that the token carries (`x5c`), if one of the operator's certificates vouches for that.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fault::{Doing, Error, Result};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};
use sys::fs;
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert,
    spki_for_anchor,
};

use super::token::Grant;
use crate::server::config::TokenAccess;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub(super) iss: String,
    #[serde(default)]
    pub(super) sub: String,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) aud: Vec<String>,
    /// Seconds since 1970.
    pub(super) exp: u64,
    #[serde(default)]
    pub(super) nbf: Option<u64>,
    #[serde(default, deserialize_with = "null_is_none")]
    pub(super) access: Vec<Grant>,
}

/// A token that was taken apart and not believed yet.
#[derive(Debug)]
pub(crate) struct Parts<'t> {
    header: Header,
    message: &'t [u8],
    signature: Vec<u8>,
    pub(crate) claims: Claims,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
    /// Extensions that must be understood: none is (RFC 7515, 4.1.11).
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

impl<'t> Parts<'t> {
    pub(crate) fn of(token: &'t str) -> Result<Self, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let (message, signature) = token.rsplit_once('.').ok_or("it has no three parts")?;
        let (header, claims) = message.split_once('.').ok_or("it has no three parts")?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "it is not base64");
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| "its header is not understood")?;
        if header.crit.is_some() {
            return Err("it wants an extension that is not known");
        }
        let claims =
            serde_json::from_slice(&decoded(claims)?).map_err(|_| "its claims are not understood")?;
        Ok(Self { header, message: message.as_bytes(), signature: decoded(signature)?, claims })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    fn of_certificates(self) -> &'static dyn SignatureVerificationAlgorithm {
        match self {
            Self::Rs256 => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
            Self::Es256 => webpki::ring::ECDSA_P256_SHA256,
            Self::EdDsa => webpki::ring::ED25519,
        }
    }
}

/// What tokens are believed by.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    anchors: Vec<TrustAnchor<'static>>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    /// As certificates and PEM files have it.
    Info(SubjectPublicKeyInfoDer<'static>),
}

impl Keys {
    pub(super) fn read(config: &TokenAccess) -> Result<Self> {
        let mut keys = Self { keys: Vec::new(), anchors: Vec::new() };
        for path in &config.certificates {
            keys.add_pem(path).doing(|| format!("reading the keys of tokens {}", path.display()))?;
        }
        for path in &config.jwks {
            let text = fs::read_bounded(path, KEYS_BYTES_MAX)?;
            let read = key_set(&text).doing(|| format!("reading the keys of tokens {}", path.display()))?;
            keys.keys.extend(read);
        }
        if keys.keys.is_empty() {
            return Err(Error::invalid("tokens need keys to be believed by: none was given"));
        }
        Ok(keys)
    }

    /// Certificates, which vouch for others as well, and bare public keys.
    fn add_pem(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_bounded(path, KEYS_BYTES_MAX)?;
        let unreadable = |error| Error::invalid("it is not in PEM form").with_source(error);
        let before = self.keys.len();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(unreadable)?;
            let anchor = anchor_from_trusted_cert(&certificate)
                .map_err(|error| Error::invalid("a certificate is not understood").with_source(error))?;
            self.keys.push(Key::of_info(spki_for_anchor(&anchor)));
            self.anchors.push(anchor.to_owned());
        }
        for info in SubjectPublicKeyInfoDer::pem_slice_iter(&text) {
            self.keys.push(Key::of_info(info.map_err(unreadable)?));
        }
        if self.keys.len() == before {
            return Err(Error::invalid("it has neither a certificate nor a public key"));
        }
        Ok(())
    }

    /// What a token says, if one of the keys has signed it.
    pub(super) fn verified(&self, token: &str, now: u64) -> Result<Claims, &'static str> {
        let parts = Parts::of(token)?;
        let algorithm = Algorithm::parse(&parts.header.alg).ok_or("its algorithm is not supported")?;
        let signed = if parts.header.x5c.is_empty() {
            self.candidates(parts.header.kid.as_deref()).any(|key| key.has_signed(algorithm, &parts))
        } else {
            self.vouched(algorithm, &parts, now)?
        };
        if signed { Ok(parts.claims) } else { Err("none of the keys has signed it") }
    }

    fn candidates<'k>(&'k self, id: Option<&'k str>) -> impl Iterator<Item = &'k Key> {
        let is_known = id.is_some_and(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        self.keys.iter().filter(move |key| !is_known || key.id.as_deref() == id).take(KEYS_TRIED_MAX)
    }

    /// Whether the certificate that the token carries is vouched for, and has signed.
    fn vouched(&self, algorithm: Algorithm, parts: &Parts<'_>, now: u64) -> Result<bool, &'static str> {
        let chain = parts
            .header
            .x5c
            .iter()
            .take(CHAIN_MAX)
            .map(|text| STANDARD.decode(text).map(CertificateDer::from));
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|_| "its certificates are not base64")?;
        let leaf = EndEntityCert::try_from(&chain[0]).map_err(|_| "its certificate is not understood")?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            &chain[1..],
            time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|_| "nobody vouches for its certificate")?;
        let signature = der_signature(algorithm, &parts.signature);
        Ok(leaf.verify_signature(algorithm.of_certificates(), parts.message, &signature).is_ok())
    }
}

impl Key {
    fn of_info(info: SubjectPublicKeyInfoDer<'static>) -> Self {
        Self { id: Some(fingerprint(&info)), material: Material::Info(info) }
    }

    fn has_signed(&self, algorithm: Algorithm, parts: &Parts<'_>) -> bool {
        let (message, signature) = (parts.message, parts.signature.as_slice());
        match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Material::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::Ed25519(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Material::Info(info), _) => RawPublicKeyEntity::try_from(info).is_ok_and(|key| {
                let signature = der_signature(algorithm, signature);
                key.verify_signature(algorithm.of_certificates(), message, &signature).is_ok()
            }),
            _ => false,
        }
    }
}

/// What Docker's token servers call a key: the first 240 bits of its hash in base32, in groups of four letters.
fn fingerprint(info: &SubjectPublicKeyInfoDer<'_>) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(info);
    let letter = |index: usize| {
        let bits = (0..5).map(|bit| index * 5 + bit).map(|bit| hash[bit / 8] >> (7 - bit % 8) & 1);
        char::from(LETTERS[usize::from(bits.fold(0, |all, bit| all << 1 | bit))])
    };
    let group = |group: usize| (group * 4..group * 4 + 4).map(letter).collect::<String>();
    (0..12).map(group).collect::<Vec<_>>().join(":")
}

/// Tokens have the two numbers of an ECDSA signature side by side (RFC 7518, 3.4), certificates in DER.
fn der_signature(algorithm: Algorithm, signature: &[u8]) -> Vec<u8> {
    if algorithm != Algorithm::Es256 || signature.len() != 64 {
        return signature.to_vec();
    }
    let body: Vec<u8> = signature.chunks(32).flat_map(der_integer).collect();
    [&[0x30, body.len() as u8], body.as_slice()].concat()
}

fn der_integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take(number.len() - 1).take_while(|byte| **byte == 0).count();
    let digits = &number[zeros..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    [&[0x02, (sign.len() + digits.len()) as u8], sign, digits].concat()
}

/// A set of keys in JSON (RFC 7517). Keys of other kinds, or for other uses, are passed over.
fn key_set(text: &[u8]) -> Result<Vec<Key>> {
    let set: KeySet = serde_json::from_slice(text)
        .map_err(|error| Error::invalid("it is no set of keys in JSON").with_source(error))?;
    set.keys
        .into_iter()
        .filter(|key| key.usage.as_deref().unwrap_or("sig") == "sig")
        .filter_map(JsonKey::read)
        .collect()
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<JsonKey>,
}

#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl JsonKey {
    fn read(self) -> Option<Result<Key>> {
        let bytes = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|error| Error::invalid("a key is not base64").with_source(error))
        };
        let material = match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => {
                bytes(&self.n).and_then(|modulus| Ok(Material::Rsa { modulus, exponent: bytes(&self.e)? }))
            }
            ("EC", "P-256") => {
                bytes(&self.x).and_then(|x| Ok(Material::P256([vec![4], x, bytes(&self.y)?].concat())))
            }
            ("OKP", "Ed25519") => bytes(&self.x).map(Material::Ed25519),
            _ => return None,
        };
        Some(material.map(|material| Key { id: self.kid, material }))
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Audience>::deserialize(source)? {
        None => Vec::new(),
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Many(many)) => many,
    })
}

fn null_is_none<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Grant>, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// Headers are not longer anyway.
const TOKEN_BYTES_MAX: usize = 64 << 10;
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// Checking a signature costs; a token without a fitting `kid` may try so many keys.
const KEYS_TRIED_MAX: usize = 16;
const CHAIN_MAX: usize = 8;
