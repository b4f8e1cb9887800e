//! `kogge login`.
//!
//! Docker's way over a browser, for docker.io alone, is left out: whoever has no password there takes an access token.

use std::io::{self, Read};

use api::registry::AuthConfig;
use client::Client;
use fault::{Error, Kind, Result};

use super::{Args, Command};
use crate::cli::{Cli, variable};
use crate::credentials::{self, Credentials, INDEX_SERVER};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    "[OPTIONS] [SERVER]",
    Args::AtMost(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("password", "Password or access token").short('p'),
    Flag::switch("password-stdin", "Read the password or access token from STDIN"),
    Flag::string("username", "User").short('u'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    check(&matches)?;
    let typed = Typed::of(&matches)?;
    warn_of_variable();
    let server = match matches.args.first().map(String::as_str) {
        None | Some("" | "docker.io" | INDEX_SERVER) => INDEX_SERVER,
        Some(server) => credentials::hostname(server),
    };
    let (client, credentials) = (cli.client()?, cli.credentials());
    let known = if typed.is_nothing() { credentials.get(server) } else { Ok(AuthConfig::default()) };
    let known = known.unwrap_or_default();
    if !known.username.is_empty()
        && !known.password.is_empty()
        && let Some(status) = with_known(client, &credentials, &known, server).await?
    {
        return terminal::line(status);
    }
    if (typed.username.is_empty() || typed.password.is_empty()) && !terminal::input_is_terminal() {
        return Err(Exit::failure("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let auth = ask(typed, &known.username, server).await?;
    let status = log_in(client, &credentials, auth).await?;
    terminal::line(status)
}

fn check(matches: &Matches) -> Outcome {
    let given = |flag: &str| matches.is_given(flag);
    let problem = match () {
        () if given("password-stdin") && given("password") => {
            "conflicting options: cannot specify both --password and --password-stdin"
        }
        () if given("password-stdin") && !given("username") => {
            "the --password-stdin option requires --username to be set"
        }
        () if given("username") && matches.text("username").is_empty() => "username is empty",
        () if given("password") && matches.text("password").is_empty() => "password is empty",
        () => return Ok(()),
    };
    Err(Exit::failure(problem))
}

/// What the user said on the command line.
struct Typed {
    username: String,
    password: String,
}

impl Typed {
    fn of(matches: &Matches) -> Outcome<Self> {
        let username = matches.text("username").to_owned();
        let mut password = matches.text("password").to_owned();
        if !password.is_empty() {
            terminal::warn(format_args!(
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
            ));
        }
        if matches.is_on("password-stdin") {
            password = from_stdin()?;
        }
        Ok(Self { username, password })
    }

    fn is_nothing(&self) -> bool {
        self.username.is_empty() && self.password.is_empty()
    }
}

fn from_stdin() -> Outcome<String> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Exit::failure(format!("read: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Tokens have a few kilobytes.
const PASSWORD_BYTES_MAX: u64 = 1 << 20;

pub(super) fn warn_of_variable() {
    if variable(credentials::VARIABLE).is_some() {
        let name = credentials::VARIABLE;
        terminal::warn(format_args!(
            "\n Warn -> {name} is set and takes precedence.\n         Unset {name} to restore the CLI auth behaviour.\n         "
        ));
    }
}

/// Tries what was kept from an earlier login; `None` if it is no good any more.
async fn with_known(
    client: &Client,
    credentials: &Credentials,
    known: &AuthConfig,
    server: &str,
) -> Outcome<Option<String>> {
    terminal::warn(format_args!(
        "Authenticating with existing credentials... [Username: {}]\n\n\
         \x20Info -> To login with a different account, run 'kogge logout' followed by 'kogge login'\n\n",
        known.username
    ));
    let auth = AuthConfig { serveraddress: server.to_owned(), identitytoken: String::new(), ..known.clone() };
    match log_in(client, credentials, auth).await {
        Ok(status) => return Ok(Some(status)),
        Err(error) if error.kind() == Kind::Unauthorized => {
            terminal::warn(format_args!("Stored credentials invalid or expired"));
        }
        Err(error) => terminal::warn(format_args!("Login did not succeed, error: {error}")),
    }
    Ok(None)
}

/// Asks for what was not typed.
async fn ask(typed: Typed, known_user: &str, server: &str) -> Outcome<AuthConfig> {
    let mut username = typed.username.trim().to_owned();
    if username.is_empty() {
        if server == INDEX_SERVER {
            terminal::line(HUB_HINT)?;
        }
        let question = match known_user.trim() {
            "" => "Username: ".to_owned(),
            known => format!("Username ({known}): "),
        };
        username = terminal::ask(&question).await?;
        if username.is_empty() {
            username = known_user.trim().to_owned();
        }
        if username.is_empty() {
            return Err(Exit::failure("Error: Non-null Username Required"));
        }
    }
    let mut password = typed.password.trim().to_owned();
    if password.is_empty() {
        password = terminal::ask_silently("Password: ").await?;
        if password.is_empty() {
            return Err(Exit::failure("Error: Password Required"));
        }
    }
    Ok(AuthConfig { username, password, serveraddress: server.to_owned(), ..AuthConfig::default() })
}

const HUB_HINT: &str =
    "Log in with your Docker ID; an access token of Docker Hub may stand in the password's place.";

/// Returns the daemon's word for it.
async fn log_in(client: &Client, credentials: &Credentials, auth: AuthConfig) -> Result<String> {
    let answer = client::registry::login(client, &auth).await?;
    let kept = match answer.identity_token {
        token if token.is_empty() => auth,
        identitytoken => AuthConfig { password: String::new(), identitytoken, ..auth },
    };
    credentials
        .store(&kept)
        .map_err(|error| Error::internal(format!("Error saving credentials: {error}")))?;
    Ok(answer.status)
}
