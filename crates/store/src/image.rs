//! Images: a config, its manifest and layers, and the names that point at it.

use std::fmt;
use std::str::FromStr;

use fault::{Doing, Error, Kind, Result};
use oci::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Entry};
use crate::index::Indexed;
use crate::lease::{Held, Lease};
use crate::publish::Staged;
use crate::resolve::lookup_key;
use crate::{Layer, Naming, Signed, Store};

/// An image's id: the digest of its config file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// The first twelve digits.
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

/// `sha256:…`.
impl fmt::Display for ImageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for ImageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.parse()?))
    }
}

/// Everything about one image.
#[derive(Clone, Debug)]
pub struct Image {
    pub id: ImageId,
    pub config: oci::Image,
    /// Exactly as its maker wrote it; its digest is the id.
    pub config_bytes: Vec<u8>,
    pub manifest: Descriptor,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// The names with a tag.
    pub tags: Vec<Reference>,
    /// The names with a digest, as pulls leave them.
    pub digests: Vec<Reference>,
    /// The sum of the unpacked layers, in bytes.
    pub size: u64,
    /// RFC 3339, from the config.
    pub created: Option<String>,
    /// When it last got a name here; RFC 3339.
    pub tagged: Option<String>,
    /// The bound on images' room does not remove it.
    pub pinned: bool,
    /// The image it was committed from, if that is here.
    pub parent: Option<ImageId>,
    /// Names that stand for an index that leads here, whichever of its images they mean without a platform.
    pub indexed_by: Vec<Reference>,
    pub signed: Signed,
}

impl Store {
    /// All images, dangling ones included, in the order of their ids. One whose config is lost is there with an empty
    /// one: it can be removed, or loaded again.
    pub fn images(&self) -> Result<Vec<Image>> {
        let catalog = self.catalog();
        let row = |(id, entry): (&ImageId, &Entry)| match self.describe(&catalog, id, entry) {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => {
                tracing::warn!(image = %id, %error, "image is broken");
                Ok(described(&catalog, id, entry, oci::Image::default(), Vec::new()))
            }
            described => described,
        };
        catalog.images.iter().map(row).collect()
    }

    /// One image; `NotFound` with Docker's text.
    pub fn image(&self, id: &ImageId) -> Result<Image> {
        let catalog = self.catalog();
        let entry = catalog.images.get(id).ok_or_else(|| no_such_image(id))?;
        self.describe(&catalog, id, entry)
    }

    /// Gives an image a name, taking it from the image that had it; says which one that was.
    pub fn tag(&self, id: &ImageId, name: &Reference) -> Result<Option<ImageId>> {
        self.tag_like(id, name, None)
    }

    /// The same, for all platforms of another name of the image.
    pub fn tag_like(
        &self,
        id: &ImageId,
        name: &Reference,
        from: Option<&Reference>,
    ) -> Result<Option<ImageId>> {
        let name = new_tag(name)?;
        let now = sys::time::now_rfc3339_nano();
        let before = self.inner.db.update(|catalog| {
            if !catalog.images.contains_key(id) {
                return Err(no_such_image(id));
            }
            let indexed = from.and_then(|from| catalog.index_of(&lookup_key(from), id));
            Ok(catalog.tag_as(name, id, indexed.as_ref(), &now))
        })?;
        self.write_layout();
        Ok(before.filter(|before| before != id))
    }

    /// Gives an image several names at once. Nothing is written if it has them all.
    pub fn name(&self, id: &ImageId, names: &[Reference]) -> Result<()> {
        self.name_as(&self.lease(), id, &Naming { names: names.to_vec(), ..Naming::default() })
    }

    /// All names of a repository, with a tag or a digest, in byte order.
    pub fn names_in(&self, repository: &Reference) -> Vec<(Reference, ImageId)> {
        let repository = repository.repository();
        let catalog = self.catalog();
        let names = catalog.names.iter().filter(|(name, _)| name.repository() == repository);
        names.map(|(name, id)| (name.clone(), id.clone())).collect()
    }

    /// Repositories of a registry that are known to have had a blob: images with it were pulled from there or pushed.
    pub fn repositories_with(&self, blob: &Digest, domain: &str) -> Vec<Reference> {
        self.catalog().repositories_with(blob, domain)
    }

    pub fn image_count(&self) -> usize {
        self.catalog().images.len()
    }

    pub fn has_image(&self, id: &ImageId) -> bool {
        self.catalog().images.contains_key(id)
    }

    /// The images committed from this one.
    pub fn children(&self, id: &ImageId) -> Vec<ImageId> {
        self.catalog().children_of(id).cloned().collect()
    }

    fn describe(&self, catalog: &Catalog, id: &ImageId, entry: &Entry) -> Result<Image> {
        let config_bytes = self.blob_read(&id.0).doing(|| format!("reading image {}", id.short()))?;
        let config = parse_config(&config_bytes)?;
        Ok(described(catalog, id, entry, config, config_bytes))
    }
}

fn described(
    catalog: &Catalog,
    id: &ImageId,
    entry: &Entry,
    config: oci::Image,
    config_bytes: Vec<u8>,
) -> Image {
    let names = catalog.names_of(id).into_iter().cloned();
    let (digests, tags) = names.partition(|name| name.digest().is_some());
    Image {
        id: id.clone(),
        created: config.created.clone(),
        config,
        config_bytes,
        manifest: entry.manifest.clone(),
        layers: entry.layers.clone(),
        tags,
        digests,
        size: entry.size(),
        tagged: entry.tagged.clone(),
        pinned: entry.pinned,
        parent: entry.parent.clone().filter(|parent| catalog.images.contains_key(parent)),
        indexed_by: catalog.indexed_by(id).cloned().collect(),
        signed: entry.signed.clone(),
    }
}

