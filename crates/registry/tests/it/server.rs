//! The server, asked by a client that hides nothing of HTTP.

mod blobs;
mod cache;
mod collect;
mod crash;
mod disk;
mod events;
mod guards;
mod manifests;
mod operator;
mod restart;
mod tokens;
