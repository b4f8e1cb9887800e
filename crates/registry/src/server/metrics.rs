//! Counters, in Prometheus's text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::Method;

use crate::server::cache::Cache;
use crate::server::events::Counts;
use crate::server::failure::Outcome;
use crate::server::storage::Storage;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// What the registry holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    repositories: u64,
    /// Those of a repository count in each that has them.
    blobs: u64,
    manifests: u64,
    bytes: u64,
    uploads: u64,
}

impl Held {
    pub(crate) fn of(storage: &Storage) -> Outcome<Self> {
        let view = storage.catalog.view()?;
        let sizes = view.sizes()?;
        let (blobs, manifests) = view.counts()?;
        Ok(Self {
            repositories: sizes.len() as u64,
            blobs,
            manifests,
            bytes: sizes.iter().map(|(_, bytes)| bytes).sum(),
            uploads: storage.uploads.count()? as u64,
        })
    }
}

impl Metrics {
    pub(crate) fn answered(&self, method: &Method, status: u16) {
        // Clients may make up methods, and each would be a row for ever.
        let known = METHODS.iter().find(|known| **known == method.as_str());
        let method = known.copied().unwrap_or("other");
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, status)).or_default() += 1;
    }

    pub(crate) fn text(&self, held: &Held, events: &Counts, cache: Option<&Cache>) -> String {
        let mut text = String::new();
        head(&mut text, "kogge_registry_requests_total", "counter", "Requests answered.");
        for ((method, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
            line(&mut text, "kogge_registry_requests_total", &labels, *count);
        }
        let totals = [
            ("kogge_registry_received_bytes_total", "Bytes of blobs and manifests pushed.", &self.bytes_in),
            ("kogge_registry_sent_bytes_total", "Bytes of blobs and manifests pulled.", &self.bytes_out),
            ("kogge_registry_events_delivered_total", "Events that were taken.", &events.delivered),
            ("kogge_registry_events_lost_total", "Events that nobody took.", &events.lost),
        ];
        for (name, help, counter) in totals {
            head(&mut text, name, "counter", help);
            line(&mut text, name, "", counter.load(Ordering::Relaxed));
        }
        if let Some(cache) = cache {
            let counts = &cache.counts;
            let totals = [
                (
                    "kogge_registry_cache_hits_total",
                    "Blobs and manifests of other registries that were here.",
                    &counts.hits,
                ),
                ("kogge_registry_cache_misses_total", "Those that were fetched.", &counts.misses),
                (
                    "kogge_registry_cache_stale_total",
                    "Those served without the other registry's word.",
                    &counts.stale,
                ),
                (
                    "kogge_registry_cache_fetched_bytes_total",
                    "Bytes fetched from other registries.",
                    &counts.bytes_fetched,
                ),
            ];
            for (name, help, counter) in totals {
                head(&mut text, name, "counter", help);
                line(&mut text, name, "", counter.load(Ordering::Relaxed));
            }
        }
        let gauges = [
            ("kogge_registry_repositories", "Repositories.", held.repositories),
            ("kogge_registry_blobs", "Blobs; those of several repositories count in each.", held.blobs),
            ("kogge_registry_manifests", "Manifests, counted likewise.", held.manifests),
            ("kogge_registry_held_bytes", "Bytes of both, counted likewise.", held.bytes),
            ("kogge_registry_uploads", "Uploads that were begun.", held.uploads),
        ];
        for (name, help, value) in gauges {
            head(&mut text, name, "gauge", help);
            line(&mut text, name, "", value);
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a String does not fail");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    writeln!(text, "{name}{labels} {value}").expect("writing to a String does not fail");
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_method_and_status() {
        let metrics = Metrics::default();
        metrics.answered(&Method::GET, 200);
        metrics.answered(&Method::GET, 200);
        metrics.answered(&Method::from_bytes(b"MADE-UP").unwrap(), 405);
        metrics.bytes_out.fetch_add(7, Ordering::Relaxed);
        let held = Held { repositories: 2, bytes: 7, ..Held::default() };
        let text = metrics.text(&held, &Counts::default(), None);
        assert!(
            text.contains("kogge_registry_requests_total{method=\"other\",status=\"405\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("kogge_registry_requests_total{method=\"GET\",status=\"200\"} 2\n"), "{text}");
        assert!(text.contains("kogge_registry_sent_bytes_total 7\n"), "{text}");
        assert!(text.contains("kogge_registry_held_bytes 7\n"), "{text}");
    }
}
