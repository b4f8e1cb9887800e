//! `import`: a root file system's tar becomes an image of one uncompressed layer, in OCI's media types.

use std::io::Read;

use archive::compression;
use fault::Result;
use oci::image::{Config, History, Image, RootFs};
use oci::{Platform, Reference};

use crate::image::{Manifest, NewImage, new_tag};
use crate::{ImageId, Signed, Store};

/// What to import as.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// With the caller's `--change` applied.
    pub config: Config,
    /// Docker's default is `Imported from -`.
    pub message: String,
    /// The host's if not given.
    pub platform: Option<Platform>,
    pub reference: Option<Reference>,
}

impl Store {
    /// Reads a tar, compressed or not, to its end.
    pub fn import(&self, reader: impl Read, import: &Import) -> Result<ImageId> {
        let names = import.reference.iter().map(new_tag).collect::<Result<_>>()?;
        let lease = self.lease();
        let mut tar = compression::reader(reader)?;
        let staged = self.stage_layer(&mut tar)?;
        staged.hold(&lease);
        let layer = staged.layer();
        let config = image_config(import, vec![layer.diff_id.clone()]);
        let image = NewImage {
            config: serde_json::to_vec(&config).expect("an image config is always JSON"),
            manifest: Manifest::New,
            layers: vec![layer],
            names,
            indexed: None,
            signed: Signed::default(),
            parent: None,
        };
        let id = image.id();
        self.register(&lease, staged.into_staged().into(), vec![image])?;
        Ok(id)
    }
}

fn image_config(import: &Import, diff_ids: Vec<oci::Digest>) -> Image {
    let platform = import.platform.clone().unwrap_or_else(Platform::host);
    let created = Some(sys::time::now_rfc3339_nano());
    let comment = Some(import.message.clone()).filter(|message| !message.is_empty());
    Image {
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        created: created.clone(),
        comment: comment.clone(),
        config: Some(import.config.clone()),
        rootfs: RootFs { diff_ids, ..RootFs::default() },
        history: vec![History { created, comment, ..History::default() }],
        ..Image::default()
    }
}
