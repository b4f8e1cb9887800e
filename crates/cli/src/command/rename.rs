//! `kogge rename`.

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Rename a container", "CONTAINER NEW_NAME", Args::Exactly(2), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge container rename, kogge rename");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (old, new) = (matches.args[0].trim(), matches.args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Exit::failure("Error: Neither old nor new names may be empty"));
    }
    client::container::rename(cli.client()?, old, new).await.map_err(|error| {
        terminal::warn(format_args!("{error}"));
        Exit::failure(format!("Error: failed to rename container named {old}"))
    })
}
