//! `login`: are these credentials good? Nothing is stored here.

use fault::{Error, Result};

use crate::client::{Credentials, Registries};

/// What to ask.
#[derive(Clone, Debug)]
pub struct Login {
    /// As clients send it: `https://index.docker.io/v1/`, `host:port`, empty for docker.io.
    pub server: String,
    pub credentials: Credentials,
}

/// Asks the registry with the credentials; answers the identity token if its token server gave one, else an empty text.
/// `Denied`, with dockerd's text, if they are no good.
pub async fn login(registries: &Registries, login: &Login) -> Result<String> {
    drop((registries, login));
    Err(Error::unsupported("login"))
}
