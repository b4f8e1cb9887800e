//! `kogge save`.

use super::{Args, Command, archive_file, transfer};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::interrupt;

pub(crate) const COMMAND: Command = Command::new(
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "[OPTIONS] IMAGE [IMAGE...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image save, kogge save")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("output", "Write to a file instead of STDOUT").short('o'),
    Flag::string("platform", "Save only this platform's variant"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let platforms = transfer::platforms(&matches)?;
    interrupt::ending(async {
        let target = archive_file::Target::open(matches.text("output"), "failed to save image")?;
        let answer = client::image::save(cli.client()?, &matches.args, &platforms).await?;
        target.fill(answer).await
    })
    .await
}
