//! What a registry says when it does not do what it was asked (distribution-spec, "Error Codes"; RFC 6750, 3.1), and
//! Docker's words for it.

use std::time::Duration;

use fault::{Error, Kind};
use oci::Reference;
use serde::Deserialize;

use crate::client::challenge::Challenge;

/// A failing answer, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// `MANIFEST_UNKNOWN`; empty if none was told.
    pub(crate) code: &'static str,
    /// As Docker's client words it: `manifest unknown: …`.
    pub(crate) text: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn read(status: u16, challenges: &[Challenge], body: &[u8]) -> Self {
        let (code, text) = told(status, challenges, body);
        Self { status, code, text, retry_after: None }
    }

    /// Trying again may help: the server is busy or broken for now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 500 | 502..=504) || self.status == 429 && self.retry_after.is_some()
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status == 404 || matches!(self.code, "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN")
    }

    /// The error of a pull (moby, distribution/errors.go: what is denied may as well not exist).
    pub(crate) fn of_pull(self, reference: &Reference) -> Error {
        let words = match self.code {
            "DENIED" => format!(
                "pull access denied for {}, repository does not exist or may require 'docker login'",
                reference.familiar_name()
            ),
            "MANIFEST_UNKNOWN" => format!("manifest for {} not found", reference.familiar()),
            "NAME_UNKNOWN" => format!("repository {} not found", reference.familiar_name()),
            _ => return self.into(),
        };
        Error::not_found(format!("{words}: {}", self.text))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match (refusal.code, refusal.status) {
            ("UNAUTHORIZED", _) | (_, 401) => Kind::Unauthorized,
            ("DENIED", _) | (_, 403) => Kind::Denied,
            (_, 404) => Kind::NotFound,
            ("UNSUPPORTED", _) | (_, 405) => Kind::Unsupported,
            (_, 400..=499) if refusal.status != 429 => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, refusal.text)
    }
}

/// Code and words, as Docker's distribution client reads an answer.
fn told(status: u16, challenges: &[Challenge], body: &[u8]) -> (&'static str, String) {
    if !(400..500).contains(&status) {
        let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        return ("", format!("received unexpected HTTP status: {status} {}", reason.unwrap_or_default()));
    }
    if let Some(coded) = challenges.iter().find_map(of_challenge) {
        return coded;
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { details: Some(details), .. }) if !details.is_empty() => coded(by_status(status), &details),
        Ok(Body { errors, .. }) => match errors.as_ref().and_then(|errors| errors.first()) {
            Some(first) => coded(known(&first.code), first.message.as_deref().unwrap_or_default()),
            None => unread(status, "no error details found in HTTP response body", body),
        },
        Err(error) => unread(status, &syntax(&error, body), body),
    }
}

fn of_challenge(challenge: &Challenge) -> Option<(&'static str, String)> {
    let code = match challenge.parameter("error")? {
        "invalid_token" => "UNAUTHORIZED",
        "insufficient_scope" => "DENIED",
        _ => return None,
    };
    let description = challenge.parameter("error_description").unwrap_or_default();
    (challenge.scheme == "bearer").then(|| coded(code, description))
}

fn coded(code: &'static str, message: &str) -> (&'static str, String) {
    let words = code.to_ascii_lowercase().replace('_', " ");
    let message = if message.is_empty() { usual_message(code) } else { message };
    (code, format!("{words}: {}", printable(message)))
}

fn unread(status: u16, why: &str, body: &[u8]) -> (&'static str, String) {
    if status == 401 {
        return coded("UNAUTHORIZED", "");
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]);
    ("", format!("error parsing HTTP {status} response body: {why}: {shown:?}"))
}

/// Go's words for what stands at the beginning of most answers that are not JSON.
fn syntax(error: &serde_json::Error, body: &[u8]) -> String {
    match body.trim_ascii_start().first() {
        None => "unexpected end of JSON input".into(),
        Some(first) if !b"{[\"0123456789-tfn".contains(first) => {
            format!("invalid character {:?} looking for beginning of value", char::from(*first))
        }
        Some(_) => error.to_string(),
    }
}

/// What a registry writes ends up on terminals.
fn printable(message: &str) -> String {
    let shown = message.chars().take(SHOWN_BYTES_MAX);
    shown.map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The codes that Docker's client knows; it calls all others `unknown`.
fn known(code: &str) -> &'static str {
    MESSAGES.iter().map(|(known, _)| *known).find(|known| *known == code).unwrap_or("UNKNOWN")
}

