//! Times as Docker writes them into logs and records.

use sys::time::Timestamp;

/// RFC 3339 with as many digits as needed, which is what Go's RFC3339Nano means.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let text = time.to_string();
    let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_are_left_out() {
        let text = |nanoseconds| rfc3339(Timestamp::new(1_767_268_800, nanoseconds));
        assert_eq!(text(0), "2026-01-01T12:00:00Z");
        assert_eq!(text(120_000_000), "2026-01-01T12:00:00.12Z");
        assert_eq!(text(1), "2026-01-01T12:00:00.000000001Z");
    }
}
