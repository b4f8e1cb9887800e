//! Who the user is at a registry, kept where Docker keeps it.
//!
//! ```text
//! DOCKER_AUTH_CONFIG            given for this command, goes before everything else
//! credHelpers, credsStore       programs `docker-credential-<name>` that keep secrets (helper.rs)
//! auths                         in config.json itself, readable by whoever reads the file (file.rs)
//! ```
//! Guarantees: config.json is replaced whole, readable by its owner only, and keeps all that is not a credential.

mod environment;
mod file;
mod helper;

use std::collections::BTreeMap;
use std::path::Path;

use api::registry::AuthConfig;
use fault::Result;
use oci::Reference;

use crate::terminal;

pub(crate) use environment::VARIABLE;
pub(crate) use file::ConfigFile;
use helper::Helper;

/// The key of docker.io, for historical reasons.
pub(crate) const INDEX_SERVER: &str = "https://index.docker.io/v1/";

#[derive(Debug)]
pub(crate) struct Credentials {
    file: ConfigFile,
    given: BTreeMap<String, AuthConfig>,
}

impl Credentials {
    pub(crate) fn of(folder: &Path) -> Self {
        let given = environment::read().unwrap_or_else(|error| {
            terminal::warn(format_args!("Failed to create credential store from {VARIABLE}: {error}"));
            BTreeMap::new()
        });
        Self { file: ConfigFile::new(folder), given }
    }

    /// Of a server's key or name; nobody if nothing is known.
    pub(crate) fn get(&self, server: &str) -> Result<AuthConfig> {
        if let Some(auth) = self.given.get(server) {
            return Ok(auth.clone());
        }
        let stored = self.file.auth(server).unwrap_or_default();
        match self.file.helper(server).map(|name| Helper::new(&name).get(server)) {
            None => Ok(stored),
            Some(kept) => Ok(AuthConfig { registrytoken: stored.registrytoken, ..kept?.unwrap_or_default() }),
        }
    }

    /// For an image's registry.
    pub(crate) fn for_image(&self, reference: &Reference) -> Result<AuthConfig> {
        self.get(key(reference.domain()))
    }

    /// Keeps what a login gave, under its server's address.
    pub(crate) fn store(&self, auth: &AuthConfig) -> Result<()> {
        let Some(name) = self.file.helper(&auth.serveraddress) else {
            let has_changed = self.file.store(auth, None)?;
            if has_changed && !auth.password.is_empty() {
                self.warn_of_plain_text();
            }
            return Ok(());
        };
        Helper::new(&name).store(auth)?;
        let address_only = AuthConfig { serveraddress: auth.serveraddress.clone(), ..AuthConfig::default() };
        self.file.store(&address_only, Some(&name)).map(drop)
    }

    /// What is not there is no error.
    pub(crate) fn erase(&self, server: &str) -> Result<()> {
        if let Some(name) = self.file.helper(server) {
            Helper::new(&name).erase(server)?;
        }
        self.file.erase(server)
    }

    fn warn_of_plain_text(&self) {
        terminal::warn(format_args!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            self.file.path().display()
        ));
    }
}

/// Under which key a registry's credentials are kept.
pub(crate) fn key(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" => INDEX_SERVER,
        other => other,
    }
}

