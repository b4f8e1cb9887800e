//! The filters of the list of containers.

use std::sync::Arc;

use api::filters::Filters;
use fault::{Error, Result};

use super::view::View;
use crate::Engine;

/// Filters, with what they name looked up once.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    filters: &'a Filters,
    /// Created later (`since`) or earlier (`before`) than these times.
    since: Option<String>,
    before: Option<String>,
    /// Image ids that `ancestor` means.
    ancestors: Vec<String>,
    exit_codes: Vec<i32>,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(engine: &Engine, filters: &'a Filters) -> Result<Self> {
        filters.allow(KNOWN)?;
        for status in filters.values("status") {
            if !STATUSES.contains(&status) {
                return Err(Error::invalid(format!("invalid filter 'status={status}'")));
            }
        }
        let created = |name: &str| -> Result<Option<String>> {
            let named = filters.values(name).next().map(|id| engine.containers().find(id)).transpose()?;
            Ok(named.map(|container| container.view().record.created.clone()))
        };
        let code =
            |text: &str| text.parse().map_err(|_| Error::invalid(format!("invalid filter 'exited={text}'")));
        // A name that means no image matches nothing; so does the container made from it.
        let ancestor =
            |name: &str| engine.store().resolve(name).map_or_else(|_| name.to_owned(), |id| id.to_string());
        Ok(Self {
            filters,
            since: created("since")?,
            before: created("before")?,
            ancestors: filters.values("ancestor").map(ancestor).collect(),
            exit_codes: filters.values("exited").map(code).collect::<Result<_>>()?,
        })
    }

    pub(super) fn matches(&self, view: &Arc<View>) -> bool {
        let record = &view.record;
        let filters = self.filters;
        let status = record.state.status;
        let is_mounted = |text: &str| {
            record.mounts.iter().any(|mount| mount.name == text || mount.destination.to_str() == Some(text))
        };
        let is_port = |text: &str, published: bool| {
            let Ok(port) = text.parse::<api::port::Port>() else { return false };
            let bound = record.host_config.port_bindings.iter().flatten().any(|(own, _)| *own == port);
            bound || (!published && record.config.exposed_ports.contains_key(&port))
        };
        self.since.as_ref().is_none_or(|since| record.created > *since)
            && self.before.as_ref().is_none_or(|before| record.created < *before)
            && (self.ancestors.is_empty() || self.ancestors.contains(&record.image_id))
            && (self.exit_codes.is_empty()
                || (!status.is_up()
                    && record.state.started_at != crate::record::NEVER
                    && self.exit_codes.contains(&record.state.exit_code)))
            && filters.any("id", |text| record.id.as_str().starts_with(text))
            && filters.any("name", |text| name_matches(&record.name, text))
            && filters.any("status", |text| text == status.as_str())
            && filters.any("health", |text| text == "none")
            && filters.any("is-task", |text| !matches!(text, "1" | "true" | "True"))
            && filters.any("isolation", |text| matches!(text, "" | "default"))
            && filters.any("volume", is_mounted)
            && filters.any("network", |text| in_network(view, text))
            && filters.any("publish", |text| is_port(text, true))
            && filters.any("expose", |text| is_port(text, false))
            && filters.labels(&record.config.labels)
    }
}

const KNOWN: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATUSES: &[&str] = &["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// Docker takes a regular expression; anchors and plain text are what people write.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (pattern, from_start) = pattern.strip_prefix('^').map_or((pattern, false), |rest| (rest, true));
    let (pattern, to_end) = pattern.strip_suffix('$').map_or((pattern, false), |rest| (rest, true));
    let bare = pattern.strip_prefix('/').unwrap_or(pattern);
    match (from_start, to_end) {
        (true, true) => name == bare,
        (true, false) => name.starts_with(bare),
        (false, true) => name.ends_with(bare),
        (false, false) => name.contains(bare),
    }
}

fn in_network(view: &View, text: &str) -> bool {
    let by_id = view.endpoint.as_ref().is_some_and(|endpoint| endpoint.network_id.starts_with(text));
    by_id || view.record.endpoints.contains_key(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_part_and_anchor() {
        assert!(
            name_matches("web1", "web") && name_matches("web1", "^/web1$") && name_matches("web1", "b1$")
        );
        assert!(!name_matches("web1", "^eb") && !name_matches("web1", "^web$"));
    }
}
