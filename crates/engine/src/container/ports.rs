//! Published ports: from Docker's maps to the network's wishes. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use api::port::{Binding, Port, Protocol};
use fault::{Error, Result};
use network::{PortWish, Proto};

use crate::Record;

/// What to publish at a start; with `-P` also what is merely exposed.
pub(super) fn wishes(record: &Record) -> Result<Vec<PortWish>> {
    let host = &record.host_config;
    let mut wishes = Vec::new();
    let mut published = BTreeSet::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        for binding in bindings.iter().flatten() {
            wishes.push(wish(*port, binding)?);
        }
        published.insert(*port);
    }
    if host.publish_all_ports {
        let rest = record.config.exposed_ports.keys().filter(|port| !published.contains(port));
        for port in rest {
            wishes.push(wish(*port, &Binding::default())?);
        }
    }
    Ok(wishes)
}

fn wish(port: Port, binding: &Binding) -> Result<PortWish> {
    let host_ip = match binding.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| Error::invalid(format!("invalid IP address in port binding: {text}")))?,
        ),
    };
    Ok(PortWish {
        container: port.number,
        proto: proto(port.protocol),
        host_ip,
        host: range(&binding.host_port)?,
    })
}

/// Empty (any), a number (0: any) or a range.
fn range(text: &str) -> Result<Option<RangeInclusive<u16>>> {
    let wrong = || Error::invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    match (first, last) {
        (0, 0) => Ok(None),
        _ if first == 0 || first > last => Err(wrong()),
        _ => Ok(Some(first..=last)),
    }
}

fn proto(protocol: Protocol) -> Proto {
    match protocol {
        Protocol::Tcp => Proto::Tcp,
        Protocol::Udp => Proto::Udp,
        Protocol::Sctp => Proto::Sctp,
    }
}

pub(super) fn protocol(proto: Proto) -> Protocol {
    match proto {
        Proto::Tcp => Protocol::Tcp,
        Proto::Udp => Protocol::Udp,
        Proto::Sctp => Protocol::Sctp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContainerId;
    use crate::record::NEVER;

    fn wished(json: &str) -> Result<Vec<PortWish>> {
        let wanted: api::container::Create = api::from_slice(json.as_bytes()).unwrap();
        let mut record = Record::new(ContainerId::random().unwrap(), "x".into(), NEVER.into());
        record.config = wanted.config;
        record.host_config = wanted.host_config;
        wishes(&record)
    }

    #[test]
    fn bindings_become_wishes() {
        let all = wished(
            r#"{"ExposedPorts":{"80/tcp":{},"90/udp":{}},"HostConfig":{"PublishAllPorts":true,"PortBindings":{
            "80/tcp":[{"HostPort":"8080"},{"HostIp":"127.0.0.1","HostPort":"9000-9010"}],"53/udp":[{"HostPort":""}]}}}"#,
        )
        .unwrap();
        let text: Vec<_> = all
            .iter()
            .map(|wish| format!("{}/{} {:?} {:?}", wish.container, wish.proto, wish.host_ip, wish.host))
            .collect();
        assert_eq!(
            text,
            [
                "53/udp None None",
                "80/tcp None Some(8080..=8080)",
                "80/tcp Some(127.0.0.1) Some(9000..=9010)",
                "90/udp None None"
            ]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |port: &str| {
            let json =
                format!(r#"{{"HostConfig":{{"PortBindings":{{"80/tcp":[{{"HostPort":"{port}"}}]}}}}}}"#);
            wished(&json).unwrap_err().to_string()
        };
        for port in ["x", "70000", "9-8", "0-9"] {
            assert_eq!(refused(port), format!("invalid port specification: \"{port}\""));
        }
    }
}
