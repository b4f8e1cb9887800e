//! Tells others what happened: each push, pull, mount and deletion goes as Docker's registry event envelope
//! (distribution, "Notifications") to the addresses that the operator named.
//!
//! Every address has a queue and a task of its own. Nobody waits for them: what does not fit into a queue, or cannot be
//! delivered after several attempts, is lost with a warning, and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fault::{Error, Result};
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use hyper::http::Uri;
use oci::Digest;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::client;
use crate::client::dial::Plain;
use crate::client::exchange::{Ask, Exchange, Payload};
use crate::client::routes::Routes;

/// What happened to a blob or a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) action: Action,
    pub(crate) repository: String,
    /// Absent when a tag went.
    pub(crate) digest: Option<Digest>,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) tag: Option<String>,
    /// Of a mount.
    pub(crate) from: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Mount,
    Delete,
}

/// Who did it, and how.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) caller: String,
    pub(crate) peer: SocketAddr,
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) user_agent: String,
    pub(crate) scheme: &'static str,
}

/// The queues.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queues: Vec<mpsc::Sender<Bytes>>,
    /// What became of them.
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) lost: AtomicU64,
}

/// The other ends of the queues, for the tasks that empty them.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Vec<Delivery>);

#[derive(Debug)]
struct Delivery {
    address: Uri,
    queue: mpsc::Receiver<Bytes>,
    exchange: Exchange,
    counts: Arc<Counts>,
}

impl Events {
    pub(crate) fn open(addresses: &[String]) -> Result<(Self, Deliveries)> {
        let (mut events, mut deliveries) = (Self::default(), Deliveries::default());
        for address in addresses {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            let counts = Arc::clone(&events.counts);
            deliveries.0.push(Delivery { address: parsed(address)?, queue, exchange: exchange()?, counts });
            events.queues.push(sender);
        }
        Ok((events, deliveries))
    }

    pub(crate) fn are_wanted(&self) -> bool {
        !self.queues.is_empty()
    }

    pub(crate) fn tell(&self, event: &Event, origin: &Origin, id: &str, request: &str) {
        let envelope = Bytes::from(envelope(event, origin, id, request).to_string());
        for queue in &self.queues {
            if queue.try_send(envelope.clone()).is_err() {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(id, "an event was not told: too many wait already");
            }
        }
    }
}

impl Deliveries {
    pub(crate) fn run(self, tasks: &mut JoinSet<()>, ended: &watch::Receiver<bool>) {
        for delivery in self.0 {
            tasks.spawn(delivery.run(ended.clone()));
        }
    }
}

impl Delivery {
    /// Until the end; then what waits is tried once more.
    async fn run(mut self, mut ended: watch::Receiver<bool>) {
        loop {
            let next = tokio::select! {
                biased;
                next = self.queue.recv() => next,
                _ = ended.wait_for(|ended| *ended) => return self.queue.close(),
            };
            let Some(envelope) = next else { return };
            self.deliver(envelope, &mut ended).await;
        }
    }

    async fn deliver(&self, envelope: Bytes, ended: &mut watch::Receiver<bool>) {
        for failed in 1..=ATTEMPTS_MAX {
            match self.send(envelope.clone()).await {
                Ok(()) => {
                    self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(why) => tracing::debug!(address = %self.address, failed, why, "an event was not taken"),
            }
            let pause = client::Backoff::default().delay(failed, None).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = ended.wait_for(|ended| *ended) => break,
            }
        }
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(address = %self.address, "an event was not taken, and is lost");
    }

    async fn send(&self, envelope: Bytes) -> Result<(), String> {
        let ask = Ask::new(Method::POST, self.address.clone())
            .with_header(CONTENT_TYPE, MEDIA_TYPE)
            .with_payload(Payload::Bytes(envelope));
        let sent = tokio::time::timeout(PATIENCE, self.exchange.send(&ask, None, Plain::Anywhere)).await;
        let answer =
            sent.map_err(|_| "no answer in time".to_owned())?.map_err(|trouble| trouble.to_string())?;
        answer.judged().await.map(drop).map_err(|trouble| trouble.to_string())
    }
}

