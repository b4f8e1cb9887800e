//! The registry's files: logins at other registries, and its configuration, one JSON object with the names of flags, lists
//! for what may be repeated. Read once at the start; it knows no network.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use registry::client::Credentials;
use registry::server::Upstream;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The flags that a file stands for.
pub(super) fn words(path: &Path) -> Result<Vec<OsString>> {
    read(&sys::fs::read_to_string(path)?)
}

/// Gives upstream registries the credentials that a `config.json` of docker has for their hosts.
pub(super) fn log_in(upstreams: &mut [Upstream], path: &Path) -> Result<()> {
    let logins: Logins = serde_json::from_str(&sys::fs::read_to_string(path)?)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
    for upstream in upstreams {
        let login = logins.auths.iter().find(|(server, _)| host_of(server) == host_of(&upstream.location));
        if let Some((server, login)) = login {
            upstream.credentials = login.credentials().ok_or_else(|| {
                Error::invalid(format!("{}: the login of {server} is not understood", path.display()))
            })?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Logins {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: String,
    identitytoken: String,
}

impl Login {
    fn credentials(&self) -> Option<Credentials> {
        if !self.identitytoken.is_empty() {
            return Some(Credentials::Identity { token: self.identitytoken.clone() });
        }
        let text = String::from_utf8(STANDARD.decode(&self.auth).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credentials::Basic { user: user.into(), password: password.into() })
    }
}

/// Docker Hub has several names.
fn host_of(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = address.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

fn read(text: &str) -> Result<Vec<OsString>> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    let mut words = Vec::new();
    for (name, value) in &object {
        if name == "config" || name.starts_with('-') {
            return Err(Error::invalid(format!("{name} cannot stand in a file")));
        }
        match value {
            Value::Array(values) => {
                for value in values {
                    words.push(word(name, value)?);
                }
            }
            value => words.push(word(name, value)?),
        }
    }
    Ok(words)
}

fn word(name: &str, value: &Value) -> Result<OsString> {
    match value {
        Value::String(text) => Ok(format!("--{name}={text}").into()),
        Value::Bool(_) | Value::Number(_) => Ok(format!("--{name}={value}").into()),
        _ => Err(Error::invalid(format!("{name} is neither text, number, true, false nor a list of those"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_flags() {
        let words = read(r#"{"listen": "127.0.0.1:1", "delete": false, "notify": ["a", "b"]}"#).unwrap();
        assert_eq!(words, ["--delete=false", "--listen=127.0.0.1:1", "--notify=a", "--notify=b"]);
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"config": "x"}"#, "config cannot stand in a file"),
            (r#"{"quota": {}}"#, "quota is neither text"),
            (r#"{"quota": [[]]}"#, "quota is neither text"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
