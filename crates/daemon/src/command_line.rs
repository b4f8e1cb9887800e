//! The command line, read as Go's pflag reads it, with its complaints.

use std::ffi::OsString;
use std::fmt::Write;

use fault::{Doing, Error, Result};
use lexopt::Arg;

use crate::config_file;
use crate::options::{self, Meaning, SETTINGS, Setting};
use crate::settings::{Persona, Settings};

/// What the user asked for.
#[derive(Debug)]
pub(crate) enum Wish {
    Run(Box<Settings>),
    /// Take away what a daemon with these settings made.
    Teardown(Box<Settings>),
    Print(String),
}

/// Reads the flags, then the configuration file that they name.
pub(crate) fn parse(persona: Persona, words: impl IntoIterator<Item = OsString>) -> Result<Wish> {
    let mut settings = Settings::of(persona);
    let mut given = Vec::new();
    let (mut validate, mut teardown) = (false, false);
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(|error| complain(persona, error.to_string()))? {
        let name = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Wish::Print(help(persona))),
            Arg::Long("version") | Arg::Short('v') => return Ok(Wish::Print(version(persona))),
            Arg::Long("validate") => {
                validate = true;
                continue;
            }
            Arg::Value(word) if word == "teardown" && !teardown => {
                teardown = true;
                continue;
            }
            Arg::Long(name) => Name::Long(name.to_owned()),
            Arg::Short(letter) => Name::Short(letter),
            Arg::Value(_) => return Err(no_arguments(persona)),
        };
        let setting = find(persona, &name).ok_or_else(|| complain(persona, name.unknown()))?;
        let value = value(&mut parser, setting, &name).map_err(|text| complain(persona, text))?;
        options::apply(&mut settings, setting, &format!("--{}", setting.flag), &value).map_err(|error| {
            if matches!(setting.meaning, Meaning::Set(..)) {
                complain(persona, error.to_string())
            } else {
                error
            }
        })?;
        given.push(setting);
    }
    settings.by_flags = Some(Box::new(settings.clone()));
    config_file::read(&mut settings, &given)?;
    settings.defaults.check().doing(|| "failed to set log opts")?;
    Ok(match (validate, teardown) {
        (true, _) => Wish::Print("configuration OK".to_owned()),
        (false, true) => Wish::Teardown(Box::new(settings)),
        (false, false) => Wish::Run(Box::new(settings)),
    })
}

enum Name {
    Long(String),
    Short(char),
}

impl Name {
    fn unknown(&self) -> String {
        match self {
            Self::Long(name) => format!("unknown flag: --{name}"),
            Self::Short(letter) => format!("unknown shorthand flag: '{letter}' in -{letter}"),
        }
    }

    fn without_value(&self) -> String {
        match self {
            Self::Long(name) => format!("flag needs an argument: --{name}"),
            Self::Short(letter) => format!("flag needs an argument: '{letter}' in -{letter}"),
        }
    }
}

fn find(persona: Persona, name: &Name) -> Option<&'static Setting> {
    SETTINGS.iter().filter(|setting| known(persona, setting) && !setting.flag.is_empty()).find(|setting| {
        match name {
            Name::Long(name) => setting.flag == name,
            Name::Short(letter) => setting.short == Some(*letter),
        }
    })
}

/// What means nothing here is known under the other name only.
pub(crate) fn known(persona: Persona, setting: &Setting) -> bool {
    persona == Persona::Dockerd || !matches!(setting.meaning, Meaning::Ignored)
}

fn value(parser: &mut lexopt::Parser, setting: &Setting, name: &Name) -> Result<String, String> {
    let value = match (setting.switch, name) {
        // What follows a switch of one letter is the next letter.
        (true, Name::Short(_)) => "true".into(),
        (true, Name::Long(_)) => parser.optional_value().unwrap_or_else(|| "true".into()),
        (false, _) => parser.value().map_err(|_| name.without_value())?,
    };
    value.into_string().map_err(|value| format!("invalid argument {value:?}: not UTF-8"))
}

fn complain(persona: Persona, text: String) -> Error {
    Error::invalid(format!("{text}\nSee '{} --help'.", persona.name()))
}

fn no_arguments(persona: Persona) -> Error {
    let name = persona.name();
    Error::invalid(format!(
        "\"{name}\" accepts no argument(s).\nSee '{name} --help'.\n\nUsage:  {name} [OPTIONS]\n\n{ABOUT}"
    ))
}

const ABOUT: &str = "A self-sufficient runtime for containers.";

fn version(persona: Persona) -> String {
    let name = match persona {
        Persona::Kogged => "Kogge",
        Persona::Dockerd => "Docker",
    };
    format!("{name} version {}, build kogge", env!("CARGO_PKG_VERSION"))
}