fn exchange() -> Result<Exchange> {
    let config = client::Config { user_agent: "Kogge registry".into(), ..client::Config::default() };
    Exchange::new(&config, &Routes::new(&config)?)
}

fn parsed(address: &str) -> Result<Uri> {
    let uri = address.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.filter(|uri| uri.host().is_some())
        .ok_or_else(|| Error::invalid(format!("{address} is no address to tell of events: http://host/path")))
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Mount => "mount",
            Self::Delete => "delete",
        }
    }
}

fn envelope(event: &Event, origin: &Origin, id: &str, request: &str) -> Value {
    let mut target = json!({"repository": event.repository});
    if let Some(digest) = &event.digest {
        target["digest"] = json!(digest);
        if event.action != Action::Delete {
            target["mediaType"] = json!(event.media_type);
            target["size"] = json!(event.size);
            target["length"] = json!(event.size);
            target["url"] = json!(url(event, origin, digest));
        }
    }
    if let Some(tag) = &event.tag {
        target["tag"] = json!(tag);
    }
    if let Some(from) = &event.from {
        target["fromRepository"] = json!(from);
    }
    let actor = if origin.caller.is_empty() { json!({}) } else { json!({"name": origin.caller}) };
    json!({"events": [{
        "id": id,
        "timestamp": sys::time::now_rfc3339_nano(),
        "action": event.action.name(),
        "target": target,
        "request": {
            "id": request,
            "addr": origin.peer.to_string(),
            "host": origin.host,
            "method": origin.method.as_str(),
            "useragent": origin.user_agent,
        },
        "actor": actor,
        "source": {"addr": origin.host},
    }]})
}

fn url(event: &Event, origin: &Origin, digest: &Digest) -> String {
    let kind = if event.media_type == BLOB_TYPE { "blobs" } else { "manifests" };
    format!("{}://{}/v2/{}/{kind}/{digest}", origin.scheme, origin.host, event.repository)
}

/// What a blob is called in events: its own type is known to manifests only.
pub(crate) const BLOB_TYPE: &str = "application/octet-stream";
const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";
/// Some hundred bytes each.
const QUEUE_MAX: usize = 4096;
/// About two minutes.
const ATTEMPTS_MAX: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_says_what_who_and_where() {
        let event = Event {
            action: Action::Push,
            repository: "team/app".into(),
            digest: Some(Digest::sha256(b"")),
            media_type: oci::media_type::OCI_MANIFEST.into(),
            size: 7,
            tag: Some("1".into()),
            from: None,
        };
        let origin = Origin {
            caller: "ann".into(),
            peer: "127.0.0.1:9".parse().unwrap(),
            method: Method::PUT,
            host: "registry:5000".into(),
            user_agent: "docker".into(),
            scheme: "http",
        };
        let told = &envelope(&event, &origin, "one", "two")["events"][0];
        assert_eq!((&told["action"], &told["actor"]["name"]), (&json!("push"), &json!("ann")));
        assert_eq!(told["target"]["tag"], "1");
        let digest = Digest::sha256(b"");
        assert_eq!(told["target"]["url"], format!("http://registry:5000/v2/team/app/manifests/{digest}"));
        assert_eq!(
            (&told["request"]["method"], &told["request"]["addr"]),
            (&json!("PUT"), &json!("127.0.0.1:9"))
        );
        let gone = Event { action: Action::Delete, digest: None, ..event };
        let told = &envelope(&gone, &origin, "one", "two")["events"][0];
        assert_eq!(told["target"], json!({"repository": "team/app", "tag": "1"}));
    }

    #[test]
    fn addresses_are_checked_at_the_start() {
        assert!(Events::open(&["http://127.0.0.1:9/x".into()]).is_ok());
        for wrong in ["ftp://x", "x", ""] {
            let error = Events::open(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.ends_with("is no address to tell of events: http://host/path"), "{error}");
        }
    }
}
