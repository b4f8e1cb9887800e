//! The store through its public face, on real file systems.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adopt;
mod archives;
mod budget;
mod compress;
mod crash;
mod fetch;
mod full;
mod hostile;
mod images;
mod indexes;
mod make;
mod repair;
mod snapshots;
mod usage;
