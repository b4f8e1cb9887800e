//! `kogge stop`.

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
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
    let timeout = timeout(&matches)?;
    let (client, signal) = (cli.client()?, matches.text("signal"));
    many::each(&matches.args, |name| client::container::stop(client, name, timeout, signal)).await
}

/// Seconds, if any were named.
pub(super) fn timeout(matches: &Matches) -> Outcome<Option<i64>> {
    match (matches.is_given("timeout"), matches.is_given("time")) {
        (true, true) => Err(Exit::failure("conflicting options: cannot specify both --timeout and --time")),
        (true, false) => Ok(Some(matches.int("timeout"))),
        (false, true) => Ok(Some(matches.int("time"))),
        (false, false) => Ok(None),
    }
}