/// A name that somebody gives. Names with a digest are proofs of where an image came from, and come from there only.
pub(crate) fn new_tag(name: &Reference) -> Result<Reference> {
    match name.digest() {
        Some(_) => Err(Error::invalid("refusing to create a tag with a digest reference")),
        None => Ok(name.clone().with_default_tag()),
    }
}

/// An image whose blobs and layers are staged or stored already.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) layers: Vec<Layer>,
    pub(crate) names: Vec<Reference>,
    /// What the names stand for, if that is more than this image.
    pub(crate) indexed: Option<Indexed>,
    /// What speaks for it.
    pub(crate) signed: Signed,
    pub(crate) parent: Option<ImageId>,
}

/// Where an image's manifest comes from.
#[derive(Debug)]
pub(crate) enum Manifest {
    /// To be made, in OCI's form.
    New,
    /// Kept byte for byte, so that its digest stays.
    Kept { media_type: String, bytes: Vec<u8> },
}

impl NewImage {
    pub(crate) fn id(&self) -> ImageId {
        ImageId(Digest::sha256(&self.config))
    }

    /// Its names stand for an index with this image.
    pub(crate) fn leads_to(&self, id: &ImageId) -> bool {
        self.indexed.as_ref().is_some_and(|indexed| indexed.images.contains(id))
    }

    fn manifest(&self) -> (Descriptor, Vec<u8>) {
        match &self.manifest {
            Manifest::Kept { media_type, bytes } => (Descriptor::of(media_type, bytes), bytes.clone()),
            Manifest::New => new_manifest(&self.config, &self.layers),
        }
    }
}

/// A manifest in OCI's form: layers that came in Docker's are called by OCI's names, which mean the same.
pub(crate) fn new_manifest(config: &[u8], layers: &[Layer]) -> (Descriptor, Vec<u8>) {
    let oci_form = |layer: &Layer| Descriptor {
        media_type: oci::media_type::oci_layer(&layer.blob.media_type).into(),
        ..layer.blob.clone()
    };
    let config = Descriptor::of(oci::media_type::OCI_CONFIG, config);
    let manifest = oci::Manifest::new(config, layers.iter().map(oci_form).collect());
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
    (Descriptor::of(oci::media_type::OCI_MANIFEST, &bytes), bytes)
}

/// A name that moved from one image to another.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) name: Reference,
    pub(crate) from: ImageId,
}

impl Store {
    /// Makes images of staged things: blobs to disk, the renames, one transaction. All of them or none.
    pub(crate) fn register(
        &self,
        lease: &Lease,
        mut staged: Vec<Staged>,
        images: Vec<NewImage>,
    ) -> Result<Vec<Moved>> {
        let mut entries = Vec::new();
        for image in images {
            if image.layers.len() > LAYERS_MAX {
                return Err(Error::invalid("max depth exceeded"));
            }
            let (manifest, manifest_bytes) = image.manifest();
            for document in [&image.config, &manifest_bytes] {
                lease.hold(Held::Blob(Digest::sha256(document)));
                staged.push(Staged::Blob(self.stage_document(document)?));
            }
            let entry = Entry {
                manifest,
                layers: image.layers.clone(),
                parent: image.parent.clone(),
                tagged: None,
                // It comes because somebody is about to use it.
                used: Some(sys::time::now_rfc3339_nano()),
                pinned: false,
                signed: image.signed.clone(),
            };
            let id = image.id();
            let mends = self.has_image(&id) && !self.is_whole(&id)?;
            entries.push(Entering { id, entry, names: image.names, indexed: image.indexed, mends });
        }
        self.publish(staged)?;
        sys::crash::point("store.register.published");
        let moved = self.inner.db.update(|catalog| Ok(enter(catalog, entries)))?;
        sys::crash::point("store.register.entered");
        self.write_layout();
        Ok(moved)
    }
}

/// An image on its way into the catalog.
struct Entering {
    id: ImageId,
    entry: Entry,
    names: Vec<Reference>,
    indexed: Option<Indexed>,
    /// It is here, and not all that it needs.
    mends: bool,
}

fn enter(catalog: &mut Catalog, entries: Vec<Entering>) -> Vec<Moved> {
    let now = sys::time::now_rfc3339_nano();
    let mut moved = Vec::new();
    for Entering { id, entry, names, indexed, mends } in entries {
        if mends {
            catalog.mend(&id, &entry);
        }
        catalog.add(id.clone(), entry);
        for name in names {
            let before = catalog.tag_as(name.clone(), &id, indexed.as_ref(), &now);
            // An image that stays with the name as another platform has lost nothing.
            let before = before.filter(|before| *before != id && !catalog.is_indexed(before));
            moved.extend(before.map(|from| Moved { name, from }));
        }
    }
    moved
}

/// Docker's limit (moby, layer/layer_store.go), well below overlayfs's 500.
const LAYERS_MAX: usize = 125;

pub(crate) fn parse_config(bytes: &[u8]) -> Result<oci::Image> {
    serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("invalid image config: {error}")))
}

pub(crate) fn no_such_image(what: impl fmt::Display) -> Error {
    Error::not_found(format!("No such image: {what}"))
}
