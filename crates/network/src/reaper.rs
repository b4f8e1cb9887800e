//! Deletes devices and closes namespaces in batches, off everybody's path.
//!
//! Deleting one veth holds the kernel's network lock for about 16 ms, twenty in one message cost 1.5 ms each.
//! So the dead are collected until nothing has died for a moment, and buried together.
//!
//! Until then a dead endpoint's address may be in use again: its veth stands in [`Unburied`], and whoever takes the
//! address cuts that veth off the bridge first.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fault::{Call, Result};
use netlink::route::{self, Which};
use netlink::{Batch, Channel};
use tracing::warn;

/// A batch this big gains no more by waiting.
const BATCH_MAX: usize = 32;
/// Nothing died for so long: nothing more to wait for.
const QUIET: Duration = Duration::from_millis(100);
/// A batch is not held back longer, whatever still dies.
const AGE_MAX: Duration = Duration::from_secs(1);
/// When so many wait, `disconnect` waits too.
const QUEUE_MAX: usize = 1024;
const THREAD_STACK_BYTES: usize = 256 << 10;
/// "kg" in the upper half; the process id below keeps two daemons apart.
const GROUP_BASE: u32 = 0x6b67_0000;

/// What is left of a disconnected endpoint.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) veth: String,
    pub(crate) address: Ipv4Addr,
    /// Kept open until the veth is gone, so that the namespace's end does not delete it alone.
    pub(crate) netns: Option<OwnedFd>,
}

/// Addresses whose last veth is not deleted yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unburied(Arc<Mutex<HashMap<Ipv4Addr, String>>>);

#[derive(Debug)]
enum Order {
    Bury(Dead),
    /// Bury what is there, then say so.
    Settle(SyncSender<()>),
}

/// The thread and the way to it. Dropping it buries what is left.
#[derive(Debug)]
pub(crate) struct Reaper {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    unburied: Unburied,
}

impl Unburied {
    /// The veth that still has this address, to be silenced by the taker.
    pub(crate) fn take(&self, address: Ipv4Addr) -> Option<String> {
        self.lock().remove(&address)
    }

    fn forget(&self, dead: &Dead) {
        let mut unburied = self.lock();
        if unburied.get(&dead.address) == Some(&dead.veth) {
            unburied.remove(&dead.address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reaper {
    /// `channel` is the reaper's own, so that it waits for the kernel alone.
    pub(crate) fn start(channel: Channel) -> Result<Self> {
        let (orders, receiver) = sync_channel(QUEUE_MAX);
        let unburied = Unburied::default();
        let cemetery = Cemetery { channel, unburied: unburied.clone() };
        let thread = thread::Builder::new()
            .name("network-reaper".into())
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || cemetery.work(&receiver))
            .call(|| "starting the network reaper")?;
        Ok(Self { orders: Some(orders), thread: Some(thread), unburied })
    }

    pub(crate) fn unburied(&self) -> &Unburied {
        &self.unburied
    }

    pub(crate) fn bury(&self, dead: Dead) {
        self.unburied.lock().insert(dead.address, dead.veth.clone());
        self.order(Order::Bury(dead));
    }

    /// Returns when all that was given before is gone.
    pub(crate) fn settle(&self) {
        let (done, wait) = sync_channel(1);
        self.order(Order::Settle(done));
        // A reaper that ended has nothing left to bury.
        wait.recv().unwrap_or_default();
    }

    fn order(&self, order: Order) {
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        if !matches!(sent, Some(Ok(()))) {
            warn!("the network reaper has ended; the next start cleans up");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the network reaper panicked");
        }
    }
}

struct Cemetery {
    channel: Channel,
    unburied: Unburied,
}

impl Cemetery {
    fn work(&self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let (batch, waiting) = collect(first, orders);
            self.bury(batch);
            // Whoever waited may have gone.
            waiting.into_iter().for_each(|done| done.send(()).unwrap_or_default());
        }
    }

    fn bury(&self, batch: Vec<Dead>) {
        if batch.is_empty() {
            return;
        }
        sys::crash::point("network.reaper.batch");
        if let Err(error) = delete(&self.channel, batch.iter().map(|dead| dead.veth.as_str())) {
            warn!(%error, count = batch.len(), "deleting devices; the next start does");
        }
        for dead in &batch {
            self.unburied.forget(dead);
        }
        // All at once, and without devices: cheap for the kernel.
        drop(batch.into_iter().filter_map(|dead| dead.netns).collect::<Vec<OwnedFd>>());
    }
}

/// Orders up to a full, old or quiet batch; a wish to settle ends it at once.
fn collect(first: Order, orders: &Receiver<Order>) -> (Vec<Dead>, Option<SyncSender<()>>) {
    let mut batch = Vec::new();
    let end = Instant::now() + AGE_MAX;
    let mut next = first;
    loop {
        match next {
            Order::Bury(dead) => batch.push(dead),
            Order::Settle(done) => return (batch, Some(done)),
        }
        let patience = QUIET.min(end.saturating_duration_since(Instant::now()));
        if batch.len() >= BATCH_MAX {
            return (batch, None);
        }
        next = match orders.recv_timeout(patience) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return (batch, None),
        };
    }
}

/// Deletes these links in one message. Those that are gone are fine.
pub(crate) fn delete<'a>(channel: &Channel, links: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut batch = Batch::default();
    let group = GROUP_BASE | (std::process::id() & 0xffff);
    for link in links {
        route::set_group(&mut batch, Which::Name(link), group);
    }
    if batch.is_empty() {
        return Ok(());
    }
    route::delete_group(&mut batch, group);
    channel.commit(&batch)
}
