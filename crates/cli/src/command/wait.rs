//! `kogge wait`.

use api::container::WaitCondition;

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command = Command::new(
    "Block until one or more containers stop, then print their exit codes",
    "CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container wait, kogge wait");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let wait = async |name: &String| {
        let waiting = client::container::wait(client, name, WaitCondition::NotRunning).await?;
        Ok(waiting.answer().await?.status_code.to_string())
    };
    many::in_order(&matches.args, wait).await
}
