//! What speaks for an image: signatures that a pull has found, kept so that they can be judged again without a network.

use oci::Digest;
use serde::{Deserialize, Serialize};
use trust::Signature;

/// Manifests that were followed to an image, and what was signed about them. Bounded: of too many the oldest go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signed {
    /// Of manifests, and of indexes that led to them.
    pub digests: Vec<Digest>,
    /// By whomever: keys come and go.
    pub signatures: Vec<Signature>,
}

impl Signed {
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.signatures.is_empty()
    }

    /// The signatures of one manifest or index.
    pub fn of(&self, digest: &Digest) -> Vec<Signature> {
        let is_its = |signature: &&Signature| signature.digest().is_ok_and(|signed| signed == *digest);
        self.signatures.iter().filter(is_its).cloned().collect()
    }

    /// Adds what is not known yet.
    pub fn add(&mut self, more: Self) {
        add(&mut self.digests, more.digests, DIGESTS_MAX);
        add(&mut self.signatures, more.signatures, SIGNATURES_MAX);
    }

    /// Nothing of the other is missing.
    pub(crate) fn has(&self, other: &Self) -> bool {
        other.digests.iter().all(|digest| self.digests.contains(digest))
            && other.signatures.iter().all(|signature| self.signatures.contains(signature))
    }

    /// Keeps only what was signed about this image.
    pub fn retain_own(&mut self) {
        let digests = &self.digests;
        let is_own = |signature: &Signature| signature.digest().is_ok_and(|digest| digests.contains(&digest));
        self.signatures.retain(is_own);
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>, most: usize) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
    list.drain(..list.len().saturating_sub(most));
}

/// An image has a manifest, and some indexes that name it.
const DIGESTS_MAX: usize = 32;
const SIGNATURES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_kept_once_and_within_bounds() {
        let digest = |number: usize| Digest::sha256(number.to_string().as_bytes());
        let mut signed = Signed::default();
        for number in 0..DIGESTS_MAX + 2 {
            signed.add(Signed { digests: vec![digest(number), digest(number)], signatures: Vec::new() });
        }
        assert_eq!(signed.digests.len(), DIGESTS_MAX);
        assert_eq!((&signed.digests[0], signed.digests.last()), (&digest(2), Some(&digest(DIGESTS_MAX + 1))));
    }

    #[test]
    fn strays_are_not_kept() {
        let key = trust::PrivateKey::generate().unwrap();
        let (own, other) = (Digest::sha256(b"own"), Digest::sha256(b"other"));
        let name = "a/b".parse().unwrap();
        let of = |digest| Signature::create(&key, &name, digest).unwrap();
        let signatures = [of(&own), of(&other)].concat();
        let mut signed = Signed { digests: vec![own], signatures };
        signed.retain_own();
        assert_eq!(signed.signatures.len(), 2);
    }
}
