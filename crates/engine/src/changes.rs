//! The Dockerfile instructions that `commit --change` and `import --change` take, applied to an image's config.
//!
//! Pure. The grammar is the Dockerfile reference's for these instructions, one instruction a change; variables are not
//! expanded, because a change has none.

mod words;

use std::collections::BTreeMap;
use std::path::Path;

use fault::{Error, Result};
use oci::image::{Config, Healthcheck};

pub(crate) use words::duration;
use words::{Command, command, list, pairs};

/// Applies all changes, in order.
pub(crate) fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    let mut own_command = false;
    // The client may send several instructions as one text with line ends.
    for line in
        changes.iter().flat_map(|change| change.lines()).map(str::trim).filter(|line| !line.is_empty())
    {
        let command = config.cmd.clone();
        own_command |= apply_one(config, line)? == "CMD";
        // An entrypoint takes away the image's command, not the one that came with it.
        if own_command && config.cmd.is_none() {
            config.cmd = command;
        }
    }
    Ok(())
}

/// Which instruction it was.
fn apply_one(config: &mut Config, line: &str) -> Result<&'static str> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (name, rest) = (name.to_ascii_uppercase(), rest.trim());
    let Some((known, change)) = CHANGES.iter().find(|(known, _)| *known == name) else {
        return Err(Error::invalid(format!("{name} is not a valid change command")));
    };
    if rest.is_empty() {
        let wants = if matches!(name.as_str(), "ENV" | "LABEL" | "EXPOSE" | "VOLUME") {
            "at least"
        } else {
            "exactly"
        };
        return Err(Error::invalid(format!("{name} requires {wants} one argument")));
    }
    change(config, rest)?;
    Ok(known)
}

type Change = fn(&mut Config, &str) -> Result<()>;

const CHANGES: &[(&str, Change)] = &[
    ("CMD", cmd),
    ("ENTRYPOINT", entrypoint),
    ("ENV", env),
    ("EXPOSE", expose),
    ("HEALTHCHECK", healthcheck),
    ("LABEL", label),
    ("ONBUILD", on_build),
    ("SHELL", shell),
    ("STOPSIGNAL", stop_signal),
    ("USER", user),
    ("VOLUME", volume),
    ("WORKDIR", workdir),
];

fn cmd(config: &mut Config, rest: &str) -> Result<()> {
    config.cmd = Some(argv(config, rest));
    Ok(())
}

/// An entrypoint of its own makes the image's command meaningless.
fn entrypoint(config: &mut Config, rest: &str) -> Result<()> {
    config.entrypoint = Some(argv(config, rest));
    config.cmd = None;
    Ok(())
}

/// The exec form as it is, the shell form behind the shell.
fn argv(config: &Config, rest: &str) -> Vec<String> {
    match command(rest) {
        Command::Exec(words) => words,
        Command::Shell(line) if config.shell.is_empty() => vec!["/bin/sh".into(), "-c".into(), line],
        Command::Shell(line) => config.shell.iter().cloned().chain([line]).collect(),
    }
}

fn env(config: &mut Config, rest: &str) -> Result<()> {
    for (name, value) in pairs("ENV", rest)? {
        let prefix = format!("{name}=");
        config.env.retain(|entry| !entry.starts_with(&prefix));
        config.env.push(prefix + &value);
    }
    Ok(())
}

fn label(config: &mut Config, rest: &str) -> Result<()> {
    config.labels.extend(pairs("LABEL", rest)?.into_iter().collect::<BTreeMap<_, _>>());
    Ok(())
}

fn expose(config: &mut Config, rest: &str) -> Result<()> {
    for word in rest.split_whitespace() {
        let (numbers, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let numbers = api::port::range(numbers)
            .map_err(|_| Error::invalid(format!("invalid containerPort: {numbers}")))?;
        let protocol: api::port::Protocol = protocol.parse()?;
        for number in numbers {
            config.exposed_ports.insert(format!("{number}/{}", protocol.as_str()));
        }
    }
    Ok(())
}

fn volume(config: &mut Config, rest: &str) -> Result<()> {
    for path in list(rest) {
        if path.trim().is_empty() {
            return Err(Error::invalid("VOLUME specified can not be an empty string"));
        }
        config.volumes.insert(path);
    }
    Ok(())
}

fn user(config: &mut Config, rest: &str) -> Result<()> {
    config.user = rest.to_owned();
    Ok(())
}

/// A relative path goes on from the one before.
fn workdir(config: &mut Config, rest: &str) -> Result<()> {
    let joined = Path::new(&config.working_dir).join(rest);
    config.working_dir = crate::path::clean(&joined).to_string_lossy().into_owned();
    Ok(())
}

fn stop_signal(config: &mut Config, rest: &str) -> Result<()> {
    crate::container::parse_signal(rest)?;
    config.stop_signal = Some(rest.to_owned());
    Ok(())
}

fn on_build(config: &mut Config, rest: &str) -> Result<()> {
    let name = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" => Err(Error::invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
        "FROM" | "MAINTAINER" => Err(Error::invalid(format!("{name} isn't allowed as an ONBUILD trigger"))),
        _ => {
            config.on_build.push(rest.to_owned());
            Ok(())
        }
    }
}

