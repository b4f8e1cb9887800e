//! `--network` and what belongs to it: which networks, and how the container appears on each.

use std::collections::BTreeMap;

use api::network::{EndpointIpam, EndpointSettings};

use super::{Checked, check};
use crate::flags::{Matches, csv_fields};

/// One `--network`, in its short or long form.
#[derive(Clone, Debug, Default)]
struct Attachment {
    target: String,
    aliases: Vec<String>,
    driver_options: BTreeMap<String, String>,
    links: Vec<String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac_address: String,
    gateway_priority: i64,
}

pub(super) fn check(text: &str) -> Checked<String> {
    parse(text).map(|_| text.to_owned())
}

/// The first network named is the container's main one.
pub(super) fn mode(matches: &Matches) -> String {
    match attachments(matches).into_iter().next() {
        Some(first) => first.target,
        None => "default".into(),
    }
}

pub(super) fn endpoints(matches: &Matches) -> Checked<BTreeMap<String, EndpointSettings>> {
    let mut given = attachments(matches);
    let is_implied = given.is_empty();
    if is_implied {
        given.push(Attachment { target: "default".into(), ..Attachment::default() });
    }
    refuse_mixture(&given, is_implied)?;
    let is_single = given.len() == 1;
    let mut endpoints = BTreeMap::new();
    for (index, mut attachment) in given.into_iter().enumerate() {
        if index == 0 {
            apply_flags(&mut attachment, matches)?;
        }
        let endpoint = endpoint(&attachment)?;
        if endpoints.contains_key(&attachment.target) {
            return Err(format!("network {:?} is specified multiple times", attachment.target));
        }
        // A single network without settings needs no entry: the daemon makes one.
        if is_single && !is_implied && endpoint == EndpointSettings::default() {
            continue;
        }
        endpoints.insert(attachment.target, endpoint);
    }
    Ok(endpoints)
}

fn attachments(matches: &Matches) -> Vec<Attachment> {
    matches.list("network").iter().filter_map(|text| parse(text).ok()).collect()
}

fn parse(text: &str) -> Checked<Attachment> {
    if !is_long_form(text) {
        return Ok(Attachment { target: text.into(), ..Attachment::default() });
    }
    let mut attachment = Attachment::default();
    for field in csv_fields(text)? {
        let field = field.to_lowercase();
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        set(&mut attachment, key.trim(), value.trim())?;
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".into());
    }
    Ok(attachment)
}

/// `word=word` somewhere in it.
fn is_long_form(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=')
        .any(|(at, _)| text[..at].ends_with(is_word) && text[at + 1..].starts_with(is_word))
}

fn set(attachment: &mut Attachment, key: &str, value: &str) -> Checked<()> {
    match key {
        "name" => attachment.target = value.into(),
        "alias" => attachment.aliases.push(value.into()),
        "ip" => attachment.ipv4 = value.into(),
        "ip6" => attachment.ipv6 = value.into(),
        "mac-address" => attachment.mac_address = value.into(),
        "link-local-ip" => attachment.link_local.push(value.into()),
        "driver-opt" => {
            let (name, option) = value
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or("invalid key value pair format in driver options")?;
            attachment.driver_options.insert(name.trim().into(), option.trim().into());
        }
        "gw-priority" => {
            attachment.gateway_priority =
                value.parse().map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
        }
        _ => return Err(format!("invalid field key {key}")),
    }
    Ok(())
}

fn refuse_mixture(given: &[Attachment], is_implied: bool) -> Checked<()> {
    let own = given.iter().filter(|attachment| is_user_defined(&attachment.target)).count();
    if !is_implied && own > 0 && own < given.len() {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes".into(),
        );
    }
    Ok(())
}

/// The flags without a network's name count for the first.
fn apply_flags(attachment: &mut Attachment, matches: &Matches) -> Checked<()> {
    let conflict = |flag: &str, what: &str| {
        Err(format!("conflicting options: cannot specify both --{flag} and per-network {what}"))
    };
    let aliases = matches.list("network-alias");
    if !aliases.is_empty() && !attachment.aliases.is_empty() {
        return conflict("network-alias", "alias");
    }
    let (ipv4, ipv6) = (matches.text("ip"), matches.text("ip6"));
    if !ipv4.is_empty() && !attachment.ipv4.is_empty() {
        return conflict("ip", "IPv4 address");
    }
    if !ipv6.is_empty() && !attachment.ipv6.is_empty() {
        return conflict("ip6", "IPv6 address");
    }
    let mac_address = matches.text("mac-address");
    if !mac_address.is_empty() && !attachment.mac_address.is_empty() {
        return conflict("mac-address", "MAC address");
    }
    let link_local = matches.list("link-local-ip");
    if !link_local.is_empty() && !attachment.link_local.is_empty() {
        return conflict("link-local-ip", "link-local IP addresses");
    }
    attachment.aliases.extend(aliases);
    attachment.link_local.extend(link_local);
    if is_user_defined(&attachment.target) {
        attachment.links = matches.list("link");
    }
    replace(&mut attachment.ipv4, ipv4);
    replace(&mut attachment.ipv6, ipv6);
    replace(&mut attachment.mac_address, mac_address);
    Ok(())
}

fn replace(place: &mut String, value: &str) {
    if !value.is_empty() {
        *place = value.into();
    }
}

fn endpoint(attachment: &Attachment) -> Checked<EndpointSettings> {
    if attachment.target.trim().is_empty() {
        return Err("no name set for network".into());
    }
    if !is_user_defined(&attachment.target) && !attachment.aliases.is_empty() {
        return Err("network-scoped aliases are only supported for user-defined networks".into());
    }
    let mac_address = &attachment.mac_address;
    if !mac_address.is_empty() && !check::is_mac_address(mac_address) {
        return Err(format!("{mac_address} is not a valid mac address"));
    }
    let has_address =
        !attachment.ipv4.is_empty() || !attachment.ipv6.is_empty() || !attachment.link_local.is_empty();
    Ok(EndpointSettings {
        ipam_config: has_address.then(|| EndpointIpam {
            ipv4_address: attachment.ipv4.clone(),
            ipv6_address: attachment.ipv6.clone(),
            link_local_ips: super::some(attachment.link_local.clone()),
        }),
        links: super::some(attachment.links.clone()),
        aliases: super::some(attachment.aliases.clone()),
        mac_address: mac_address.clone(),
        driver_opts: Some(attachment.driver_options.clone()).filter(|options| !options.is_empty()),
        gw_priority: attachment.gateway_priority,
        ..EndpointSettings::default()
    })
}

/// Not one of the modes that have a meaning of their own.
fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("container:web").unwrap().target, "container:web");
        let long = parse("name=mine,alias=a,alias=b,ip=10.0.0.2,driver-opt=x=1").unwrap();
        assert_eq!((long.target.as_str(), long.aliases.len(), long.ipv4.as_str()), ("mine", 2, "10.0.0.2"));
        assert_eq!(long.driver_options["x"], "1");
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(parse("alias=x").unwrap_err(), "network name/id is not specified");
        assert_eq!(parse("name=x,colour=red").unwrap_err(), "invalid field key colour");
        assert_eq!(parse("name=x,gw-priority=a").unwrap_err(), "invalid gw-priority (a): invalid syntax");
    }
}
