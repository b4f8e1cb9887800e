//! Why a request did not succeed, as far as the next step depends on it: another attempt, another place, or the end.

use std::fmt;

use fault::{Error, Kind};
use oci::Reference;

use crate::client::refusal::Refusal;

#[derive(Debug)]
pub(crate) enum Trouble {
    /// No connection: nobody has seen the request.
    Unreached { request: String, why: String, may_be_plain: bool },
    /// The connection broke, or nothing came any more.
    Broken { request: String, why: String },
    /// The registry or its token server said no.
    Refused { request: Option<String>, refusal: Refusal },
    /// Not the network's doing.
    Ours(Error),
}

impl Trouble {
    /// Another attempt may go better.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            // A connection is not made for good reasons mostly; dockerd asks once, too.
            Self::Unreached { .. } | Self::Ours(_) => false,
            Self::Broken { .. } => true,
            Self::Refused { refusal, .. } => refusal.is_passing(),
        }
    }

    /// Another attempt at a transfer that had begun: the network may have been away for a while.
    pub(crate) fn is_passing_for_transfers(&self) -> bool {
        matches!(self, Self::Unreached { .. }) || self.is_passing()
    }

    /// Another registry may do better; a full disk here will not.
    pub(crate) fn is_theirs(&self) -> bool {
        !matches!(self, Self::Ours(error) if error.errno().is_some())
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.is_not_found())
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.status),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused { refusal, .. } => refusal.retry_after,
            _ => None,
        }
    }

    /// The error of a pull of this name.
    pub(crate) fn of_pull(self, reference: &Reference) -> Error {
        match self {
            Self::Refused { request: None, refusal } => refusal.of_pull(reference),
            other => other.into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached { request, why, .. } | Self::Broken { request, why } => {
                write!(out, "{request}: {why}")
            }
            Self::Refused { request: Some(request), refusal } => write!(out, "{request}: {}", refusal.text),
            Self::Refused { request: None, refusal } => out.write_str(&refusal.text),
            Self::Ours(error) => error.fmt(out),
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Ours(error) => error,
            Trouble::Refused { request, refusal } => {
                let error = Self::from(refusal);
                request.into_iter().fold(error, Self::doing)
            }
            other => Self::new(Kind::Unavailable, other.to_string()),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}
