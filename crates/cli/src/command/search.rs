//! `kogge search`.

use api::registry::{SearchOptions, SearchResult};

use super::{Args, Command};
use crate::cli::Cli;
use crate::credentials;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Search Docker Hub for images", "[OPTIONS] TERM", Args::Exactly(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::filter("Show only what fits").short('f'),
    Flag::string("format", "Lay the output out by a Go template"),
    Flag::int("limit", "Find at most so many"),
    Flag::switch("no-trunc", "Cut nothing short"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let filters = matches.filters();
    if filters.contains("is-automated") {
        terminal::warn(format_args!(
            "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future."
        ));
    }
    let term = matches.args[0].clone();
    let auth = cli.credentials().get(credentials::key(registry(&term))).unwrap_or_default();
    let options = SearchOptions { term, limit: matches.int("limit"), filters };
    let found = client::registry::search(cli.client()?, &options, &auth).await?;
    let format = match matches.text("format") {
        "" | "table" => r"table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        given => given,
    };
    let rows: Vec<Row> = found.iter().map(|found| row(found, !matches.is_on("no-trunc"), format)).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

/// A term may begin with the registry to search in.
fn registry(term: &str) -> &str {
    match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

const FIELDS: Fields = Fields {
    kind: "*registry.searchContext",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ],
};

fn row(found: &SearchResult, trunc: bool, format: &str) -> Row {
    let description = found.description.replace(['\n', '\r'], " ");
    let is_json = format == "json" || format.contains("json .}");
    let official = match (found.is_official, is_json) {
        (official, true) => official.to_string(),
        (true, false) => "[OK]".into(),
        (false, false) => String::new(),
    };
    Row::new()
        .field("Name", &found.name)
        .field("Description", if trunc { human::ellipsis(&description, 45) } else { description })
        .field("StarCount", found.star_count.to_string())
        .field("IsOfficial", official)
}
