//! `kogge logout`.

use super::login::warn_of_variable;
use super::{Args, Command};
use crate::cli::Cli;
use crate::credentials::{self, INDEX_SERVER};
use crate::exit::Outcome;
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    "[SERVER]",
    Args::AtMost(1),
    |cli, matches| Box::pin(run(cli, matches)),
);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    warn_of_variable();
    let credentials = cli.credentials();
    let server = matches.args.first().map_or("", String::as_str);
    let (shown, keys) = match server {
        // Beside the password there may be what a login of `docker` over a browser has left.
        "" => (
            INDEX_SERVER,
            ["", "access-token", "refresh-token"].map(|of| format!("{INDEX_SERVER}{of}")).into(),
        ),
        server => (credentials::hostname(server), keys(server)),
    };
    terminal::line(format!("Removing login credentials for {shown}"))?;
    let erased: Vec<_> = keys.iter().map(|key| (key, credentials.erase(key))).collect();
    if erased.iter().all(|(_, erased)| erased.is_err()) {
        terminal::warn(format_args!("WARNING: could not erase credentials:"));
        for (key, erased) in &erased {
            if let Err(error) = erased {
                terminal::warn(format_args!("{key}: {error}"));
            }
        }
    }
    Ok(())
}

/// All forms in which clients have kept a server.
fn keys(server: &str) -> Vec<String> {
    let host = credentials::hostname(server);
    [server.to_owned(), host.to_owned(), format!("http://{host}"), format!("https://{host}")].into()
}
