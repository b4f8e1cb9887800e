//! `kogge context create`, `update`, `use` and `rm`.

use fault::Error;

use super::{Command, check_name, check_new};
use crate::cli::{Cli, host_variable};
use crate::command::Args;
use crate::config::{DEFAULT_CONTEXT, Document};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches, csv_fields, parse_bool};
use crate::terminal;

pub(crate) const CREATE: Command =
    Command::new("Create a context", "[OPTIONS] CONTEXT", Args::Exactly(1), |cli, matches| {
        Box::pin(create(cli, matches))
    })
    .flags(&[CHANGES, &[Flag::string("from", "Take everything over from this context")]]);

pub(crate) const UPDATE: Command =
    Command::new("Update a context", "[OPTIONS] CONTEXT", Args::Exactly(1), |cli, matches| {
        Box::pin(update(cli, matches))
    })
    .flags(&[CHANGES]);

pub(crate) const USE: Command =
    Command::new("Make a context the current one", "CONTEXT", Args::Exactly(1), |cli, matches| {
        Box::pin(choose(cli, matches))
    });

pub(crate) const REMOVE: Command =
    Command::new("Remove one or more contexts", "CONTEXT [CONTEXT...]", Args::AtLeast(1), |cli, matches| {
        Box::pin(remove(cli, matches))
    })
    .also("kogge context rm, kogge context remove")
    .flags(&[&[Flag::switch("force", "Remove the current one as well").short('f')]]);

const CHANGES: &[Flag] = &[
    Flag::string("description", "What the context is for"),
    Flag::list("docker", "Where the daemon listens: host=ADDRESS, or from=CONTEXT")
        .kind("stringToString")
        .default("[]")
        .checked(check_pairs),
];

async fn create(cli: &Cli, matches: Matches) -> Outcome {
    let name = matches.args[0].as_str();
    check_new(cli, name)?;
    let (from, docker) = (matches.text("from"), matches.is_given("docker"));
    let mut document = match (from, docker) {
        ("", true) => Document::new(name, &host(cli, &matches)?),
        ("", false) => cli.context_document(&cli.context())?,
        (_, true) => return Err(Exit::failure("cannot use --docker flag when --from is set")),
        (from, false) => cli.context_document(from)?,
    };
    document.refuse_keys()?;
    document.describe(matches.text("description"));
    cli.save_context(&document.named(name))?;
    terminal::line(name)?;
    terminal::warn(format_args!("Successfully created context {name:?}"));
    Ok(())
}

async fn update(cli: &Cli, matches: Matches) -> Outcome {
    let name = matches.args[0].as_str();
    check_name(name)?;
    let mut document = cli.context_document(name)?;
    document.describe(matches.text("description"));
    if matches.is_given("docker") {
        document.refuse_keys()?;
        document.lead_to(&host(cli, &matches)?);
    }
    cli.save_context(&document)?;
    terminal::line(name)?;
    terminal::warn(format_args!("Successfully updated context {name:?}"));
    Ok(())
}

async fn choose(cli: &Cli, matches: Matches) -> Outcome {
    let name = matches.args[0].as_str();
    if name != DEFAULT_CONTEXT {
        check_name(name)?;
        cli.load_context(name)?;
    }
    cli.set_current_context(name)?;
    terminal::line(name)?;
    terminal::warn(format_args!("Current context is now {name:?}"));
    if let (Some(variable), true) = (host_variable(), name != DEFAULT_CONTEXT) {
        terminal::warn(format_args!(
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the \
             global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(())
}

async fn remove(cli: &Cli, matches: Matches) -> Outcome {
    let (current, force) = (cli.context(), matches.is_on("force"));
    let mut problems = Vec::new();
    for name in &matches.args {
        match remove_one(cli, name, *name == current, force) {
            Ok(()) => terminal::line(name)?,
            Err(exit) => problems.push(exit.message),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Exit::failure(problems.join("\n"))),
    }
}

fn remove_one(cli: &Cli, name: &str, is_current: bool, force: bool) -> Outcome {
    if name == DEFAULT_CONTEXT {
        return Err(Exit::failure(format!("context {name:?} cannot be removed")));
    }
    match (is_current, force) {
        (true, false) => {
            return Err(Exit::failure(format!("context {name:?} is in use, set -f flag to force remove")));
        }
        (true, true) => cli.set_current_context(DEFAULT_CONTEXT)?,
        (false, false) if cli.load_context(name).is_err() => {
            return Err(Exit::failure(format!("context {name:?} does not exist")));
        }
        _ => {}
    }
    Ok(cli.remove_context(name)?)
}

/// Where `--docker` leads.
fn host(cli: &Cli, matches: &Matches) -> Outcome<String> {
    let mut host = String::new();
    let mut from = None;
    for (key, value) in pairs(matches) {
        match key.as_str() {
            "host" => host = value,
            "from" => from = Some(value),
            "ca" | "cert" | "key" => {
                return Err(Error::unsupported(format!("TLS, which --docker {key} asks for")).into());
            }
            "skip-tls-verify" if !skips(&value)? => {}
            "skip-tls-verify" => {
                return Err(Error::unsupported("TLS, which --docker skip-tls-verify asks for").into());
            }
            _ => return Err(Exit::failure(format!("{REFUSED}: unrecognized config key: {key}"))),
        }
    }
    match from {
        Some(name) => {
            let document = cli.context_document(&name)?;
            document.refuse_keys()?;
            Ok(document.host())
        }
        None => Ok(host),
    }
}

fn skips(value: &str) -> Outcome<bool> {
    parse_bool(value).ok_or_else(|| {
        Exit::failure(format!("{REFUSED}: skip-tls-verify: parsing {value:?}: invalid syntax"))
    })
}

const REFUSED: &str = "unable to create docker endpoint config";

fn pairs(matches: &Matches) -> Vec<(String, String)> {
    let given = matches.list("docker");
    let fields = given.iter().filter_map(|line| csv_fields(line).ok()).flatten();
    fields.filter_map(|field| field.split_once('=').map(|(key, value)| (key.into(), value.into()))).collect()
}

fn check_pairs(line: &str) -> Result<String, String> {
    match csv_fields(line)?.iter().find(|field| !field.contains('=')) {
        Some(field) => Err(format!("{field} must be formatted as key=value")),
        None => Ok(line.to_owned()),
    }
}
