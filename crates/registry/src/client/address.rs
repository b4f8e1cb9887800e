//! Addresses that registries name: the next page, an upload's location, a redirect. Foreign text, read in one place.

use fault::{Error, Result};
use hyper::http::Uri;
use hyper::http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where a reference leads from an address (RFC 3986, 5.2), for `http` and `https`. `Invalid` for anything else.
pub fn join(base: &Uri, reference: &str) -> Result<Uri> {
    let invalid = || Error::invalid(format!("invalid location {reference:?}"));
    let reference = reference.trim();
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    let scheme = base.scheme_str().ok_or_else(invalid)?;
    let authority = base.authority().ok_or_else(invalid)?;
    let text = if has_scheme(reference) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.is_empty() || reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{reference}")
    };
    let joined: Uri = text.parse().map_err(|_| invalid())?;
    let is_web = matches!(joined.scheme_str(), Some("http" | "https"));
    // A user's name in front of the host has no place in what a registry names.
    let is_plain = joined.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if is_web && is_plain && joined.host().is_some_and(|host| !host.is_empty()) {
        Ok(joined)
    } else {
        Err(invalid())
    }
}

/// The same address with more in its query; names and values are escaped here.
pub(crate) fn with_query(address: &Uri, pairs: &[(&str, &str)]) -> Uri {
    let mut target = address.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    for (name, value) in pairs {
        let before = match (target.contains('?'), target.ends_with(['?', '&'])) {
            (false, _) => "?",
            (true, false) => "&",
            (true, true) => "",
        };
        target = format!("{target}{before}{}={}", escaped(name), escaped(value));
    }
    let mut parts = address.clone().into_parts();
    parts.path_and_query = Some(target.parse().expect("an address stays one when escaped text is added"));
    Uri::from_parts(parts).expect("only path and query were replaced")
}

/// Safe in a query, and in a form.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The same scheme, host and port: what may see the same secrets.
pub fn same_place(one: &Uri, other: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// The port that is meant.
pub(crate) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// The host without the brackets of an IPv6 address.
pub(crate) fn bare_host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_inner)
}

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "https://host:5000/v2/a/blobs/uploads/?x=1";

    fn joined(reference: &str) -> Result<String, String> {
        let uri = join(&BASE.parse().unwrap(), reference);
        uri.map(|uri| uri.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_forms_lead_somewhere() {
        let check = |reference: &str, expected: &str| assert_eq!(joined(reference).unwrap(), expected);
        check("https://cdn.example/b?sig=a%2Fb", "https://cdn.example/b?sig=a%2Fb");
        check("//cdn.example/b", "https://cdn.example/b");
        check("/v2/a/blobs/uploads/7?state=s", "https://host:5000/v2/a/blobs/uploads/7?state=s");
        check("7?state=s", "https://host:5000/v2/a/blobs/uploads/7?state=s");
        check("?last=x", "https://host:5000/v2/a/blobs/uploads/?last=x");
        check("", "https://host:5000/v2/a/blobs/uploads/");
        check("/b#part", "https://host:5000/b");
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for reference in [
            "ftp://a/b",
            "file:///etc/passwd",
            "javascript:1",
            "https://",
            "https://user@host/",
            "/\u{7f}",
            "/a b",
        ] {
            assert!(joined(reference).is_err(), "{reference}: {:?}", joined(reference));
        }
    }

    #[test]
    fn queries_grow_escaped() {
        let check = |address: &str, expected: &str| {
            let uri = with_query(&address.parse().unwrap(), &[("a", "b:c/d"), ("e", "&")]);
            assert_eq!(uri.to_string(), expected);
        };
        check("http://h/t", "http://h/t?a=b%3Ac%2Fd&e=%26");
        check("http://h/t?x=1", "http://h/t?x=1&a=b%3Ac%2Fd&e=%26");
        check("http://h/t?", "http://h/t?a=b%3Ac%2Fd&e=%26");
        check("http://h", "http://h/?a=b%3Ac%2Fd&e=%26");
    }

    #[test]
    fn places_differ_by_scheme_host_and_port() {
        let same = |one: &str, other: &str| same_place(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("https://Host/a", "https://host:443/b"));
        assert!(!same("https://host/a", "http://host/a"));
        assert!(!same("https://host/a", "https://host:444/a"));
        assert!(!same("https://host/a", "https://host.evil/a"));
    }

    proptest! {
        #[test]
        fn whatever_joins_is_a_web_address(reference in "\\PC{0,60}") {
            if let Ok(uri) = join(&BASE.parse().unwrap(), &reference) {
                prop_assert!(matches!(uri.scheme_str(), Some("http" | "https")));
                prop_assert!(uri.host().is_some());
                with_query(&uri, &[("a", "b")]);
            }
        }
    }
}
