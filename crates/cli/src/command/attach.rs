//! `kogge attach`: our streams become those of a running container.

use api::container::{Inspect, WaitCondition};
use client::Client;
use client::container::Waiting;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::stream::{self, ESCAPED, Ending, Resized, Streams, beside};
use crate::{interrupt, terminal};

pub(crate) const COMMAND: Command = Command::new(
    "Attach local standard input, output, and error streams to a running container",
    "[OPTIONS] CONTAINER",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container attach, kogge attach")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("detach-keys", "Keys that leave the container running"),
    Flag::switch("no-stdin", "Leave STDIN alone"),
    Flag::switch("sig-proxy", "Pass signals on to the process").default("true"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let name = matches.args[0].as_str();
    let waiting = client::container::wait(client, name, WaitCondition::NotRunning).await;
    let container = client::container::inspect(client, name).await?;
    check_state(&container)?;
    stream::check_input(!matches.is_on("no-stdin"), container.config.tty)?;
    let work = async {
        attach(cli, &matches, client, &container).await?;
        exit_code(waiting?).await
    };
    interrupt::ending_third(async {
        match matches.is_on("sig-proxy") && !container.config.tty {
            true => beside(work, stream::forward_signals(client, name)).await,
            false => work.await,
        }
    })
    .await
}

fn check_state(container: &Inspect) -> Outcome {
    let state = &container.state;
    let problem = match () {
        () if !state.running => "You cannot attach to a stopped container, start it first",
        () if state.paused => "You cannot attach to a paused container, unpause it first",
        () if state.restarting => "You cannot attach to a restarting container, wait until it is running",
        () => return Ok(()),
    };
    Err(Exit::failure(problem))
}

async fn attach(cli: &Cli, matches: &Matches, client: &Client, container: &Inspect) -> Outcome {
    let (id, tty) = (&matches.args[0], container.config.tty);
    let streams = Streams {
        stdin: !matches.is_on("no-stdin") && container.config.open_stdin,
        output: true,
        tty,
        detach_keys: super::detach_keys(cli, matches),
    };
    let connection = client::container::attach(client, id, &streams.request()).await?;
    // It may have ended between the first look and the attach.
    check_state(&client::container::inspect(client, id).await?)?;
    let has_size = tty && terminal::output_is_terminal();
    if has_size {
        redraw(client, id).await;
    }
    let sized = has_size.then_some((client, Resized::Container(id)));
    match stream::join(connection, streams, sized).await? {
        Ending::Detached => Err(Exit::failure(ESCAPED)),
        Ending::Closed => Ok(()),
    }
}

/// A size that is a little wrong, so that the right one that follows makes programs draw anew.
async fn redraw(client: &Client, id: &str) {
    let (height, width) = terminal::size();
    if (height, width) != (0, 0) {
        client::container::resize(client, id, height + 1, width + 1).await.ok();
    }
}

async fn exit_code(waiting: Waiting) -> Outcome {
    let answer = waiting.answer().await?;
    match answer.error {
        Some(error) => Err(Exit::failure(error.message)),
        None => Exit::status(answer.status_code),
    }
}
