//! What speaks for a manifest goes along with it, so that the copy can be pulled under the policy that let the original in.

use fault::{Doing, Result};
use oci::Digest;
use store::Signed;

use super::Pusher;
use crate::client::Action;

impl Pusher<'_> {
    /// Puts the signatures that a pull has found for a manifest beside its copy; those that are there already stay.
    pub(super) async fn signatures(&self, digest: &Digest, signed: &Signed) -> Result<()> {
        let own = signed.of(digest);
        if own.is_empty() {
            return Ok(());
        }
        let carry = async {
            let there = self.repository.signatures(digest).await?;
            let missing: Vec<_> = own.into_iter().filter(|one| !there.contains(one)).collect();
            if !missing.is_empty() {
                self.repository.sign(digest, &missing).await?;
                self.tell("", Action::PushedSignatures { digest: digest.clone(), count: missing.len() });
            }
            Ok(())
        };
        carry.await.doing(|| format!("pushing the signatures of {digest}"))
    }
}
