//! `kogged registry serve`: a registry as a process of its own. It needs no daemon and no configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use fault::{Call, Error, Result};
use lexopt::{Arg, ValueExt};
use registry::server::{Config, Quota, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::log;
use crate::settings::LogFormat;

/// What the user asked for.
#[derive(Debug)]
enum Wish {
    Serve { config: Box<Config>, listen: String, level: LevelFilter },
    Collect(Box<Config>),
    Help,
}

/// The words behind `kogged registry`; what is to be printed, if anything.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Result<Option<String>> {
    match read(words).map_err(|error| Error::invalid(format!("{error}\nSee 'kogged registry --help'.")))? {
        Wish::Help => Ok(Some(HELP.to_owned())),
        Wish::Collect(config) => {
            let grace = config.grace;
            let collected = Server::open(*config)?.collect(grace)?;
            let (blobs, uploads, bytes) = (collected.blobs, collected.uploads, collected.bytes);
            Ok(Some(format!("removed {blobs} blobs ({bytes} bytes) and {uploads} uploads")))
        }
        Wish::Serve { config, listen, level } => {
            log::open(level, LogFormat::Text);
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.call(|| "start the runtime")?.block_on(serve(*config, &listen)).map(|()| None)
        }
    }
}

async fn serve(config: Config, listen: &str) -> Result<()> {
    let root = config.root.display().to_string();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let listener = TcpListener::bind(listen).await.call(|| format!("listen on {listen}"))?;
    let address = listener.local_addr().call(|| "getsockname")?;
    let server = Server::open(config)?;
    let mut terminated = signal(SignalKind::terminate()).call(|| "watch SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).call(|| "watch SIGINT")?;
    tracing::info!(address = format!("{scheme}://{address}"), root, "registry serves");
    let ending = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    server.run(listener, ending).await
}

fn read(words: impl IntoIterator<Item = OsString>) -> Result<Wish, lexopt::Error> {
    let mut config = Config::new(ROOT);
    let (mut listen, mut level) = (LISTEN.to_owned(), LevelFilter::INFO);
    let (mut certificate, mut key): (Option<PathBuf>, Option<PathBuf>) = (None, None);
    let mut verb = None;
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Wish::Help),
            Arg::Value(word) if verb.is_none() => verb = Some(word.string()?),
            Arg::Long("listen") => listen = parser.value()?.string()?,
            Arg::Long("root") => config.root = parser.value()?.into(),
            Arg::Long("htpasswd") => config.htpasswd = Some(parser.value()?.into()),
            Arg::Long("realm") => config.realm = parser.value()?.string()?,
            Arg::Long("tls-cert") => certificate = Some(parser.value()?.into()),
            Arg::Long("tls-key") => key = Some(parser.value()?.into()),
            Arg::Long("read-only") => config.read_only = switch(&mut parser)?,
            Arg::Long("delete") => config.deletion = switch(&mut parser)?,
            Arg::Long("quota") => config.quotas.push(parser.value()?.parse_with(quota)?),
            Arg::Long("grace") => config.grace = parser.value()?.parse_with(duration)?,
            Arg::Long("gc-interval") => config.collect_every = parser.value()?.parse_with(duration)?,
            Arg::Long("debug") | Arg::Short('D') => level = LevelFilter::DEBUG,
            other => return Err(other.unexpected()),
        }
    }
    config.tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key belong together".into()),
    };
    match verb.as_deref() {
        Some("serve") => Ok(Wish::Serve { config: Box::new(config), listen, level }),
        Some("gc") => Ok(Wish::Collect(Box::new(config))),
        Some(other) => Err(format!("unknown command: {other}").into()),
        None => Ok(Wish::Help),
    }
}

/// `--flag`, `--flag=true`, `--flag=false`.
fn switch(parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
    parser.optional_value().map_or(Ok(true), |value| value.parse())
}

/// `PREFIX=SIZE`, `=SIZE` for the whole registry.
fn quota(text: &str) -> Result<Quota, String> {
    let (prefix, size) =
        text.split_once('=').ok_or_else(|| format!("{text} is not of the form PREFIX=SIZE"))?;
    Ok(Quota { prefix: prefix.trim_end_matches('/').to_owned(), bytes_max: bytes(size)? })
}

/// `500`, `20k`, `5m`, `10g`, in powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        Some(b't') => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| format!("{text} is no size"))
}

/// `90s`, `30m`, `12h`; `0` for none.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    number.map(Duration::from_secs).ok_or_else(|| format!("{text} is no duration"))
}

const LISTEN: &str = "127.0.0.1:5000";
const ROOT: &str = "/var/lib/kogge/registry";
const HELP: &str = "Usage:  kogged registry COMMAND [OPTIONS]

A registry of images

Commands:
  serve   Serve a folder
  gc      Remove what no manifest stands on, while no process serves the folder

Options:
      --listen ADDRESS        Address and port (default 127.0.0.1:5000)
      --root DIR              The folder (default /var/lib/kogge/registry)
      --htpasswd FILE         Ask for users of this file; its hashes are bcrypt's
      --realm TEXT            What the question for a password calls itself
      --tls-cert FILE         Certificate chain in PEM form; needs --tls-key
      --tls-key FILE          Private key in PEM form
      --read-only             Refuse to push and delete
      --delete=false          Refuse to delete
      --quota PREFIX=SIZE     Bound what repositories under a prefix hold; repeatable
      --grace DURATION        Keep what is linked to no manifest for so long (default 1h)
      --gc-interval DURATION  How often unused blobs are removed; 0 for never (default 24h)
  -D, --debug                 Log every request
  -h, --help                  Print usage";

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish, String> {
        read(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn one_word_is_enough() {
        let Ok(Wish::Serve { config, listen, .. }) = wish("serve") else { panic!("it serves") };
        assert_eq!((listen.as_str(), config.read_only, config.deletion), (LISTEN, false, true));
    }

    #[test]
    fn flags_say_what_differs() {
        let line = "serve --read-only --delete=false --quota team=2g --quota =1t --grace 5m --gc-interval 0";
        let Ok(Wish::Serve { config, .. }) = wish(line) else { panic!("it serves") };
        assert!(config.read_only && !config.deletion);
        assert_eq!(config.quotas[0], Quota { prefix: "team".into(), bytes_max: 2 << 30 });
        assert_eq!(config.quotas[1], Quota { prefix: String::new(), bytes_max: 1 << 40 });
        assert_eq!((config.grace, config.collect_every), (Duration::from_secs(300), Duration::ZERO));
    }

    #[test]
    fn wrong_words_are_named() {
        for (line, words) in [
            ("sing", "unknown command: sing"),
            ("serve --tls-cert x", "belong together"),
            ("serve --quota 5", "PREFIX=SIZE"),
            ("serve --grace soon", "soon is no duration"),
            ("serve --nonsense", "--nonsense"),
        ] {
            let error = wish(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
