//! `kogge start`, with or without staying attached.

use api::container::{Inspect, WaitCondition};
use client::Client;
use fault::Error;

use super::run::{exit_code, told};
use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::stream::{self, Ending, Resized, Streams, beside};
use crate::{interrupt, terminal};

pub(crate) const COMMAND: Command = Command::new(
    "Start one or more stopped containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container start, kogge start")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("attach", "Show the output and pass signals on").short('a'),
    Flag::string("checkpoint", "Restore from this checkpoint").hidden(),
    Flag::string("checkpoint-dir", "Where checkpoints are").hidden(),
    Flag::string("detach-keys", "Keys that leave the container running"),
    Flag::switch("interactive", "Attach the container's STDIN").short('i'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    if let Some(flag) = ["checkpoint", "checkpoint-dir"].into_iter().find(|flag| matches.is_given(flag)) {
        return Err(Error::unsupported(format!("--{flag}")).into());
    }
    match matches.is_on("attach") || matches.is_on("interactive") {
        true => attached(cli, &matches).await,
        false => in_background(cli.client()?, &matches.args).await,
    }
}

async fn in_background(client: &Client, names: &[String]) -> Outcome {
    let mut failed = Vec::new();
    for name in names {
        match client::container::start(client, name).await {
            Ok(()) => terminal::line(name)?,
            Err(error) => {
                terminal::warn(format_args!("{error}"));
                failed.push(name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Exit::failure(format!("Error: failed to start containers: {}", failed.join(", ")))),
    }
}

async fn attached(cli: &Cli, matches: &Matches) -> Outcome {
    let [name] = matches.args.as_slice() else {
        return Err(Exit::failure("you cannot start and attach multiple containers at once"));
    };
    let client = cli.client()?;
    let container = client::container::inspect(client, name).await?;
    let work = start(cli, matches, client, &container);
    interrupt::ending_third(async {
        match container.config.tty {
            true => work.await,
            false => beside(work, stream::forward_signals(client, &container.id)).await,
        }
    })
    .await
}

async fn start(cli: &Cli, matches: &Matches, client: &Client, container: &Inspect) -> Outcome {
    let (id, tty) = (&container.id, container.config.tty);
    let streams = Streams {
        stdin: matches.is_on("interactive") && container.config.open_stdin,
        output: true,
        tty,
        detach_keys: super::detach_keys(cli, matches),
    };
    let removes = container.host_config.auto_remove;
    let condition = if removes { WaitCondition::Removed } else { WaitCondition::NextExit };
    let connection = client::container::attach(client, id, &streams.request()).await?;
    let waiting = client::container::wait(client, id, condition).await?;
    if let Err(error) = client::container::start(client, id).await {
        if removes {
            told(waiting).await;
        }
        return Err(error.into());
    }
    let sized = (tty && terminal::output_is_terminal()).then_some((client, Resized::Container(id)));
    match stream::join(connection, streams, sized).await? {
        Ending::Detached => Ok(()),
        Ending::Closed => exit_code(waiting).await,
    }
}