fn usual_message(code: &str) -> &'static str {
    MESSAGES.iter().find(|(known, _)| *known == code).map_or("unknown error", |(_, message)| message)
}

fn by_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    }
}

#[derive(Deserialize)]
struct Body {
    errors: Option<Vec<One>>,
    /// What some token servers write in place of errors.
    details: Option<String>,
}

#[derive(Deserialize)]
struct One {
    code: String,
    message: Option<String>,
}

/// Codes and the messages that stand for them when a registry gives none.
const MESSAGES: &[(&str, &str)] = &[
    ("UNKNOWN", "unknown error"),
    ("UNSUPPORTED", "The operation is unsupported."),
    ("UNAUTHORIZED", "authentication required"),
    ("DENIED", "requested access to the resource is denied"),
    ("UNAVAILABLE", "service unavailable"),
    ("TOOMANYREQUESTS", "too many requests"),
    ("DIGEST_INVALID", "provided digest did not match uploaded content"),
    ("SIZE_INVALID", "provided length did not match content length"),
    ("NAME_INVALID", "invalid repository name"),
    ("TAG_INVALID", "manifest tag did not match URI"),
    ("NAME_UNKNOWN", "repository name not known to registry"),
    ("MANIFEST_UNKNOWN", "manifest unknown"),
    ("MANIFEST_INVALID", "manifest invalid"),
    ("MANIFEST_UNVERIFIED", "manifest failed signature verification"),
    ("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
    ("BLOB_UPLOAD_INVALID", "blob upload invalid"),
];

/// A message for people, not a page.
const SHOWN_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::challenge;

    fn read(status: u16, authenticate: &str, body: &str) -> Refusal {
        Refusal::read(status, &challenge::parse(authenticate), body.as_bytes())
    }

    fn pull(refusal: Refusal) -> (Kind, String) {
        let error = refusal.of_pull(&Reference::parse("me/app:1").unwrap());
        (error.kind(), error.to_string())
    }

    #[test]
    fn pulls_fail_with_docker_s_words() {
        let check =
            |refusal: Refusal, kind: Kind, words: &str| assert_eq!(pull(refusal), (kind, words.to_owned()));
        check(
            read(
                404,
                "",
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
            ),
            Kind::NotFound,
            "manifest for me/app:1 not found: manifest unknown: manifest unknown",
        );
        check(
            read(
                401,
                r#"Bearer realm="x",error="insufficient_scope""#,
                r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
            ),
            Kind::NotFound,
            "pull access denied for me/app, repository does not exist or may require 'docker login': denied: requested \
             access to the resource is denied",
        );
        check(
            read(
                404,
                "",
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#,
            ),
            Kind::NotFound,
            "repository me/app not found: name unknown: repository name not known to registry",
        );
        check(
            read(
                401,
                "Bearer realm=x",
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            ),
            Kind::Unauthorized,
            "unauthorized: authentication required",
        );
        check(
            read(
                429,
                "",
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#,
            ),
            Kind::Unavailable,
            "toomanyrequests: You have reached your pull rate limit.",
        );
    }

    #[test]
    fn other_answers_are_shown() {
        let check = |refusal: Refusal, words: &str| assert_eq!(refusal.text, words);
        check(read(500, "", "boom"), "received unexpected HTTP status: 500 Internal Server Error");
        check(
            read(404, "", "<html>"),
            "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>\"",
        );
        check(read(404, "", ""), "error parsing HTTP 404 response body: unexpected end of JSON input: \"\"");
        check(
            read(400, "", "{}"),
            "error parsing HTTP 400 response body: no error details found in HTTP response body: \"{}\"",
        );
        check(read(401, "", "no"), "unauthorized: authentication required");
        check(
            read(401, "", r#"{"details":"incorrect username or password"}"#),
            "unauthorized: incorrect username or password",
        );
        check(read(400, "", r#"{"errors":[{"code":"ODD","message":"a\u001bb"}]}"#), "unknown: a\u{fffd}b");
    }

    #[test]
    fn what_passes_is_known() {
        let passing = |status: u16| read(status, "", "").is_passing();
        assert!([500, 502, 503, 504, 408].into_iter().all(passing));
        assert!(![400, 401, 403, 404, 429, 501].into_iter().any(passing));
    }
}
