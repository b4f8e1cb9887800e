//! `kogged registry serve`: a registry as a process of its own. It needs no daemon and no configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use fault::{Call, Doing, Error, Kind, Result};
use lexopt::{Arg, ValueExt};
use registry::server::{Collected, Config, Quota, Server, TokenAccess, Upstream, ask_to_collect};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::log;
use crate::settings::LogFormat;

mod file;

/// What the user asked for.
#[derive(Debug)]
enum Wish {
    Serve { config: Box<Config>, listen: String, level: LevelFilter },
    Collect(Box<Config>),
    Help,
}

/// The words behind `kogged registry`; what is to be printed, if anything.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Result<Option<String>> {
    let words = with_file(words.into_iter().collect())?;
    match read(words).map_err(|error| Error::invalid(format!("{error}\nSee 'kogged registry --help'.")))? {
        Wish::Help => Ok(Some(HELP.to_owned())),
        Wish::Collect(config) => {
            let Collected { blobs, uploads, bytes } = collect(&config)?;
            Ok(Some(format!("removed {blobs} blobs ({bytes} bytes) and {uploads} uploads")))
        }
        Wish::Serve { config, listen, level } => {
            log::open(level, LogFormat::Text);
            runtime()?.block_on(serve(*config, &listen)).map(|()| None)
        }
    }
}

/// The words of the file that `--config` names stand in front, so that those on the command line win.
fn with_file(mut words: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some(index) = words.iter().position(|word| word == "--config") else { return Ok(words) };
    if index + 1 >= words.len() {
        return Err(Error::invalid("--config needs the name of a file\nSee 'kogged registry --help'."));
    }
    let path = PathBuf::from(words.remove(index + 1));
    words.remove(index);
    let mut all = file::words(&path).doing(|| format!("reading the configuration {}", path.display()))?;
    all.append(&mut words);
    Ok(all)
}

