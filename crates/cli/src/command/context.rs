//! `kogge context ls` and `show`: which daemons are known, and which is spoken to.

use std::collections::BTreeMap;

use fault::Result;

use super::{Args, Command};
use crate::cli::{Cli, host_variable};
use crate::config::DEFAULT_CONTEXT;
use crate::exit::Outcome;
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
    let mut rows = BTreeMap::from([row(
        DEFAULT_CONTEXT,
        "Current DOCKER_HOST based configuration",
        &cli.default_host()?,
        "",
    )]);
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
