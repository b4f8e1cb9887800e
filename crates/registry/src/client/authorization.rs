//! Convincing a registry: which challenge to take up, and the header that answers it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fault::{Error, Result};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::Uri;

use crate::client::challenge::Challenge;
use crate::client::dial::Plain;
use crate::client::exchange::{Ask, Exchange, Payload};
use crate::client::token::{Errand, Purpose, Token};
use crate::client::trouble::Trouble;
use crate::client::{Credentials, address};

const BEARER: &str = "Bearer ";

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Basic,
    /// A token of this server, for this service.
    Bearer {
        realm: Uri,
        service: String,
    },
}

impl Demand {
    /// Tokens are preferred; a realm that is no address is no offer.
    pub(crate) fn choose(challenges: &[Challenge], registry: &Uri) -> Option<Self> {
        let bearer =
            challenges.iter().filter(|challenge| challenge.scheme == "bearer").find_map(|challenge| {
                let realm = address::join(registry, challenge.parameter("realm")?).ok()?;
                let service = challenge.parameter("service").unwrap_or_default().into();
                Some(Self::Bearer { realm, service })
            });
        bearer
            .or_else(|| challenges.iter().any(|challenge| challenge.scheme == "basic").then_some(Self::Basic))
    }
}

/// The scopes that a registry named itself; it may call a repository otherwise than we do.
pub(crate) fn named_scopes(challenges: &[Challenge]) -> Vec<String> {
    let bearer = challenges.iter().filter(|challenge| challenge.scheme == "bearer");
    let scopes = bearer.filter_map(|challenge| challenge.parameter("scope"));
    scopes.flat_map(|scope| scope.split(' ')).filter(|scope| !scope.is_empty()).map(Into::into).collect()
}

/// Sorted, each once, and those that a wider one of the same repository covers left out.
pub(crate) fn merged_scopes(mut scopes: Vec<String>) -> Vec<String> {
    scopes.sort();
    scopes.dedup();
    let covers = |wide: &str, narrow: &str| {
        let (Some((name, wide)), Some((other, narrow))) = (wide.rsplit_once(':'), narrow.rsplit_once(':'))
        else {
            return false;
        };
        name == other
            && wide != narrow
            && narrow.split(',').all(|one| wide.split(',').any(|action| action == one))
    };
    let all = scopes.clone();
    scopes.retain(|scope| !all.iter().any(|wide| covers(wide, scope)));
    scopes
}

pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue> {
    secret(format!("{BEARER}{token}"))
}

/// The token in a header of [`bearer`].
pub(crate) fn token_of(header: &HeaderValue) -> Option<&str> {
    header.to_str().ok()?.strip_prefix(BEARER)
}

fn secret(text: String) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Error::invalid("credentials that fit no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Gets a token of its server.
pub(crate) async fn buy(
    exchange: &Exchange,
    purpose: &Purpose,
    offline: bool,
    plain: Plain,
) -> Result<Token, Trouble> {
    let (ask, authorization) = match purpose.errand(offline) {
        Errand::Get { address, with_password } => {
            let authorization = match &purpose.credentials {
                Credentials::Basic { user, password } if with_password => Some(basic(user, password)?),
                _ => None,
            };
            (Ask::new(Method::GET, address), authorization)
        }
        Errand::Post { address, form } => {
            let ask = Ask::new(Method::POST, address)
                .with_header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            (ask.with_payload(Payload::Bytes(Bytes::from(form))), None)
        }
    };
    debug_assert!(!ask.headers.contains_key(AUTHORIZATION));
    let mut answer = exchange.send(&ask, authorization.as_ref(), plain).await?.judged().await?;
    let body = answer.bytes(TOKEN_BYTES_MAX).await?;
    Ok(Token::read(&body, sys::time::monotonic())?)
}

/// Tokens with many claims have some kilobytes.
const TOKEN_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::challenge::parse;

    #[test]
    fn tokens_are_preferred_and_bad_realms_passed_over() {
        let registry = "https://host/v2/".parse().unwrap();
        let choose = |header: &str| Demand::choose(&parse(header), &registry);
        let bearer = Demand::Bearer { realm: "https://auth/token".parse().unwrap(), service: "s".into() };
        assert_eq!(choose(r#"Basic realm="r", Bearer realm="https://auth/token",service="s""#), Some(bearer));
        assert_eq!(choose(r#"Bearer realm="ftp://x", Basic realm="r""#), Some(Demand::Basic));
        let relative =
            Demand::Bearer { realm: "https://host/token".parse().unwrap(), service: String::new() };
        assert_eq!(choose(r#"Bearer realm="/token""#), Some(relative));
        assert_eq!(choose("Negotiate"), None);
    }

    #[test]
    fn scopes_are_merged() {
        let merge = |scopes: &[&str]| merged_scopes(scopes.iter().map(|scope| (*scope).to_owned()).collect());
        let both = ["repository:a:pull,push", "repository:b:pull"];
        assert_eq!(
            merge(&["repository:b:pull", "repository:a:pull", "repository:a:pull,push", "repository:b:pull"]),
            both
        );
        assert_eq!(
            named_scopes(&parse(r#"Bearer realm="x",scope="repository:a:pull registry:catalog:*""#)),
            ["repository:a:pull", "registry:catalog:*"]
        );
    }

    #[test]
    fn secrets_fit_headers_or_are_refused() {
        assert_eq!(basic("me", "päss").unwrap().to_str().unwrap(), "Basic bWU6cMOkc3M=");
        assert!(bearer("a\nb").is_err());
    }
}
