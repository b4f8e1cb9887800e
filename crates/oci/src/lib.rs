//! The Open Container Initiative's data: digests, references, descriptors, manifests, image configs, runtime specs.
//!
//! Pure data that parses at the door: a value that exists is valid. It does no I/O and knows nothing of Docker's API.
#![forbid(unsafe_code)]

pub mod descriptor;
pub mod digest;
pub mod image;
pub mod manifest;
pub mod media_type;
mod null;
pub mod platform;
pub mod reference;
pub mod runtime;

pub use descriptor::{Descriptor, Platform};
pub use digest::Digest;
pub use image::Image;
pub use manifest::{Index, Manifest};
pub use null::Nothing;
pub use reference::Reference;
