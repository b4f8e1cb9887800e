//! The real binary, driven by its command line with bundles of busybox: the kernel answers, nothing is mocked.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod bundle;
mod commands;
mod failures;
mod filter;
mod isolation;
mod mapped;
mod terminal;
