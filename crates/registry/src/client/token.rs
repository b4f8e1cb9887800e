//! Tokens: how they are asked for, what a token server answers, and how long they are kept (distribution's "Token
//! Authentication Specification" and "Oauth2 Token Authentication"). Pure; time is a value passed in.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fault::{Error, Result};
use hyper::http::Uri;
use serde::Deserialize;

use crate::client::Credentials;
use crate::client::address::{escaped, with_query};

/// What a token is for: two that are alike may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Purpose {
    /// The token server's address.
    pub(crate) realm: Uri,
    pub(crate) service: String,
    /// `repository:library/busybox:pull`, sorted.
    pub(crate) scopes: Vec<String>,
    pub(crate) credentials: Credentials,
}

/// A request to a token server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The parameters are in the address; with user and password if there are any.
    Get {
        address: Uri,
        with_password: bool,
    },
    Post {
        address: Uri,
        form: String,
    },
}

impl Purpose {
    /// `offline` asks for an identity token too, as a login does.
    pub(crate) fn errand(&self, offline: bool) -> Errand {
        match &self.credentials {
            Credentials::Identity { token } => {
                Errand::Post { address: self.realm.clone(), form: self.form(token) }
            }
            Credentials::Basic { user, .. } => {
                Errand::Get { address: self.address(Some(user), offline), with_password: true }
            }
            _ => Errand::Get { address: self.address(None, false), with_password: false },
        }
    }

    fn address(&self, account: Option<&str>, offline: bool) -> Uri {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend((!self.service.is_empty()).then_some(("service", self.service.as_str())));
        pairs.extend(self.scopes.iter().map(|scope| ("scope", scope.as_str())));
        pairs.extend(account.map(|account| ("account", account)));
        if offline {
            pairs.extend([("offline_token", "true"), ("client_id", CLIENT_ID)]);
        }
        with_query(&self.realm, &pairs)
    }

    fn form(&self, refresh_token: &str) -> String {
        let scopes = self.scopes.join(" ");
        let pairs = [
            ("grant_type", "refresh_token"),
            ("service", self.service.as_str()),
            ("client_id", CLIENT_ID),
            ("scope", scopes.as_str()),
            ("refresh_token", refresh_token),
        ];
        pairs.map(|(name, value)| format!("{name}={}", escaped(value))).join("&")
    }
}

/// What a token server gave.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) value: String,
    /// On the clock that never goes back.
    pub(crate) expires: Duration,
    /// An identity token, if one was asked for and given.
    pub(crate) identity: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Token until {:?}", self.expires)
    }
}

impl Token {
    /// Reads a token server's answer.
    pub(crate) fn read(body: &[u8], now: Duration) -> Result<Self> {
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|error| Error::unavailable(format!("unable to decode token response: {error}")))?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let value = filled(answer.token).or(filled(answer.access_token));
        let value = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()));
        let value = value.ok_or_else(|| {
            Error::unavailable("authorization server did not include a token in the response")
        })?;
        let lives = answer.expires_in.unwrap_or_default().clamp(LIFE_SECONDS_MIN, LIFE_SECONDS_MAX);
        let expires = now + Duration::from_secs(lives) - EARLY;
        Ok(Self { value, expires, identity: filled(answer.refresh_token) })
    }
}

/// The tokens that are still good.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    kept: Mutex<HashMap<Purpose, Token>>,
}

impl Tokens {
    pub(crate) fn find(&self, purpose: &Purpose, now: Duration) -> Option<String> {
        let kept = self.lock();
        kept.get(purpose).filter(|token| now < token.expires).map(|token| token.value.clone())
    }

    pub(crate) fn keep(&self, purpose: Purpose, token: Token, now: Duration) {
        let mut kept = self.lock();
        kept.retain(|_, token| now < token.expires);
        if kept.len() >= TOKENS_MAX {
            kept.clear();
        }
        kept.insert(purpose, token);
    }

