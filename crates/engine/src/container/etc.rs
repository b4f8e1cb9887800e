//! The three files that a container gets from its engine: `hostname`, `hosts`, `resolv.conf`. The texts are pure.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use api::host_config::HostConfig;
use fault::Result;
use network::Endpoint;

use crate::{Engine, Record};

/// Where a container's three files lie. Who joins another container's network has that one's, which may have joined
/// in turn.
pub(crate) fn folder(engine: &Engine, record: &Record) -> PathBuf {
    let mut owner = (record.id.clone(), record.host_config.network_mode.clone());
    for _ in 0..JOINS_MAX {
        let Some(Ok(peer)) = owner.1.strip_prefix("container:").map(|peer| engine.containers().find(peer))
        else {
            break;
        };
        owner = (peer.id.clone(), peer.view().record.host_config.network_mode.clone());
    }
    engine.config().folder(&owner.0)
}

/// Names may change hands so that containers join in a circle; none of those ever starts.
const JOINS_MAX: usize = 32;

/// Writes all three into the container's folder, unless they are another's; at every start, because addresses change.
/// Blocks.
pub(super) fn write(engine: &Engine, record: &Record, endpoint: Option<&Endpoint>) -> Result<()> {
    if record.host_config.network_mode.starts_with("container:") {
        return Ok(());
    }
    let folder = engine.config().folder(&record.id);
    let put = |name: &str, text: String| sys::fs::write(folder.join(name), text);
    put("hostname", format!("{}\n", record.config.hostname))?;
    put("hosts", hosts_file(engine, record, endpoint)?)?;
    put("resolv.conf", resolv_conf_file(engine, record)?)
}

fn hosts_file(engine: &Engine, record: &Record, endpoint: Option<&Endpoint>) -> Result<String> {
    let gateway = match endpoint {
        Some(endpoint) => Some(endpoint.gateway),
        None => default_gateway(engine),
    };
    let gateway = gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
    let host_file = match record.host_config.network_mode.as_str() {
        "host" => sys::fs::read_to_string_if_exists("/etc/hosts")?,
        _ => None,
    };
    Ok(hosts(record, endpoint, host_file.as_deref(), &gateway))
}

/// What `host-gateway` means for a container without an address of its own.
fn default_gateway(engine: &Engine) -> Option<std::net::Ipv4Addr> {
    let bridge = engine.networks().inspect("bridge").ok()?;
    bridge.subnets.first().map(|subnet| subnet.gateway)
}

fn hosts(record: &Record, endpoint: Option<&Endpoint>, host_file: Option<&str>, gateway: &str) -> String {
    let mut text = host_file.unwrap_or(HOSTS).to_owned();
    for entry in record.host_config.extra_hosts.iter().flatten() {
        let Some((name, address)) = entry.split_once([':', '=']) else { continue };
        let address = if address == "host-gateway" { gateway } else { address };
        text += &format!("{}\t{name}\n", address.trim_start_matches('[').trim_end_matches(']'));
    }
    if let Some(endpoint) = endpoint {
        text += &format!("{}\t{}\n", endpoint.address.addr(), names(record));
    }
    text
}

/// `full.name name`, or the name alone.
fn names(record: &Record) -> String {
    let (name, domain) = (&record.config.hostname, &record.config.domainname);
    let full = if domain.is_empty() { name.clone() } else { format!("{name}.{domain}") };
    match full.split_once('.') {
        Some((first, _)) => format!("{full} {first}"),
        None => full,
    }
}

const HOSTS: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

fn resolv_conf_file(engine: &Engine, record: &Record) -> Result<String> {
    let host_file = host_resolv_conf(Path::new("/etc/resolv.conf"))?;
    let own_network = !matches!(record.host_config.network_mode.as_str(), "host");
    let mut host = record.host_config.clone();
    engine.live().defaults.overlay(&mut host);
    Ok(resolv_conf(&host, &engine.config().dns, &host_file, own_network))
}

