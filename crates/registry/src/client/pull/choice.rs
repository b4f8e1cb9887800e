//! Which manifest of an index: the one that fits best, as containerd's rules have it (`oci::platform`).

use fault::Error;
use oci::{Descriptor, Index, Platform, Reference, media_type};
use store::Document;

use super::{Chosen, Puller};
use crate::client::manifest::{Told, is_schema_1};
use crate::client::trouble::Trouble;
use crate::client::{Key, Manifest, blocking};

impl Puller<'_> {
    /// Follows indexes to a manifest.
    pub(super) async fn choose(&self, reference: &Reference, top: Manifest) -> Result<Chosen, Trouble> {
        let mut open = vec![(top, 0)];
        let mut way: Vec<Document> = Vec::new();
        // The best comes last, and what lies below it behind it: a walk in depth.
        while let Some((manifest, depth)) = open.pop() {
            way.truncate(depth);
            let media_type = manifest.descriptor.media_type.as_str();
            if media_type::is_manifest(media_type) {
                return Ok(Chosen { manifest, indexes: way });
            }
            if is_schema_1(media_type) {
                return Err(schema_1(reference).into());
            }
            if !media_type::is_index(media_type) {
                if depth == 0 {
                    return Err(Error::invalid("unsupported manifest format").into());
                }
                continue;
            }
            if depth == DEPTH_MAX {
                continue;
            }
            let index: Index = manifest.read()?;
            way.push(Document { descriptor: manifest.descriptor, bytes: manifest.bytes });
            let mut fitting = fitting(index.manifests, &self.wanted());
            fitting.truncate(CANDIDATES_MAX);
            for entry in fitting.into_iter().rev() {
                open.push((self.child(&entry).await?, depth + 1));
            }
        }
        let shown = self.platform.cloned().unwrap_or_else(Platform::host);
        Err(Error::not_found(format!("no matching manifest for {shown} in the manifest list entries")).into())
    }

    /// From the store if it is there: its digest says that it is the same.
    async fn child(&self, entry: &Descriptor) -> Result<Manifest, Trouble> {
        let key = Key::Digest(entry.digest.clone());
        let (store, digest) = (self.store.clone(), entry.digest.clone());
        let here = blocking(move || store.blob_read(&digest)).await;
        match here {
            Ok(bytes) => {
                let told = Told { content_type: Some(&entry.media_type), digest: None };
                Ok(Manifest::checked(&key, told, bytes)?)
            }
            Err(_) => self.repository.manifest_of(&key).await,
        }
    }

    /// What is looked for: the user's wish, or the newest that this machine runs.
    fn wanted(&self) -> Platform {
        self.platform.cloned().unwrap_or_else(Platform::host_newest)
    }

    /// Whether a pull that is done again would come to an image of this platform. An index does not change under its
    /// digest, so the earlier choice stands, unless it was made for another platform.
    pub(super) fn would_choose(&self, platform: &Platform) -> bool {
        match self.platform {
            Some(wanted) => wanted.rank(platform) == Some(0),
            None => {
                let (host, platform) = (Platform::host(), platform.clone().normalized());
                (&host.os, &host.architecture) == (&platform.os, &platform.architecture)
            }
        }
    }
}

/// The entries that run on a platform, best first; those that say nothing of theirs come last.
fn fitting(entries: Vec<Descriptor>, wanted: &Platform) -> Vec<Descriptor> {
    let rank = |entry: &Descriptor| match &entry.platform {
        Some(platform) if *platform != Platform::default() => wanted.rank(platform),
        _ => Some(usize::MAX),
    };
    let mut ranked: Vec<_> = entries.into_iter().filter_map(|entry| Some((rank(&entry)?, entry))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

pub(crate) fn schema_1(reference: &Reference) -> Error {
    Error::invalid(format!(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author \
         of {} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at \
         https://docs.docker.com/go/deprecated-image-specs/",
        reference.canonical()
    ))
}

/// An index in an index is common, more is a loop.
const DEPTH_MAX: usize = 3;
/// An index names a few variants of a platform; the rest of a longer list is nobody's image.
const CANDIDATES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str) -> Descriptor {
        let platform = (!platform.is_empty()).then(|| Platform::parse(platform).unwrap());
        Descriptor { platform, ..Descriptor::of(media_type::OCI_MANIFEST, b"") }
    }

    #[test]
    fn the_best_variant_comes_first_and_the_unknown_last() {
        let check = |wanted: &str, offered: &[&str], expected: &[&str]| {
            let offered = offered.iter().map(|platform| entry(platform)).collect();
            let fitting = fitting(offered, &Platform::parse(wanted).unwrap());
            let shown: Vec<_> = fitting
                .iter()
                .map(|entry| entry.platform.as_ref().map(ToString::to_string).unwrap_or_default())
                .collect();
            assert_eq!(shown, expected, "{wanted}");
        };
        let all = [
            "linux/386",
            "",
            "linux/amd64",
            "linux/amd64/v3",
            "linux/arm64",
            "unknown/unknown",
            "windows/amd64",
        ];
        check("linux/amd64", &all, &["linux/amd64", "linux/386", ""]);
        check("linux/amd64/v4", &all, &["linux/amd64/v3", "linux/amd64", "linux/386", ""]);
        check("linux/arm64", &all, &["linux/arm64", ""]);
        check("linux/s390x", &all, &[""]);
    }
}
