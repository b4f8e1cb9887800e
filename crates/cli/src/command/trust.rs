//! `kogge trust …`: keys, and the daemon's policy.

use std::path::{Path, PathBuf};

use fault::{Error, Result};
use trust::PrivateKey;

use super::{Args, Command, keys};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const KEY: Command = Command::new(
    "Make a pair of keys, sealed with a password",
    "generate [OPTIONS] NAME",
    Args::Exactly(2),
    |_, matches| Box::pin(key(matches)),
)
.flags(&[&[Flag::string("dir", "Folder for the files (default: this one)")]]);

pub(crate) const POLICY: Command = Command::new(
    "Show the daemon's policy, or what it says of an image",
    "show|check [OPTIONS] [IMAGE]",
    Args::Between(1, 2),
    |cli, matches| Box::pin(policy(cli, matches)),
)
.flags(&[&[super::FORMAT, Flag::switch("no-trunc", "Cut nothing short")]]);

async fn key(matches: Matches) -> Outcome {
    let [verb, name] = matches.args.as_slice() else { return Err(Exit::failure("two words are needed")) };
    if verb != "generate" {
        return Err(Error::unsupported(format!("kogge trust key {verb}")).into());
    }
    if !is_plain(name) {
        return Err(Exit::failure(format!(
            "key name \"{name}\" must start with lowercase alphanumeric characters and can include \"-\" or \"_\" after the first character"
        )));
    }
    let file = |ending: &str| PathBuf::from(matches.text("dir")).join(format!("{name}.{ending}"));
    let (private, public) = (file("key"), file("pub"));
    for path in [&private, &public] {
        refuse_present(path)?;
    }
    let password = keys::new_password(&private.display().to_string()).await?;
    let key = PrivateKey::generate()?;
    sys::fs::write_atomic_mode(&private, key.to_pem(password.as_bytes())?, 0o600)?;
    sys::fs::write_atomic_mode(&public, key.public().to_pem(), 0o644)?;
    terminal::line(format!("Private key: {}", private.display()))?;
    terminal::line(format!("Public key: {}", public.display()))?;
    terminal::line(format!("Fingerprint: {}", key.public().fingerprint()))
}

/// Docker's rule for names of keys.
fn is_plain(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || matches!(c, '-' | '_'))
}

fn refuse_present(path: &Path) -> Result<()> {
    match sys::fs::exists(path)? {
        true => Err(Error::conflict(format!("{} is there already", path.display()))),
        false => Ok(()),
    }
}

async fn policy(cli: &Cli, matches: Matches) -> Outcome {
    match matches.args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["show"] => show(cli, &matches).await,
        ["check", image] => check(cli, image).await,
        _ => Err(Exit::failure("one of these is needed: show; check IMAGE")),
    }
}

async fn show(cli: &Cli, matches: &Matches) -> Outcome {
    let policy = client::trust::policy(cli.client()?).await?;
    let format = match matches.text("format") {
        "" | "table" => r"table {{.Prefix}}\t{{.Require}}\t{{.Keys}}\t{{.Reason}}",
        given => given,
    };
    let trunc = !matches.is_on("no-trunc");
    let keys = |keys: &[String]| {
        let shown = keys.iter().map(|key| if trunc { human::short_id(key) } else { key });
        shown.collect::<Vec<_>>().join(",")
    };
    let rows: Vec<Row> = policy
        .rules
        .iter()
        .map(|rule| {
            Row::new()
                .field("Prefix", &rule.prefix)
                .field("Require", &rule.require)
                .field("Keys", keys(&rule.keys))
                .field("Reason", &rule.reason)
        })
        .collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

/// Prints what the policy says; fails if that is a no.
async fn check(cli: &Cli, image: &str) -> Outcome {
    let trust = client::trust::check(cli.client()?, image).await?;
    terminal::line(&trust.verdict)?;
    match trust.verdict.as_str() {
        "refused" => Err(Exit::failure(trust.reason)),
        _ => Ok(()),
    }
}

const FIELDS: Fields = Fields {
    kind: "*trust.policyContext",
    headings: &[("Prefix", "PREFIX"), ("Require", "REQUIRE"), ("Keys", "KEYS"), ("Reason", "REASON")],
};
