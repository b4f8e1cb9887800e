//! `kogge system check`: has the daemon verify its whole store. Ours alone.

use api::system::Problem;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Verify all images and layers, and show what is damaged or missing",
    "[OPTIONS]",
    Args::None,
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[&[
    super::FORMAT,
    Flag::switch("no-trunc", "Cut nothing short"),
    Flag::switch("repair", "Mend what can be made anew"),
]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let problems = client::system::check(cli.client()?, matches.is_on("repair")).await?.problems;
    let format = match matches.text("format") {
        "" | "table" if problems.is_empty() => return terminal::line("No problems found"),
        "" | "table" => r"table {{.Problem}}\t{{.Digest}}\t{{.Image}}",
        given => given,
    };
    let rows: Vec<Row> = problems.iter().map(|problem| row(problem, !matches.is_on("no-trunc"))).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)?;
    match problems.len() {
        0 => Ok(()),
        1 => Err(Exit::failure(format!("1 problem found\n{HINT}"))),
        count => Err(Exit::failure(format!("{count} problems found\n{HINT}"))),
    }
}

const HINT: &str = "hint: remove the images, then load them again";

const FIELDS: Fields = Fields {
    kind: "*system.checkContext",
    headings: &[("Problem", "PROBLEM"), ("Digest", "DIGEST"), ("Image", "IMAGE ID")],
};

fn row(problem: &Problem, trunc: bool) -> Row {
    let id = |id: &str| if trunc { human::short_id(id).to_owned() } else { id.to_owned() };
    Row::new()
        .field("Problem", &problem.kind)
        .field("Digest", id(&problem.digest))
        .field("Image", id(&problem.image))
}
