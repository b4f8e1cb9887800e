//! What the policy says of an image, before any of it is fetched or named.

use ::trust::{Image, Naming, Policy, Requirement};
use fault::{Kind, Result};
use oci::{Digest, Reference};
use store::Signed;

use super::Puller;
use crate::client::trouble::Trouble;

/// Refuses names that no image could do for; nobody needs to be asked for that.
pub(super) fn refuse_names(policy: &Policy, reference: &Reference) -> Result<()> {
    match policy.requirement(reference) {
        Requirement::Signature(_) => Ok(()),
        _ => check(policy, reference, &Signed::default()),
    }
}

fn check(policy: &Policy, reference: &Reference, signed: &Signed) -> Result<()> {
    let (digests, signatures) = (&signed.digests, &signed.signatures);
    policy.check(&Image { naming: Naming::Name(reference), digests, signatures }).map(drop)
}

impl Puller<'_> {
    /// Finds what speaks for an image whose manifests have these digests, the name's own first: nothing if no signature is
    /// asked; `Denied` if there is none that counts. What is `known` already is not asked for again.
    pub(super) async fn vouched(
        &self,
        reference: &Reference,
        digests: &[Digest],
        known: Signed,
    ) -> Result<Signed, Trouble> {
        if !matches!(self.policy.requirement(reference), Requirement::Signature(_)) {
            return Ok(Signed::default());
        }
        let mut signed = known;
        signed.add(Signed { digests: digests.to_vec(), signatures: Vec::new() });
        let mut verdict = check(self.policy, reference, &signed);
        for digest in digests {
            if !verdict.as_ref().is_err_and(|error| error.kind() == Kind::Denied) {
                break;
            }
            let signatures = self.repository.signatures_of(digest).await?;
            let found = Signed { digests: Vec::new(), signatures };
            // The refusal is about what was found, strays included; only what is about this image is kept.
            let mut judged = signed.clone();
            judged.add(found);
            verdict = check(self.policy, reference, &judged);
            judged.retain_own();
            signed = judged;
        }
        verdict?;
        Ok(signed)
    }
}
