//! The server: a registry of images and artifacts over HTTP (distribution-spec 1.1), with OCI's and Docker's media types.
//!
//! Guarantees: what was acknowledged is on disk; a blob has the digest it is called by, or is not there; a manifest is
//! there only with everything it refers to; whatever a client says is bounded before it is held; no name leaves the
//! root; unused blobs are collected while clients push.
//!
//! ```text
//! <root>/lock                        held by the process that serves the folder
//! <root>/registry.redb               repositories, manifests, tags, links of blobs (catalog.rs)
//! <root>/blobs/<algorithm>/<hex>     blobs and manifests, as in an OCI image layout
//! <root>/uploads/<id>                what clients are sending
//! <root>/hashes/<id>                 how far those are hashed
//! <root>/control.sock                the operator's way in
//! ```
//!
//! `http` answers requests by the table of `route` to whom `access` admits; `blob`, `upload`, `manifest`, `listing`,
//! `referrer` and `collect` are the verbs over `storage`, which blocks and is called from the pool.

mod access;
mod blob;
mod cache;
mod catalog;
mod collect;
mod config;
mod control;
mod events;
mod failure;
mod http;
mod listing;
mod manifest;
mod metrics;
mod promise;
mod range;
mod referrer;
mod route;
mod sendfile;
mod storage;
mod tls;
mod upload;

pub use collect::Collected;
pub use config::{Config, Quota, TokenAccess, Upstream};
pub use control::ask_to_collect;
pub use http::Server;

/// Readers of foreign bytes, for `fuzz/`.
pub mod foreign {
    /// A path and its method, a range of a reader, a chunk's range, a token: understood or refused.
    pub fn read(text: &str, size: u64) {
        if let Ok(route) = super::route::Route::of(text) {
            drop(super::access::Need::of(&route, &hyper::Method::GET));
        }
        if let super::range::Wanted::Part(part) = super::range::wanted(Some(text), size) {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        }
        if let Some((first, length)) = super::range::chunk(text) {
            assert!(length > 0 && first.checked_add(length - 1).is_some(), "{first}, {length}");
        }
        drop(super::access::jwt::Parts::of(text));
        drop(super::http::query(text));
    }

    /// The name of an upload, which becomes that of a file.
    pub fn is_upload_id(text: &str) -> bool {
        super::route::is_upload_id(text)
    }

    /// How far an upload of so many bytes is hashed.
    pub fn upload_state(bytes: &[u8], size: u64) {
        super::upload::read_state(bytes, size);
    }

    /// A manifest as it is sent.
    pub fn manifest(media_type: &str, bytes: &[u8]) {
        drop(super::manifest::record(media_type, bytes));
    }
}
