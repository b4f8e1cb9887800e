//! Waiting for a descriptor of ours to become ready.

use std::os::fd::AsRawFd;

use fault::{Call, Result};
use tokio::io::{Interest, unix::AsyncFd};

/// Registers a descriptor with the runtime; it must be non-blocking, and stay the same as long as it is registered.
#[expect(
    deprecated,
    reason = "the new constructor is unsafe, and every type that we give owns its descriptor"
)]
pub(crate) fn watch<T: AsRawFd>(descriptor: T, interest: Interest) -> Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest).call(|| "epoll_ctl")
}
