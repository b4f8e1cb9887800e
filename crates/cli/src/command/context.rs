//! `kogge context`: which daemons are known, and which is spoken to.

mod carry;
mod change;

use std::collections::BTreeMap;

use fault::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::inspect::View;
use super::{Args, Command};
use crate::cli::{Cli, DEFAULT_DESCRIPTION, host_variable};
use crate::config::{DEFAULT_CONTEXT, Document};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const LIST: Command =
    Command::new("List contexts", "[OPTIONS]", Args::None, |cli, matches| Box::pin(list(cli, matches)))
        .also("kogge context ls, kogge context list")
        .flags(&[&[super::FORMAT, Flag::switch("quiet", "Show names only").short('q')]]);

pub(crate) const SHOW: Command =
    Command::new("Print the name of the current context", "", Args::None, |cli, matches| {
        Box::pin(show(cli, matches))
    });

pub(crate) const INSPECT: Command = Command::new(
    "Display detailed information on one or more contexts",
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    Args::AtLeast(0),
    |cli, matches| Box::pin(inspect(cli, matches)),
)
.flags(&[&[super::INSPECT_FORMAT]]);

pub(super) use carry::{EXPORT, IMPORT};
pub(super) use change::{CREATE, REMOVE, UPDATE, USE};

const FIELDS: Fields = Fields {
    kind: "*formatter.clientContextContext",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
};

async fn list(cli: &Cli, matches: Matches) -> Outcome {
    let format = match (matches.text("format"), matches.is_on("quiet")) {
        ("" | "table", true) => "{{.Name}}",
        ("" | "table", false) => {
            r"table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
        }
        (given, _) => given,
    };
    terminal::print(&format::list(format, &FIELDS, &rows(cli)?)?)?;
    if let Some(name) = host_variable() {
        terminal::warn(format_args!(
            "Warning: {name} environment variable overrides the active context. To use a context, either set the \
             global --context flag, or unset {name} environment variable."
        ));
    }
    Ok(())
}

/// The default context, those that the user made, and the current one even if nobody made it.
fn rows(cli: &Cli) -> Result<Vec<Row>> {
    let current = cli.context();
    let row = |name: &str, description: &str, endpoint: &str, error: &str| {
        let row = Row::new().field("Name", name).field("Description", description);
        let row = row.field("DockerEndpoint", endpoint).field("Error", human::ellipsis(error, ERROR_WIDTH));
        (name.to_owned(), row.switch("Current", name == current))
    };
    let mut rows = BTreeMap::from([row(DEFAULT_CONTEXT, DEFAULT_DESCRIPTION, &cli.default_host()?, "")]);
    rows.extend(
        cli.contexts()
            .iter()
            .map(|context| row(&context.name, &context.metadata.description, context.host(), "")),
    );
    if !rows.contains_key(&current) {
        let error = cli.load_context(&current).map_or_else(|error| error.to_string(), |_| String::new());
        rows.extend([row(&current, "", "", &error)]);
    }
    Ok(rows.into_values().collect())
}

const ERROR_WIDTH: usize = 45;

async fn show(cli: &Cli, _: Matches) -> Outcome {
    terminal::line(cli.context())
}

async fn inspect(cli: &Cli, matches: Matches) -> Outcome {
    let mut view = View::new(matches.text("format"))?;
    let names = if matches.args.is_empty() { vec![cli.context()] } else { matches.args.clone() };
    for name in &names {
        match described(cli, name) {
            Ok(json) => view.add_typed(json, "context.contextWithTLSListing"),
            Err(error) => view.fail(&error),
        }
    }
    view.show()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(flatten)]
    document: Document,
    #[serde(rename = "TLSMaterial")]
    tls_material: Value,
    storage: Value,
}

fn described(cli: &Cli, name: &str) -> Result<Vec<u8>> {
    let document = cli.context_document(name)?;
    let (meta, tls) = match name {
        DEFAULT_CONTEXT => ("<IN MEMORY>".into(), "<IN MEMORY>".into()),
        name => cli.context_places(name),
    };
    let described = Described {
        document: if name == DEFAULT_CONTEXT { Document::new(name, &document.host()) } else { document },
        // Keys are of no use here, so they are not looked at.
        tls_material: json!({}),
        storage: json!({ "MetadataPath": meta, "TLSPath": tls }),
    };
    Ok(serde_json::to_vec(&described).expect("names and JSON values are JSON"))
}

/// A name that contexts may have.
fn check_name(name: &str) -> Outcome {
    let mut letters = name.chars();
    let is_first = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let is_valid =
        is_first && name.len() > 1 && letters.all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    match (name, is_valid) {
        ("", _) => Err(Exit::failure("context name cannot be empty")),
        (DEFAULT_CONTEXT, _) => Err(Exit::failure(format!("{name:?} is a reserved context name"))),
        (_, true) => Ok(()),
        _ => Err(Exit::failure(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))),
    }
}

fn check_new(cli: &Cli, name: &str) -> Outcome {
    check_name(name)?;
    match cli.load_context(name) {
        Ok(_) => Err(Exit::failure(format!("context {name:?} already exists"))),
        Err(_) => Ok(()),
    }
}
