//! The kinds of public key that are known, by the fixed DER head of their SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
//!
//! Algorithm and parameters of these kinds leave nothing to choose, so the bytes before the key are always the same and
//! no parser is needed.

/// A kind of public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA over P-256 with SHA-256: what cosign makes.
    EcdsaP256,
    /// ECDSA over P-384; cosign hashes with SHA-256 here too.
    EcdsaP384,
    Ed25519,
}

impl Algorithm {
    pub(crate) fn head(self) -> &'static [u8] {
        match self {
            Self::EcdsaP256 => P256_HEAD,
            Self::EcdsaP384 => P384_HEAD,
            Self::Ed25519 => ED25519_HEAD,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Self::EcdsaP256 => 65,
            Self::EcdsaP384 => 97,
            Self::Ed25519 => 32,
        }
    }
}

/// Kind and raw key of a SubjectPublicKeyInfo; `None` if it is of no kind that is known.
pub(crate) fn split(der: &[u8]) -> Option<(Algorithm, &[u8])> {
    ALGORITHMS.iter().find_map(|algorithm| {
        let key = der.strip_prefix(algorithm.head())?;
        (key.len() == algorithm.key_bytes()).then_some((*algorithm, key))
    })
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519];

/// id-ecPublicKey (RFC 5480, 2.1.1) with secp256r1.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// id-ecPublicKey with secp384r1.
const P384_HEAD: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// id-Ed25519 (RFC 8410, 4).
const ED25519_HEAD: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
