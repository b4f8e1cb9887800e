//! `kogge run`: create, attach, start, and stay until the process ends.
//!
//! Attach and wait are in place before the start, so that neither the first byte nor the exit code is missed.

use api::container::{Attach, Config, Create, WaitCondition};
use client::Client;
use client::container::Waiting;
use fault::Error;

use super::create::{self, CONTAINER_ARGS, new_container, refused};
use super::{Args, Command};
use crate::cli::Cli;
use crate::create::FLAGS;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::stream::{self, Ending, Resized, Streams, beside};
use crate::{interrupt, terminal};

pub(crate) const COMMAND: Command = Command::new(
    "Create and run a new container from an image",
    CONTAINER_ARGS,
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container run, kogge run")
.flags(&[FLAGS, OWN])
.flags_first();

const OWN: &[Flag] = &[
    Flag::switch("detach", "Run in the background and print the container's id").short('d'),
    Flag::string("detach-keys", "Keys that leave the container running"),
    Flag::switch("sig-proxy", "Pass signals on to the process").default("true"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    create::check_pull(&matches, "run")?;
    let client = cli.client()?;
    let mut container = create::request(cli, client, &matches, "run")?;
    let detached = matches.is_on("detach");
    if detached {
        detach(&mut container.config, &matches)?;
    } else {
        stream::check_input(container.config.attach_stdin, container.config.tty)?;
    }
    let id =
        new_container(cli, client, &matches, &container).await.map_err(|error| refused(&error, "run"))?;
    let started = Started { client, id: &id, container: &container };
    let work = async {
        match container.config.attach_stdin
            || container.config.attach_stdout
            || container.config.attach_stderr
        {
            true => started.attached(cli, &matches).await,
            false => started.in_background().await,
        }
    };
    if detached {
        return work.await;
    }
    interrupt::ending_third(async {
        match matches.is_on("sig-proxy") {
            true => beside(work, stream::forward_signals(client, &id)).await,
            false => work.await,
        }
    })
    .await
}

fn detach(config: &mut Config, matches: &Matches) -> Outcome {
    if matches.is_given("attach") {
        return Err(Exit::failure("conflicting options: cannot specify both --attach and --detach"));
    }
    config.attach_stdin = false;
    config.attach_stdout = false;
    config.attach_stderr = false;
    config.stdin_once = false;
    Ok(())
}

struct Started<'r> {
    client: &'r Client,
    id: &'r str,
    container: &'r Create,
}

impl Started<'_> {
    async fn in_background(&self) -> Outcome {
        let started = client::container::start(self.client, self.id).await;
        terminal::line(self.id)?;
        started.map_err(|error| refused(&error, "run"))
    }

    async fn attached(&self, cli: &Cli, matches: &Matches) -> Outcome {
        let (config, removes) = (&self.container.config, self.container.host_config.auto_remove);
        let detach_keys = super::detach_keys(cli, matches);
        let attach = Attach {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            stream: true,
            detach_keys: detach_keys.clone(),
            ..Attach::default()
        };
        let condition = if removes { WaitCondition::Removed } else { WaitCondition::NextExit };
        let (connection, waiting) = tokio::try_join!(
            client::container::attach(self.client, self.id, &attach),
            client::container::wait(self.client, self.id, condition),
        )?;
        if let Err(error) = client::container::start(self.client, self.id).await {
            return Err(self.not_started(&error, waiting).await);
        }
        let streams = Streams {
            stdin: config.attach_stdin,
            output: config.attach_stdout || config.attach_stderr,
            tty: config.tty,
            detach_keys,
        };
        let has_size = config.tty && terminal::output_is_terminal();
        let sized = has_size.then_some((self.client, Resized::Container(self.id)));
        match stream::join(connection, streams, sized).await? {
            Ending::Detached => Ok(()),
            Ending::Closed => exit_code(waiting).await,
        }
    }

    /// With `--rm` the command ends after the container is gone.
    async fn not_started(&self, error: &Error, waiting: Waiting) -> Exit {
        if self.container.host_config.auto_remove {
            told(waiting).await;
        }
        refused(error, "run")
    }
}

/// The container's exit code becomes ours.
pub(super) async fn exit_code(waiting: Waiting) -> Outcome {
    Exit::status(told(waiting).await)
}

/// Waits, and tells what went wrong meanwhile; that has a code of its own.
pub(super) async fn told(waiting: Waiting) -> i64 {
    let problem = match waiting.answer().await {
        Ok(answer) => match answer.error {
            None => return answer.status_code,
            Some(error) => format!("Error waiting for container: {}", error.message),
        },
        Err(error) => format!("error waiting for container: {error}"),
    };
    terminal::log_error(&problem);
    125
}