/// systemd-resolved's own stub listens on loopback, where no container reaches it; the servers behind it are in
/// another file.
fn host_resolv_conf(path: &Path) -> Result<String> {
    let text = sys::fs::read_to_string_if_exists(path)?.unwrap_or_default();
    let servers: Vec<&str> = values(&text, "nameserver").collect();
    if servers == ["127.0.0.53"]
        && let Some(behind) = sys::fs::read_to_string_if_exists("/run/systemd/resolve/resolv.conf")?
    {
        return Ok(behind);
    }
    Ok(text)
}

/// The container's wishes, then the engine's, then the host's file, without servers that only the host can reach.
fn resolv_conf(host: &HostConfig, engine: &[IpAddr], host_file: &str, own_network: bool) -> String {
    let own = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let asked = own(&host.dns).or_else(|| {
        let servers: Vec<String> = engine.iter().map(IpAddr::to_string).collect();
        (!servers.is_empty()).then_some(servers)
    });
    let servers = asked.unwrap_or_else(|| {
        let reachable = |server: &&str| !own_network || !is_loopback(server);
        let found: Vec<String> =
            values(host_file, "nameserver").filter(reachable).map(str::to_owned).collect();
        if found.is_empty() && own_network { PUBLIC_SERVERS.map(str::to_owned).to_vec() } else { found }
    });
    let inherited = |key: &str| -> Vec<String> {
        values(host_file, key)
            .last()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let search = own(&host.dns_search).unwrap_or_else(|| inherited("search"));
    let options = own(&host.dns_options).unwrap_or_else(|| inherited("options"));
    let mut text = "# Generated by Kogge.\n\n".to_owned();
    servers.iter().for_each(|server| text += &format!("nameserver {server}\n"));
    for (key, words) in [("search", search), ("options", options)] {
        // A lone dot asks for no search list at all.
        if !words.is_empty() && words != ["."] {
            text += &format!("{key} {}\n", words.join(" "));
        }
    }
    text
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The rest of all lines that begin with a keyword.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let rest = line.trim_start().strip_prefix(key)?;
        rest.starts_with([' ', '\t']).then(|| rest.trim())
    })
}

/// As dockerd does where the host has no server that a container can reach.
const PUBLIC_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContainerId;
    use crate::record::NEVER;

    #[test]
    fn servers_of_the_host_without_those_on_loopback() {
        let file = "# c\nnameserver 127.0.0.1\nnameserver\t10.0.0.1\nsearch a b\noptions ndots:2\n";
        let text = |file: &str, own: bool| resolv_conf(&HostConfig::default(), &[], file, own);
        assert_eq!(
            text(file, true),
            "# Generated by Kogge.\n\nnameserver 10.0.0.1\nsearch a b\noptions ndots:2\n"
        );
        assert!(text(file, false).contains("nameserver 127.0.0.1\n"), "the host's network reaches it");
        assert!(text("", true).contains("nameserver 8.8.8.8\nnameserver 8.8.4.4\n"));
    }

    #[test]
    fn wishes_go_before_the_engine_s_and_the_host_s() {
        let host = HostConfig {
            dns: Some(vec!["1.1.1.1".into()]),
            dns_search: Some(vec![".".into()]),
            ..HostConfig::default()
        };
        let file = "nameserver 10.0.0.1\nsearch a\n";
        assert_eq!(resolv_conf(&host, &[], file, true), "# Generated by Kogge.\n\nnameserver 1.1.1.1\n");
        let engine = ["9.9.9.9".parse().unwrap()];
        assert!(
            resolv_conf(&HostConfig::default(), &engine, file, true)
                .contains("nameserver 9.9.9.9\nsearch a\n")
        );
    }

    #[test]
    fn hosts_have_extra_names_and_the_own_one() {
        let mut record = Record::new(ContainerId::random().unwrap(), "x".into(), NEVER.into());
        record.config.hostname = "web".into();
        record.host_config.extra_hosts = Some(vec!["db:10.0.0.9".into(), "host=host-gateway".into()]);
        let text = hosts(&record, None, None, "172.17.0.1");
        assert!(text.ends_with("ff02::2\tip6-allrouters\n10.0.0.9\tdb\n172.17.0.1\thost\n"));
        record.config.domainname = "example.org".into();
        assert_eq!(names(&record), "web.example.org web");
        (record.config.hostname, record.config.domainname) = ("a.b".into(), String::new());
        assert_eq!(names(&record), "a.b a");
    }
}
