//! `kogge image pin` and `unpin`: which images stay whatever room they take. Ours alone.

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const PIN: Command = Command::new(
    "Keep images from being pruned, and from being removed by the budget",
    "IMAGE [IMAGE...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches, true)),
);

pub(crate) const UNPIN: Command =
    Command::new("Let images be pruned again", "IMAGE [IMAGE...]", Args::AtLeast(1), |cli, matches| {
        Box::pin(run(cli, matches, false))
    });

async fn run(cli: &Cli, matches: Matches, pinned: bool) -> Outcome {
    let client = cli.client()?;
    many::each(&matches.args, |name| client::image::pin(client, name, pinned)).await
}
