//! The settings about registries: dockerd's flags and keys, and rules for names by their beginning.
//!
//! What they mean is `registry::client`'s affair; here they are read, and refused in dockerd's words.

use std::path::PathBuf;

use fault::{Error, Result};
use registry::client::{Config, Credentials, Mirror, Rule};
use serde::Deserialize;
use serde_json::Value;

use crate::settings::{Persona, Settings};

/// What a daemon of this name begins with.
pub(crate) fn defaults(persona: Persona) -> Config {
    let docker = PathBuf::from("/etc/docker/certs.d");
    let certificates = match persona {
        Persona::Kogged => vec!["/etc/kogge/certs.d".into(), docker],
        Persona::Dockerd => vec![docker],
    };
    let user_agent = format!("docker/{USER_AGENT_VERSION} kogge/{}", env!("CARGO_PKG_VERSION"));
    Config { certificates, user_agent, proxies: registry::client::Proxies::from_env(), ..Config::default() }
}

/// Some registries answer by what they take for the version of Docker's daemon.
const USER_AGENT_VERSION: &str = "28.5.2";

pub(crate) fn insecure(settings: &mut Settings, value: &str) -> Result<()> {
    if value.starts_with('-') || value.ends_with('-') {
        return Err(Error::invalid(format!(
            "invalid index name ({value}). Cannot begin or end with a hyphen"
        )));
    }
    let name = if value == "index.docker.io" { "docker.io" } else { value };
    settings.registries.insecure.push(name.to_owned());
    Ok(())
}

pub(crate) fn mirror(settings: &mut Settings, value: &str) -> Result<()> {
    check_mirror(value)?;
    settings.registries.mirrors.push(value.to_owned());
    Ok(())
}