/// A server's host and port, without scheme and path, as newer keys are.
pub(crate) fn hostname(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn auth(server: &str, username: &str, password: &str) -> AuthConfig {
        AuthConfig {
            serveraddress: server.into(),
            username: username.into(),
            password: password.into(),
            ..AuthConfig::default()
        }
    }

    fn credentials(folder: &Path) -> Credentials {
        Credentials { file: ConfigFile::new(folder), given: BTreeMap::new() }
    }

    /// A helper that keeps secrets in a folder: one file for each server, named by its host.
    fn fake_helper(folder: &Path) -> PathBuf {
        let program = folder.join("docker-credential-fake");
        let script = format!(
            r#"#!/bin/sh
cd {}
name() {{ sed 's|.*://||; s|/.*||'; }}
case $1 in
store) read -r line; server=$(echo "$line" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/'); echo "$line" >"kept.$(echo "$server" | name)";;
get) file=kept.$(name); if test -e "$file"; then cat "$file"; else echo 'credentials not found in native keychain'; exit 1; fi;;
erase) file=kept.$(name); test -e "$file" || {{ echo 'nothing to erase'; exit 3; }}; rm "$file";;
esac
"#,
            folder.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn a_password_goes_into_the_file_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(
            &path,
            r#"{"psFormat":"x","plugins":{"a":{"b":"c"}},"auths":{"old.example":{"auth":"YTpi"}}}"#,
        )
        .unwrap();
        let credentials = credentials(folder.path());
        credentials.store(&auth("hub.lan:5000", "me", "p:w")).unwrap();
        assert_eq!(credentials.get("hub.lan:5000").unwrap(), auth("hub.lan:5000", "me", "p:w"));
        assert_eq!(credentials.get("old.example").unwrap(), auth("old.example", "a", "b"));
        assert_eq!(credentials.get("nowhere").unwrap(), AuthConfig::default());
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"hub.lan:5000\": {\n\t\t\t\"auth\": \"bWU6cDp3\"\n\t\t},\n\
             \t\t\"old.example\": {\n\t\t\t\"auth\": \"YTpi\"\n\t\t}\n\t},\n\
             \t\"plugins\": {\n\t\t\"a\": {\n\t\t\t\"b\": \"c\"\n\t\t}\n\t},\n\t\"psFormat\": \"x\"\n}"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        credentials.erase("hub.lan:5000").unwrap();
        credentials.erase("hub.lan:5000").unwrap();
        assert_eq!(credentials.get("hub.lan:5000").unwrap(), AuthConfig::default());
    }

    #[test]
    fn a_helper_keeps_the_secret_and_the_file_only_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let program = fake_helper(folder.path());
        let path = folder.path().join("config.json");
        // A name with a slash is not looked for on PATH.
        let helper = Helper::at(&program);
        helper.store(&auth("https://hub.lan/v1/", "me", "pw")).unwrap();
        assert_eq!(helper.get("https://hub.lan/v1/").unwrap(), Some(auth("https://hub.lan/v1/", "me", "pw")));
        assert_eq!(helper.get("other.lan").unwrap(), None);
        let token = AuthConfig { identitytoken: "refresh".into(), ..auth("t.lan", "me", "") };
        helper.store(&token).unwrap();
        let kept = helper.get("t.lan").unwrap().unwrap();
        assert_eq!((kept.identitytoken.as_str(), kept.username.as_str()), ("refresh", ""));
        helper.erase("t.lan").unwrap();
        assert_eq!(
            helper.erase("t.lan").unwrap_err().to_string(),
            "error erasing credentials - err: exit status 3, out: `nothing to erase`"
        );
        let file = ConfigFile::new(folder.path());
        fs::write(&path, r#"{"credsStore":"fake","credHelpers":{"a.lan":"other","b.lan":""}}"#).unwrap();
        assert_eq!(file.helper("x.lan").as_deref(), Some("fake"));
        assert_eq!(file.helper("a.lan").as_deref(), Some("other"));
        assert_eq!(file.helper("b.lan"), None);
    }

    #[test]
    fn a_missing_helper_is_told_in_go_s_words() {
        assert_eq!(
            Helper::new("nowhere-to-be-found").get("x").unwrap_err().to_string(),
            "error getting credentials - err: exec: \"docker-credential-nowhere-to-be-found\": executable file not \
             found in $PATH, out: ``"
        );
    }

    #[test]
    fn old_keys_are_found_by_their_host() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"auths":{"https://hub.lan:5000/v1/":{"auth":"YTpi"},"broken.lan":{"auth":"?"}}}"#;
        fs::write(folder.path().join("config.json"), text).unwrap();
        let credentials = credentials(folder.path());
        assert_eq!(credentials.get("hub.lan:5000").unwrap().username, "a");
        assert_eq!(credentials.get("broken.lan").unwrap().username, "");
        assert_eq!(hostname("http://a:1/v1/"), "a:1");
        assert_eq!(hostname("a:1/x"), "a:1");
        let hub = Reference::parse("busybox").unwrap();
        assert_eq!(key(hub.domain()), INDEX_SERVER);
    }

    #[test]
    fn a_broken_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, "{").unwrap();
        let error = credentials(folder.path()).store(&auth("x", "a", "b")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("parsing config file ({}): ", path.display())), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.json");
        std::os::unix::fs::symlink(&real, folder.path().join("config.json")).unwrap();
        credentials(folder.path()).store(&auth("x", "a", "b")).unwrap();
        assert!(fs::read_to_string(&real).unwrap().contains("YTpi"));
        assert!(folder.path().join("config.json").is_symlink());
    }
}
