//! Bearer tokens, as Docker's registry takes them: an issuer elsewhere says in a signed token what its bearer may do.
//!
//! Who has no fitting token is told where to get one, for what. The keys are read once, at the start.

use fault::Result;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::jwt::{Claims, Keys};
use super::need::{Action, Need};
use super::{Caller, credentials, quotable};
use crate::server::config::TokenAccess;
use crate::server::failure::{Failure, Outcome};

#[derive(Debug)]
pub(crate) struct Tokens {
    realm: String,
    service: String,
    issuer: String,
    keys: Keys,
}

/// One entry of a token's `access`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

impl Grant {
    pub(super) fn allows(&self, need: &Need, action: Action) -> bool {
        let names = |given: &String| given == action.name() || given == Action::All.name();
        self.kind == need.kind && self.name == need.name && self.actions.iter().any(names)
    }
}

impl Tokens {
    pub(super) fn open(config: &TokenAccess) -> Result<Self> {
        Ok(Self {
            realm: quotable(&config.realm),
            service: config.service.clone(),
            issuer: config.issuer.clone(),
            keys: Keys::read(config)?,
        })
    }

    pub(super) fn admit(&self, header: Option<&HeaderValue>, need: Option<&Need>) -> Outcome<Caller> {
        let Some(token) = header.and_then(|header| credentials(header, "bearer")) else {
            return Err(self.refusal(need, None));
        };
        let caller = self.caller(token).map_err(|why| {
            tracing::debug!(why, "a token was refused");
            self.refusal(need, Some("invalid_token"))
        })?;
        match need {
            Some(need) if !caller.may(need) => Err(self.refusal(Some(need), Some("insufficient_scope"))),
            _ => Ok(caller),
        }
    }

    fn caller(&self, token: &str) -> Result<Caller, &'static str> {
        let now = crate::server::storage::now();
        let claims = self.keys.verified(token, now)?;
        self.check(&claims, now)?;
        Ok(Caller { name: claims.sub, grants: Some(claims.access) })
    }

    fn check(&self, claims: &Claims, now: u64) -> Result<(), &'static str> {
        if claims.iss != self.issuer {
            return Err("it is of another issuer");
        }
        if !claims.aud.contains(&self.service) {
            return Err("it is for another service");
        }
        if claims.exp.saturating_add(LEEWAY) <= now {
            return Err("it has expired");
        }
        if claims.nbf.is_some_and(|begin| begin > now.saturating_add(LEEWAY)) {
            return Err("it is not valid yet");
        }
        Ok(())
    }

    fn refusal(&self, need: Option<&Need>, error: Option<&str>) -> Failure {
        let mut challenge =
            format!("Bearer realm=\"{}\",service=\"{}\"", self.realm, quotable(&self.service));
        if let Some(need) = need {
            challenge += &format!(",scope=\"{need}\"");
        }
        if let Some(error) = error {
            challenge += &format!(",error=\"{error}\"");
        }
        Failure::unauthorized(challenge)
    }
}

/// Clocks differ by this much, in seconds, as Docker's registry has it.
const LEEWAY: u64 = 60;
