//! The one error type of all crates: a kind that callers branch on, what was being done, and the source.
//!
//! The text reads from the outermost intent to the innermost fact, as Docker's messages do:
//! `starting container 4f1: openat2 /run/x/rootfs: No such file or directory (os error 2)`.
//! It knows neither HTTP nor exit codes; the doors translate kinds.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::{fmt, io};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The object's state, or another object, is in the way.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// Nothing to do: the object is in the wanted state already.
    Unchanged,
    /// The caller may not do this.
    Denied,
    /// Whoever asks gave no credentials, or wrong ones.
    Unauthorized,
    /// Known and named, but this build does not do it.
    Unsupported,
    /// Something outside is missing for now (a peer, space, a resource).
    Unavailable,
    /// Our own mistake, or the kernel said something unexpected.
    Internal,
}

/// An error: its kind, the intents around it (outermost first) and what was found at the bottom.
pub struct Error {
    kind: Kind,
    doing: Vec<Cow<'static, str>>,
    message: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, doing: Vec::new(), message: message.into(), source: None }
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn unchanged(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unchanged, message)
    }

    pub fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Denied, message)
    }

    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthorized, message)
    }

    /// The message becomes `not supported: <what>`.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(Kind::Unsupported, format!("not supported: {what}"))
    }

    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A failed system call or file operation: `what` names the call and the path.
    pub fn io(what: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::AlreadyExists => Kind::Conflict,
            io::ErrorKind::PermissionDenied => Kind::Denied,
            io::ErrorKind::InvalidInput => Kind::Invalid,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Unavailable,
            _ => Kind::Internal,
        };
        Self { kind, doing: Vec::new(), message: what.into(), source: Some(Box::new(source)) }
    }

    /// Adds a source to an error made from text.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Replaces the kind, where a caller knows better what the failure means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds what was being tried, in front of what is there.
    #[must_use]
    pub fn doing(mut self, intent: impl Into<Cow<'static, str>>) -> Self {
        self.doing.push(intent.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno at the bottom, if a system call failed.
    pub fn errno(&self) -> Option<i32> {
        let source = self.source.as_deref()?;
        if let Some(error) = source.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        source.downcast_ref::<Self>().and_then(Self::errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for intent in self.doing.iter().rev() {
            write!(out, "{intent}: ")?;
        }
        write!(out, "{}", self.message)?;
        match &self.source {
            Some(source) => write!(out, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The source's text is part of ours already; only its own source follows.
        self.source.as_deref().and_then(std::error::Error::source)
    }
}

/// Adds intents to results on their way up.
pub trait Doing<T> {
    /// `read(path).doing(|| format!("loading image {name}"))`
    fn doing<S: Into<Cow<'static, str>>>(self, intent: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for Result<T> {
    fn doing<S: Into<Cow<'static, str>>>(self, intent: impl FnOnce() -> S) -> Self {
        self.map_err(|error| error.doing(intent()))
    }
}

/// Gives an `io::Error` the call and path that it lacks.
pub trait Call<T> {
    /// `file.sync_all().call(|| format!("fsync {}", path.display()))`
    fn call<S: Into<Cow<'static, str>>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<io::Error>> Call<T> for std::result::Result<T, E> {
    fn call<S: Into<Cow<'static, str>>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::io(what(), error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_from_intent_to_fact() {
        let bottom: std::result::Result<(), _> = Err(io::Error::from_raw_os_error(2));
        let error = bottom
            .call(|| "openat2 /run/x/rootfs")
            .doing(|| "mounting the root")
            .doing(|| "starting container 4f1")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "starting container 4f1: mounting the root: openat2 /run/x/rootfs: No such file or directory (os error 2)"
        );
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.errno(), Some(2));
    }

    #[test]
    fn errno_is_found_through_an_inner_error() {
        let inner = Error::io("unlink /a", io::Error::from_raw_os_error(28));
        let outer = Error::internal("removing layer").with_source(inner);
        assert_eq!(outer.errno(), Some(28));
    }

    #[test]
    fn unsupported_says_so() {
        assert_eq!(Error::unsupported("--gpus").to_string(), "not supported: --gpus");
    }
}
