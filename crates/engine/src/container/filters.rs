//! The filters of the list of containers.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::filters::Filters;
use api::port::{Port, Protocol};
use fault::{Error, Result};
use store::ImageId;

use super::show;
use super::view::View;
use crate::Engine;
use crate::filter::Names;

/// Filters, with what they name looked up once.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    filters: &'a Filters,
    ids: Names,
    names: Names,
    /// Created later (`since`) or earlier (`before`) than these times.
    since: Option<String>,
    before: Option<String>,
    /// The images that `ancestor` means and those made from them; `None` unless it is asked.
    ancestors: Option<BTreeSet<ImageId>>,
    exit_codes: Vec<i32>,
    published: Vec<Port>,
    exposed: Vec<Port>,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(engine: &Engine, filters: &'a Filters) -> Result<Self> {
        filters.allow(KNOWN)?;
        one_of(filters, "status", "state", STATUSES)?;
        one_of(filters, "health", "health", HEALTHS)?;
        filters.flag("is-task", false)?;
        let created = |name: &str| -> Result<Option<String>> {
            let named = filters.values(name).next().map(|id| engine.containers().find(id)).transpose()?;
            Ok(named.map(|container| container.view().record.created.clone()))
        };
        let code = |text: &str| {
            text.parse().map_err(|_| {
                let why = format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
                Error::invalid(format!("invalid filter 'exited={text}': {why}"))
            })
        };
        let ancestors = filters.contains("ancestor").then(|| descendants(engine, filters.values("ancestor")));
        Ok(Self {
            filters,
            ids: Names::of(filters, "id"),
            names: Names::of(filters, "name"),
            since: created("since")?,
            before: created("before")?,
            ancestors,
            exit_codes: filters.values("exited").map(code).collect::<Result<_>>()?,
            published: ports(filters, "publish")?,
            exposed: ports(filters, "expose")?,
        })
    }

    pub(super) fn matches(&self, view: &Arc<View>) -> bool {
        let record = &view.record;
        let filters = self.filters;
        let status = record.state.status;
        let is_mounted = |text: &str| {
            record.mounts.iter().any(|mount| mount.name == text || mount.destination.to_str() == Some(text))
        };
        self.since.as_ref().is_none_or(|since| record.created > *since)
            && self.before.as_ref().is_none_or(|before| record.created < *before)
            && self.ancestors.as_ref().is_none_or(|images| {
                record.image_id.parse().is_ok_and(|image: ImageId| images.contains(&image))
            })
            && (self.exit_codes.is_empty()
                || (!status.is_up()
                    && record.state.started_at != crate::record::NEVER
                    && self.exit_codes.contains(&record.state.exit_code)))
            && self.ids.hold(record.id.as_str())
            && (self.names.hold(&record.name) || self.names.hold(&format!("/{}", record.name)))
            && filters.any("status", |text| text == status.as_str())
            && filters.any("health", |text| text == "none")
            && filters.any("is-task", |text| !matches!(text, "1" | "true" | "True"))
            && filters.any("isolation", |text| matches!(text, "" | "default"))
            && filters.any("volume", is_mounted)
            && filters.any("network", |text| in_network(view, text))
            && self.has_port(view)
            && filters.labels(&record.config.labels)
    }

    /// One of those asked for by either filter, among the ports that the list shows: a stopped container has none.
    fn has_port(&self, view: &View) -> bool {
        let is_asked = |asked: &[Port], number: u16, protocol: &str| {
            asked.iter().any(|port| port.number == number && port.protocol.as_str() == protocol)
        };
        let none_asked = self.published.is_empty() && self.exposed.is_empty();
        none_asked
            || show::published(&view.record, view.endpoint.as_ref()).iter().any(|port| {
                is_asked(&self.published, port.public_port, &port.protocol)
                    || is_asked(&self.exposed, port.private_port, &port.protocol)
            })
    }
}

/// Images by name with all that were committed from them. A name that means none adds none.
fn descendants<'a>(engine: &Engine, names: impl Iterator<Item = &'a str>) -> BTreeSet<ImageId> {
    let mut images = BTreeSet::new();
    let mut unseen: Vec<ImageId> = names.filter_map(|name| engine.store().resolve(name).ok()).collect();
    while let Some(image) = unseen.pop() {
        if images.insert(image.clone()) {
            unseen.extend(engine.store().children(&image));
        }
    }
    images
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

const STATUSES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];

const HEALTHS: &[&str] = &["none", "starting", "healthy", "unhealthy"];

fn one_of(filters: &Filters, name: &str, noun: &str, known: &[&str]) -> Result<()> {
    match filters.values(name).find(|value| !known.contains(value)) {
        Some(value) => Err(Error::invalid(format!(
            "invalid filter '{name}={value}': invalid value for {noun} ({value}): must be one of {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`: one for each.
fn ports(filters: &Filters, name: &str) -> Result<Vec<Port>> {
    let mut all = Vec::new();
    for text in filters.values(name) {
        if text.contains(':') {
            return Err(Error::invalid(format!("filter for '{name}' should not contain ':': {text}")));
        }
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let numbers = api::port::range(numbers)
            .map_err(|why| Error::invalid(format!("error while looking up for {name} {text}: {why}")))?;
        let protocol: Protocol = protocol.parse()?;
        all.extend(numbers.map(|number| Port { number, protocol }));
    }
    Ok(all)
}

fn in_network(view: &View, text: &str) -> bool {
    let by_id = view.endpoint.as_ref().is_some_and(|endpoint| endpoint.network_id.starts_with(text));
    by_id || view.record.endpoints.contains_key(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_ranges_of_a_protocol() {
        let asked = |text: &str| ports(&Filters::parse(&format!(r#"{{"publish":["{text}"]}}"#))?, "publish");
        let text =
            |text: &str| asked(text).unwrap().iter().map(Port::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text("80"), "80/tcp");
        assert_eq!(text("80-82/udp"), "80/udp 81/udp 82/udp");
        let texts = ["abc", "90-80", "70000", "", "1:2"].map(|text| asked(text).unwrap_err().to_string());
        insta::assert_snapshot!(texts.join("\n"), @r#"
        error while looking up for publish abc: strconv.ParseUint: parsing "abc": invalid syntax
        error while looking up for publish 90-80: invalid range specified for port: 90-80
        error while looking up for publish 70000: strconv.ParseUint: parsing "70000": value out of range
        error while looking up for publish : empty string specified for ports
        filter for 'publish' should not contain ':': 1:2
        "#);
    }

    #[test]
    fn unknown_values_are_told_with_the_known_ones() {
        let filters = Filters::parse(r#"{"health":["x"]}"#).unwrap();
        assert_eq!(
            one_of(&filters, "health", "health", HEALTHS).unwrap_err().to_string(),
            "invalid filter 'health=x': invalid value for health (x): must be one of none, starting, healthy, unhealthy"
        );
    }
}
