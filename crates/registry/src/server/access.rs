//! Who may come in: everybody, or users of a password file.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::Result;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::server::config::Config;
use crate::server::failure::{Failure, Outcome};
use crate::server::htpasswd::Htpasswd;

#[derive(Debug)]
pub(crate) struct Access {
    htpasswd: Option<Arc<Htpasswd>>,
    realm: String,
}

impl Access {
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let htpasswd = config.htpasswd.clone().map(Htpasswd::open).transpose()?;
        Ok(Self { htpasswd: htpasswd.map(Arc::new), realm: config.realm.replace(['"', '\\'], "") })
    }

    /// Refuses who is not known.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Outcome<()> {
        let Some(htpasswd) = self.htpasswd.clone() else { return Ok(()) };
        let (user, password) =
            headers.get(AUTHORIZATION).and_then(basic).ok_or_else(Failure::unauthorized)?;
        let checked = tokio::task::spawn_blocking(move || htpasswd.is_right(&user, &password)).await;
        match checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))? {
            true => Ok(()),
            false => Err(Failure::unauthorized()),
        }
    }

    /// The `WWW-Authenticate` of a refusal.
    pub(crate) fn challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.realm)
    }
}

/// User and password of `Basic …` (RFC 7617).
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
