//! Trust in images: keys, signatures in cosign's format, and the policy that asks for them.
//!
//! Pure data and computation. A signature says that the holder of a key vouches for one manifest digest; the policy
//! says for which names that, or a digest, is asked. It knows neither registries nor files: where signatures are kept
//! and where keys are read from is the caller's business.
//!
//! ```text
//! private key --sign--> Signature { payload, signature } --Policy::check(name, digests, signatures)--> Verdict or refusal
//! ```
#![forbid(unsafe_code)]

mod der;
mod payload;
mod policy;
mod private_key;
mod public_key;
mod sealed;
mod signature;
mod statement;

pub use payload::{BYTES_MAX as PAYLOAD_BYTES_MAX, Payload};
pub use policy::{Image, Naming, Policy, Requirement, Verdict};
pub use private_key::PrivateKey;
pub use public_key::PublicKey;
pub use signature::{ARTIFACT_TYPE, Form, PAYLOAD_TYPE, SIGNATURE_ANNOTATION, Signature, legacy_tag};
pub use statement::{BUNDLE_BYTES_MAX, BUNDLE_TYPE, PREDICATE_TYPE};
