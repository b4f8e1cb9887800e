//! Counters, in Prometheus's text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

impl Metrics {
    pub(crate) fn answered(&self, method: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method.to_owned(), status)).or_default() += 1;
    }

    /// `repositories`: names and bytes.
    pub(crate) fn text(&self, repositories: &[(String, u64)]) -> String {
        let mut text = String::new();
        head(&mut text, "kogge_registry_requests_total", "counter", "Requests answered.");
        for ((method, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
            line(&mut text, "kogge_registry_requests_total", &labels, *count);
        }
        let totals = [
            ("kogge_registry_received_bytes_total", "Bytes of blobs and manifests pushed.", &self.bytes_in),
            ("kogge_registry_sent_bytes_total", "Bytes of blobs and manifests pulled.", &self.bytes_out),
        ];
        for (name, help, counter) in totals {
            head(&mut text, name, "counter", help);
            line(&mut text, name, "", counter.load(Ordering::Relaxed));
        }
        head(&mut text, "kogge_registry_repositories", "gauge", "Repositories.");
        line(&mut text, "kogge_registry_repositories", "", repositories.len() as u64);
        head(
            &mut text,
            "kogge_registry_held_bytes",
            "gauge",
            "Bytes held by repositories; shared ones count in each.",
        );
        line(&mut text, "kogge_registry_held_bytes", "", repositories.iter().map(|(_, bytes)| bytes).sum());
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a String does not fail");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    writeln!(text, "{name}{labels} {value}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_method_and_status() {
        let metrics = Metrics::default();
        metrics.answered("GET", 200);
        metrics.answered("GET", 200);
        metrics.bytes_out.fetch_add(7, Ordering::Relaxed);
        let text = metrics.text(&[("a".into(), 3), ("b".into(), 4)]);
        assert!(text.contains("kogge_registry_requests_total{method=\"GET\",status=\"200\"} 2\n"), "{text}");
        assert!(text.contains("kogge_registry_sent_bytes_total 7\n"), "{text}");
        assert!(text.contains("kogge_registry_held_bytes 7\n"), "{text}");
    }
}
