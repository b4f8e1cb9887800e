//! Flags: runc's spelling, `--flag value` and `--flag=value`, with one or two dashes for the long ones.

use std::ffi::OsString;
use std::path::PathBuf;

use fault::{Error, Result};
use lexopt::{Arg, Parser, ValueExt};

/// The flags before the command.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) root: PathBuf,
    pub(super) log: Option<PathBuf>,
    pub(super) log_json: bool,
    pub(super) is_debug: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self { root: PathBuf::from("/run/kogge-runtime"), log: None, log_json: false, is_debug: false }
    }
}

impl Global {
    /// Which need not be there before the first container.
    pub(super) fn is_default_root(&self) -> bool {
        self.root == Self::default().root
    }
}

/// What follows, one word at a time.
pub(super) struct Args {
    parser: Parser,
    /// Of the flag that was seen last, for messages.
    flag: String,
}

/// A flag's name or a positional word.
pub(super) enum Word {
    Flag(String),
    Positional(String),
}

pub(super) fn parse_global(words: Vec<OsString>) -> Result<(Global, Args)> {
    let mut args = Args { parser: Parser::from_args(words), flag: String::new() };
    let mut global = Global::default();
    loop {
        // The command itself stays for the caller.
        if args.parser.try_raw_args().is_some_and(|rest| {
            rest.peek().and_then(|word| word.to_str()).is_none_or(|word| !word.starts_with('-'))
        }) {
            return Ok((global, args));
        }
        let Some(Word::Flag(flag)) = args.next()? else { return Ok((global, args)) };
        match flag.as_str() {
            "root" => global.root = args.path()?,
            "log" => global.log = Some(args.path()?),
            "log-format" => global.log_json = is_json(&args.value()?)?,
            "debug" => global.is_debug = true,
            // As crun has it; runc has a flag for the second one only.
            "cgroup-manager" => match args.value()?.as_str() {
                "cgroupfs" => {}
                other => return Err(Error::unsupported(format!("--cgroup-manager {other}"))),
            },
            "systemd-cgroup" => return Err(Error::unsupported("--systemd-cgroup")),
            "rootless" => match args.value()?.as_str() {
                "auto" | "false" => {}
                _ => return Err(Error::unsupported("--rootless")),
            },
            "version" | "v" => return Err(version()),
            "help" | "h" => return Ok((global, Args { parser: Parser::from_args(["help"]), flag })),
            _ => return Err(args.unknown(&flag)),
        }
    }
}

/// Printed by `report` like an answer, because it ends the program from anywhere.
fn version() -> Error {
    Error::unchanged(format!(
        "{} version {}\ncommit: {}\nspec: {}\n",
        super::program(),
        env!("CARGO_PKG_VERSION"),
        option_env!("KOGGE_COMMIT").unwrap_or("unknown"),
        oci::runtime::VERSION
    ))
}

fn is_json(format: &str) -> Result<bool> {
    match format {
        "json" => Ok(true),
        "text" => Ok(false),
        other => Err(Error::invalid(format!("invalid log-format: {other}"))),
    }
}

impl Args {
    pub(super) fn next(&mut self) -> Result<Option<Word>> {
        let word = match self.parser.next().map_err(usage)? {
            None => return Ok(None),
            Some(Arg::Short(letter)) => Word::Flag(letter.to_string()),
            Some(Arg::Long(name)) => Word::Flag(name.to_owned()),
            Some(Arg::Value(value)) => Word::Positional(value.string().map_err(usage)?),
        };
        if let Word::Flag(flag) = &word {
            self.flag.clone_from(flag);
        }
        Ok(Some(word))
    }

    /// Whether the next word asks for help.
    pub(super) fn wants_help(&mut self) -> bool {
        let rest = self.parser.try_raw_args();
        let next = rest.and_then(|rest| rest.peek().and_then(|word| word.to_str().map(str::to_owned)));
        next.is_some_and(|word| matches!(word.as_str(), "-h" | "--help" | "-help"))
    }

    /// The value of the flag seen last.
    pub(super) fn value(&mut self) -> Result<String> {
        let value = self.parser.value().map_err(usage)?;
        value.string().map_err(usage)
    }

    pub(super) fn path(&mut self) -> Result<PathBuf> {
        self.parser.value().map(PathBuf::from).map_err(usage)
    }

    pub(super) fn number(&mut self) -> Result<u32> {
        self.parsed()
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T> {
        let value = self.value()?;
        value.parse().map_err(|_| Error::invalid(format!("invalid value {value:?} for flag -{}", self.flag)))
    }

    /// The next word, which must not be a flag.
    pub(super) fn positional(&mut self) -> Result<Option<String>> {
        match self.next()? {
            None => Ok(None),
            Some(Word::Positional(word)) => Ok(Some(word)),
            Some(Word::Flag(flag)) => Err(self.unknown(&flag)),
        }
    }

    /// All words that are left, flags or not: they belong to the container's program.
    pub(super) fn rest(&mut self) -> Result<Vec<String>> {
        let rest = self.parser.raw_args().map_err(usage)?;
        rest.map(|word| word.string().map_err(usage)).collect()
    }

    pub(super) fn unknown(&self, flag: &str) -> Error {
        Error::invalid(format!("flag provided but not defined: -{flag}"))
    }

    /// The one container that most commands are about; no flags.
    pub(super) fn only_id(&mut self) -> Result<String> {
        let id = self.positional()?.ok_or_else(missing_id)?;
        match self.positional()? {
            None => Ok(id),
            Some(extra) => Err(Error::invalid(format!("unexpected argument {extra:?}"))),
        }
    }
}

pub(super) fn missing_id() -> Error {
    Error::invalid("container id cannot be empty")
}

fn usage(error: lexopt::Error) -> Error {
    Error::invalid(error.to_string())
}
