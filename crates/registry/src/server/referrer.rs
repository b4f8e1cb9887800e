//! What refers to a manifest: signatures, attestations, and whatever else names it as its subject.

use oci::{Descriptor, Digest, Index};

use crate::server::failure::Outcome;
use crate::server::storage::Storage;

impl Storage {
    /// An index of the referrers behind `last`, empty if there are none or no such repository; and the last one of it, if
    /// there are more than fit.
    pub(crate) fn referrers(
        &self,
        name: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: &str,
    ) -> Outcome<(Index, Option<Digest>)> {
        let view = self.catalog.view()?;
        let (mut found, mut room): (Vec<Descriptor>, u64) = (Vec::new(), PAGE_BYTES);
        for digest in view.referrers(name, subject)?.into_iter().filter(|digest| digest.as_str() > last) {
            let Some(record) = view.manifest(name, &digest)? else { continue };
            if artifact_type.is_some() && artifact_type != record.artifact_type.as_deref() {
                continue;
            }
            // Annotations make up a descriptor's size, and are a part of the manifest's.
            let size = record.size + DESCRIPTOR_BYTES;
            if size > room && !found.is_empty() {
                let next = found.last().map(|descriptor| descriptor.digest.clone());
                return Ok((Index::new(found), next));
            }
            room = room.saturating_sub(size);
            found.push(record.descriptor(digest));
        }
        Ok((Index::new(found), None))
    }
}

/// What clients take for a manifest at least.
const PAGE_BYTES: u64 = 4 << 20;
/// More than digest, types and size take.
const DESCRIPTOR_BYTES: u64 = 512;