/// By the process that serves the folder, or here if none does.
fn collect(config: &Config) -> Result<Collected> {
    let opened = Server::open(Config { htpasswd: None, tokens: None, tls: None, ..config.clone() });
    match opened {
        Err(error) if error.kind() == Kind::Unavailable => ask_to_collect(&config.root, config.grace),
        opened => opened?.collect(config.grace),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.max_blocking_threads(BLOCKING_MAX).enable_all().build().call(|| "start the runtime")
}

async fn serve(config: Config, listen: &str) -> Result<()> {
    let root = config.root.display().to_string();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let listener = TcpListener::bind(listen).await.call(|| format!("listen on {listen}"))?;
    let address = listener.local_addr().call(|| "getsockname")?;
    let is_open = config.htpasswd.is_none() && config.tokens.is_none();
    if is_open && !address.ip().is_loopback() && !config.read_only {
        tracing::warn!(%address, "everybody who reaches this address may push and delete");
    }
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
    let mut tokens = TokenAccess::default();
    let mut logins: Option<PathBuf> = None;
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
            Arg::Long("token-realm") => tokens.realm = parser.value()?.string()?,
            Arg::Long("token-service") => tokens.service = parser.value()?.string()?,
            Arg::Long("token-issuer") => tokens.issuer = parser.value()?.string()?,
            Arg::Long("token-certs") => tokens.certificates.push(parser.value()?.into()),
            Arg::Long("token-jwks") => tokens.jwks.push(parser.value()?.into()),
            Arg::Long("notify") => config.notify.push(parser.value()?.string()?),
            Arg::Long("access-log") => config.access_log = switch(&mut parser)?,
            Arg::Long("proxy") => config.upstreams.push(upstream(&parser.value()?.string()?)),
            Arg::Long("proxy-auth") => logins = Some(parser.value()?.into()),
            Arg::Long("proxy-ttl") => config.cache_ttl = parser.value()?.parse_with(duration)?,
            Arg::Long("proxy-size") => config.cache_bytes_max = Some(parser.value()?.parse_with(bytes)?),
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
    config.tokens = checked(tokens)?;
    if config.tokens.is_some() && config.htpasswd.is_some() {
        return Err("--htpasswd and --token-… exclude each other".into());
    }
    if let Some(logins) = logins {
        file::log_in(&mut config.upstreams, &logins).map_err(|error| error.to_string())?;
    }
    match verb.as_deref() {
        Some("serve") => Ok(Wish::Serve { config: Box::new(config), listen, level }),
        Some("gc") => Ok(Wish::Collect(Box::new(config))),
        Some(other) => Err(format!("unknown command: {other}").into()),
        None => Ok(Wish::Help),
    }
}

/// `None` if nothing was said about tokens; all of it has to be said otherwise.
fn checked(tokens: TokenAccess) -> Result<Option<TokenAccess>, String> {
    if tokens == TokenAccess::default() {
        return Ok(None);
    }
    let has_keys = !tokens.certificates.is_empty() || !tokens.jwks.is_empty();
    if tokens.realm.is_empty() || tokens.service.is_empty() || tokens.issuer.is_empty() || !has_keys {
        return Err(
            "tokens need --token-realm, --token-service, --token-issuer, and --token-certs or --token-jwks"
                .into(),
        );
    }
    Ok(Some(tokens))
}

/// `ADDRESS`, `PREFIX=ADDRESS`.
fn upstream(text: &str) -> Upstream {
    let (prefix, location) = text.split_once('=').unwrap_or(("", text));
    Upstream { prefix: prefix.into(), location: location.into(), ..Upstream::default() }
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
/// Each may wait for the disk, and has a stack.
const BLOCKING_MAX: usize = 64;
const ROOT: &str = "/var/lib/kogge/registry";
const HELP: &str = "Usage:  kogged registry COMMAND [OPTIONS]

A registry of images

Commands:
  serve   Serve a folder
  gc      Remove what no manifest stands on, also while the folder is served

Options:
      --listen ADDRESS        Address and port (default 127.0.0.1:5000)
      --root DIR              The folder (default /var/lib/kogge/registry)
      --htpasswd FILE         Ask for users of this file; its hashes are bcrypt's
      --realm TEXT            What the question for a password calls itself
      --token-realm URL       Ask for tokens, to be had there
      --token-service NAME    What tokens call this registry
      --token-issuer NAME     Who issues them
      --token-certs FILE      Certificates or public keys in PEM form that tokens are believed by; repeatable
      --token-jwks FILE       The same as a set of keys in JSON; repeatable
      --tls-cert FILE         Certificate chain in PEM form; needs --tls-key
      --tls-key FILE          Private key in PEM form
      --read-only             Refuse to push and delete
      --delete=false          Refuse to delete
      --quota PREFIX=SIZE     Bound what repositories under a prefix hold; repeatable
      --grace DURATION        Keep what is linked to no manifest for so long (default 1h)
      --gc-interval DURATION  How often unused blobs are removed; 0 for never (default 24h)
      --notify URL            Tell an address of pushes, pulls, mounts and deletions; repeatable
      --proxy [PREFIX=]URL    Serve another registry's images, too, fetched when they are asked for: under a prefix,
                              or in place of our own; repeatable
      --proxy-auth FILE       Users and passwords for those registries, as in docker's config.json
      --proxy-ttl DURATION    How long tags of those registries are believed (default 60s)
      --proxy-size SIZE       What is kept of those registries; the longest unused goes first (default: all)
      --access-log            Log every request
      --config FILE           Further options as a JSON object; lists for what is repeatable
  -D, --debug                 Log decisions, too
  -h, --help                  Print usage";

#[cfg(test)]
mod tests {
    use registry::client::Credentials;

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
    fn other_registries_are_served_with_their_passwords() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let auths = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}, "g.io": {"identitytoken": "t"}}}"#;
        std::fs::write(&path, auths).unwrap();
        let line = format!(
            "serve --proxy docker.io --proxy g=https://g.io/ --proxy h=http://h:1 --proxy-ttl 5m --proxy-size 1g --proxy-auth {}",
            path.display()
        );
        let Ok(Wish::Serve { config, .. }) = wish(&line) else { panic!("it serves") };
        assert_eq!((config.cache_ttl, config.cache_bytes_max), (Duration::from_secs(300), Some(1 << 30)));
        let [hub, other, plain] = config.upstreams.as_slice() else { panic!("there are three") };
        let me = Credentials::Basic { user: "me".into(), password: "secret".into() };
        assert_eq!((hub.prefix.as_str(), hub.location.as_str(), &hub.credentials), ("", "docker.io", &me));
        assert_eq!((other.prefix.as_str(), other.location.as_str()), ("g", "https://g.io/"));
        assert_eq!(other.credentials, Credentials::Identity { token: "t".into() });
        assert_eq!(plain.credentials, Credentials::Anonymous);
        assert!(wish("serve --proxy-auth /nowhere").unwrap_err().contains("/nowhere"));
    }

    #[test]
    fn a_file_stands_in_for_flags_and_flags_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.json");
        std::fs::write(&path, r#"{"realm": "file", "read-only": true, "quota": ["a=1k", "b=2k"]}"#).unwrap();
        let words = ["serve", "--config", path.to_str().unwrap(), "--realm", "flag"].map(OsString::from);
        let Ok(Wish::Serve { config, .. }) = read(with_file(words.to_vec()).unwrap()) else {
            panic!("it serves")
        };
        assert_eq!((config.realm.as_str(), config.read_only, config.quotas.len()), ("flag", true, 2));
        assert!(with_file(vec!["--config".into()]).is_err());
    }

    #[test]
    fn wrong_words_are_named() {
        for (line, words) in [
            ("sing", "unknown command: sing"),
            ("serve --tls-cert x", "belong together"),
            ("serve --quota 5", "PREFIX=SIZE"),
            ("serve --grace soon", "soon is no duration"),
            ("serve --nonsense", "--nonsense"),
            ("serve --token-realm http://x", "tokens need --token-realm"),
            (
                "serve --htpasswd x --token-realm r --token-service s --token-issuer i --token-jwks j",
                "exclude each other",
            ),
        ] {
            let error = wish(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
