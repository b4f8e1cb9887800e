//! The settings about what containers get that ask for nothing else: read, and refused in dockerd's words.

use api::host_config::Ulimit;
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
        ("tag" | "labels" | "labels-regex" | "env" | "env-regex", _) => {
            Some("lines of the log carry no attributes")
        }
        _ => {
            settings.defaults.log.config.insert(key.to_owned(), value.to_owned());
            None
        }
    };
    settings.warnings.extend(truth.map(|truth| format!("log-opts {key}={value}: {truth}")));
    Ok(())
}

pub(crate) fn shm_size(settings: &mut Settings, value: &str) -> Result<()> {
    settings.defaults.shm_size_bytes = size(value)?;
    Ok(())
}

/// A size with a binary unit, as Docker's clients read it: `64m`, `1.5GiB`, `100`.
fn size(text: &str) -> Result<i64> {
    let wrong = || Error::invalid(format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit = lower[digits.len()..].trim_start();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit).ok_or_else(wrong)?;
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).expect("the table is short"));
    // No machine has so much memory, and a larger number does not fit.
    if (0.0..9e18).contains(&bytes) { Ok(bytes as i64) } else { Err(wrong()) }
}

/// `name=soft[:hard]`; -1 is unlimited. A later one of a name takes the place of an earlier.
pub(crate) fn ulimit(settings: &mut Settings, value: &str) -> Result<()> {
    let limit = parse_ulimit(value)?;
    settings.defaults.ulimits.retain(|known| known.name != limit.name);
    settings.defaults.ulimits.push(limit);
    Ok(())
}

fn parse_ulimit(text: &str) -> Result<Ulimit> {
    let invalid = |words: String| Err(Error::invalid(words));
    let Some((name, values)) = text.split_once('=') else {
        return invalid(format!("invalid ulimit argument: {text}"));
    };
    if !ULIMITS.contains(&name) {
        return invalid(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        let broken = |_| Error::invalid(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse::<i64>().map_err(broken)
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (number(soft)?, number(hard)?);
    let most = |value: i64| if value == -1 { i64::MAX } else { value };
    if most(soft) > most(hard) {
        return invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

/// As setrlimit(2) has them.
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

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

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("64m", 64 << 20), ("1.5 GiB", 3 << 29), ("100", 100), ("0", 0), ("2kb", 2048)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "-1", "m", "1x", "nan", "inf", "99999999p"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn unlimited_is_more_than_any_number() {
        assert!(parse_ulimit("core=-1:5").is_err());
        let limit = parse_ulimit("core=5:-1").unwrap();
        assert_eq!((limit.soft, limit.hard), (5, -1));
        assert!(parse_ulimit("core=1:2:3").is_err());
        assert!(parse_ulimit("core").is_err());
    }
}
