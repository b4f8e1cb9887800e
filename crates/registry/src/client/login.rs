//! `login`: are these credentials good? Nothing is stored here.

use fault::{Error, Kind, Result};
use hyper::{Method, StatusCode};

use crate::client::address::same_place;
use crate::client::authorization::{Demand, basic, bearer, buy};
use crate::client::exchange::{Answer, Ask};
use crate::client::routes::DOCKER_IO;
use crate::client::speaker::{Manner, Speaker};
use crate::client::{Credentials, Registries};

/// What to ask.
#[derive(Clone, Debug)]
pub struct Login {
    /// As clients send it: `https://index.docker.io/v1/`, `host:port`, empty for docker.io.
    pub server: String,
    pub credentials: Credentials,
}

/// Asks the registry with the credentials; answers the identity token if its token server gave one, else an empty text.
/// `Unauthorized`, with dockerd's text, if they are no good.
pub async fn login(registries: &Registries, login: &Login) -> Result<String> {
    let place = registries.inner.routes.registry(domain(&login.server), &login.credentials)?;
    let speaker = Speaker::new(registries, place, Vec::new());
    let first = |scheme| Ok(Ask::new(Method::GET, speaker.address(scheme, "")?));
    let answer = speaker.ask_by(Manner::Bare, first).await?;
    let ask = Ask::new(Method::GET, speaker.address(speaker.host().scheme.unwrap_or("https"), "")?);
    // Whoever the registry redirects to must not choose a token server for its credentials.
    if answer.status != StatusCode::UNAUTHORIZED || !same_place(&answer.address, &ask.address) {
        return answered(&ask, &answer).map(|()| String::new());
    }
    let demand = Demand::choose(&answer.challenges(), &answer.address);
    drop(answer.judged().await);
    let (secret, identity) = match (demand, &login.credentials) {
        (_, Credentials::Bearer { token }) => (bearer(token)?, String::new()),
        (Some(Demand::Basic), Credentials::Basic { user, password }) => {
            (basic(user, password)?, String::new())
        }
        (Some(Demand::Bearer { realm, service }), _) => {
            let purpose = speaker.purpose(realm, service);
            let token = buy(&registries.inner.exchange, &purpose, true, speaker.plain()).await;
            let token = token.map_err(|trouble| Error::from(trouble).doing(ask.words()))?;
            (bearer(&token.value)?, token.identity.unwrap_or_default())
        }
        _ => return Err(Error::unauthorized(format!("{}: no basic auth credentials", ask.words()))),
    };
    let answer = registries.inner.exchange.send(&ask, Some(&secret), speaker.plain()).await?;
    answered(&ask, &answer).map(|()| identity)
}

fn answered(ask: &Ask, answer: &Answer) -> Result<()> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let kind = if answer.status == StatusCode::UNAUTHORIZED { Kind::Unauthorized } else { Kind::Unavailable };
    Err(Error::new(kind, format!("login attempt to {} failed with status: {}", ask.address, answer.status)))
}

/// The registry of a server as clients name it.
fn domain(server: &str) -> &str {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    match host.split('/').next().unwrap_or_default() {
        "" => DOCKER_IO,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_many_ways() {
        assert_eq!(domain(""), "docker.io");
        assert_eq!(domain("https://index.docker.io/v1/"), "index.docker.io");
        assert_eq!(domain("host:5000"), "host:5000");
        assert_eq!(domain("http://host:5000/v2/"), "host:5000");
    }
}
