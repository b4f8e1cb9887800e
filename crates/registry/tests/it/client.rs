//! Pull and push against our own registry, through a double that looks on.

pub(crate) mod double;
mod guards;
mod platforms;
mod pulls;
mod pushes;
pub(crate) mod scene;
mod signatures;
