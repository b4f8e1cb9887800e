//! A program that keeps secrets: `docker-credential-<name> get|store|erase`, asked over its standard streams.
//!
//! Its protocol is Docker's: the server, or a document, goes in; a document or a complaint comes out; the code tells
//! which.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
#[cfg(test)]
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use api::registry::AuthConfig;
use fault::{Error, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(super) struct Helper {
    program: OsString,
}

/// What goes in and comes out.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// Stands in the user's place where the secret is a refresh token.
const TOKEN: &str = "<token>";

/// The complaint of all helpers that know nothing of a server.
const NOT_FOUND: &str = "credentials not found in native keychain";

impl Helper {
    pub(super) fn new(name: &str) -> Self {
        Self { program: format!("docker-credential-{name}").into() }
    }

    #[cfg(test)]
    pub(super) fn at(program: &Path) -> Self {
        Self { program: program.into() }
    }

    pub(super) fn get(&self, server: &str) -> Result<Option<AuthConfig>> {
        let answer = match self.ask("get", server.as_bytes()) {
            Ok(answer) => answer,
            Err(Refusal { said, .. }) if said == NOT_FOUND => return Ok(None),
            Err(refusal) => return Err(refusal.error("getting")),
        };
        let Document { username, secret, .. } =
            serde_json::from_str(&answer).map_err(|error| Error::invalid(error.to_string()))?;
        let nobody = AuthConfig { serveraddress: server.to_owned(), ..AuthConfig::default() };
        Ok(Some(match username.as_str() {
            TOKEN => AuthConfig { identitytoken: secret, ..nobody },
            _ => AuthConfig { username, password: secret, ..nobody },
        }))
    }

    pub(super) fn store(&self, auth: &AuthConfig) -> Result<()> {
        let (username, secret) = match auth.identitytoken.as_str() {
            "" => (auth.username.clone(), auth.password.clone()),
            token => (TOKEN.to_owned(), token.to_owned()),
        };
        let document = Document { server_url: auth.serveraddress.clone(), username, secret };
        let mut input = serde_json::to_vec(&document).expect("strings are JSON");
        input.push(b'\n');
        self.ask("store", &input).map(drop).map_err(|refusal| refusal.error("storing"))
    }

    pub(super) fn erase(&self, server: &str) -> Result<()> {
        self.ask("erase", server.as_bytes()).map(drop).map_err(|refusal| refusal.error("erasing"))
    }

    #[expect(clippy::disallowed_methods, reason = "helpers are products of their own, chosen by the user")]
    fn ask(&self, verb: &str, input: &[u8]) -> Result<String, Refusal> {
        let mut child = std::process::Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that does not read ends by itself, and its words tell why.
        stdin.write_all(input).ok();
        drop(stdin);
        let mut said = Vec::new();
        let stdout = child.stdout.take().expect("it is piped");
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut said);
        let status = child.wait().and_then(|status| read.map(|_| status));
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        match status {
            Ok(status) if status.success() => Ok(said),
            Ok(status) => Err(Refusal { why: ended(status), said }),
            Err(error) => Err(Refusal { why: error.to_string(), said }),
        }
    }

    fn not_started(&self, error: &std::io::Error) -> Refusal {
        let program = self.program.to_string_lossy();
        let why = match error.kind() {
            ErrorKind::NotFound if !program.contains('/') => {
                format!("exec: {program:?}: executable file not found in $PATH")
            }
            _ => format!("fork/exec {program}: {error}"),
        };
        Refusal { why, said: String::new() }
    }
}

/// In Go's words.
fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// Why a helper did not do as asked, and what it said.
struct Refusal {
    why: String,
    said: String,
}

impl Refusal {
    fn error(self, doing: &str) -> Error {
        let Self { why, said } = self;
        Error::internal(format!("error {doing} credentials - err: {why}, out: `{said}`"))
    }
}

/// Far above any secret; a helper that runs wild must not fill the memory.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
