//! The configuration file: one JSON object with Docker's keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};
use serde_json::{Map, Value};

use crate::command_line::known;
use crate::options::{self, Meaning, SETTINGS, Setting};
use crate::settings::{Persona, Settings, default_config_file};

/// Applies the file that the settings name. A missing one is an error only if it was asked for; a setting that was
/// `given` as a flag already must not stand in the file, too.
pub(crate) fn read(settings: &mut Settings, given: &[&'static Setting]) -> Result<()> {
    let Some((path, text)) = load(settings)? else { return Ok(()) };
    apply(settings, given, &text)
        .doing(|| format!("unable to configure the Docker daemon with file {}", path.display()))
}

/// The settings with what a reload may change, as in Docker; all else stays while containers run. What the file does not
/// name any more is as the flags had it.
pub(crate) fn reloaded(settings: &Settings) -> Result<Settings> {
    let mut fresh = without_file(settings);
    if let Some((_, text)) = load(settings)? {
        let file = without_proxies(object(&text)?);
        for (setting, value) in known_pairs(settings.persona, &file)? {
            if RELOADED.contains(&setting.key) {
                apply_value(&mut fresh, setting, value)?;
            }
        }
    }
    let mut seen = BTreeSet::new();
    fresh.warnings.retain(|text| seen.insert(text.clone()));
    Ok(fresh)
}

fn without_file(settings: &Settings) -> Settings {
    let mut fresh = settings.clone();
    if let Some(flags) = &settings.by_flags {
        fresh.debug = flags.debug;
        fresh.labels.clone_from(&flags.labels);
        fresh.registries = flags.registries.clone();
        fresh.defaults.ipc_mode.clone_from(&flags.defaults.ipc_mode);
        fresh.defaults.runtime.clone_from(&flags.defaults.runtime);
        fresh.defaults.shm_size_bytes = flags.defaults.shm_size_bytes;
    }
    fresh
}

const RELOADED: &[&str] = &[
    "debug",
    "default-ipc-mode",
    "default-runtime",
    "default-shm-size",
    "http-proxy",
    "https-proxy",
    "insecure-registries",
    "labels",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "no-proxy",
    "registry-mirrors",
    "registry-rules",
];

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
    let file = without_proxies(object(text)?);
    let pairs = known_pairs(settings.persona, &file)?;
    refuse_twice(given, &pairs)?;
    pairs.into_iter().try_for_each(|(setting, value)| apply_value(settings, setting, value))
}

/// The file's values with their settings; what is no setting is refused.
fn known_pairs(persona: Persona, file: &Map<String, Value>) -> Result<Vec<(&'static Setting, &Value)>> {
    let found = |key: &String| SETTINGS.iter().find(|setting| setting.key == key && known(persona, setting));
    let unknown: Vec<&str> = file.keys().filter(|key| found(key).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::invalid(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        )));
    }
    Ok(file.iter().filter_map(|(key, value)| Some((found(key)?, value))).collect())
}

