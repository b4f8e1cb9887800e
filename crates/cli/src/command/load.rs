//! `kogge load`.

use std::fs::File;
use std::io;

use client::Body;

use super::{Args, Command, transfer, unopenable};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::{progress, terminal};

pub(crate) const COMMAND: Command =
    Command::new("Load an image from a tar archive or STDIN", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge image load, kogge load")
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("input", "Read from a file instead of STDIN").short('i'),
    Flag::string("platform", "Load only this platform's variant"),
    Flag::switch("quiet", "Say nothing while loading").short('q'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let platforms = transfer::platforms(&matches)?;
    let archive = match matches.text("input") {
        "" if terminal::input_is_terminal() => {
            return Err(Exit::failure("requested load from stdin, but stdin is empty"));
        }
        "" => Body::reader(io::stdin()),
        path => Body::reader(File::open(path).map_err(|error| unopenable(path, &error))?),
    };
    let quiet = matches.is_on("quiet") || !terminal::output_is_terminal();
    let answer = client::image::load(cli.client()?, quiet, &platforms, archive).await?;
    Ok(progress::show(answer, progress::Place::Stdout).await?)
}
