//! Passes the signals that we get on to the container's process.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Poll;

use client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes over every signal that can be passed on. From now on they do not end us.
pub(crate) fn forward<'a>(client: &'a Client, id: &'a str) -> impl Future<Output = Infallible> + 'a {
    let mut caught: Vec<(&'static str, Signal)> =
        SIGNALS.iter().filter_map(|name| Some((*name, catch(name)?))).collect();
    async move {
        loop {
            let name = next(&mut caught).await;
            // A process that just ended needs no signal.
            client::container::kill(client, id, name).await.ok();
        }
    }
}

fn catch(name: &str) -> Option<Signal> {
    signal(SignalKind::from_raw(sys::signal::number(name)?)).ok()
}

async fn next(caught: &mut [(&'static str, Signal)]) -> &'static str {
    std::future::poll_fn(|context| {
        for (name, signal) in caught.iter_mut() {
            if Pin::new(signal).poll_recv(context).is_ready() {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    })
    .await
}

/// Left out: what cannot be caught, what tells of our own children, pipes and window, and what the runtime refuses to
/// catch.
const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "TRAP", "ABRT", "BUS", "USR1", "USR2", "ALRM", "TERM", "STKFLT", "CONT", "TSTP",
    "TTIN", "TTOU", "XCPU", "XFSZ", "VTALRM", "PROF", "POLL", "PWR", "SYS",
];
