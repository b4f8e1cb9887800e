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
//! ```
//!
//! `http` answers requests by the table of `route`; `blobs`, `uploads`, `manifests` and `collect` are the verbs over
//! `storage`, which blocks and is called from the pool.

mod access;
mod blob;
mod catalog;
mod collect;
mod config;
mod failure;
mod htpasswd;
mod http;
mod listing;
mod manifest;
mod metrics;
mod range;
mod referrer;
mod route;
mod sendfile;
mod storage;
mod tls;
mod upload;

pub use collect::Collected;
pub use config::{Config, Quota};
pub use http::Server;
