//! The configuration file: one JSON object with Docker's keys.

use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};
use serde_json::{Map, Value};

use crate::command_line::known;
use crate::options::{self, Meaning, SETTINGS, Setting};
use crate::settings::{Settings, default_config_file};

/// Applies the file that the settings name. A missing one is an error only if it was asked for; a setting that was
/// `given` as a flag already must not stand in the file, too.
pub(crate) fn read(settings: &mut Settings, given: &[&'static Setting]) -> Result<()> {
    let Some((path, text)) = load(settings)? else { return Ok(()) };
    apply(settings, given, &text)
        .doing(|| format!("unable to configure the Docker daemon with file {}", path.display()))
}

/// The debug flag of the file, for a reload; nothing else can change while containers run.
pub(crate) fn debug(settings: &Settings) -> Result<Option<bool>> {
    let Some((_, text)) = load(settings)? else { return Ok(None) };
    Ok(object(&text)?.get("debug").and_then(Value::as_bool))
}

fn load(settings: &Settings) -> Result<Option<(PathBuf, String)>> {
    let (path, asked): (&Path, bool) = match (&settings.config_file, default_config_file(settings.persona)) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => return Ok(None),
    };
    match sys::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == Kind::NotFound && !asked => Ok(None),
        Err(error) => {
            Err(error.doing(format!("unable to configure the Docker daemon with file {}", path.display())))
        }
    }
}

fn object(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))
}

fn apply(settings: &mut Settings, given: &[&'static Setting], text: &str) -> Result<()> {
    let file = object(text)?;
    let found =
        |key: &String| SETTINGS.iter().find(|setting| setting.key == key && known(settings.persona, setting));
    let unknown: Vec<&str> = file.keys().filter(|key| found(key).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::invalid(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        )));
    }
    let pairs: Vec<(&'static Setting, &Value)> =
        file.iter().filter_map(|(key, value)| Some((found(key)?, value))).collect();
    refuse_twice(given, &pairs)?;
    pairs.into_iter().try_for_each(|(setting, value)| apply_value(settings, setting, value))
}

fn refuse_twice(given: &[&'static Setting], pairs: &[(&'static Setting, &Value)]) -> Result<()> {
    let twice: Vec<&str> = pairs
        .iter()
        .filter(|(setting, _)| given.iter().any(|flag| flag.flag == setting.flag))
        .map(|(setting, _)| setting.key)
        .collect();
    if twice.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the following directives are specified both as a flag and in the configuration file: {}",
        twice.join(", ")
    )))
}

/// A list sets its elements one after the other; an object (options by name) must be empty unless it is ignored.
fn apply_value(settings: &mut Settings, setting: &'static Setting, value: &Value) -> Result<()> {
    match value {
        _ if matches!(setting.meaning, Meaning::Ignored) => {
            options::apply(settings, setting, setting.key, "")
        }
        Value::Null => Ok(()),
        Value::Array(items) => items.iter().try_for_each(|item| apply_value(settings, setting, item)),
        Value::Object(map) if map.is_empty() => Ok(()),
        Value::Object(_) => Err(Error::unsupported(setting.key)),
        Value::String(text) => options::apply(settings, setting, setting.key, text),
        plain => options::apply(settings, setting, setting.key, &plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Persona;

    fn read(text: &str, flags: &[&str]) -> Result<Settings> {
        let mut settings = Settings::of(Persona::Dockerd);
        let given: Vec<_> = SETTINGS.iter().filter(|setting| flags.contains(&setting.flag)).collect();
        apply(&mut settings, &given, text).map(|()| settings)
    }

    #[test]
    fn keys_are_dockers() {
        let settings = read(
            r#"{"hosts":["unix:///a","fd://"],"debug":true,"dns":["10.0.0.1"],"mtu":1400,"live-restore":true,
                "log-driver":"json-file","log-opts":{},"features":{"buildkit":true}}"#,
            &[],
        )
        .unwrap();
        assert_eq!(settings.hosts, ["unix:///a", "fd://"]);
        assert!(settings.debug);
        assert_eq!(settings.mtu, Some(1400));
        assert_eq!(settings.ignored, ["feature", "live-restore"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text, flags: &[&str]| read(text, flags).unwrap_err().to_string();
        assert_eq!(
            message(r#"{"colour":1,"zebra":2}"#, &[]),
            "the following directives don't match any configuration option: colour, zebra"
        );
        assert_eq!(
            message(r#"{"debug":true}"#, &["debug"]),
            "the following directives are specified both as a flag and in the configuration file: debug"
        );
        assert_eq!(message(r#"{"log-opts":{"max-size":"1m"}}"#, &[]), "not supported: log-opts");
        assert_eq!(message(r#"{"storage-driver":"btrfs"}"#, &[]), "not supported: storage-driver=btrfs");
        assert!(message("{", &[]).starts_with("EOF"));
    }
}
