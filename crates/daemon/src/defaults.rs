//! The settings about what containers get that ask for nothing else: read, and refused in dockerd's words.

use api::units;
use fault::{Error, Result};

use crate::options::boolean;
use crate::settings::Settings;

/// `local` differs from ours in the form of its files and in what it keeps.
pub(crate) fn log_driver(settings: &mut Settings, value: &str) -> Result<()> {
    match value {
        "" => {}
        "json-file" | "none" => settings.defaults.log.kind = value.to_owned(),
        "local" => keep_as_local_does(settings),
        "syslog" | "journald" | "gelf" | "fluentd" | "awslogs" | "splunk" | "gcplogs" => {
            return Err(Error::unsupported(format!(
                "log-driver={value}\nhint: without it the daemon starts, but logs are kept as json-file, here"
            )));
        }
        unknown => {
            return Err(Error::invalid(format!(
                "error looking up logging plugin {unknown}: plugin \"{unknown}\" not found"
            )));
        }
    }
    Ok(())
}

fn keep_as_local_does(settings: &mut Settings) {
    settings.warnings.push("log-driver=local: logs are kept as json-file, with the sizes of local".into());
    settings.defaults.log.kind = "json-file".into();
    for (key, value) in [("max-size", "20m"), ("max-file", "5")] {
        settings.defaults.log.config.entry(key.into()).or_insert_with(|| value.into());
    }
}

/// `max-size=10m`
pub(crate) fn log_opt(settings: &mut Settings, value: &str) -> Result<()> {
    let (key, value) =
        value.split_once('=').ok_or_else(|| Error::invalid(format!("invalid key=value pair: {value}")))?;
    let truth = match (key, value) {
        (_, "") | ("compress", "false") | ("mode", "blocking") => None,
        ("compress", _) => Some("rotated logs are kept uncompressed"),
        ("mode" | "max-buffer-size", _) => Some("containers wait for their log"),
        _ => {
            settings.defaults.log.config.insert(key.to_owned(), value.to_owned());
            None
        }
    };
    settings.warnings.extend(truth.map(|truth| format!("log-opts {key}={value}: {truth}")));
    Ok(())
}

pub(crate) fn shm_size(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.shm_size_bytes = match units::bytes(value) {
        Ok(bytes @ 0..) => bytes,
        Ok(_) => return Err(Error::invalid(format!("invalid size: '{value}'"))),
        Err(words) => return Err(Error::invalid(words)),
    };
    Ok(())
}

/// `name=soft[:hard]`; -1 is unlimited. A later one of a name takes the place of an earlier.
pub(crate) fn ulimit(settings: &mut Settings, value: &str) -> Result<()> {
    let limit = units::ulimit(value).map_err(Error::invalid)?;
    settings.defaults.ulimits.retain(|known| known.name != limit.name);
    settings.defaults.ulimits.push(limit);
    Ok(())
}

pub(crate) fn ipc_mode(settings: &mut Settings, value: &str) -> Result<()> {
    match value {
        "" => {}
        "private" | "shareable" => settings.defaults.ipc_mode = value.to_owned(),
        other => {
            return Err(Error::invalid(format!(
                "IPC mode \"{other}\" is not supported as default value; use \"shareable\" or \"private\""
            )));
        }
    }
    Ok(())
}

pub(crate) fn cgroupns_mode(settings: &mut Settings, value: &str) -> Result<()> {
    if !matches!(value, "" | "private" | "host") {
        return Err(Error::invalid(format!(
            "default cgroup namespace mode ({value}) is invalid; use \"host\" or \"private\""
        )));
    }
    settings.defaults.cgroupns_mode = value.to_owned();
    Ok(())
}

/// Another program's name is kept: containers that do not name one of ours are refused then.
pub(crate) fn runtime(settings: &mut Settings, value: &str) -> Result<()> {
    match value {
        "" | "runc" | "io.containerd.runc.v2" | "kogge-runtime" => {}
        other => {
            let truth = "a container is refused unless it asks for `runc`, which is the engine's own";
            settings.warnings.push(format!("default-runtime={other}: {truth}"));
            settings.defaults.runtime = other.to_owned();
        }
    }
    Ok(())
}

pub(crate) fn init(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.init = boolean(value)?;
    Ok(())
}

pub(crate) fn no_new_privileges(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.no_new_privileges = boolean(value)?;
    Ok(())
}

pub(crate) fn dns_search(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.dns_search.push(one_word(value)?);
    Ok(())
}

pub(crate) fn dns_option(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.dns_options.push(one_word(value)?);
    Ok(())
}

/// It becomes part of a line of resolv.conf(5).
fn one_word(text: &str) -> Result<String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(Error::invalid(format!("{text:?} is not a single word")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Persona;

    #[test]
    fn no_machine_has_less_than_nothing_or_more_than_fits() {
        let mut settings = Settings::of(Persona::Dockerd);
        shm_size(&mut settings, "1.5GiB").unwrap();
        assert_eq!(settings.defaults.shm_size_bytes, 3 << 29);
        for wrong in ["", "-1", "m", "1x", "nan", "inf", "99999999p"] {
            assert!(shm_size(&mut settings, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_later_limit_of_a_name_counts() {
        let mut settings = Settings::of(Persona::Dockerd);
        for text in ["core=1", "nofile=5:-1", "core=2"] {
            ulimit(&mut settings, text).unwrap();
        }
        let limits = settings.defaults.ulimits.iter();
        let limits: Vec<_> = limits.map(|limit| (limit.name.as_str(), limit.soft, limit.hard)).collect();
        assert_eq!(limits, [("nofile", 5, -1), ("core", 2, 2)]);
        assert!(ulimit(&mut settings, "core=-1:5").is_err());
    }
}
