//! `kogge exec`: a further process in a running container.

use api::exec::{Create, Start};
use client::Client;
use fault::Kind;

use super::{Args, Command};
use crate::cli::Cli;
use crate::create::{check_environment, collect_environment};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::stream::{self, ESCAPED, Ending, Resized, Streams};
use crate::{interrupt, terminal};

pub(crate) const COMMAND: Command = Command::new(
    "Execute a command in a running container",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    Args::AtLeast(2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container exec, kogge exec")
.flags(&[FLAGS])
.flags_first();

const FLAGS: &[Flag] = &[
    Flag::switch("detach", "Leave the command in the background").short('d'),
    Flag::string("detach-keys", "Keys that leave the command running"),
    Flag::list("env", "Set an environment variable").short('e').checked(check_environment),
    Flag::list("env-file", "Read environment variables from a file"),
    Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::switch("privileged", "Give the command all privileges of the host"),
    Flag::switch("tty", "Allocate a terminal").short('t'),
    Flag::string("user", "User to run as (<name|uid>[:<group|gid>])").short('u'),
    Flag::string("workdir", "Working directory inside the container").short('w'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let exec = request(cli, &matches)?;
    let client = cli.client()?;
    let name = &matches.args[0];
    let detached = matches.is_on("detach");
    if !detached && exec.attach_stdin && exec.tty && !terminal::input_is_terminal() {
        // An unknown container is told first.
        client::container::inspect_raw(client, name, false).await?;
        stream::check_input(true, true)?;
    }
    let id = client::exec::create(client, name, &exec).await?;
    let start = Start { detach: detached, tty: exec.tty, console_size: exec.console_size };
    if detached {
        return Ok(client::exec::start_detached(client, &id, &start).await?);
    }
    attached(client, &id, &exec, &start).await
}

fn request(cli: &Cli, matches: &Matches) -> Outcome<Create> {
    let attached = !matches.is_on("detach");
    let tty = matches.is_on("tty");
    Ok(Create {
        user: matches.text("user").into(),
        privileged: matches.is_on("privileged"),
        tty,
        console_size: tty.then(|| terminal::size().into()),
        attach_stdin: attached && matches.is_on("interactive"),
        attach_stdout: attached,
        attach_stderr: attached,
        detach_keys: super::detach_keys(cli, matches),
        env: collect_environment(&matches.list("env-file"), &matches.list("env"))?,
        working_dir: matches.text("workdir").into(),
        cmd: matches.args[1..].to_vec(),
    })
}

async fn attached(client: &Client, id: &str, exec: &Create, start: &Start) -> Outcome {
    let connection = client::exec::attach(client, id, start).await?;
    let streams = Streams {
        stdin: exec.attach_stdin,
        output: true,
        tty: exec.tty,
        detach_keys: exec.detach_keys.clone(),
    };
    let sized = (exec.tty && terminal::input_is_terminal()).then_some((client, Resized::Exec(id)));
    // A terminal in raw mode is put back.
    if interrupt::ending(stream::join(connection, streams, sized)).await? == Ending::Detached {
        return Err(Exit::failure(ESCAPED));
    }
    match client::exec::inspect(client, id).await {
        Ok(exec) => Exit::status(exec.exit_code.unwrap_or_default()),
        // The daemon has died, and nobody can say how the process will end.
        Err(error) if error.kind() == Kind::Unavailable => Exit::status(UNKNOWN),
        Err(error) => Err(error.into()),
    }
}

/// As with Docker, -1.
const UNKNOWN: i64 = 255;