/// The proxies stand in an object of their own, under the names of their flags.
fn without_proxies(mut file: Map<String, Value>) -> Map<String, Value> {
    match file.remove("proxies") {
        Some(Value::Object(proxies)) => file.extend(proxies),
        Some(other) => drop(file.insert("proxies".into(), other)),
        None => {}
    }
    file
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

fn apply_value(settings: &mut Settings, setting: &'static Setting, value: &Value) -> Result<()> {
    match (&setting.meaning, value) {
        (Meaning::Ignored | Meaning::Deprecated(_), _) => options::apply(settings, setting, setting.key, ""),
        (Meaning::Document(set), value) => set(settings, value),
        (_, value) => flag_values(setting.key, value)?
            .iter()
            .try_for_each(|text| options::apply(settings, setting, setting.key, text)),
    }
}

/// What the flag would be given, once for each element. Pure.
fn flag_values(key: &str, value: &Value) -> Result<Vec<String>> {
    Ok(match value {
        Value::Null => Vec::new(),
        Value::Array(items) => {
            let items: Result<Vec<_>> = items.iter().map(|item| flag_values(key, item)).collect();
            items?.concat()
        }
        Value::Object(map) if key == "default-address-pools" => vec![pairs(key, map)?.join(",")],
        Value::Object(map) if matches!(key, "runtimes" | "default-network-opts") => {
            map.keys().cloned().collect()
        }
        Value::Object(map) if key == "default-ulimits" => {
            map.iter().map(|(name, limit)| ulimit(name, limit)).collect::<Result<_>>()?
        }
        Value::Object(map) => pairs(key, map)?,
        plain => vec![text(plain)],
    })
}

/// `name=value` of each member.
fn pairs(key: &str, map: &Map<String, Value>) -> Result<Vec<String>> {
    let pair = |(name, value): (&String, &Value)| match value {
        Value::Object(_) | Value::Array(_) => {
            Err(Error::invalid(format!("{key}: the value of {name} is not a text")))
        }
        plain => Ok(format!("{name}={}", text(plain))),
    };
    map.iter().map(pair).collect()
}

fn text(plain: &Value) -> String {
    plain.as_str().map_or_else(|| plain.to_string(), str::to_owned)
}

/// `{"Name": "nofile", "Hard": 2, "Soft": 1}`, or what the flag takes behind its name.
fn ulimit(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::Object(_) => {
            let limit: api::host_config::Ulimit = api::from_value(value.clone())?;
            Ok(format!("{name}={}:{}", limit.soft, limit.hard))
        }
        plain => Ok(format!("{name}={}", text(plain))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_whole_file_of_dockers_starts() {
        let settings = read(
            r#"{"log-driver":"local","log-opts":{"max-size":"10m","max-file":"3","compress":"false","env":"a,b"},
                "default-shm-size":"128M","default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":32000},
                "nproc":{"Name":"nproc","Hard":-1,"Soft":-1}},"init":true,"no-new-privileges":true,"icc":true,
                "default-ipc-mode":"shareable","default-cgroupns-mode":"host","bip":"192.168.5.3/24",
                "default-address-pools":[{"base":"10.10.0.0/16","size":24},{"base":"10.20.0.0/24","size":24}],
                "exec-opts":["native.cgroupdriver=systemd"],"metrics-addr":"127.0.0.1:9323","mtu":1400,
                "runtimes":{"nvidia":{"path":"nvidia-container-runtime","runtimeArgs":[]}},
                "default-runtime":"nvidia","shutdown-timeout":30,"live-restore":true,"labels":["a=b"],
                "storage-driver":"overlay2","dns-search":["lan"],"dns-opts":["ndots:1"],"debug":false,
                "experimental":false,"features":{"buildkit":true},"userland-proxy":false}"#,
            &[],
        )
        .unwrap();
        insta::assert_debug_snapshot!((
            &settings.defaults,
            settings.address,
            (settings.pools.len(), settings.pools.first(), settings.pools.last()),
            &settings.warnings,
            &settings.ignored,
        ));
        settings.defaults.check().unwrap();
    }

    #[test]
    fn what_a_flag_could_not_say_is_refused() {
        let message = |text| read(text, &[]).unwrap_err().to_string();
        assert_eq!(
            message(r#"{"log-opts":{"max-size":{}}}"#),
            "log-opts: the value of max-size is not a text"
        );
        for (text, words) in [
            (r#"{"default-ulimits":{"nofile":{"Hard":1,"Soft":2}}}"#, "soft limit must be less than"),
            (r#"{"default-ulimits":{"colour":{"Hard":1,"Soft":1}}}"#, "invalid ulimit type: colour"),
            (r#"{"default-address-pools":[{"base":"10.0.0.0/16"}]}"#, "Invalid default address pool"),
            (
                r#"{"default-address-pools":[{"base":"10.0.0.0/16","size":8}]}"#,
                "Invalid default address pool",
            ),
            (r#"{"bip":"10.0.0.0"}"#, "invalid CIDR address: 10.0.0.0"),
            (r#"{"default-shm-size":"much"}"#, "invalid size: 'much'"),
            (r#"{"default-ipc-mode":"host"}"#, "not supported as default value"),
            (r#"{"default-cgroupns-mode":"x"}"#, "default cgroup namespace mode (x) is invalid"),
            (r#"{"log-driver":"colour"}"#, "plugin \"colour\" not found"),
        ] {
            assert!(message(text).contains(words), "{text}: {}", message(text));
        }
    }

    #[test]
    fn registries_are_set_up() {
        let text = r#"{"registry-mirrors":["http://m"],"insecure-registries":["10.0.0.0/8"],
            "max-concurrent-downloads":6,"proxies":{"https-proxy":"http://p:1","no-proxy":"lan"},
            "registry-rules":[{"prefix":"ghcr.io","block":true}],
            "allow-nondistributable-artifacts":["x"]}"#;
        let settings = read(text, &[]).unwrap();
        let registries = &settings.registries;
        assert_eq!(
            (registries.mirrors.as_slice(), registries.insecure.as_slice()),
            (&["http://m".to_owned()][..], &["10.0.0.0/8".to_owned()][..])
        );
        assert_eq!(registries.downloads_max, 6);
        assert_eq!(
            (registries.proxies.https.as_deref(), registries.proxies.none.as_str()),
            (Some("http://p:1"), "lan")
        );
        assert!(registries.rules[0].blocked);
        assert_eq!(settings.deprecated[0].0, "allow-nondistributable-artifacts");
    }

    #[test]
    fn a_reload_reads_registries_anew_and_keeps_what_flags_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        let mut settings = Settings::of(Persona::Dockerd);
        settings.config_file = Some(path.clone());
        settings.labels.push("by=flag".into());
        settings.registries.insecure.push("by.flag".into());
        settings.by_flags = Some(Box::new(settings.clone()));
        settings.labels.push("old=file".into());
        settings.registries.mirrors.push("http://old".into());
        std::fs::write(
            &path,
            r#"{"registry-mirrors":["http://new"],"debug":true,"mtu":1,"labels":["new=file"]}"#,
        )
        .unwrap();
        let fresh = reloaded(&settings).unwrap();
        assert_eq!(fresh.registries.mirrors, ["http://new"]);
        assert_eq!(fresh.registries.insecure, ["by.flag"]);
        assert_eq!((fresh.debug, fresh.mtu), (true, None));
        assert_eq!(fresh.labels, ["by=flag", "new=file"]);
        std::fs::write(&path, r#"{"colour":1}"#).unwrap();
        assert!(reloaded(&settings).is_err());
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
        assert_eq!(
            message(r#"{"icc":false}"#, &[]),
            "not supported: icc=false\n\
             hint: without it the daemon starts, but containers of the default network reach each other"
        );
        for refused in [
            r#"{"storage-driver":"btrfs"}"#,
            r#"{"userns-remap":"default"}"#,
            r#"{"log-driver":"syslog"}"#,
            r#"{"seccomp-profile":"/etc/docker/seccomp.json"}"#,
            r#"{"tlsverify":true}"#,
        ] {
            let words = message(refused, &[]);
            assert!(words.contains("not supported: ") && words.contains("hint: "), "{words}");
        }
        assert_eq!(
            message(r#"{"registry-mirrors":["http://a","b"]}"#, &[]),
            "merged configuration validation from file and command line flags failed: invalid mirror: \
             no scheme specified for \"b\": must use either 'https://' or 'http://'"
        );
        assert_eq!(
            message(r#"{"proxies":{"http-proxy":"x"}}"#, &["http-proxy"]),
            "the following directives are specified both as a flag and in the configuration file: http-proxy"
        );
        assert_eq!(
            message(r#"{"proxies":{"colour":"x"}}"#, &[]),
            "the following directives don't match any configuration option: colour"
        );
        assert!(message("{", &[]).starts_with("EOF"));
    }
}
