//! The query of a request, read as Docker reads it: loose booleans, the first of several values, Go's number errors.

use api::filters::Filters;
use fault::{Error, Result};
use percent_encoding::percent_decode_str;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The first value; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The first value, unless it is missing or empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        !matches!(self.text(name).trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.has(name) { self.flag(name) } else { default }
    }

    /// A whole number, `None` if it is not given.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let number = text.parse().map_err(|error: std::num::ParseIntError| {
            Error::invalid(format!("strconv.Atoi: parsing \"{text}\": {}", go_reason(&error)))
        })?;
        Ok(Some(number))
    }

    /// One side of a terminal's size, which must be given.
    pub(crate) fn size(&self, name: &str, word: &str) -> Result<u16> {
        let text = self.text(name);
        let broken = |reason: &str| Error::invalid(format!("invalid resize {word} \"{text}\": {reason}"));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(broken("invalid syntax"));
        }
        let cells: u32 = text.parse().map_err(|_| broken("value out of range"))?;
        Ok(u16::try_from(cells).unwrap_or(u16::MAX))
    }

    /// A moment as unix seconds with an optional fraction, in nanoseconds; `None` if it is not given.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let broken = || Error::invalid(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
        let seconds: i64 = seconds.parse().map_err(|_| broken())?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(broken());
        }
        let nanos: i64 = format!("{fraction:0<9.9}").parse().map_err(|_| broken())?;
        seconds.checked_mul(NANOS).and_then(|whole| whole.checked_add(nanos)).map(Some).ok_or_else(broken)
    }

    pub(crate) fn filters(&self) -> Result<Filters> {
        Filters::parse(self.text("filters"))
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_owned(), value.into()));
    }
}

const NANOS: i64 = 1_000_000_000;

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// What Go's strconv says of the same text.
fn go_reason(error: &std::num::ParseIntError) -> &'static str {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_loose() {
        let query = Query::parse("a=1&b=True&c=0&d=none&e&f=maybe&g=FALSE");
        let flags: Vec<bool> = ["a", "b", "c", "d", "e", "f", "g", "missing"].map(|n| query.flag(n)).into();
        assert_eq!(flags, [true, true, false, false, false, true, false, false]);
        assert!(query.flag_or("missing", true) && !query.flag_or("c", true));
    }

    #[test]
    fn values_are_decoded_and_the_first_wins() {
        let query = Query::parse("t=a+b%2Fc&t=d&names=x&names=y");
        assert_eq!(query.text("t"), "a b/c");
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(query.given("nothing"), None);
    }

    #[test]
    fn numbers_fail_as_in_go() {
        let message = |text: &str| Query::parse(text).number("t").unwrap_err().to_string();
        assert_eq!(message("t=ten"), r#"strconv.Atoi: parsing "ten": invalid syntax"#);
        assert_eq!(
            message("t=99999999999999999999"),
            r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#
        );
        assert_eq!(Query::parse("t=-1").number("t").unwrap(), Some(-1));
        let size = |text: &str| Query::parse(text).size("h", "height").unwrap_err().to_string();
        assert_eq!(size(""), r#"invalid resize height "": invalid syntax"#);
        assert_eq!(size("h=-2"), r#"invalid resize height "-2": value out of range"#);
        assert_eq!(Query::parse("h=24").size("h", "height").unwrap(), 24);
    }

    #[test]
    fn moments_keep_their_nanoseconds() {
        let moment = |text: &str| Query::parse(text).moment("since").unwrap();
        assert_eq!(moment("since=1.5"), Some(1_500_000_000));
        assert_eq!(moment("since=1700000000.000000001"), Some(1_700_000_000_000_000_001));
        assert_eq!(moment("since=7"), Some(7_000_000_000));
        assert!(Query::parse("since=yesterday").moment("since").is_err());
    }
}
