//! Speaking with one place: the scheme is found out, challenges are answered, tokens are renewed, failing answers become
//! troubles.

use std::sync::Arc;
use std::time::Duration;

use fault::{Error, Result};
use hyper::header::HeaderValue;
use hyper::http::Uri;
use hyper::{Method, StatusCode};
use tokio::time::sleep;

use crate::client::address::same_place;
use crate::client::authorization::{Demand, basic, bearer, buy, merged_scopes, named_scopes};
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
        let ask = &ask;
        self.with_scheme(|scheme| async move { self.ask_at(&ask(self.address(scheme, tail)?)).await }).await
    }

    /// Finds out how to reach the place: TLS is tried first, plain HTTP where the operator allows it. What worked is
    /// remembered for the host.
    pub(crate) async fn with_scheme<T, A>(&self, attempt: impl Fn(&'static str) -> A) -> Result<T, Trouble>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let first = match self.place.transport {
            Transport::Plain => "http",
            _ => self.host().scheme.unwrap_or("https"),
        };
        let result = attempt(first).await;
        let Err(Trouble::Unreached { may_be_plain, .. }) = &result else {
            self.registries.learn(&self.place.host, |host| host.scheme = Some(first));
            return result;
        };
        self.registries.learn(&self.place.host, |host| host.scheme = None);
        let may_be_plain = *may_be_plain || self.place.transport == Transport::Insecure;
        if first == "http" || !may_be_plain {
            return result;
        }
        let result = attempt("http").await;
        if !matches!(result, Err(Trouble::Unreached { .. })) {
            self.registries.learn(&self.place.host, |host| host.scheme = Some("http"));
        }
        result
    }

    /// Asks an address that the registry has named. Credentials go along only if that is the registry's own.
    pub(crate) async fn ask_at(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let scheme = ask.address.scheme_str().unwrap_or("https");
        let is_own = same_place(&ask.address, &self.address(scheme, "")?);
        let exchange = &self.registries.inner.exchange;
        let authorization = if is_own { self.authorization(ask).await? } else { None };
        let answer = exchange.send(ask, authorization.as_ref(), self.plain()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !is_own {
            return answer.judged().await;
        }
        let Some(authorization) = self.convince(ask, &answer, authorization.as_ref()).await? else {
            return answer.judged().await;
        };
        // What the first answer still had to say would keep its connection from being used again.
        drop(answer.judged().await);
        exchange.send(ask, Some(&authorization), self.plain()).await?.judged().await
    }

    /// Repeats what fails in passing, with the pauses of the configuration.
    pub(crate) async fn retrying<T, A>(&self, attempt: impl Fn() -> A) -> Result<T, Trouble>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let mut failed = 0;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(trouble) => {
                    failed += 1;
                    tracing::debug!(host = self.place.host, failed, %trouble, "request failed");
                    rest(self.registries.pause(failed, trouble)?).await;
                }
            }
        }
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
                self.registries.inner.tokens.forget(&purpose);
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

/// A pause of nothing does not even yield.
pub(crate) async fn rest(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
}
