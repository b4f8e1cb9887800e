//! Small headers that registries answer with: pages, ranges, waiting times. Foreign text, read in one place.

use std::time::{Duration, SystemTime};

/// Where the next page of a list is: the target of `rel="next"` (RFC 8288).
pub fn next_page(link: &str) -> Option<&str> {
    let mut rest = link;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        if parameters.split([';', ',']).any(is_next) {
            return Some(target);
        }
        rest = after;
    }
    None
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|one| one.eq_ignore_ascii_case("next"))
}

/// How many bytes of an upload a registry has, by its `Range: 0-1023`. `0-0` says nothing: some write it for none, too.
pub fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (first == "0" && last > 0).then(|| last.checked_add(1)).flatten()
}

/// Where a part begins, by its `Content-Range: bytes 100-199/200`.
pub fn part_begins(content_range: &str) -> Option<u64> {
    let (first, _) = content_range.trim().strip_prefix("bytes ")?.split_once('-')?;
    first.trim().parse().ok()
}

/// `Retry-After`: seconds or a date.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let check = |link: &str, expected: Option<&str>| assert_eq!(next_page(link), expected, "{link}");
        check(r#"</v2/_catalog?last=b&n=2>; rel="next""#, Some("/v2/_catalog?last=b&n=2"));
        check(r#"</a>; rel="prev", </b>; rel=next"#, Some("/b"));
        check(r#"</a>; title="x"; rel="last next""#, Some("/a"));
        check(r#"</a>; rel="prev""#, None);
        check("</a", None);
        check("", None);
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(received("0-1023"), Some(1024));
        assert_eq!(received("bytes=0-1023"), Some(1024));
        for text in ["0-0", "5-9", "0", "-", "", "0-18446744073709551615", "0-x"] {
            assert_eq!(received(text), None, "{text}");
        }
        assert_eq!(part_begins("bytes 100-199/200"), Some(100));
        assert_eq!(part_begins("bytes */200"), None);
    }

    #[test]
    fn waiting_times_are_seconds_or_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:07 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            next_page(&text);
            received(&text);
            part_begins(&text);
            retry_after(&text, SystemTime::UNIX_EPOCH);
        }
    }
}
