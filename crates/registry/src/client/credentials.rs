//! Who asks.

use std::fmt;

/// What a client sends along in `X-Registry-Auth`, sorted out.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    #[default]
    Anonymous,
    /// A user and a password (or an access token in its place).
    Basic { user: String, password: String },
    /// A refresh token that a login gave; it buys tokens from the token server.
    Identity { token: String },
    /// A token for the registry itself, sent as it is.
    Bearer { token: String },
}

/// Shows which kind, never the secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => out.write_str("Anonymous"),
            Self::Basic { user, .. } => write!(out, "Basic {{ user: {user:?} }}"),
            Self::Identity { .. } => out.write_str("Identity"),
            Self::Bearer { .. } => out.write_str("Bearer"),
        }
    }
}
