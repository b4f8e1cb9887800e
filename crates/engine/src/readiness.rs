//! Waiting for a descriptor of ours to become ready.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use fault::{Call, Result};
use tokio::io::{Interest, unix::AsyncFd};

/// Something that owns its descriptor, in the form that the runtime takes.
#[derive(Debug)]
pub(crate) struct Watched<T>(pub(crate) T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Registers a descriptor with the runtime, for reading. It must be non-blocking, and stay the same as long as it is
/// registered.
#[expect(
    deprecated,
    reason = "the new constructor is unsafe, and every type that we give owns its descriptor"
)]
pub(crate) fn watch<T: AsFd>(descriptor: T) -> Result<AsyncFd<Watched<T>>> {
    AsyncFd::with_interest(Watched(descriptor), Interest::READABLE).call(|| "epoll_ctl")
}
