//! What goes wrong, in the words of the specification (distribution-spec, "Error Codes").

use fault::{Error, Kind};
use hyper::StatusCode;
use serde_json::json;

pub(crate) type Outcome<T> = Result<T, Failure>;

/// An error that a client is told: a status, a code that programs branch on, and a sentence.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    code: &'static str,
    message: String,
    /// What a client that is not known has to bring: the `WWW-Authenticate` of the answer.
    pub(crate) challenge: Option<String>,
    /// Only for the log: what is wrong on our side is nobody else's business.
    pub(crate) source: Option<Box<Error>>,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None, source: None }
    }

    pub(crate) fn blob_unknown(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("blob unknown to registry: {what}"))
    }

    pub(crate) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    }

    pub(crate) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    /// The chunk does not begin where the last one ended.
    pub(crate) fn out_of_order(message: impl Into<String>) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
    }

    pub(crate) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(crate) fn size_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
    }

    pub(crate) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(crate) fn manifest_too_large(bytes_max: u64) -> Self {
        let message = format!("manifests are at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
    }

    pub(crate) fn manifest_unknown(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("manifest unknown: {what}"))
    }

    /// Something that a manifest refers to is not in its repository.
    pub(crate) fn manifest_blob_unknown(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", format!("blob unknown to registry: {what}"))
    }

    pub(crate) fn name_invalid() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name")
    }

    pub(crate) fn name_unknown(name: &str) -> Self {
        let message = format!("repository name not known to registry: {name}");
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "page not found")
    }

    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported")
    }

    pub(crate) fn unauthorized(challenge: String) -> Self {
        let unauthorized = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        Self { challenge: Some(challenge), ..unauthorized }
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// The client stopped in the middle.
    pub(crate) fn stalled() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID", "nothing came for too long")
    }

    pub(crate) fn read_only() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only")
    }

    /// What other registries have is theirs to change.
    pub(crate) fn cached() -> Self {
        let message = "this is a copy of another registry: nothing can be pushed or deleted";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    /// The registry behind this one does not do its part.
    pub(crate) fn upstream(error: Error) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "UNKNOWN", format!("upstream registry: {error}"))
    }

    pub(crate) fn too_many(message: String) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
    }

    /// What another request was told before.
    pub(crate) fn of_status(status: StatusCode, message: String) -> Self {
        Self::new(status, "UNKNOWN", message)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    pub(crate) fn range() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the range lies outside of the blob")
    }

    pub(crate) fn query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
    }

    /// The client broke off, or sent what is no HTTP.
    pub(crate) fn body(error: impl std::fmt::Display) -> Self {
        Self::upload_invalid(format!("the body broke off: {error}"))
    }

    /// For the operator, who may know what happened on our side.
    pub(crate) fn into_error(self) -> Error {
        self.source.map_or_else(|| Error::internal(self.message), |error| *error)
    }

    /// `{"errors": […]}`.
    pub(crate) fn body_json(&self) -> Vec<u8> {
        json!({"errors": [{"code": self.code, "message": self.message, "detail": null}]})
            .to_string()
            .into_bytes()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

/// Errors from below are ours, but for a full disk, which the client may wait out.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, message) = match error.kind() {
            Kind::Unavailable => {
                (StatusCode::INSUFFICIENT_STORAGE, "the registry has no room or no access to its disk")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal error of the registry"),
        };
        Self { source: Some(Box::new(error)), ..Self::new(status, "UNKNOWN", message) }
    }
}
