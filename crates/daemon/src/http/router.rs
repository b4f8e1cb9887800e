//! Which handler answers a method and a path.
//!
//! A path may begin with `/v1.NN`. A pattern has at most one `{}`, which stands for any text, slashes included, because
//! image names have them. The table is searched from its top, so literal patterns stand above those that would swallow
//! them.

use std::pin::Pin;

use fault::Result;
use hyper::Method;
use percent_encoding::percent_decode_str;

use super::answer::Answer;
use super::request::Request;
use super::version::Version;

pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) pattern: &'static str,
    pub(crate) handler: fn(Request) -> Pending,
    /// The handler may take the connection over.
    pub(crate) hijacks: bool,
}

/// A route that fits, and what the path says beside it.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) route: &'static Route,
    /// As asked for; not yet checked.
    pub(crate) version: Option<Version>,
    /// What stands at the pattern's `{}`, decoded.
    pub(crate) name: String,
}

/// The version in the path, if any, and the rest.
pub(crate) fn split_version(path: &str) -> (Option<Version>, &str) {
    let versioned = || {
        let (version, _) = path.strip_prefix("/v")?.split_once('/')?;
        Some((Version::parse(version)?, &path["/v".len() + version.len()..]))
    };
    match versioned() {
        Some((version, rest)) => (Some(version), rest),
        None => (None, path),
    }
}

pub(crate) fn find(routes: &'static [Route], method: &Method, path: &str) -> Option<Match> {
    let (version, rest) = split_version(path);
    let rest = percent_decode_str(rest).decode_utf8_lossy();
    let fits = |route: &'static Route| {
        let name = (route.method == *method).then(|| fit(route.pattern, &rest))??;
        Some(Match { route, version, name: name.to_owned() })
    };
    routes.iter().find_map(fits)
}

/// What stands at the `{}` of a pattern that fits the path; empty if it has none.
fn fit<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.split_once("{}") {
        None => (pattern == path).then_some(""),
        Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_slashes() {
        assert_eq!(fit("/images/{}/json", "/images/a.b:5000/c/d:e/json"), Some("a.b:5000/c/d:e"));
        assert_eq!(fit("/images/{}/json", "/images/json"), None);
        assert_eq!(fit("/containers/{}", "/containers/x"), Some("x"));
        assert_eq!(fit("/info", "/info"), Some(""));
        assert_eq!(fit("/info", "/info/x"), None);
    }

    #[test]
    fn the_version_is_optional() {
        assert_eq!(split_version("/v1.41/info"), (Some(Version::v1(41)), "/info"));
        assert_eq!(split_version("/info"), (None, "/info"));
        assert_eq!(split_version("/volumes/x"), (None, "/volumes/x"));
        assert_eq!(split_version("/v1.41"), (None, "/v1.41"));
    }
}
