//! The user's settings: `config.json` and the contexts beside it, in Docker's places and formats.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::create::unreadable;

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
    pub(crate) aliases: BTreeMap<String, String>,
    pub(crate) cli_plugins_extra_dirs: Vec<String>,
    #[serde(rename = "HttpHeaders")]
    pub(crate) http_headers: BTreeMap<String, String>,
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
        let loaded = match std::fs::read(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Self::default();
            }
            Err(error) => {
                Err(format!("loading config file: {}", unreadable(&path.to_string_lossy(), &error)))
            }
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("parsing config file ({}): {error}", path.display())),
        };
        loaded.unwrap_or_else(|problem| {
            crate::terminal::warn(format_args!("WARNING: Error {problem}"));
            Self::default()
        })
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
    /// Keys and certificates lie beside it.
    #[serde(skip)]
    has_keys: bool,
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
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl Context {
    /// The context of this name. Each lies in a folder that is named by the hash of its name.
    pub(crate) fn load(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join("contexts/meta").join(hash(name)).join("meta.json");
        let missing = |why: String| Error::not_found(format!("context {name:?}: context not found: {why}"));
        let text =
            std::fs::read(&path).map_err(|error| missing(unreadable(&path.to_string_lossy(), &error)))?;
        let context: Self = serde_json::from_slice(&text)
            .map_err(|error| Error::invalid(format!("parsing {}: {error}", path.display())))?;
        let has_keys = folder.join("contexts/tls").join(hash(name)).exists();
        Ok(Self { has_keys, ..context })
    }

    pub(crate) fn host(&self) -> &str {
        self.endpoints.get("docker").map_or("", |endpoint| &endpoint.host)
    }

    /// The host, if it is spoken to in the open.
    pub(crate) fn plain_host(&self) -> Result<String> {
        let endpoint = self.endpoints.get("docker").cloned().unwrap_or_default();
        match self.has_keys || endpoint.skip_tls_verify {
            true => Err(Error::unsupported(format!("TLS, which the context {:?} asks for", self.name))),
            false => Ok(endpoint.host),
        }
    }
}

/// A context's file, of which only what is understood here is changed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Document {
    name: String,
    metadata: Map<String, Value>,
    endpoints: Map<String, Value>,
    #[serde(skip)]
    has_keys: bool,
}

impl Document {
    pub(crate) fn new(name: &str, host: &str) -> Self {
        let mut document = Self { name: name.into(), ..Self::default() };
        document.lead_to(host);
        document
    }

    pub(crate) fn load(folder: &Path, name: &str) -> Result<Self> {
        let has_keys = Context::load(folder, name)?.has_keys;
        let text = sys::fs::read(context_places(folder, name).0.join(META))?;
        Ok(Self { has_keys, ..Self::parse(&text)? })
    }

    /// Bytes from outside.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let broken = |error| Error::invalid(format!("parsing {META}: {error}"));
        // The same checks as when it is used.
        serde_json::from_slice::<Context>(text).map_err(broken)?;
        serde_json::from_slice(text).map_err(broken)
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// An empty text changes nothing.
    pub(crate) fn describe(&mut self, description: &str) {
        if !description.is_empty() {
            self.metadata.insert("Description".into(), description.into());
        }
    }

    pub(crate) fn lead_to(&mut self, host: &str) {
        self.endpoints.insert("docker".into(), json!({ "Host": host, "SkipTLSVerify": false }));
    }

    fn docker(&self, field: &str) -> Option<&Value> {
        self.endpoints.get("docker")?.get(field)
    }

    pub(crate) fn host(&self) -> String {
        self.docker("Host").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// A copy without its keys would lead somewhere else than what it was copied from.
    pub(crate) fn refuse_keys(&self) -> Result<()> {
        match self.has_keys || self.docker("SkipTLSVerify") == Some(&Value::Bool(true)) {
            true => Err(Error::unsupported(format!("TLS, which the context {:?} asks for", self.name))),
            false => Ok(()),
        }
    }

    /// As Go writes JSON.
    pub(crate) fn text(&self) -> String {
        let text = serde_json::to_string(self).expect("names and JSON values are JSON");
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    }

    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let place = context_places(folder, &self.name).0;
        sys::fs::create_dir_all(&place, 0o755)?;
        sys::fs::write_atomic_mode(place.join(META), self.text(), 0o644)
    }
}

/// The folders of a context: its description and its keys.
pub(crate) fn context_places(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let contexts = folder.join("contexts");
    (contexts.join("meta").join(hash(name)), contexts.join("tls").join(hash(name)))
}

/// Removes a context and its keys; what is not there is no error.
pub(crate) fn remove_context(folder: &Path, name: &str) -> Result<()> {
    let (meta, tls) = context_places(folder, name);
    for place in [meta, tls] {
        if sys::fs::exists(&place)? {
            sys::fs::remove_tree(&place)?;
        }
    }
    Ok(())
}

const META: &str = "meta.json";

fn hash(name: &str) -> String {
    Digest::sha256(name.as_bytes()).hex().to_owned()
}

/// All contexts of a folder, sorted by name.
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
        let write = |name: &str, endpoint: &str| {
            let meta = folder.path().join("contexts/meta").join(hash(name));
            std::fs::create_dir_all(&meta).unwrap();
            let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#);
            std::fs::write(meta.join("meta.json"), text).unwrap();
        };
        let host = |name: &str| {
            let host = Context::load(folder.path(), name).and_then(|context| context.plain_host());
            host.unwrap_or_else(|error| error.to_string())
        };
        write("far", r#"{"Host":"tcp://far:1","SkipTLSVerify":false}"#);
        assert_eq!(host("far"), "tcp://far:1");
        write("sealed", r#"{"Host":"tcp://far:1","SkipTLSVerify":true}"#);
        assert_eq!(host("sealed"), "not supported: TLS, which the context \"sealed\" asks for");
        std::fs::create_dir_all(folder.path().join("contexts/tls").join(hash("far"))).unwrap();
        assert_eq!(host("far"), "not supported: TLS, which the context \"far\" asks for");
        let missing = host("near");
        assert!(missing.starts_with("context \"near\": context not found: open /"), "{missing}");
        assert!(missing.ends_with("/meta.json: no such file or directory"), "{missing}");
    }
}
