//! Who may come in and do what: everybody, users of a password file, or bearers of tokens.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::Result;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::Semaphore;

use crate::server::config::Config;
use crate::server::failure::{Failure, Outcome};

mod htpasswd;
pub(crate) mod jwt;
mod need;
mod token;

use htpasswd::Htpasswd;
use need::Action;
pub(crate) use need::Need;
use token::{Grant, Tokens};

#[derive(Debug)]
pub(crate) enum Access {
    Open,
    Password { htpasswd: Arc<Htpasswd>, realm: String, checks: Semaphore },
    Token(Tokens),
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// Empty if nobody asked for it.
    pub(crate) name: String,
    /// `None` for everything.
    grants: Option<Vec<Grant>>,
}

impl Caller {
    pub(crate) fn may_pull(&self, repository: &str) -> bool {
        self.may(&Need::of_repository(repository, &[Action::Pull]))
    }

    /// Not bound to some repositories.
    pub(crate) fn may_all(&self) -> bool {
        self.grants.is_none()
    }

    fn may(&self, need: &Need) -> bool {
        let Some(grants) = &self.grants else { return true };
        need.actions.iter().all(|action| grants.iter().any(|grant| grant.allows(need, *action)))
    }
}

impl Access {
    pub(crate) fn open(config: &Config) -> Result<Self> {
        if let Some(tokens) = &config.tokens {
            return Ok(Self::Token(Tokens::open(tokens)?));
        }
        let Some(path) = config.htpasswd.clone() else { return Ok(Self::Open) };
        let htpasswd = Arc::new(Htpasswd::open(path)?);
        Ok(Self::Password { htpasswd, realm: quotable(&config.realm), checks: Semaphore::new(CHECKS_MAX) })
    }

    /// Refuses who is not known, or may not do what the request needs.
    pub(crate) async fn admit(&self, headers: &HeaderMap, need: Option<&Need>) -> Outcome<Caller> {
        match self {
            Self::Open => Ok(Caller::default()),
            Self::Password { htpasswd, realm, checks } => {
                let refusal = || Failure::unauthorized(format!("Basic realm=\"{realm}\""));
                let (user, password) = headers.get(AUTHORIZATION).and_then(basic).ok_or_else(refusal)?;
                let known = is_known(htpasswd, checks, user.clone(), password).await?;
                if known { Ok(Caller { name: user, grants: None }) } else { Err(refusal()) }
            }
            Self::Token(tokens) => tokens.admit(headers.get(AUTHORIZATION), need),
        }
    }
}

async fn is_known(
    htpasswd: &Arc<Htpasswd>,
    checks: &Semaphore,
    user: String,
    password: String,
) -> Outcome<bool> {
    if htpasswd.is_remembered(&user, &password)? {
        return Ok(true);
    }
    let _turn = checks.acquire().await;
    let htpasswd = Arc::clone(htpasswd);
    let checked = tokio::task::spawn_blocking(move || htpasswd.is_right(&user, &password)).await;
    Ok(checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

/// User and password of `Basic …` (RFC 7617).
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(credentials(header, "basic")?).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What follows the scheme, if it is that one.
fn credentials<'h>(header: &'h HeaderValue, scheme: &str) -> Option<&'h str> {
    let (given, credentials) = header.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}

/// Fit to stand between quotes in a header.
fn quotable(text: &str) -> String {
    text.replace(['"', '\\'], "")
}

/// Passwords are slow to check on purpose: whoever guesses many waits, and leaves the processors to the others.
const CHECKS_MAX: usize = 2;