    /// The registry did not take this one. One that somebody else has bought meanwhile stays.
    pub(crate) fn forget(&self, purpose: &Purpose, refused: &str) {
        let mut kept = self.lock();
        if kept.get(purpose).is_some_and(|token| token.value == refused) {
            kept.remove(purpose);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Purpose, Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

/// What token servers know Docker by.
const CLIENT_ID: &str = "docker";
/// The specification's least, also for servers that say nothing.
const LIFE_SECONDS_MIN: u64 = 60;
/// Nobody means to give one for longer than a day.
const LIFE_SECONDS_MAX: u64 = 24 * 60 * 60;
/// A request is under way for a while after its token was looked at.
const EARLY: Duration = Duration::from_secs(10);
/// A host pulls from few repositories; a full table is begun anew.
const TOKENS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(credentials: Credentials) -> Purpose {
        Purpose {
            realm: "https://auth.example/token".parse().unwrap(),
            service: "registry.example".into(),
            scopes: vec!["repository:a/b:pull,push".into(), "repository:c:pull".into()],
            credentials,
        }
    }

    #[test]
    fn errands_follow_the_credentials() {
        let query =
            "service=registry.example&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull";
        let get = |more: &str, with_password| Errand::Get {
            address: format!("https://auth.example/token?{query}{more}").parse().unwrap(),
            with_password,
        };
        assert_eq!(purpose(Credentials::Anonymous).errand(true), get("", false));
        let basic = Credentials::Basic { user: "me".into(), password: "p".into() };
        assert_eq!(purpose(basic.clone()).errand(false), get("&account=me", true));
        assert_eq!(purpose(basic).errand(true), get("&account=me&offline_token=true&client_id=docker", true));
        let form = "grant_type=refresh_token&service=registry.example&client_id=docker&\
                    scope=repository%3Aa%2Fb%3Apull%2Cpush%20repository%3Ac%3Apull&refresh_token=r%2F1";
        assert_eq!(
            purpose(Credentials::Identity { token: "r/1".into() }).errand(false),
            Errand::Post { address: "https://auth.example/token".parse().unwrap(), form: form.into() }
        );
    }

    #[test]
    fn answers_are_read_in_both_forms() {
        let read = |body: &str| Token::read(body.as_bytes(), Duration::from_secs(100));
        let token = read(r#"{"token":"t","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((token.value.as_str(), token.expires.as_secs()), ("t", 390));
        let token = read(r#"{"access_token":"a","refresh_token":"r","expires_in":1}"#).unwrap();
        assert_eq!((token.value.as_str(), token.expires.as_secs()), ("a", 150));
        assert_eq!(token.identity.as_deref(), Some("r"));
        let words = "authorization server did not include a token in the response";
        for body in ["{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#] {
            assert_eq!(read(body).unwrap_err().to_string(), words);
        }
        assert!(read("no").unwrap_err().to_string().starts_with("unable to decode token response: "));
    }

    #[test]
    fn tokens_are_kept_until_they_run_out_or_are_refused() {
        let tokens = Tokens::default();
        let purpose = purpose(Credentials::Anonymous);
        let now = Duration::from_secs(100);
        let token = Token::read(br#"{"token":"t"}"#, now).unwrap();
        tokens.keep(purpose.clone(), token.clone(), now);
        assert_eq!(tokens.find(&purpose, now).as_deref(), Some("t"));
        assert_eq!(tokens.find(&purpose, token.expires), None);
        tokens.forget(&purpose, "older");
        assert_eq!(tokens.find(&purpose, now).as_deref(), Some("t"));
        tokens.forget(&purpose, "t");
        assert_eq!(tokens.find(&purpose, now), None);
        for number in 0..2 * TOKENS_MAX {
            let scopes = vec![number.to_string()];
            tokens.keep(Purpose { scopes, ..purpose.clone() }, token.clone(), now);
        }
        assert!(tokens.lock().len() <= TOKENS_MAX);
    }
}
