//! What happens in the engine, told to whoever subscribes, with a short memory for who comes late.
//!
//! Publishing never blocks: a subscriber who does not keep up loses the oldest events that it has not read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use api::events::{Actor, Message, Options, Type};
use api::filters::Filters;
use fault::Result;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Duration, Instant};

use crate::{Engine, Record};

/// Everything that happens passes here.
#[derive(Debug)]
pub struct Bus {
    live: broadcast::Sender<Message>,
    past: Mutex<VecDeque<Message>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { live: broadcast::Sender::new(BACKLOG), past: Mutex::default() }
    }
}

impl Bus {
    /// Sends an event with the time of now. Never blocks.
    pub(crate) fn publish(&self, kind: Type, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let message = message(kind, action, id, attributes, sys::time::Timestamp::now());
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == MEMORY {
            past.pop_front();
        }
        past.push_back(message.clone());
        // Under the lock, so that a subscriber sees every event either in the past or live. Nobody listening is fine.
        drop(self.live.send(message));
    }

    /// Sends an event of a container: its labels, image and name, and what is particular to the event.
    pub(crate) fn publish_container(&self, record: &Record, action: &str, details: &[(&str, String)]) {
        let mut attributes = record.config.labels.clone();
        attributes.insert("image".into(), record.config.image.clone());
        attributes.insert("name".into(), record.name.clone());
        attributes.extend(details.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.publish(Type::Container, action, record.id.as_str(), attributes);
    }

    /// How many listen now, as `info` shows it.
    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    fn join(&self) -> (Vec<Message>, broadcast::Receiver<Message>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.live.subscribe())
    }
}

/// How many past events `--since` can still see; dockerd's number.
const MEMORY: usize = 256;
/// How far a subscriber may fall behind before it loses events.
const BACKLOG: usize = 1024;

/// The events that are asked for: remembered ones first if `since` is set, then live ones until `until`.
pub fn subscribe(engine: &Engine, options: Options) -> Result<impl Stream<Item = Message> + Send + use<>> {
    options.filters.allow(FILTERS)?;
    let (past, live) = engine.events().join();
    let filters = options.filters;
    let remembered: Vec<Message> = match options.since {
        Some(since) => past.into_iter().filter(|event| within(event, since, options.until)).collect(),
        None => Vec::new(),
    };
    let ending = engine.tasks().ending();
    let events = stream::iter(remembered).chain(live_until(live, options.until, ending));
    Ok(events.filter(move |event| std::future::ready(matches(&filters, event))))
}

fn within(event: &Message, since: i64, until: Option<i64>) -> bool {
    event.time_nano >= since && until.is_none_or(|until| event.time_nano <= until)
}

fn live_until(
    live: broadcast::Receiver<Message>,
    until: Option<i64>,
    ending: tokio::sync::watch::Receiver<bool>,
) -> impl Stream<Item = Message> + Send {
    let end = until.map(|until| Instant::now() + time_left(until));
    stream::unfold((live, ending), move |(mut live, mut ending)| async move {
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            () = over => None,
            event = next(&mut live) => event,
            _ = ending.wait_for(|ending| *ending) => None,
        };
        event.map(|event| (event, (live, ending)))
    })
}

fn time_left(until: i64) -> Duration {
    let now = nanoseconds(sys::time::Timestamp::now());
    Duration::from_nanos(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

async fn next(live: &mut broadcast::Receiver<Message>) -> Option<Message> {
    loop {
        match live.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(count)) => {
                tracing::warn!(count, "a subscriber is too slow and lost events");
            }
            Err(RecvError::Closed) => return None,
        }
    }
}

fn message(
    kind: Type,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
    now: sys::time::Timestamp,
) -> Message {
    // The old lower-case fields exist for the two oldest types only.
    let old = matches!(kind, Type::Container | Type::Image);
    let or_empty = |text: &str| if old { text.to_owned() } else { String::new() };
    Message {
        status: or_empty(action),
        id: or_empty(id),
        from: if kind == Type::Container {
            attributes.get("image").cloned().unwrap_or_default()
        } else {
            String::new()
        },
        kind,
        action: action.to_owned(),
        actor: Actor { id: id.to_owned(), attributes },
        scope: "local".into(),
        time: now.seconds,
        time_nano: nanoseconds(now),
    }
}

fn nanoseconds(time: sys::time::Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
}

/// The names that `--filter` takes.
const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

