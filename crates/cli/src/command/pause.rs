//! `kogge pause`.

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command = Command::new(
    "Pause all processes within one or more containers",
    "CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container pause, kogge pause");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    many::each(&matches.args, |name| client::container::pause(client, name)).await
}
