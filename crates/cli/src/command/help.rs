//! `kogge help`.

use super::{Args, Command, dispatch};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command =
    Command::new("Help about the command", "[command]", Args::AtLeast(0), |cli, matches| {
        Box::pin(run(cli, matches))
    });

async fn run(_: &Cli, matches: Matches) -> Outcome {
    dispatch::show_topic(&matches.args)
}
