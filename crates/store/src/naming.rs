//! Giving an image names, together with all that they come with: in one transaction, so that no name is ever there alone.

use fault::Result;
use oci::Reference;

use crate::catalog::Catalog;
use crate::image::no_such_image;
use crate::index::Indexed;
use crate::resolve::lookup_key;
use crate::{Document, ImageId, Lease, Signed, Store};

/// Names for an image, and what they come with.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    pub names: Vec<Reference>,
    /// The indexes on the way to the image, the uppermost first.
    pub indexes: Vec<Document>,
    /// What speaks for the image.
    pub signed: Signed,
}

impl Store {
    /// Gives an image names, the indexes on the way to it and what speaks for it, at once. Nothing is written if all of it
    /// is there. Without indexes, new names stand for what the other names stand for.
    pub fn name_as(&self, lease: &Lease, id: &ImageId, naming: &Naming) -> Result<()> {
        let indexed = Indexed::of(&naming.indexes, id);
        let catalog = self.catalog();
        let entry = catalog.images.get(id).ok_or_else(|| no_such_image(id))?;
        let is_known = |name: &Reference| stands_for(&catalog, name, id, indexed.as_ref());
        if naming.names.iter().all(is_known) && entry.signed.has(&naming.signed) {
            return Ok(());
        }
        let staged = self.stage_indexes(lease, &naming.indexes)?;
        if !staged.is_empty() {
            self.publish(staged)?;
        }
        let now = sys::time::now_rfc3339_nano();
        self.inner.db.update(|catalog| {
            let entry = catalog.images.get_mut(id).ok_or_else(|| no_such_image(id))?;
            entry.signed.add(naming.signed.clone());
            let known = || naming.names.iter().rev().find_map(|name| catalog.index_of(name, id));
            let indexed = indexed.or_else(known);
            for name in &naming.names {
                if !stands_for(catalog, name, id, indexed.as_ref()) {
                    catalog.tag_as(name.clone(), id, indexed.as_ref(), &now);
                }
            }
            Ok(())
        })?;
        self.write_layout();
        Ok(())
    }

    /// Keeps what speaks for the images that a name stands for, on whichever platform; for none if there is no such name.
    pub fn vouch(&self, name: &Reference, signed: &Signed) -> Result<()> {
        let name = lookup_key(name);
        self.inner.db.update(|catalog| {
            let named = catalog.names.get(&name).cloned();
            let indexed =
                catalog.indexes.get(&name).map(|indexed| indexed.images.clone()).unwrap_or_default();
            for id in named.into_iter().chain(indexed) {
                if let Some(entry) = catalog.images.get_mut(&id) {
                    entry.signed.add(signed.clone());
                }
            }
            Ok(())
        })
    }
}

/// The name means this image already, and leads to it through this index if there is one.
fn stands_for(catalog: &Catalog, name: &Reference, id: &ImageId, indexed: Option<&Indexed>) -> bool {
    let is_same = |indexed: &Indexed| {
        catalog.indexes.get(name).is_some_and(|known| {
            known.index.digest == indexed.index.digest
                && known.images.contains(id)
                && known.nested.is_superset(&indexed.nested)
        })
    };
    catalog.names.get(name) == Some(id) && indexed.is_none_or(is_same)
}