fn shell(config: &mut Config, rest: &str) -> Result<()> {
    match command(rest) {
        Command::Exec(words) if !words.is_empty() => config.shell = words,
        _ => return Err(Error::invalid("SHELL requires the arguments to be in JSON form")),
    }
    Ok(())
}

fn healthcheck(config: &mut Config, rest: &str) -> Result<()> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        health_flag(&mut check, flag)?;
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command(line.trim())) {
        ("NONE", _) if line.trim().is_empty() => vec!["NONE".into()],
        ("NONE", _) => return Err(Error::invalid("HEALTHCHECK NONE takes no arguments")),
        ("CMD", _) if line.trim().is_empty() => {
            return Err(Error::invalid("Missing command after HEALTHCHECK CMD"));
        }
        ("CMD", Command::Exec(words)) => std::iter::once("CMD".into()).chain(words).collect(),
        ("CMD", Command::Shell(line)) => vec!["CMD-SHELL".into(), line],
        _ => return Err(Error::invalid(format!("Unknown type \"{kind}\" in HEALTHCHECK (try CMD)"))),
    };
    config.healthcheck = Some(check);
    Ok(())
}

fn health_flag(check: &mut Healthcheck, flag: &str) -> Result<()> {
    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
    let duration = || duration(value).ok_or_else(|| Error::invalid(format!("invalid duration: \"{value}\"")));
    match name {
        "interval" => check.interval = duration()?,
        "timeout" => check.timeout = duration()?,
        "start-period" => check.start_period = duration()?,
        "start-interval" => check.start_interval = duration()?,
        "retries" => {
            let retries = value.parse().ok().filter(|retries| *retries >= 0);
            check.retries =
                retries.ok_or_else(|| Error::invalid(format!("--retries must be a number: {value}")))?;
        }
        _ => return Err(Error::invalid(format!("unknown flag: {name}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Config> {
        let mut config = Config::default();
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn commands_have_two_forms() {
        let config = changed(&["CMD [\"a\", \"b c\"]", "entrypoint run it"]).unwrap();
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.cmd.unwrap(), ["a", "b c"], "the changes' own command stays");
        let mut image = Config { cmd: Some(vec!["old".into()]), ..Config::default() };
        apply(&mut image, &["ENTRYPOINT run it".into()]).unwrap();
        assert_eq!(image.cmd, None, "a new entrypoint clears the command");
        let config = changed(&["ENTRYPOINT [\"/x\"]", "CMD echo hi"]).unwrap();
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        let config = changed(&["SHELL [\"/bin/bash\", \"-c\"]", "CMD echo hi"]).unwrap();
        assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-c", "echo hi"]);
    }

    #[test]
    fn sets_and_maps_grow() {
        let config =
            changed(&["ENV A=1 B=\"two words\"", "ENV A 3 4", "EXPOSE 80 53/udp 90-91", "LABEL x=y"])
                .unwrap();
        assert_eq!(config.env, ["B=two words", "A=3 4"]);
        assert_eq!(
            config.exposed_ports.into_iter().collect::<Vec<_>>(),
            ["53/udp", "80/tcp", "90/tcp", "91/tcp"]
        );
        assert_eq!(config.labels["x"], "y");
        let config =
            changed(&["VOLUME [\"/a b\"]\nVOLUME /c /d", "WORKDIR /x", "WORKDIR y/../z", "USER 1:2"])
                .unwrap();
        assert_eq!(config.volumes.into_iter().collect::<Vec<_>>(), ["/a b", "/c", "/d"]);
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/x/z", "1:2"));
    }

    #[test]
    fn health_checks_are_read() {
        let config = changed(&["HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x"]).unwrap();
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
        assert_eq!(changed(&["HEALTHCHECK NONE"]).unwrap().healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_dockers_words() {
        let table = [
            ("RUN true", "RUN is not a valid change command"),
            ("FLY away", "FLY is not a valid change command"),
            ("CMD", "CMD requires exactly one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("EXPOSE 80 90-80/udp", "invalid containerPort: 90-80"),
            ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            ("SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"),
        ];
        for (change, message) in table {
            assert_eq!(changed(&[change]).unwrap_err().to_string(), message, "{change}");
        }
    }
}
