//! `kogge image adopt`: takes over what Docker or podman have on the daemon's host. Ours alone.

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::progress;

pub(crate) const COMMAND: Command = Command::new(
    "Take over images of Docker or podman, bit for bit",
    "[OPTIONS] [PATH]",
    Args::AtMost(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("dry-run", "Only show what would be taken"),
    Flag::string("from", "Whose images: docker or podman").default("docker"),
    Flag::list("image", "Take only this image"),
    Flag::switch("volumes", "Copy named volumes, too"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let from = matches.text("from");
    if !matches!(from, "docker" | "podman") {
        return Err(Exit::failure(format!("--from is docker or podman, not {from:?}")));
    }
    let wanted = client::image::Adopt {
        from: from.to_owned(),
        path: matches.args.first().cloned().unwrap_or_default(),
        images: matches.list("image"),
        volumes: matches.is_on("volumes"),
        dry_run: matches.is_on("dry-run"),
    };
    let answer = client::image::adopt(cli.client()?, &wanted).await?;
    Ok(progress::show(answer, progress::Place::Stdout).await?)
}
