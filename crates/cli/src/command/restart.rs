//! `kogge restart`.

use super::{Args, Command, stop};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Restart one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container restart, kogge restart")
.flags(&[stop::FLAGS]);

/// One after the other, as their order may matter.
async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let timeout = stop::timeout(&matches)?;
    let (client, signal) = (cli.client()?, matches.text("signal"));
    let mut errors = Vec::new();
    for name in &matches.args {
        match client::container::restart(client, name, timeout, signal).await {
            Ok(()) => terminal::line(name)?,
            Err(error) => errors.push(error),
        }
    }
    Exit::join(errors)
}
