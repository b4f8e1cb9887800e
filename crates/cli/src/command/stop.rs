//! `kogge stop`.

use super::{Args, Command, many, stop_timeout};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};

pub(crate) const COMMAND: Command = Command::new(
    "Stop one or more running containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container stop, kogge stop")
.flags(&[FLAGS]);

pub(super) const FLAGS: &[Flag] = &[
    Flag::string("signal", "Signal to send").short('s'),
    Flag::int("time", "Seconds to wait before killing").deprecated("use --timeout instead"),
    Flag::int("timeout", "Seconds to wait before killing").short('t'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let timeout = stop_timeout(&matches)?;
    let (client, signal) = (cli.client()?, matches.text("signal"));
    many::each(&matches.args, |name| client::container::stop(client, name, timeout, signal)).await
}
