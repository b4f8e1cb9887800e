//! Sizes and limits as people write them for Docker's programs, with the complaints of Go, which users know. Pure.

use crate::host_config::Ulimit;

/// A size with a binary unit: `64m`, `1.5GiB`, `100`.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(invalid)? + 1;
    let number: f64 =
        text[..digits].parse().map_err(|_| go_error("ParseFloat", &text[..digits], "invalid syntax"))?;
    if number < 0.0 || text.starts_with('+') {
        return Err(invalid());
    }
    let unit = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]).to_lowercase();
    let scale = scale(&unit).ok_or_else(|| format!("invalid suffix: '{}'", text[digits..].trim_start()))?;
    // What is too large wraps as in Go on these processors, so that the daemon says what it says to Docker's client.
    let bytes = number * scale;
    Ok(if bytes < i64::MAX as f64 { bytes as i64 } else { i64::MIN })
}

fn scale(unit: &str) -> Option<f64> {
    let letter = match unit {
        "" | "b" => return Some(1.0),
        _ => unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit),
    };
    let power = ["k", "m", "g", "t", "p"].iter().position(|known| *known == letter)?;
    Some(1024f64.powi(i32::try_from(power).ok()? + 1))
}

/// `name=soft[:hard]`; -1 is unlimited.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !LIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [soft] => (limit(soft)?, limit(soft)?),
        [soft, hard] => {
            let hard = limit(hard)?;
            (limit(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    let excess =
        |what: String| Err(format!("ulimit soft limit must be less than or equal to hard limit: {what}"));
    match hard {
        -1 => {}
        _ if soft == -1 => return excess(format!("soft: -1 (unlimited), hard: {hard}")),
        _ if soft > hard => return excess(format!("{soft} > {hard}")),
        _ => {}
    }
    Ok(Ulimit { name: name.into(), hard, soft })
}

fn limit(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| go_error("ParseInt", text, problem))
}

/// The resource limits of setrlimit(2) that a container may have.
const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What Go's package strconv says of a text that is no number.
pub fn go_error(function: &str, text: &str, problem: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, wanted) in
            [("100", 100), ("1k", 1024), ("64m", 64 << 20), ("1.5GiB", 3 << 29), ("2 kb", 2048), ("7b", 7)]
        {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        assert_eq!(bytes("999999999t"), Ok(i64::MIN));
        assert_eq!(bytes("x").unwrap_err(), "invalid size: 'x'");
        assert_eq!(bytes("1.5.5m").unwrap_err(), r#"strconv.ParseFloat: parsing "1.5.5": invalid syntax"#);
        assert_eq!(bytes("-1").unwrap_err(), "invalid size: '-1'");
        assert_eq!(bytes("12xb").unwrap_err(), "invalid suffix: 'xb'");
    }

    #[test]
    fn limits_are_checked() {
        let both = ulimit("nofile=10:20").unwrap();
        assert_eq!((both.soft, both.hard), (10, 20));
        for (text, wanted) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("x=1", "invalid ulimit type: x"),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            ("nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
            ("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            ("nofile=infinity", "strconv.ParseInt: parsing \"infinity\": invalid syntax"),
            (
                "nofile=99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(ulimit(text).unwrap_err(), wanted);
        }
    }
}
