//! Files of keys, and the passwords that open them.

use fault::{Doing, Error, Result};
use trust::{PrivateKey, PublicKey};

use crate::exit::{Exit, Outcome};
use crate::terminal;

/// Opens a private key; whoever has sealed it is asked for the password unless the environment knows it.
pub(super) async fn private(path: &str) -> Outcome<PrivateKey> {
    if path.is_empty() {
        return Err(Exit::failure("a private key is needed: --key FILE"));
    }
    let text = text(path)?;
    let password = if PrivateKey::is_sealed(&text) { password(path).await? } else { String::new() };
    Ok(PrivateKey::from_pem(&text, password.as_bytes()).doing(|| path.to_owned())?)
}

pub(super) fn public(paths: &[String]) -> Outcome<Vec<PublicKey>> {
    if paths.is_empty() {
        return Err(Exit::failure("a public key is needed: --key FILE"));
    }
    let key = |path: &String| PublicKey::from_pem(&text(path)?).doing(|| path.clone());
    Ok(paths.iter().map(key).collect::<Result<_>>()?)
}

/// A password for a new key.
pub(super) async fn new_password(path: &str) -> Outcome<String> {
    let first = password(path).await?;
    if given().is_none() && terminal::ask_silently("The same again: ").await? != first {
        return Err(Exit::failure("the passwords differ"));
    }
    Ok(first)
}

async fn password(path: &str) -> Outcome<String> {
    match given() {
        Some(password) => Ok(password),
        None if terminal::input_is_terminal() => {
            terminal::ask_silently(&format!("Password of {path}: ")).await
        }
        None => {
            Err(Exit::failure(format!("no password for {path}: set {} or run in a terminal", VARIABLES[0])))
        }
    }
}

fn given() -> Option<String> {
    VARIABLES.iter().find_map(|name| std::env::var(name).ok())
}

fn text(path: &str) -> Result<String> {
    let bytes = sys::fs::read_bounded(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{path} is not text")))
}

/// An empty password is one, too.
const VARIABLES: [&str; 2] = ["KOGGE_KEY_PASSWORD", "COSIGN_PASSWORD"];
const FILE_BYTES_MAX: u64 = 64 << 10;
