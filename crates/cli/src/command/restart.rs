//! `kogge restart`.

use super::{Args, Command, many, stop};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command = Command::new(
    "Restart one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container restart, kogge restart")
.flags(&[stop::FLAGS]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let timeout = stop::timeout(&matches)?;
    let (client, signal) = (cli.client()?, matches.text("signal"));
    let restart = async |name: &String| {
        client::container::restart(client, name, timeout, signal).await.map(|()| name.clone())
    };
    many::in_order(&matches.args, restart).await
}
