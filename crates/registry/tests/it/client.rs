//! Pull and push against our own registry, through a double that looks on.

mod double;
mod guards;
mod platforms;
mod pulls;
mod pushes;
mod scene;
