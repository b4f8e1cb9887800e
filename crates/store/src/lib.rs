//! Images on disk: blobs by digest, unpacked layers, snapshots, names, leases, garbage collection.
//!
//! Guarantees: a blob that has its final name is whole, verified and on disk; so is a layer's tree, or it is made again
//! from its blob; whatever was begun and not finished is swept at the next [`Store::open`]; one process at a time holds
//! a store. Blocking, callable from any thread. It knows neither registries nor containers: a snapshot has a key, and
//! who uses an image is asked of the caller.
//!
//! ```text
//! <root>/lock                          held by the process that has the store open
//! <root>/meta.redb                     images and their names (catalog.rs, db.rs)
//! <root>/reserve                       room to remove something on a full disk (reserve.rs)
//! <root>/content/                      an OCI image layout: oci-layout, index.json, blobs/sha256/<hex>
//! <root>/layers/<diffID hex>/          diff/ in overlay's own form of whiteouts, layer.json
//! <root>/layers/init/                  the lowest layer of every snapshot (snapshot/init_layer.rs)
//! <root>/snapshots/<key>/              diff/, work/, snapshot.json
//! <root>/partials/<hex>                half-fetched blobs (partial.rs)
//! <root>/ingest/                       half-written things; whatever is there at open is rubbish
//! <root>/damaged/                       blobs that a repair set aside (repair.rs)
//! <root>/trash/                        removed things that `sweep` deletes
//! ```
#![forbid(unsafe_code)]

mod adopt;
mod budget;
mod catalog;
mod collect;
mod commit;
mod compress;
mod content;
mod convert;
mod db;
mod difference;
mod fetch;
mod history;
mod image;
mod import;
mod index;
mod layer;
mod lease;
mod load;
mod naming;
mod partial;
mod pipe;
mod publish;
mod remove;
mod repair;
mod reserve;
mod resolve;
mod save;
mod scratch;
mod settle;
mod signed;
mod snapshot;
mod store;
mod usage;
mod verify;

pub use adopt::{Adoptable, Adopting};
pub use budget::Budget;
pub use collect::Collected;
pub use commit::Commit;
pub use convert::{Convert, Converted};
pub use difference::{Difference, FileChange, LayerUse, Setting};
pub use fetch::{Fetched, Fetching};
pub use history::HistoryRow;
pub use image::{Image, ImageId};
pub use import::Import;
pub use index::{Document, Variant, Variants};
pub use layer::Layer;
pub use lease::Lease;
pub use load::{Loaded, Progress};
pub use naming::Naming;
pub use partial::Partial;
pub use remove::{Remove, Removed, User};
pub use repair::{Outcome, Owners, Repaired};
pub use resolve::lookup_key;
pub use signed::Signed;
pub use snapshot::{Change, ChangeKind, MountOptions, Snapshot};
pub use store::Store;
pub use usage::{DiskUsage, ImageUsage, SnapshotUsage, Usage};
pub use verify::Problem;
