//! `kogge rmi`.

use fault::Kind;

use super::{Args, Command, transfer};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Remove one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image rm, kogge image remove, kogge rmi")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("force", "Remove the image even if it is used").short('f'),
    Flag::switch("no-prune", "Keep untagged parents"),
    Flag::strings("platform", "Remove only this platform's variant"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let mut platforms = Vec::new();
    for platform in matches.strings("platform") {
        platforms.push(transfer::platform_json(&platform)?);
    }
    let (client, force) = (cli.client()?, matches.is_on("force"));
    let mut errors = Vec::new();
    for name in &matches.args {
        match client::image::remove(client, name, force, matches.is_on("no-prune"), &platforms).await {
            Err(error) => errors.push(error),
            Ok(removed) => {
                for step in removed {
                    terminal::line(match step.deleted.as_str() {
                        "" => format!("Untagged: {}", step.untagged),
                        deleted => format!("Deleted: {deleted}"),
                    })?;
                }
            }
        }
    }
    let only_missing = errors.iter().all(|error| error.kind() == Kind::NotFound);
    match (Exit::join(errors), force && only_missing) {
        (Err(exit), true) => {
            terminal::warn(format_args!("{}", exit.message));
            Ok(())
        }
        (outcome, _) => outcome,
    }
}
