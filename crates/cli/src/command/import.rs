//! `kogge import`.

use std::fs::File;
use std::io;

use client::Body;
use client::image::Import;
use oci::Reference;

use super::{Args, Command, transfer, unopenable};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::progress;

pub(crate) const COMMAND: Command = Command::new(
    "Import the contents from a tarball to create a filesystem image",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image import, kogge import")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::list("change", "Apply a Dockerfile instruction to the image").short('c'),
    Flag::string("message", "Message in the image's history").short('m'),
    Flag::string("platform", "Platform of the image"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let source = matches.args[0].as_str();
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let archive = match source {
        "-" => Body::reader(io::stdin()),
        _ if is_url => Body::Empty,
        path => Body::reader(File::open(path).map_err(|error| unopenable(path, &error))?),
    };
    let reference = matches.args.get(1).cloned().unwrap_or_default();
    if !reference.is_empty() {
        Reference::parse(&reference)?;
    }
    let import = Import {
        source: if is_url { source } else { "-" }.into(),
        reference,
        message: matches.text("message").into(),
        platform: transfer::platform(&matches),
        changes: matches.list("change"),
    };
    let answer = client::image::import(cli.client()?, &import, archive).await?;
    Ok(progress::show(answer, progress::Place::Stdout).await?)
}
