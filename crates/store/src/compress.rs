//! The form in which an image is pushed: layers that were made here are compressed, once, and stay so.
//!
//! What came from a registry goes back byte for byte and is left alone. Of the rest the compressed blob takes the plain
//! one's place in the catalog, with a new manifest: the next push finds the same digests, and the disk holds less.

use std::io;

use archive::compression::{self, Compression, Effort};
use fault::{Call, Doing, Result};
use oci::{Descriptor, Digest, media_type};

use crate::catalog::{Catalog, Entry};
use crate::content::StagedBlob;
use crate::image::{new_manifest, no_such_image};
use crate::layer::{piped, spool};
use crate::lease::{Held, Lease};
use crate::load::in_parallel;
use crate::publish::Staged;
use crate::{ImageId, Store};

impl Store {
    /// Compresses the plain layers of an image that no registry knows yet. The lease holds all of the image.
    pub fn image_compress(&self, lease: &Lease, id: &ImageId) -> Result<()> {
        let entry = self.hold_image(lease, id)?;
        let plain = plain_layers(&self.catalog(), id, &entry);
        if plain.is_empty() {
            return Ok(());
        }
        self.compress_layers(lease, id, plain).doing(|| format!("compressing the layers of {}", id.short()))
    }

    fn compress_layers(&self, lease: &Lease, id: &ImageId, mut plain: Vec<Plain>) -> Result<()> {
        for one in &mut plain {
            self.hold_known(lease, one)?;
        }
        let mut blobs = Vec::new();
        let mut staged = Vec::new();
        let compressed = in_parallel(&plain, |one| match &one.known {
            Some(known) => Ok((one.blob.clone(), known.clone(), None)),
            None => {
                let blob = self.compressed(&one.blob)?;
                let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, blob.digest.clone(), blob.size);
                Ok((one.blob.clone(), descriptor, Some(blob)))
            }
        })?;
        for (plain, descriptor, blob) in compressed {
            lease.hold(Held::Blob(descriptor.digest.clone()));
            staged.extend(blob.map(Staged::Blob));
            blobs.push((plain, descriptor));
        }
        let entry = self.catalog().images.get(id).cloned().ok_or_else(|| no_such_image(id))?;
        let (manifest, bytes) = new_manifest(&self.blob_read(&id.0)?, &replaced(&entry, &blobs).layers);
        lease.hold(Held::Blob(manifest.digest.clone()));
        staged.push(Staged::Blob(self.stage_document(&bytes)?));
        self.publish(staged)?;
        self.inner.db.update(|catalog| {
            let entry = catalog.images.get_mut(id).ok_or_else(|| no_such_image(id))?;
            *entry = Entry { manifest, ..replaced(entry, &blobs) };
            Ok(())
        })?;
        self.write_layout();
        Ok(())
    }

    /// Before it was held, what another image has may have been collected with that.
    fn hold_known(&self, lease: &Lease, plain: &mut Plain) -> Result<()> {
        let Some(known) = &plain.known else { return Ok(()) };
        lease.hold(Held::Blob(known.digest.clone()));
        if !self.blob_exists(&known.digest)? {
            plain.known = None;
        }
        Ok(())
    }

    fn compressed(&self, plain: &Digest) -> Result<StagedBlob> {
        let mut tar = self.blob_open(plain)?;
        piped(
            |writer| {
                let mut gzip = compression::writer(writer, Compression::Gzip, Effort::Fast)?;
                io::copy(&mut tar, &mut gzip).call(|| format!("compress blob {plain}"))?;
                gzip.finish().map(drop)
            },
            |reader| spool(self.blob_writer()?, reader),
        )
    }
}

/// A layer to be compressed.
struct Plain {
    blob: Digest,
    /// Another image has it compressed already.
    known: Option<Descriptor>,
}

fn plain_layers(catalog: &Catalog, id: &ImageId, entry: &Entry) -> Vec<Plain> {
    if catalog.is_indexed(id) || catalog.names_of(id).iter().any(|name| name.digest().is_some()) {
        return Vec::new();
    }
    let known = |diff_id: &Digest| {
        let layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let mut same = layers.filter(|layer| layer.diff_id == *diff_id && !is_plain(&layer.blob));
        same.next().map(|layer| layer.blob.clone())
    };
    let mut plain: Vec<Plain> = Vec::new();
    for layer in entry.layers.iter().filter(|layer| is_plain(&layer.blob)) {
        if !plain.iter().any(|one| one.blob == layer.blob.digest) {
            plain.push(Plain { blob: layer.blob.digest.clone(), known: known(&layer.diff_id) });
        }
    }
    plain
}

fn is_plain(blob: &Descriptor) -> bool {
    matches!(blob.media_type.as_str(), media_type::OCI_LAYER | media_type::DOCKER_LAYER)
}

fn replaced(entry: &Entry, blobs: &[(Digest, Descriptor)]) -> Entry {
    let mut entry = entry.clone();
    for layer in &mut entry.layers {
        if let Some((_, compressed)) = blobs.iter().find(|(plain, _)| *plain == layer.blob.digest) {
            layer.blob = compressed.clone();
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Remove;
    use crate::store::tests::{image, store};

    #[test]
    fn what_another_image_has_compressed_may_go_with_it() {
        let (_folder, store) = store();
        let [other, id] = ["other", "mine"].map(|name| image(&store, name, &[("a", b"1")]));
        store.image_compress(&store.lease(), &other).unwrap();
        let lease = store.lease();
        let entry = store.hold_image(&lease, &id).unwrap();
        let plain = plain_layers(&store.catalog(), &id, &entry);
        assert!(plain[0].known.is_some());
        let how = Remove { force: false, prune_children: true, in_use: &|_| Vec::new() };
        store.remove("other", &how).unwrap();
        store.compress_layers(&lease, &id, plain).unwrap();
        drop(lease);
        store.collect().unwrap();
        assert_eq!(store.verify().unwrap(), []);
        assert_eq!(store.image(&id).unwrap().layers[0].blob.media_type, media_type::OCI_LAYER_GZIP);
    }
}
