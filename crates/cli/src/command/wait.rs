//! `kogge wait`.

use api::container::WaitCondition;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Block until one or more containers stop, then print their exit codes",
    "CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container wait, kogge wait");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let mut errors = Vec::new();
    for name in &matches.args {
        let waited =
            async { client::container::wait(client, name, WaitCondition::NotRunning).await?.answer().await };
        match waited.await {
            Ok(answer) => terminal::line(answer.status_code.to_string())?,
            Err(error) => errors.push(error),
        }
    }
    Exit::join(errors)
}
