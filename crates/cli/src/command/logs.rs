//! `kogge logs`.

use client::Demux;
use client::container::Logs;

use super::{Args, Command, moment};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::stream::show_piece;

pub(crate) const COMMAND: Command =
    Command::new("Fetch the logs of a container", "[OPTIONS] CONTAINER", Args::Exactly(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge container logs, kogge logs")
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("details", "Show what the log driver adds"),
    Flag::switch("follow", "Stay and show what comes").short('f'),
    Flag::string("since", "From this time on (2013-01-02T13:23:37Z, or 42m ago)"),
    Flag::string("tail", "Number of lines from the end").short('n').default("all"),
    Flag::switch("timestamps", "Show the time of each line").short('t'),
    Flag::string("until", "Up to this time (2013-01-02T13:23:37Z, or 42m ago)"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let container = client::container::inspect(client, &matches.args[0]).await?;
    let time = |flag: &str| {
        moment::unix(matches.text(flag))
            .map_err(|problem| Exit::failure(format!("invalid value for \"{flag}\": {problem}")))
    };
    let options = Logs {
        follow: matches.is_on("follow"),
        timestamps: matches.is_on("timestamps"),
        details: matches.is_on("details"),
        since: time("since")?,
        until: time("until")?,
        tail: matches.text("tail").into(),
    };
    let mut answer = client::container::logs(client, &container.id, &options).await?;
    let mut demux = Demux::default();
    while let Some(chunk) = answer.chunk().await? {
        show_piece(&chunk, container.config.tty, &mut demux)?;
    }
    Ok(())
}