fn matches(filters: &Filters, event: &Message) -> bool {
    filters.any("type", |wanted| wanted == event.kind.as_str())
        && filters.any("event", |wanted| is_action(&event.action, wanted))
        && filters.any("scope", |wanted| wanted == event.scope)
        && filters.any("image", |wanted| is_image(event, wanted))
        && filters.labels(&event.actor.attributes)
        && OBJECTS.iter().all(|object| filters.any(object, |wanted| begins(event, wanted)))
}

const OBJECTS: &[&str] =
    &["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"];

/// An id or a name by its beginning, of whatever type it is (moby, daemon/events/filter.go): `volume=data` also shows a
/// container of that name.
fn begins(event: &Message, wanted: &str) -> bool {
    let name = event.actor.attributes.get("name");
    event.actor.id.starts_with(wanted) || name.is_some_and(|name| name.starts_with(wanted))
}

/// `exec_start` also stands for `exec_start: sh`, as `health_status` for all its values.
fn is_action(action: &str, wanted: &str) -> bool {
    action == wanted || action.split_once(": ").is_some_and(|(verb, _)| verb == wanted)
}

/// An image by id or name, with or without its tag; containers made from it count too.
fn is_image(event: &Message, wanted: &str) -> bool {
    let without_tag = |name: &str| name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned();
    let name = match event.kind {
        Type::Image => event.actor.attributes.get("name"),
        _ => event.actor.attributes.get("image"),
    };
    let by_name = name.is_some_and(|name| name == wanted || without_tag(name) == wanted);
    by_name || (event.kind == Type::Image && event.actor.id == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Type, action: &str, id: &str, attributes: &[(&str, &str)]) -> Message {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        message(kind, action, id, attributes, sys::time::Timestamp::new(12, 5))
    }

    fn filters(text: &str) -> Filters {
        Filters::parse(text).unwrap()
    }

    #[test]
    fn old_fields_repeat_the_new_ones() {
        let text = serde_json::to_string(&event(
            Type::Container,
            "start",
            "4f1",
            &[("image", "busybox"), ("name", "x")],
        ));
        assert_eq!(
            text.unwrap(),
            r#"{"status":"start","id":"4f1","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"4f1","Attributes":{"image":"busybox","name":"x"}},"scope":"local","time":12,"timeNano":12000000005}"#
        );
        let text =
            serde_json::to_string(&event(Type::Volume, "create", "v", &[("driver", "local")])).unwrap();
        assert!(text.starts_with(r#"{"Type":"volume""#), "{text}");
    }

    #[test]
    fn filters_choose_by_object_action_and_label() {
        let start = event(
            Type::Container,
            "exec_start: sh -c x",
            "4f1a",
            &[("image", "busybox:1"), ("name", "web"), ("a", "b")],
        );
        for chosen in [
            r#"{"container":["web"]}"#,
            r#"{"container":["we"]}"#,
            r#"{"container":["4f"]}"#,
            r#"{"volume":["web"]}"#,
            r#"{"event":["exec_start"]}"#,
            r#"{"image":["busybox"],"type":["container"]}"#,
            r#"{"label":["a=b"]}"#,
        ] {
            assert!(matches(&filters(chosen), &start), "{chosen}");
        }
        for other in [
            r#"{"container":["eb"]}"#,
            r#"{"event":["start"]}"#,
            r#"{"volume":["data"]}"#,
            r#"{"label":["c"]}"#,
        ] {
            assert!(!matches(&filters(other), &start), "{other}");
        }
    }

    #[tokio::test]
    async fn a_late_subscriber_sees_the_past_once_and_then_the_present() {
        let bus = Bus::default();
        bus.publish(Type::Volume, "create", "a", BTreeMap::new());
        let (past, live) = bus.join();
        bus.publish(Type::Volume, "create", "b", BTreeMap::new());
        assert_eq!(past.iter().map(|event| event.actor.id.as_str()).collect::<Vec<_>>(), ["a"]);
        let (_stay, ending) = tokio::sync::watch::channel(false);
        let seen: Vec<_> = live_until(live, None, ending).take(1).map(|event| event.actor.id).collect().await;
        assert_eq!(seen, ["b"]);
    }

    #[tokio::test]
    async fn an_end_in_the_past_ends_at_once() {
        let bus = Bus::default();
        let (_, live) = bus.join();
        let (_stay, ending) = tokio::sync::watch::channel(false);
        assert_eq!(live_until(live, Some(0), ending).count().await, 0);
    }
}
