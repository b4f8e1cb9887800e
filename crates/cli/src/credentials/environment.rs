//! Credentials for one command, given in a variable: `{"auths":{"hub.lan":{"auth":"<base64 of user:password>"}}}`.

use std::collections::BTreeMap;

use api::registry::AuthConfig;
use fault::{Error, Result};
use serde::Deserialize;

use super::file::decoded;
use crate::cli::variable;

pub(crate) const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    auth: String,
}

pub(super) fn read() -> Result<BTreeMap<String, AuthConfig>> {
    variable(VARIABLE).map_or_else(|| Ok(BTreeMap::new()), |text| parse(&text))
}

fn parse(text: &str) -> Result<BTreeMap<String, AuthConfig>> {
    let document: Document = serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    let entry = |(server, entry): (String, Entry)| {
        if entry.auth.is_empty() {
            return Err(Error::invalid(format!("{VARIABLE} has no `auth` for {server}")));
        }
        let (username, password) =
            decoded(&entry.auth).ok_or_else(|| Error::invalid("Invalid auth configuration file"))?;
        Ok((
            server.clone(),
            AuthConfig { username, password, serveraddress: server, ..AuthConfig::default() },
        ))
    };
    document.auths.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_and_password_can_be_given() {
        let given = parse(r#"{"auths":{"hub.lan":{"auth":"YTpi"}}}"#).unwrap();
        let auth = &given["hub.lan"];
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("a", "b"));
        assert_eq!(auth.serveraddress, "hub.lan");
        for text in [r#"{"auths":{"x":{}}}"#, r#"{"auths":{"x":{"auth":"?"}}}"#, r#"{"credsStore":"x"}"#, "{"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
