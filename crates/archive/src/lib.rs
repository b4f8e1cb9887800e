//! Archives: tar streams to trees beneath a root and back, compression, and the .dockerignore rules.
//!
//! Bytes from outside are never trusted: headers are bounded in memory, names cannot leave the root, and where
//! readers of tar differ Go's `archive/tar` is the reference, since that is what images are checked with elsewhere.
//! Knows nothing of images, layers' order or digests.
#![forbid(unsafe_code)]

pub mod compression;
mod extract;
pub mod ignore;
mod pack;
pub mod tar;
mod whiteout;

pub use extract::{Extract, Extracted, extract};
pub use pack::{Pack, Packed, Times, pack};
pub use whiteout::Whiteouts;
