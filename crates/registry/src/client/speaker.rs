//! Speaking with one place: the scheme is found out, challenges are answered, tokens are renewed, failing answers become
//! troubles.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fault::{Error, Result};
use hyper::header::HeaderValue;
use hyper::http::Uri;
use hyper::{Method, StatusCode};
use tokio::time::sleep;

use crate::client::address::same_place;
use crate::client::authorization::{Demand, basic, bearer, buy, merged_scopes, named_scopes, token_of};
use crate::client::challenge::Challenge;
use crate::client::dial::Plain;
use crate::client::exchange::{Answer, Ask};
use crate::client::registries::Host;
use crate::client::routes::{Place, Transport};
use crate::client::token::Purpose;
use crate::client::trouble::Trouble;
use crate::client::{Access, Credentials, Registries};

/// A place, and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) registries: Registries,
    pub(crate) place: Arc<Place>,
    scopes: Vec<String>,
}

impl Speaker {
    pub(crate) fn new(registries: &Registries, place: Place, scopes: Vec<String>) -> Self {
        Self { registries: registries.clone(), place: Arc::new(place), scopes }
    }

    pub(crate) fn of_repository(registries: &Registries, place: Place, access: Access) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "delete",
        };
        let scopes = vec![format!("repository:{}:{actions}", place.path)];
        Self::new(registries, place, scopes)
    }

    /// The same, who may also read another repository there.
    pub(crate) fn also_pulling(&self, repository: &str) -> Self {
        let mut scopes = self.scopes.clone();
        scopes.push(format!("repository:{repository}:pull"));
        Self { scopes: merged_scopes(scopes), ..self.clone() }
    }

    pub(crate) fn host(&self) -> Host {
        self.registries.host(&self.place.host)
    }

    /// Asks below the repository (`manifests/latest`), or below `/v2/` if there is none. Only a success is an answer.
    pub(crate) async fn ask(&self, method: Method, tail: &str) -> Result<Answer, Trouble> {
        self.ask_with(tail, |address| Ask::new(method.clone(), address)).await
    }

    /// The same with more in the request.
    pub(crate) async fn ask_with(&self, tail: &str, ask: impl Fn(Uri) -> Ask) -> Result<Answer, Trouble> {
        self.ask_by(Manner::Convincing, |scheme| Ok(ask(self.address(scheme, tail)?))).await
    }

    /// The same, again and again while it fails in passing.
    pub(crate) async fn ask_patiently(
        &self,
        tail: &str,
        ask: impl Fn(Uri) -> Ask,
    ) -> Result<Answer, Trouble> {
        let mut tries = self.tries();
        loop {
            match self.ask_with(tail, &ask).await {
                Err(trouble) => tries.after(trouble).await?,
                answer => return answer,
            }
        }
    }

    /// The same with all of the answer's body, which may have so many bytes.
    pub(crate) async fn fetch(
        &self,
        tail: &str,
        ask: impl Fn(Uri) -> Ask,
        bytes_max: u64,
    ) -> Result<(Answer, Bytes), Trouble> {
        let mut tries = self.tries();
        loop {
            let fetched = match self.ask_with(tail, &ask).await {
                Ok(answer) => answer.with_bytes(bytes_max).await,
                Err(trouble) => Err(trouble),
            };
            match fetched {
                Err(trouble) => tries.after(trouble).await?,
                fetched => return fetched,
            }
        }
    }

    /// Finds out how to reach the place: TLS is tried first, plain HTTP where the operator allows it. What worked is
    /// remembered for the host.
    pub(crate) async fn ask_by(
        &self,
        manner: Manner,
        ask: impl Fn(&'static str) -> Result<Ask, Trouble>,
    ) -> Result<Answer, Trouble> {
        let first = match self.place.transport {
            Transport::Plain => "http",
            _ => self.host().scheme.unwrap_or("https"),
        };
        let result = self.ask_so(manner, &ask(first)?).await;
        let Err(Trouble::Unreached { may_be_plain, .. }) = &result else {
            self.registries.learn(&self.place.host, |host| host.scheme = Some(first));
            return result;
        };
        self.registries.learn(&self.place.host, |host| host.scheme = None);
        let may_be_plain = *may_be_plain || self.place.transport == Transport::Insecure;
        if first == "http" || !may_be_plain {
            return result;
        }
        let result = self.ask_so(manner, &ask("http")?).await;
        if !matches!(result, Err(Trouble::Unreached { .. })) {
            self.registries.learn(&self.place.host, |host| host.scheme = Some("http"));
        }
        result
    }

    async fn ask_so(&self, manner: Manner, ask: &Ask) -> Result<Answer, Trouble> {
        match manner {
            Manner::Convincing => self.ask_at(ask).await,
            Manner::Bare => self.registries.inner.exchange.send(ask, None, self.plain()).await,
        }
    }

    /// Asks an address that the registry has named. Credentials go along only if that is the registry's own.
    pub(crate) async fn ask_at(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let scheme = ask.address.scheme_str().unwrap_or("https");
        let is_own = same_place(&ask.address, &self.address(scheme, "")?);
        let exchange = &self.registries.inner.exchange;
        let authorization = if is_own { self.authorization(ask).await? } else { None };
        let answer = exchange.send(ask, authorization.as_ref(), self.plain()).await?;
        // Whoever the registry redirects to must not choose a token server for its credentials.
        let may_challenge = is_own && same_place(&answer.address, &ask.address);
        if answer.status != StatusCode::UNAUTHORIZED || !may_challenge {
            return answer.judged().await;
        }
        let Some(authorization) = self.convince(ask, &answer, authorization.as_ref()).await? else {
            return answer.judged().await;
        };
        // What the first answer still had to say would keep its connection from being used again.
        drop(answer.judged().await);
        exchange.send(ask, Some(&authorization), self.plain()).await?.judged().await
    }

    pub(crate) fn tries(&self) -> Tries {
        Tries { registries: self.registries.clone(), failed: 0 }
    }

    /// What is sent unasked, by what the host wanted last.
    async fn authorization(&self, ask: &Ask) -> Result<Option<HeaderValue>, Trouble> {
        if let Credentials::Bearer { token } = &self.place.credentials {
            return Ok(Some(bearer(token)?));
        }
        match self.host().demand {
            None => Ok(None),
            Some(Demand::Basic) => self.password(),
            Some(Demand::Bearer { realm, service }) => {
                let purpose = self.purpose(realm, service);
                self.token(ask, &purpose, &self.scopes).await.map(Some)
            }
        }
    }

    /// Answers a 401. `None` if there is nothing better to say than what was said.
    async fn convince(
        &self,
        ask: &Ask,
        answer: &Answer,
        said: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Trouble> {
        if matches!(self.place.credentials, Credentials::Bearer { .. }) {
            return Ok(None);
        }
        let challenges: Vec<Challenge> = answer.challenges();
        let Some(demand) = Demand::choose(&challenges, &answer.address) else { return Ok(None) };
        self.registries.learn(&self.place.host, |host| host.demand = Some(demand.clone()));
        match demand {
            Demand::Basic => match self.password()? {
                None => {
                    Err(Error::unauthorized(format!("{}: no basic auth credentials", ask.words())).into())
                }
                password => Ok(password.filter(|password| Some(password) != said)),
            },
            Demand::Bearer { realm, service } => {
                let purpose = self.purpose(realm, service);
                if let Some(refused) = said.and_then(token_of) {
                    self.registries.inner.tokens.forget(&purpose, refused);
                }
                let scopes = [self.scopes.clone(), named_scopes(&challenges)].concat();
                self.token(ask, &purpose, &scopes).await.map(Some)
            }
        }
    }

    fn password(&self) -> Result<Option<HeaderValue>, Trouble> {
        match &self.place.credentials {
            Credentials::Basic { user, password } => Ok(Some(basic(user, password)?)),
            _ => Ok(None),
        }
    }

    /// A token that is kept, or a new one for these scopes. Tokens are found again by our own scopes.
    async fn token(&self, ask: &Ask, purpose: &Purpose, scopes: &[String]) -> Result<HeaderValue, Trouble> {
        let tokens = &self.registries.inner.tokens;
        if let Some(token) = tokens.find(purpose, sys::time::monotonic()) {
            return Ok(bearer(&token)?);
        }
        let wanted = Purpose { scopes: merged_scopes(scopes.to_vec()), ..purpose.clone() };
        let bought = buy(&self.registries.inner.exchange, &wanted, false, self.plain()).await;
        let token = bought.map_err(|trouble| match trouble {
            Trouble::Refused { refusal, .. } => Trouble::Refused { request: Some(ask.words()), refusal },
            other => other,
        })?;
        let header = bearer(&token.value)?;
        tokens.keep(purpose.clone(), token, sys::time::monotonic());
        Ok(header)
    }

    pub(crate) fn purpose(&self, realm: Uri, service: String) -> Purpose {
        Purpose { realm, service, scopes: self.scopes.clone(), credentials: self.place.credentials.clone() }
    }

    pub(crate) fn plain(&self) -> Plain {
        match self.place.transport {
            Transport::Secure => Plain::Listed,
            Transport::Insecure | Transport::Plain => Plain::Anywhere,
        }
    }

    pub(crate) fn address(&self, scheme: &str, tail: &str) -> Result<Uri, Trouble> {
        let Place { host, base, path, .. } = &*self.place;
        let slash = if path.is_empty() { "" } else { "/" };
        let text = format!("{scheme}://{host}{base}/v2/{path}{slash}{tail}");
        text.parse().map_err(|_| Error::invalid(format!("{text:?} is no address")).into())
    }
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With credentials where they are wanted; a failing answer is a trouble.
    Convincing,
    /// Without any; whatever comes is the answer.
    Bare,
}

/// Attempts at one thing, with the pauses of the configuration between them.
#[derive(Debug)]
pub(crate) struct Tries {
    registries: Registries,
    failed: u32,
}

impl Tries {
    /// Waits before the next attempt; the trouble comes back if there is to be none.
    pub(crate) async fn after(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        self.failed += 1;
        tracing::debug!(failed = self.failed, %trouble, "request failed");
        rest(self.registries.pause(self.failed, trouble)?).await;
        Ok(())
    }
}

/// A pause of nothing does not even yield.
pub(crate) async fn rest(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
}
