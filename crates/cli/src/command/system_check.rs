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
    Flag::switch("force", "With --repair: remove files of containers that nobody knows any more").short('f'),
    super::FORMAT,
    Flag::switch("no-trunc", "Cut nothing short"),
    Flag::switch("repair", "Mend what can be made anew"),
]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (repair, force) = (matches.is_on("repair"), matches.is_on("force"));
    if force && !repair {
        return Err(Exit::failure("--force is of use with --repair only"));
    }
    let problems = match repair {
        true => client::system::repair(cli.client()?, force).await?.problems,
        false => client::system::check(cli.client()?).await?.problems,
    };
    let format = match matches.text("format") {
        "" | "table" if problems.is_empty() => return terminal::line("No problems found"),
        "" | "table" if repair => {
            r"table {{.Problem}}\t{{.Digest}}\t{{.Object}}\t{{.Image}}\t{{.Mended}}\t{{.Outcome}}"
        }
        "" | "table" => r"table {{.Problem}}\t{{.Digest}}\t{{.Object}}\t{{.Image}}",
        given => given,
    };
    let rows: Vec<Row> = problems.iter().map(|problem| row(problem, !matches.is_on("no-trunc"))).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)?;
    let left = problems.iter().filter(|problem| !problem.mended).count();
    let (counted, found) = (counted(left), if repair { "left" } else { "found" });
    match (left, repair) {
        (0, _) => Ok(()),
        (_, true) => Err(Exit::failure(format!("{counted} {found}"))),
        (_, false) => Err(Exit::failure(format!("{counted} {found}\n{HINT}"))),
    }
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".into() } else { format!("{problems} problems") }
}

const HINT: &str = "hint: `kogge system check --repair` mends what can be made anew";

const FIELDS: Fields = Fields {
    kind: "*system.checkContext",
    headings: &[
        ("Problem", "PROBLEM"),
        ("Digest", "DIGEST"),
        ("Object", "OBJECT"),
        ("Image", "IMAGE ID"),
        ("Mended", "MENDED"),
        ("Outcome", "OUTCOME"),
    ],
};

fn row(problem: &Problem, trunc: bool) -> Row {
    let id = |id: &str| if trunc { human::short_id(id).to_owned() } else { id.to_owned() };
    Row::new()
        .field("Problem", &problem.kind)
        .field("Digest", id(&problem.digest))
        .field("Object", if trunc { short(&problem.object) } else { problem.object.clone() })
        .field("Image", id(&problem.image))
        .field("Mended", problem.mended.to_string())
        .field("Outcome", &problem.outcome)
}

/// Containers' ids are cut, names and paths are not.
fn short(object: &str) -> String {
    let is_id = object.len() == 64 && object.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { human::short_id(object).to_owned() } else { object.to_owned() }
}
