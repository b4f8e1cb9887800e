//! The server, asked by a client that hides nothing of HTTP.

mod blobs;
mod collect;
mod guards;
mod manifests;
mod restart;
