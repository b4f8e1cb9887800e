//! What cosign signs since its version 3: an in-toto statement that names an image, and the bundle of sigstore in which
//! statement and signature lie in a registry.
//!
//! ```text
//! bundle { dsseEnvelope { payload: statement { subject: digest }, signatures: [one] }, verificationMaterial { key's hint } }
//! ```
//! Only statements that say no more than "this is signed" are read: another predicate may say the opposite.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::signature::{Form, Signature};

/// An in-toto statement (in-toto attestation framework, spec/v1/statement.md).
#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: serde_json::Map<String, serde_json::Value>,
}

/// The bytes of a statement that an image is signed.
pub(crate) fn encode(digest: &Digest) -> Vec<u8> {
    let statement = Statement {
        kind: KIND.into(),
        subject: vec![Subject {
            digest: BTreeMap::from([(digest.algorithm().to_owned(), digest.hex().to_owned())]),
            annotations: serde_json::Map::new(),
        }],
        predicate_type: PREDICATE_TYPE.into(),
        predicate: serde_json::Map::new(),
    };
    serde_json::to_vec(&statement).expect("plain structs are always JSON")
}

/// The image that a statement says is signed.
pub(crate) fn decode(bytes: &[u8]) -> Result<Digest> {
    let statement: Statement = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid("the signed statement is none of in-toto").with_source(error))?;
    if statement.kind != KIND || statement.predicate_type != PREDICATE_TYPE {
        let kind = statement.predicate_type;
        return Err(Error::invalid(format!("the signed statement is of another type, \"{kind}\"")));
    }
    match statement.subject.as_slice() {
        [subject] => match subject.digest.get("sha256") {
            Some(hex) => format!("sha256:{hex}").parse(),
            None => Err(Error::invalid("the signed statement names its image by no digest that is known")),
        },
        subjects => {
            Err(Error::invalid(format!("the signed statement is about {} things, not one", subjects.len())))
        }
    }
}

/// What the key signs in a statement's place: its type and itself, with their lengths (DSSE, protocol.md, "PAE").
pub(crate) fn signed_bytes(statement: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {STATEMENT_TYPE} {} ", STATEMENT_TYPE.len(), statement.len());
    [head.as_bytes(), statement].concat()
}

/// A bundle, as far as it is about signatures by plain keys.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
}

#[derive(Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signed>,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    sig: String,
}

impl Signature {
    /// Reads a bundle. `Invalid` for one that is no signed statement.
    pub fn from_bundle(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Error::invalid(format!("the bundle is larger than {BUNDLE_BYTES_MAX} bytes")));
        }
        let bundle: Bundle = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid("the bundle holds no signed statement").with_source(error))?;
        let envelope = bundle.dsse_envelope;
        let [signed] = envelope.signatures.as_slice() else {
            return Err(Error::invalid("the bundle's envelope has not one signature"));
        };
        if envelope.payload_type != STATEMENT_TYPE {
            let kind = envelope.payload_type;
            return Err(Error::invalid(format!("the bundle's envelope holds no statement but \"{kind}\"")));
        }
        let decoded = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|error| Error::invalid("the bundle is not base64").with_source(error))
        };
        Ok(Self {
            form: Form::Statement,
            payload: decoded(&envelope.payload)?,
            signature: decoded(&signed.sig)?,
            key_hint: bundle.verification_material.public_key.map(|key| key.hint).unwrap_or_default(),
        })
    }

    /// The bundle of a signed statement, as cosign writes it.
    pub fn to_bundle(&self) -> Vec<u8> {
        let bundle = Bundle {
            media_type: BUNDLE_TYPE.into(),
            verification_material: Material { public_key: Some(KeyHint { hint: self.key_hint.clone() }) },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(&self.payload),
                payload_type: STATEMENT_TYPE.into(),
                signatures: vec![Signed { sig: STANDARD.encode(&self.signature) }],
            },
        };
        serde_json::to_vec(&bundle).expect("plain structs are always JSON")
    }
}

const KIND: &str = "https://in-toto.io/Statement/v1";
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// Of a statement that says of its subject that it is signed, and no more.
pub const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Media type of a bundle, and artifact type of the manifest that holds one and refers to what is signed.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Bundles of keys have some 700 bytes; certificates and proofs of logs add to others.
pub const BUNDLE_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PrivateKey, PublicKey};

    /// Made by cosign 3.1.1.
    const OF_COSIGN: &str = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"nWtx2FYmWsRYfJXof0nQVUQz2xi9AOjgkuq6urFlzQU="}},"dsseEnvelope":{"payload":"eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbeyJkaWdlc3QiOnsic2hhMjU2IjoiNzNkMjE0OTE1MDJlZGNlYjM3ZWVkZDZmZDlhYmRjODFkNDFlOGIwM2NiZTVlMmZkNjkwMDJjZDY5MTJmMjNlZSJ9LCJhbm5vdGF0aW9ucyI6e319XSwicHJlZGljYXRlVHlwZSI6Imh0dHBzOi8vc2lnc3RvcmUuZGV2L2Nvc2lnbi9zaWduL3YxIiwicHJlZGljYXRlIjp7fX0=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"MEUCIFM64YTskWcTcQM3zlS8wQbZ9fsA9cTBhGH2c5bMymIPAiEAqxqbNPZZIXX+jlClkzDikjISgsVocVs8fawAWySBhTw="}]}}"#;
    const KEY_OF_COSIGN: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQyaPqt58lxluFZebtj+wdNjBGoFv
zm2V/i6aw8G7lUogYAIsBeimfqbF7p1xLT11XTwjM/PZQhTNq7uT+px1Kw==
-----END PUBLIC KEY-----
";

    #[test]
    fn what_cosign_signed_is_read_verified_and_written_alike() {
        let signature = Signature::from_bundle(OF_COSIGN.as_bytes()).unwrap();
        let key = PublicKey::from_pem(KEY_OF_COSIGN).unwrap();
        let digest = "sha256:73d21491502edceb37eedd6fd9abdc81d41e8b03cbe5e2fd69002cd6912f23ee";
        assert_eq!(signature.signer(std::slice::from_ref(&key)), Some(&key));
        assert_eq!(signature.digest().unwrap().as_str(), digest);
        assert_eq!(signature.to_bundle(), OF_COSIGN.as_bytes());
        assert_eq!(signature.payload, encode(&digest.parse().unwrap()));
    }

    #[test]
    fn a_statement_that_says_something_else_is_refused() {
        let digest = Digest::sha256(b"manifest");
        let text = String::from_utf8(encode(&digest)).unwrap();
        assert_eq!(decode(text.as_bytes()).unwrap(), digest);
        for (from, to) in [("cosign/sign/v1", "vuln/v1"), ("Statement/v1", "Statement/v0"), ("sha256", "md5")]
        {
            assert!(decode(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
        let doubled = text.replacen("[{", r#"[{"digest":{"sha256":"00"}},{"#, 1);
        assert!(decode(doubled.as_bytes()).unwrap_err().to_string().contains("about 2 things"));
    }

    #[test]
    fn a_statement_is_not_taken_for_a_claim_of_the_other_form() {
        let key = PrivateKey::generate().unwrap();
        let digest = Digest::sha256(b"manifest");
        let signed = Signature::statement(&key, &digest).unwrap();
        assert!(signed.signer(&[key.public()]).is_some());
        let moved = Signature { form: Form::Claim, ..signed };
        assert!(moved.signer(&[key.public()]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Signature::from_bundle(&bytes));
            drop(decode(&bytes));
        }
    }
}
