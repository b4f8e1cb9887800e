//! Pull and push against our own registry, through a double that breaks things on the way.

mod double;
mod guards;
mod pulls;
mod pushes;
mod scene;
