//! The user's settings: `config.json` and the contexts beside it, in Docker's places and formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use serde::Deserialize;

/// The context that stands for "no context".
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// What we use of `config.json`; everything else is left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) ps_format: String,
    pub(crate) images_format: String,
    pub(crate) networks_format: String,
    pub(crate) volumes_format: String,
    pub(crate) stats_format: String,
    pub(crate) detach_keys: String,
    pub(crate) prune_filters: Vec<String>,
    current_context: String,
    proxies: BTreeMap<String, Proxy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxy {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

/// The folder that was named, or DOCKER_CONFIG, or `~/.docker`.
pub(crate) fn folder(named: &str) -> PathBuf {
    if !named.is_empty() {
        return named.into();
    }
    match crate::cli::variable("DOCKER_CONFIG") {
        Some(folder) => folder.into(),
        None => Path::new(&crate::cli::variable("HOME").unwrap_or_else(|| "/".into())).join(".docker"),
    }
}

impl Config {
    /// A missing file is an empty one; a broken one is warned of.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join("config.json");
        let Ok(text) = std::fs::read(&path) else { return Self::default() };
        match serde_json::from_slice(&text) {
            Ok(config) => config,
            Err(error) => {
                crate::terminal::warn(format_args!(
                    "WARNING: Error loading config file: {}: {error}",
                    path.display()
                ));
                Self::default()
            }
        }
    }

    pub(crate) fn current_context(&self) -> Option<String> {
        Some(self.current_context.clone()).filter(|name| !name.is_empty())
    }

    /// The proxy variables that a new container gets, unless `given` sets them.
    pub(crate) fn proxy_environment(&self, host: &str, given: &[String]) -> Vec<String> {
        let Some(proxy) = self.proxies.get(host).or_else(|| self.proxies.get("default")) else {
            return Vec::new();
        };
        let pairs = [
            ("HTTP_PROXY", &proxy.http_proxy),
            ("HTTPS_PROXY", &proxy.https_proxy),
            ("NO_PROXY", &proxy.no_proxy),
            ("FTP_PROXY", &proxy.ftp_proxy),
            ("ALL_PROXY", &proxy.all_proxy),
        ];
        let names = |name: &str| given.iter().any(|entry| entry.split('=').next() == Some(name));
        let mut environment = Vec::new();
        for (upper, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            for name in [upper.to_owned(), upper.to_lowercase()] {
                if !names(&name) {
                    environment.push(format!("{name}={value}"));
                }
            }
        }
        environment
    }
}

/// A context that the user made with `docker context create`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) metadata: ContextMetadata,
    endpoints: BTreeMap<String, ContextEndpoint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContextMetadata {
    pub(crate) description: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ContextEndpoint {
    host: String,
}

impl Context {
    pub(crate) fn host(&self) -> &str {
        self.endpoints.get("docker").map_or("", |endpoint| &endpoint.host)
    }
}

/// All contexts of a folder, sorted by name. Docker keeps each in a folder named by a hash.
pub(crate) fn contexts(folder: &Path) -> Vec<Context> {
    let Ok(entries) = std::fs::read_dir(folder.join("contexts/meta")) else { return Vec::new() };
    let mut contexts: Vec<Context> = entries
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("meta.json")).ok())
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect();
    contexts.sort_by(|a, b| a.name.cmp(&b.name));
    contexts
}

pub(crate) fn context_host(folder: &Path, name: &str) -> Result<String> {
    match contexts(folder).iter().find(|context| context.name == name) {
        Some(context) => Ok(context.host().to_owned()),
        None => Err(Error::not_found(format!(
            "unable to resolve docker endpoint: context {name:?}: context not found"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_the_unknown_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"psFormat":"{{.ID}}","detachKeys":"ctrl-a","auths":{},
            "proxies":{"default":{"httpProxy":"http://p:1","noProxy":"x"}}}"#;
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let config = Config::load(folder.path());
        assert_eq!((config.ps_format.as_str(), config.detach_keys.as_str()), ("{{.ID}}", "ctrl-a"));
        let given = ["NO_PROXY=y".to_owned()];
        assert_eq!(
            config.proxy_environment("unix:///x", &given),
            ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "no_proxy=x"]
        );
    }

    #[test]
    fn a_context_leads_to_its_host() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:1"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        assert_eq!(context_host(folder.path(), "far").unwrap(), "tcp://far:1");
        let error = context_host(folder.path(), "near").unwrap_err();
        assert!(error.to_string().ends_with(r#"context "near": context not found"#));
    }
}
