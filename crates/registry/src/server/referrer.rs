//! What refers to a manifest: signatures, attestations, and whatever else names it as its subject.

use oci::{Descriptor, Digest, Index};

use crate::server::failure::Outcome;
use crate::server::storage::Storage;

impl Storage {
    /// An index of the referrers; empty if there are none, or no such repository.
    pub(crate) fn referrers(
        &self,
        name: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Outcome<Index> {
        let view = self.catalog.view()?;
        let mut found: Vec<Descriptor> = Vec::new();
        for digest in view.referrers(name, subject)? {
            let Some(record) = view.manifest(name, &digest)? else { continue };
            if artifact_type.is_none() || artifact_type == record.artifact_type.as_deref() {
                found.push(record.descriptor(digest));
            }
        }
        Ok(Index::new(found))
    }
}