fn help(persona: Persona) -> String {
    let mut text = format!("Usage:  {} [OPTIONS]\n\n{ABOUT}\n", persona.name());
    text.push_str("\nCommands:\n");
    if persona == Persona::Kogged {
        text.push_str("  registry               Serve a registry of images (kogged registry --help)\n");
    }
    text.push_str(
        "  teardown               Remove all containers and networks of a daemon with these options\n",
    );
    text.push_str("\nOptions:\n");
    let own = SETTINGS.iter().filter_map(|setting| match setting.meaning {
        Meaning::Set(_, about) => Some((setting.short, setting.flag, about)),
        _ => None,
    });
    let common = [
        (None, "validate", "Validate the configuration and exit"),
        (Some('h'), "help", "Print usage"),
        (Some('v'), "version", "Print version information and quit"),
    ];
    let rows: Vec<_> = own.chain(common).collect();
    let width = rows.iter().map(|(_, flag, _)| flag.len()).max().unwrap_or(0);
    let line = |(short, flag, about): &(Option<char>, &str, &str)| {
        let short = short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        format!("  {short}--{flag:<width$} {about}")
    };
    text.push_str(&rows.iter().map(line).collect::<Vec<_>>().join("\n"));
    if persona == Persona::Dockerd {
        let names: Vec<&str> = SETTINGS
            .iter()
            .filter(|setting| matches!(setting.meaning, Meaning::Ignored) && !setting.flag.is_empty())
            .map(|setting| setting.flag)
            .collect();
        write!(text, "\n\nIgnored with a warning: {}", names.join(", ")).expect("a string takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn run(persona: Persona, line: &str) -> Result<Settings> {
        match parse(persona, line.split_whitespace().map(OsString::from))? {
            Wish::Run(settings) => Ok(*settings),
            other => Err(Error::internal(format!("{other:?}"))),
        }
    }

    fn complaint(persona: Persona, line: &str) -> String {
        run(persona, line).unwrap_err().to_string()
    }

    #[test]
    fn flags_come_in_all_of_pflags_forms() {
        let settings = run(
            Persona::Kogged,
            "-H unix:///a -H=tcp://127.0.0.1:1 --data-root=/d --exec-root /e -p /p -Dl warn --bridge b0 --cgroup-parent x --label a=b",
        )
        .unwrap();
        assert_eq!(settings.hosts, ["unix:///a", "tcp://127.0.0.1:1"]);
        assert_eq!((settings.data_root.to_str(), settings.exec_root.to_str()), (Some("/d"), Some("/e")));
        assert!(settings.debug);
        assert_eq!((settings.bridge.as_str(), settings.cgroup_parent.as_str()), ("b0", "/x"));
        assert!(!run(Persona::Kogged, "--debug=false").unwrap().debug);
    }

    #[test]
    fn paths_are_absolute_and_names_are_names() {
        let here = std::env::current_dir().unwrap();
        let settings = run(Persona::Kogged, "--data-root d -p run/p --bridge= --cgroup-parent=").unwrap();
        assert_eq!((settings.data_root, settings.pid_file), (here.join("d"), here.join("run/p")));
        assert_eq!((settings.bridge.as_str(), settings.cgroup_parent.as_str()), ("kogge0", "/kogge"));
        for line in
            ["--data-root=", "--bridge a/b", "--bridge a-name-that-is-too-long", "--cgroup-parent a/../b"]
        {
            assert!(complaint(Persona::Kogged, line).starts_with("invalid argument"), "{line}");
        }
    }

    #[test]
    fn what_is_unknown_or_not_built_is_refused() {
        assert_eq!(complaint(Persona::Kogged, "--colour"), "unknown flag: --colour\nSee 'kogged --help'.");
        assert_eq!(
            complaint(Persona::Kogged, "--live-restore"),
            "unknown flag: --live-restore\nSee 'kogged --help'."
        );
        assert_eq!(
            complaint(Persona::Dockerd, "-Z"),
            "unknown shorthand flag: 'Z' in -Z\nSee 'dockerd --help'."
        );
        assert_eq!(
            complaint(Persona::Kogged, "-H"),
            "flag needs an argument: 'H' in -H\nSee 'kogged --help'."
        );
        assert_eq!(
            complaint(Persona::Dockerd, "--userns-remap=default"),
            "not supported: --userns-remap=default\n\
             hint: without it the daemon starts, but root in a container is root of the host"
        );
        assert!(complaint(Persona::Dockerd, "--tlsverify").starts_with("not supported: --tlsverify=true\n"));
        assert!(complaint(Persona::Kogged, "--log-opt max-size=x").starts_with("failed to set log opts: "));
        assert!(complaint(Persona::Kogged, "run").starts_with("\"kogged\" accepts no argument(s)."));
        assert!(complaint(Persona::Kogged, "-l loud").contains("invalid logging level: loud"));
    }

    #[test]
    fn dockerd_ignores_what_means_nothing_here() {
        let settings = run(
            Persona::Dockerd,
            "--containerd=/run/c.sock --live-restore --userland-proxy=false --config-file /dev/null",
        );
        assert!(settings.is_err(), "an empty file is no configuration");
        let settings = run(Persona::Dockerd, "--containerd=/run/c.sock --live-restore").unwrap();
        assert_eq!(settings.ignored, ["containerd", "live-restore"]);
    }

    #[test]
    fn teardown_and_validate_are_other_wishes() {
        let wish = |line: &str| parse(Persona::Kogged, line.split_whitespace().map(OsString::from));
        assert!(
            matches!(wish("teardown --data-root /d"), Ok(Wish::Teardown(settings)) if settings.data_root == Path::new("/d"))
        );
        assert!(matches!(wish("--validate -D"), Ok(Wish::Print(text)) if text == "configuration OK"));
        assert!(wish("teardown teardown").is_err());
        let dockerd = parse(Persona::Dockerd, ["teardown".into()]);
        assert!(
            matches!(dockerd, Ok(Wish::Teardown(settings)) if settings.data_root == Path::new("/var/lib/docker"))
        );
    }

    #[test]
    fn help_pages() {
        insta::assert_snapshot!("help_kogged", help(Persona::Kogged));
        insta::assert_snapshot!("help_dockerd", help(Persona::Dockerd));
    }
}
