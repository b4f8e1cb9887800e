//! `kogge diff`.

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Inspect changes to files or directories on a container's filesystem",
    "CONTAINER",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container diff, kogge diff");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let name = &matches.args[0];
    if name.is_empty() {
        return Err(Exit::failure("Container name cannot be empty"));
    }
    let changes = client::container::changes(cli.client()?, name).await?;
    let lines = changes.iter().map(|change| {
        let kind = match change.kind {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        format!("{kind} {}\n", change.path)
    });
    terminal::print(&lines.collect::<String>())
}
