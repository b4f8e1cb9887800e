//! `kogge image convert`: an image whose layers are compressed otherwise. Ours alone.

use oci::Reference;

use super::{Args, Command, transfer};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::human;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Make an image whose layers are compressed otherwise",
    "[OPTIONS] SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    Args::Exactly(2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("compression", "How to compress: `gzip`, `zstd` or `none`"),
    Flag::string("level", "How much time to spend on size: gzip 1 to 9, zstd 1 to 22"),
    Flag::strings("platform", "Convert only these platforms"),
    Flag::switch("quiet", "Say nothing but the id").short('q'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let target = Reference::parse(&matches.args[1])?;
    if target.digest().is_some() {
        return Err(Exit::failure("the target of a conversion cannot have a digest"));
    }
    let target = target.with_default_tag();
    let compression = matches.text("compression");
    if compression.is_empty() {
        return Err(Exit::failure("--compression is needed: gzip, zstd or none"));
    }
    let mut platforms = Vec::new();
    for platform in matches.strings("platform") {
        platforms.push(transfer::platform_json(&platform)?);
    }
    let wanted = client::image::Convert {
        source: matches.args[0].clone(),
        repository: target.canonical_name(),
        tag: target.tag().unwrap_or_default().to_owned(),
        compression: compression.to_owned(),
        level: matches.text("level").to_owned(),
        platforms,
    };
    let made = client::image::convert(cli.client()?, &wanted).await?;
    if !matches.is_on("quiet") {
        let (before, after) = (human::size(made.size_before), human::size(made.size_after));
        let digest = made.descriptor.map(|target| target.digest.to_string()).unwrap_or_default();
        terminal::line(format!("Digest: {digest}\nLayers: {before} -> {after}"))?;
    }
    terminal::line(made.id)
}
