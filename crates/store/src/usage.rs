//! How much room images take, as `docker system df` shows it.

use std::collections::{BTreeMap, HashMap};

use oci::Digest;

use crate::catalog::Catalog;
use crate::{ImageId, Store};

/// Sizes of unpacked layers, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All layers, each once.
    pub layers: u64,
    pub images: BTreeMap<ImageId, ImageUsage>,
}

/// One image's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageUsage {
    pub size: u64,
    /// The part that other images stand on too.
    pub shared: u64,
}

impl Store {
    pub fn usage(&self) -> Usage {
        usage(&self.catalog())
    }
}

fn usage(catalog: &Catalog) -> Usage {
    let mut users: HashMap<&Digest, (u64, u32)> = HashMap::new();
    for layer in catalog.images.values().flat_map(|entry| &entry.layers) {
        users.entry(&layer.diff_id).or_insert((layer.size_unpacked, 0)).1 += 1;
    }
    let image_usage = |entry: &crate::catalog::Entry| ImageUsage {
        size: entry.size(),
        shared: entry
            .layers
            .iter()
            .filter(|layer| users[&layer.diff_id].1 > 1)
            .map(|layer| layer.size_unpacked)
            .sum(),
    };
    Usage {
        layers: users.values().map(|(size, _)| size).sum(),
        images: catalog.images.iter().map(|(id, entry)| (id.clone(), image_usage(entry))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{digest, entry};

    #[test]
    fn shared_layers_count_once_in_all_and_show_in_each() {
        let mut catalog = Catalog::default();
        let (one, two) = (ImageId(digest("a")), ImageId(digest("b")));
        catalog.add(one.clone(), entry(&["1", "2"]));
        catalog.add(two, entry(&["1"]));
        let usage = usage(&catalog);
        assert_eq!(usage.layers, 20);
        assert_eq!(usage.images[&one], ImageUsage { size: 20, shared: 10 });
    }
}
