//! `kogge kill`.

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};

pub(crate) const COMMAND: Command = Command::new(
    "Kill one or more running containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container kill, kogge kill")
.flags(&[&[Flag::string("signal", "Signal to send").short('s')]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (client, signal) = (cli.client()?, matches.text("signal"));
    many::each(&matches.args, |name| client::container::kill(client, name, signal)).await
}