fn check_mirror(value: &str) -> Result<()> {
    let wrong = |what: String| Err(Error::invalid(format!("invalid mirror: {what}")));
    let hint = "must use either 'https://' or 'http://'";
    let Some((scheme, rest)) = value.split_once("://").filter(|(scheme, _)| !scheme.is_empty()) else {
        return wrong(format!("no scheme specified for {value:?}: {hint}"));
    };
    if !matches!(scheme, "http" | "https") {
        return wrong(format!("unsupported scheme {scheme:?} in {value:?}: {hint}"));
    }
    if rest.contains(['?', '#']) {
        return wrong(format!("query or fragment at end of the URI {value:?}"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some((user, host)) = authority.rsplit_once('@') {
        let user = user.split(':').next().unwrap_or_default();
        let masked = format!("{scheme}://{user}:xxxxx@{host}{}", &rest[authority.len()..]);
        return wrong(format!("username/password not allowed in URI {masked:?}"));
    }
    if authority.is_empty() {
        return wrong(format!("{value:?} is not a valid URI"));
    }
    Ok(())
}

pub(crate) fn downloads(settings: &mut Settings, value: &str) -> Result<()> {
    let most = count(value, "concurrent downloads")?;
    settings.registries.downloads_max = most.unwrap_or(Config::default().downloads_max);
    Ok(())
}

pub(crate) fn uploads(settings: &mut Settings, value: &str) -> Result<()> {
    let most = count(value, "concurrent uploads")?;
    settings.registries.uploads_max = most.unwrap_or(Config::default().uploads_max);
    Ok(())
}

pub(crate) fn attempts(settings: &mut Settings, value: &str) -> Result<()> {
    let most = count(value, "download attempts")?.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    settings.registries.attempts_max = most.unwrap_or(Config::default().attempts_max);
    Ok(())
}

/// A number; 0 is none, which takes the default.
fn count(value: &str, what: &str) -> Result<Option<usize>> {
    let number: i64 = value
        .parse()
        .map_err(|_| Error::invalid(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")))?;
    match usize::try_from(number) {
        Ok(number) => Ok(Some(number).filter(|number| *number > 0)),
        Err(_) => Err(Error::invalid(format!("invalid max {what}: {number}"))),
    }
}

pub(crate) fn http_proxy(settings: &mut Settings, value: &str) -> Result<()> {
    settings.registries.proxies.http = given(value);
    Ok(())
}

pub(crate) fn https_proxy(settings: &mut Settings, value: &str) -> Result<()> {
    settings.registries.proxies.https = given(value);
    Ok(())
}

pub(crate) fn no_proxy(settings: &mut Settings, value: &str) -> Result<()> {
    settings.registries.proxies.none = value.to_owned();
    Ok(())
}

fn given(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// `registry-rules` of the configuration file.
pub(crate) fn rules(settings: &mut Settings, value: &Value) -> Result<()> {
    let rules: Vec<RuleDocument> = serde_json::from_value(value.clone())
        .map_err(|error| Error::invalid(error.to_string()).doing("registry-rules"))?;
    settings.registries.rules = rules.into_iter().map(RuleDocument::rule).collect();
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    prefix: String,
    #[serde(default)]
    block: bool,
    location: Option<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    mirrors: Vec<MirrorDocument>,
}

impl RuleDocument {
    fn rule(self) -> Rule {
        Rule {
            prefix: self.prefix,
            blocked: self.block,
            location: self.location,
            credentials: credentials(self.username, self.password),
            mirrors: self.mirrors.into_iter().map(MirrorDocument::mirror).collect(),
        }
    }
}

/// `"registry.lan/hub"`, or the same with credentials.
#[derive(Deserialize)]
#[serde(untagged)]
enum MirrorDocument {
    Location(String),
    WithCredentials(MirrorAccount),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorAccount {
    location: String,
    username: String,
    password: String,
}

impl MirrorDocument {
    fn mirror(self) -> Mirror {
        match self {
            Self::Location(location) => Mirror { location, credentials: Credentials::Anonymous },
            Self::WithCredentials(account) => Mirror {
                location: account.location,
                credentials: credentials(account.username, account.password),
            },
        }
    }
}

fn credentials(user: String, password: String) -> Credentials {
    if user.is_empty() { Credentials::Anonymous } else { Credentials::Basic { user, password } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::of(Persona::Dockerd)
    }

    fn refused(set: fn(&mut Settings, &str) -> Result<()>, value: &str, words: &str) {
        assert_eq!(set(&mut settings(), value).unwrap_err().to_string(), words, "{value}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockerd_s_words() {
        let hint = "must use either 'https://' or 'http://'";
        refused(mirror, "foo", &format!("invalid mirror: no scheme specified for \"foo\": {hint}"));
        refused(
            mirror,
            "ftp://foo",
            &format!("invalid mirror: unsupported scheme \"ftp\" in \"ftp://foo\": {hint}"),
        );
        refused(
            mirror,
            "http://a/?x",
            r#"invalid mirror: query or fragment at end of the URI "http://a/?x""#,
        );
        refused(
            mirror,
            "http://u:p@h/x",
            r#"invalid mirror: username/password not allowed in URI "http://u:xxxxx@h/x""#,
        );
        refused(mirror, "http://", r#"invalid mirror: "http://" is not a valid URI"#);
        refused(insecure, "-foo", "invalid index name (-foo). Cannot begin or end with a hyphen");
        refused(downloads, "x", "strconv.ParseInt: parsing \"x\": invalid syntax");
        refused(downloads, "-1", "invalid max concurrent downloads: -1");
        refused(uploads, "-2", "invalid max concurrent uploads: -2");
        refused(attempts, "-3", "invalid max download attempts: -3");
    }

    #[test]
    fn numbers_of_zero_are_the_defaults() {
        let mut settings = settings();
        for set in [downloads, uploads, attempts] {
            set(&mut settings, "7").unwrap();
        }
        let numbers = |settings: &Settings| {
            let Config { downloads_max, uploads_max, attempts_max, .. } = settings.registries;
            (downloads_max, uploads_max, attempts_max)
        };
        assert_eq!(numbers(&settings), (7, 7, 7));
        for set in [downloads, uploads, attempts] {
            set(&mut settings, "0").unwrap();
        }
        assert_eq!(numbers(&settings), (3, 5, 5));
    }

    #[test]
    fn rules_are_read_whole() {
        let mut settings = settings();
        let text = r#"[{"prefix":"docker.io","location":"hub.lan/hub","username":"me","password":"pw",
            "mirrors":["m.lan",{"location":"http://n.lan","username":"a","password":"b"}]},
            {"prefix":"evil.example","block":true}]"#;
        rules(&mut settings, &serde_json::from_str(text).unwrap()).unwrap();
        let [hub, evil] = settings.registries.rules.as_slice() else { panic!("two rules") };
        assert_eq!((hub.prefix.as_str(), hub.location.as_deref()), ("docker.io", Some("hub.lan/hub")));
        assert_eq!(hub.credentials, credentials("me".into(), "pw".into()));
        assert_eq!(hub.mirrors[1].location, "http://n.lan");
        assert_eq!(hub.mirrors[1].credentials, credentials("a".into(), "b".into()));
        assert!(evil.blocked && evil.location.is_none());
        let broken = serde_json::json!([{ "prefix": "a", "colour": 1 }]);
        let words = rules(&mut settings, &broken).unwrap_err().to_string();
        assert!(words.starts_with("registry-rules: unknown field `colour`"), "{words}");
    }
}
