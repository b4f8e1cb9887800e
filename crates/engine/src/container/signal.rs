//! Signals by name or number, with Docker's tolerance and words.

use fault::{Error, Result};
pub(crate) use sys::signal::{SIGKILL as KILL, SIGTERM as TERM};

/// `TERM`, `SIGTERM`, `15`, `SIGRTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if number == 0 { Err(invalid()) } else { Ok(number) };
    }
    sys::signal::number(text).or_else(|| real_time(text)).ok_or_else(invalid)
}

/// glibc and musl keep 32 and 33 for themselves, so that programs count from 34 to 64.
fn real_time(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Some(above) = name.strip_prefix("RTMIN") {
        RT_MIN + offset(above, '+')?
    } else {
        RT_MAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RT_MIN..=RT_MAX).contains(&number).then_some(number)
}

fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse().ok() }
}

const RT_MIN: i32 = 34;
const RT_MAX: i32 = sys::signal::LAST;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_any_name() {
        for (text, number) in
            [("TERM", 15), ("sigkill", 9), ("2", 2), ("SIGRTMIN", 34), ("RTMIN+3", 37), ("RTMAX-1", 63)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["FOO", "", "0", "RTMIN+31", "RTMAX+1"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }
}
