//! How registries are reached, as `info` shows it.

use api::system::{IndexConfig, Info, RegistryConfig};
use ipnet::IpNet;
use registry::client::Config;

pub(super) fn fill(config: &Config, info: &mut Info) {
    info.registry_config = registry_config(config);
    info.http_proxy = without_password(config.proxies.http.as_deref().unwrap_or_default());
    info.https_proxy = without_password(config.proxies.https.as_deref().unwrap_or_default());
    info.no_proxy.clone_from(&config.proxies.none);
}

fn registry_config(config: &Config) -> RegistryConfig {
    let mirrors = mirrors(config);
    let hub = IndexConfig { mirrors: mirrors.clone(), secure: true, official: true, ..index("docker.io") };
    let mut shown = RegistryConfig { mirrors, ..RegistryConfig::default() };
    for name in config.insecure.iter().map(String::as_str).chain(LOCAL) {
        match name.parse::<IpNet>() {
            Ok(network) => push_new(&mut shown.insecure_registry_cidrs, network.trunc().to_string()),
            Err(_) => drop(shown.index_configs.insert(name.to_owned(), index(name))),
        }
    }
    shown.index_configs.insert(hub.name.clone(), hub);
    shown
}

/// As they are used: with a slash at the end, each once.
fn mirrors(config: &Config) -> Vec<String> {
    let mut mirrors = Vec::new();
    for mirror in &config.mirrors {
        push_new(&mut mirrors, format!("{}/", mirror.trim_end_matches('/')));
    }
    mirrors
}

fn index(name: &str) -> IndexConfig {
    IndexConfig { name: name.to_owned(), ..IndexConfig::default() }
}

fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// This machine's own addresses, which need no certificates.
const LOCAL: [&str; 2] = ["::1/128", "127.0.0.0/8"];

/// `http://me:secret@proxy` is shown as `http://xxxxx:xxxxx@proxy`.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://xxxxx:xxxxx{}", &rest[at..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use registry::client::Proxies;

    use super::*;

    #[test]
    fn mirrors_and_insecure_registries_are_shown_as_dockerd_shows_them() {
        let config = Config {
            insecure: vec!["10.1.2.3/8".into(), "127.0.0.0/8".into(), "hub.lan:5000".into()],
            mirrors: vec!["https://m.lan".into(), "https://m.lan/".into()],
            ..Config::default()
        };
        assert_eq!(
            serde_json::to_value(registry_config(&config)).unwrap(),
            serde_json::json!({
                "InsecureRegistryCIDRs": ["10.0.0.0/8", "127.0.0.0/8", "::1/128"],
                "IndexConfigs": {
                    "docker.io":
                        { "Name": "docker.io", "Mirrors": ["https://m.lan/"], "Secure": true, "Official": true },
                    "hub.lan:5000":
                        { "Name": "hub.lan:5000", "Mirrors": [], "Secure": false, "Official": false },
                },
                "Mirrors": ["https://m.lan/"],
            })
        );
    }

    #[test]
    fn passwords_of_proxies_are_not_shown() {
        let config = Config {
            proxies: Proxies { http: Some("http://me:a/b@p:1/".into()), ..Proxies::default() },
            ..Config::default()
        };
        let mut info = Info::default();
        fill(&config, &mut info);
        assert_eq!(info.http_proxy, "http://me:a/b@p:1/", "a slash ends the host, so this is no password");
        assert_eq!(without_password("http://me:pw@p:1/x@y"), "http://xxxxx:xxxxx@p:1/x@y");
        assert_eq!(without_password("p:1"), "p:1");
    }
}
