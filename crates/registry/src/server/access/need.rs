//! What a request needs to be allowed, in the words of Docker's tokens (distribution, "Token Scope").

use std::fmt;

use hyper::Method;

use crate::server::route::Route;

/// An object of the registry, and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) actions: &'static [Action],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
    /// Everything.
    All,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::All => "*",
        }
    }
}

impl Need {
    pub(super) fn of_repository(name: &str, actions: &'static [Action]) -> Self {
        Self { kind: "repository", name: name.into(), actions }
    }

    /// `None` if it is enough to be known.
    pub(crate) fn of(route: &Route, method: &Method) -> Option<Self> {
        let repository = match route {
            Route::Base => return None,
            Route::Catalogue | Route::Metrics => {
                return Some(Self { kind: "registry", name: "catalog".into(), actions: &[Action::All] });
            }
            Route::Tags { name }
            | Route::Manifest { name, .. }
            | Route::Blob { name, .. }
            | Route::Uploads { name }
            | Route::Upload { name, .. }
            | Route::Referrers { name, .. } => name,
        };
        // Who may push may also give up what was not pushed yet.
        let is_upload = matches!(route, Route::Upload { .. });
        let actions: &[Action] = match *method {
            Method::GET | Method::HEAD => &[Action::Pull],
            Method::DELETE if !is_upload => &[Action::Delete],
            _ => &[Action::Pull, Action::Push],
        };
        Some(Self::of_repository(repository, actions))
    }
}

/// `repository:team/app:pull,push`.
impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.name()).collect();
        write!(out, "{}:{}:{}", self.kind, self.name, actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_need_what_they_do() {
        let check = |method: Method, path: &str, scope: &str| {
            let need = Need::of(&Route::of(path).unwrap(), &method);
            assert_eq!(need.map(|need| need.to_string()).unwrap_or_default(), scope, "{method} {path}");
        };
        let upload = "/v2/a/b/blobs/uploads/01234567-89ab-4cde-8f01-23456789abcd";
        check(Method::GET, "/v2/", "");
        check(Method::GET, "/v2/_catalog", "registry:catalog:*");
        check(Method::GET, "/v2/a/b/manifests/1", "repository:a/b:pull");
        check(Method::HEAD, "/v2/a/b/tags/list", "repository:a/b:pull");
        check(Method::PUT, "/v2/a/b/manifests/1", "repository:a/b:pull,push");
        check(Method::PATCH, upload, "repository:a/b:pull,push");
        check(Method::DELETE, upload, "repository:a/b:pull,push");
        check(Method::DELETE, "/v2/a/b/manifests/1", "repository:a/b:delete");
    }
}
