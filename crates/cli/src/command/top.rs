//! `kogge top`.

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;
use crate::format::Tabs;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Display the running processes of a container",
    "CONTAINER [ps OPTIONS]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container top, kogge top")
.flags_first();

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let ps_args = matches.args[1..].join(" ");
    let top = client::container::top(cli.client()?, &matches.args[0], &ps_args).await?;
    let rows = std::iter::once(&top.titles).chain(&top.processes);
    let text: String = rows.map(|row| row.join("\t") + "\n").collect();
    terminal::print(&Tabs::TOP.align(&text))
}
