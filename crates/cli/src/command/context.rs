//! `kogge context ls` and `show`: which daemons are known, and which is spoken to.

use super::{Args, Command};
use crate::cli::Cli;
use crate::config::DEFAULT_CONTEXT;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row};
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
        ("Current", "CURRENT"),
        ("Error", "ERROR"),
    ],
};

async fn list(cli: &Cli, matches: Matches) -> Outcome {
    let current = cli.context();
    let default =
        row(DEFAULT_CONTEXT, "Current DOCKER_HOST based configuration", &cli.default_host(), &current);
    let others = cli.contexts();
    let rows: Vec<Row> = std::iter::once(default)
        .chain(
            others
                .iter()
                .map(|context| row(&context.name, &context.metadata.description, context.host(), &current)),
        )
        .collect();
    let format = match (matches.text("format"), matches.is_on("quiet")) {
        ("" | "table", true) => "{{.Name}}",
        ("" | "table", false) => {
            r"table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
        }
        (given, _) => given,
    };
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

fn row(name: &str, description: &str, endpoint: &str, current: &str) -> Row {
    Row::new()
        .field("Name", name)
        .field("Description", description)
        .field("DockerEndpoint", endpoint)
        .field("Error", "")
        .switch("Current", name == current)
}

async fn show(cli: &Cli, _: Matches) -> Outcome {
    terminal::line(cli.context())
}
