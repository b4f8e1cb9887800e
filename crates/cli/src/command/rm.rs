//! `kogge rm`.

use api::container::Remove;
use fault::{Error, Kind};

use super::{Args, Command, many};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};

pub(crate) const COMMAND: Command = Command::new(
    "Remove one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container rm, kogge container remove, kogge rm")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("force", "Kill a running container first").short('f'),
    Flag::switch("link", "Remove the named link").short('l'),
    Flag::switch("volumes", "Remove the container's anonymous volumes too").short('v'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let options = Remove {
        force: matches.is_on("force"),
        volumes: matches.is_on("volumes"),
        link: matches.is_on("link"),
    };
    let remove = |name: &str| {
        let name = name.trim_matches('/').to_owned();
        async move {
            if name.is_empty() {
                return Err(Error::invalid("container name cannot be empty"));
            }
            client::container::remove(client, &name, options).await
        }
    };
    let gone_already = |error: &Error| options.force && error.kind() == Kind::NotFound;
    many::each_unless(&matches.args, remove, gone_already).await
}
