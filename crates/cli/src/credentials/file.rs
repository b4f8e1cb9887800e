//! `config.json`, of which only the credentials are understood here; everything else stays as it is.

use std::path::{Path, PathBuf};

use api::registry::AuthConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Doing, Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::hostname;

#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("config.json") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An entry by its key, or by the host of an older key.
    pub(super) fn auth(&self, server: &str) -> Option<AuthConfig> {
        let document = self.read().unwrap_or_default();
        let auths = document.get("auths")?.as_object()?;
        let by_host = || auths.iter().find(|(key, _)| hostname(key) == server);
        let (key, entry) = auths.get_key_value(server).or_else(by_host)?;
        Some(read_entry(key, entry))
    }

    /// The program that keeps this server's secret, if one does.
    pub(super) fn helper(&self, server: &str) -> Option<String> {
        let document = self.read().unwrap_or_default();
        let own = document.get("credHelpers").and_then(|helpers| helpers.get(server));
        let name = match own.or_else(|| document.get("credsStore")) {
            Some(name) => name.as_str().map(str::to_owned),
            None if has_credentials(&document) => None,
            None => usual_helper(),
        };
        name.filter(|name| !name.is_empty())
    }

    /// Returns whether there was something to write. The helper becomes the file's own if it names none.
    pub(super) fn store(&self, auth: &AuthConfig, helper: Option<&str>) -> Result<bool> {
        let mut document = self.read()?;
        let before = document.clone();
        if let (Some(name), false) = (helper, has_credentials(&document)) {
            document.insert("credsStore".into(), name.into());
        }
        let auths = document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        auths[auth.serveraddress.as_str()] = written_entry(auth);
        if document == before {
            return Ok(false);
        }
        self.write(&document).map(|()| true)
    }

    /// Which context is meant when none is named; without one it is the default.
    pub(crate) fn set_current_context(&self, name: Option<&str>) -> Result<()> {
        let mut document = self.read()?;
        document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        match name {
            Some(name) => drop(document.insert("currentContext".into(), name.into())),
            None => drop(document.remove("currentContext")),
        }
        self.write(&document)
    }

    pub(super) fn erase(&self, server: &str) -> Result<()> {
        let mut document = self.read()?;
        let auths = document.get_mut("auths").and_then(Value::as_object_mut);
        match auths.and_then(|auths| auths.remove(server)) {
            Some(_) => self.write(&document),
            None => Ok(()),
        }
    }

    /// A missing file is an empty one.
    fn read(&self) -> Result<Map<String, Value>> {
        match sys::fs::read_to_string_if_exists(&self.path)? {
            None => Ok(Map::new()),
            Some(text) if text.trim().is_empty() => Ok(Map::new()),
            Some(text) => serde_json::from_str(&text).map_err(|error| {
                Error::invalid(format!("parsing config file ({}): {error}", self.path.display()))
            }),
        }
    }

    /// Beside the file that a link leads to, so that the link stays one.
    fn write(&self, document: &Map<String, Value>) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        sys::fs::create_dir_all(folder, 0o700)?;
        let target = self.target()?;
        let owner = sys::fs::lstat_if_exists(&target)?;
        sys::fs::write_atomic_mode(&target, pretty(document), 0o600)
            .doing(|| format!("writing {}", target.display()))?;
        match owner {
            // Somebody with `sudo` writes another's file: it stays the other's.
            Some(owner) if owner.uid > 0 => sys::fs::chown(&target, owner.uid, owner.gid),
            _ => Ok(()),
        }
    }

    fn target(&self) -> Result<PathBuf> {
        let mut target = self.path.clone();
        for _ in 0..LINKS_MAX {
            match sys::fs::lstat_if_exists(&target)? {
                Some(found) if found.is_symlink() => {
                    let to = sys::fs::read_link(&target)?;
                    target = target.parent().unwrap_or(Path::new("/")).join(to);
                }
                _ => return Ok(target),
            }
        }
        Err(Error::invalid(format!("{}: too many links", self.path.display())))
    }
}

/// As many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

fn has_credentials(document: &Map<String, Value>) -> bool {
    let holds = |key: &str| document.get(key).and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    let store = document.get("credsStore").and_then(Value::as_str);
    store.is_some_and(|name| !name.is_empty()) || holds("credHelpers") || holds("auths")
}

/// What a Linux desktop has, if its helper is installed.
fn usual_helper() -> Option<String> {
    let name = if on_path("pass") { "pass" } else { "secretservice" };
    on_path(&format!("docker-credential-{name}")).then(|| name.to_owned())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| sys::process::may_execute(&folder.join(program)).is_ok())
}

fn read_entry(server: &str, entry: &Value) -> AuthConfig {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (username, password) = decoded(&text("auth")).unwrap_or_else(|| (text("username"), text("password")));
    AuthConfig {
        username,
        password,
        serveraddress: server.to_owned(),
        identitytoken: text("identitytoken"),
        registrytoken: text("registrytoken"),
    }
}

fn written_entry(auth: &AuthConfig) -> Value {
    let pair = format!("{}:{}", auth.username, auth.password);
    let pair = if pair == ":" { String::new() } else { STANDARD.encode(pair) };
    let fields =
        [("auth", &pair), ("identitytoken", &auth.identitytoken), ("registrytoken", &auth.registrytoken)];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(given.map(|(name, value)| (name.to_owned(), value.as_str().into())).collect())
}

/// User and password from `auth`; `None` if it is none.
pub(super) fn decoded(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':').filter(|(user, _)| !user.is_empty())?;
    // Some programs pad what they encode.
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// With tabs, as Docker writes it.
fn pretty(document: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, layout);
    document.serialize(&mut serializer).expect("a JSON document is JSON");
    bytes
}
