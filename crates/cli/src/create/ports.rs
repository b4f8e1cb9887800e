//! `-p` and `--expose`: ports of the container, and where they are wanted on the host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use api::image::Empty;
use api::port::{Binding, Port, PortMap, Protocol};

use super::Checked;
use crate::flags::Matches;

#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) exposed: BTreeMap<Port, Empty>,
    pub(super) bindings: PortMap,
}

pub(super) fn wanted(matches: &Matches) -> Checked<Ports> {
    let mut ports = Ports::default();
    for text in matches.list("publish") {
        publish(&mut ports, &plain_form(&text)?)?;
    }
    for text in matches.list("expose") {
        expose(&mut ports, &text)?;
    }
    Ok(ports)
}

/// `published=8080,target=80` becomes `8080:80/tcp`.
fn plain_form(text: &str) -> Checked<String> {
    if !text.contains('=') {
        return Ok(text.into());
    }
    let mut parameters = BTreeMap::from([("protocol", "tcp")]);
    for parameter in text.split(',') {
        let (key, value) = parameter.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            format!("invalid publish opts format (should be name=value but got '{parameter}')")
        })?;
        parameters.insert(key, value);
    }
    let get = |key: &str| parameters.get(key).copied().unwrap_or_default();
    Ok(format!("{}:{}/{}", get("published"), get("target"), get("protocol")))
}

/// `[ip:][host port[-last]:]container port[-last][/protocol]`
fn publish(ports: &mut Ports, text: &str) -> Checked<()> {
    let (ip, host, container) = split(text);
    let (container, protocol) = split_protocol(container);
    let ip = address(ip)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let inside = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let outside = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    let count = |range: &RangeInclusive<u16>| range.end() - range.start();
    let is_single = count(&inside) == 0;
    if let Some(outside) = &outside
        && !is_single
        && count(outside) != count(&inside)
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    let protocol: Protocol = protocol.parse().map_err(|_| format!("invalid proto: {protocol}"))?;
    for (offset, number) in inside.enumerate() {
        let host_port = match &outside {
            None => String::new(),
            Some(outside) if is_single && count(outside) > 0 => {
                format!("{}-{}", outside.start(), outside.end())
            }
            Some(outside) => (usize::from(*outside.start()) + offset).to_string(),
        };
        let port = Port { number, protocol };
        ports.exposed.insert(port, Empty {});
        let bindings = ports.bindings.entry(port).or_default().get_or_insert_default();
        bindings.push(Binding { host_ip: ip.clone(), host_port });
    }
    Ok(())
}

fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = text.rsplit_once(':') else { return ("", "", text) };
    match rest.rsplit_once(':') {
        Some((ip, host)) => (ip, host, container),
        None => ("", rest, container),
    }
}

fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("", _)) => ("", ""),
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol.split('/').next().unwrap_or(protocol)),
        None => (text, "tcp"),
    }
}

fn address(text: &str) -> Checked<String> {
    let bare = match text.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address {text}: address {text}:: missing ']' in address"))?,
        None => text,
    };
    match bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        true => Ok(bare.into()),
        false => Err(format!("invalid IP address: {bare}")),
    }
}

fn expose(ports: &mut Ports, text: &str) -> Checked<()> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (port, protocol) = split_protocol(text);
    let range =
        range(port).map_err(|error| format!("invalid range format for --expose: {text}, error: {error}"))?;
    let protocol: Protocol = protocol.parse().map_err(|_| format!("invalid proto: {protocol}"))?;
    ports.exposed.extend(range.map(|number| (Port { number, protocol }, Empty {})));
    Ok(())
}

fn range(text: &str) -> Checked<RangeInclusive<u16>> {
    if text.is_empty() {
        return Err("empty string specified for ports".into());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (number(first)?, number(last)?);
    if end < start {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok(start..=end)
}

fn number(text: &str) -> Checked<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number { "value out of range" } else { "invalid syntax" };
    match text.parse() {
        Ok(number) if is_number => Ok(number),
        _ => Err(api::units::go_error("ParseUint", text, problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let mut ports = Ports::default();
        let got = match plain_form(text).and_then(|text| publish(&mut ports, &text)) {
            Err(message) => message,
            Ok(()) => {
                let rows = ports.bindings.iter().map(|(port, bindings)| {
                    let bindings = bindings.as_deref().unwrap_or_default();
                    let places: Vec<_> =
                        bindings.iter().map(|b| format!("{}|{}", b.host_ip, b.host_port)).collect();
                    format!("{port}={}", places.join(","))
                });
                rows.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, wanted, "{text}");
    }

    #[test]
    fn all_forms_are_read() {
        check("80", "80/tcp=|");
        check("8080:80", "80/tcp=|8080");
        check("127.0.0.1:8080:80/udp", "80/udp=127.0.0.1|8080");
        check("127.0.0.1::80", "80/tcp=127.0.0.1|");
        check("[::1]:8080:80", "80/tcp=::1|8080");
        check("8000-8001:80-81", "80/tcp=|8000 81/tcp=|8001");
        check("8000-8010:80", "80/tcp=|8000-8010");
        check("published=8080,target=80,protocol=udp", "80/udp=|8080");
    }

    #[test]
    fn mistakes_are_told() {
        check("abc", "invalid containerPort: abc");
        check("x:80", "invalid hostPort: x");
        check("8080:", "no port specified: 8080:<empty>");
        check("1.2.3:8080:80", "invalid IP address: 1.2.3");
        check("[::1]:80", "invalid IP address [:: address [::: missing ']' in address");
        check("80/icmp", "invalid proto: icmp");
        check("1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3");
        check("99999", "invalid containerPort: 99999");
    }
}
