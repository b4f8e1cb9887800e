//! Reading a JSON body with the complaints that Docker's clients know from Go's decoder.

use fault::{Error, Result};
use serde_json::Value;
use serde_json::error::Category;

/// One JSON value and nothing after it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let value = match values.next() {
        None => return Err(Error::invalid("invalid JSON: got EOF while reading request body")),
        Some(Err(error)) => {
            return Err(Error::invalid(format!("invalid JSON: {}", complaint(bytes, &error))));
        }
        Some(Ok(value)) => value,
    };
    let rest = &bytes[values.byte_offset()..];
    // Go's decoder does not see a closing bracket as more content.
    match rest.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None | Some(b']' | b'}') => Ok(value),
        Some(_) => Err(Error::invalid("unexpected content after JSON")),
    }
}

fn complaint(bytes: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() == Category::Eof {
        return "unexpected EOF".to_owned();
    }
    let place = PLACES.iter().find(|(ours, _)| text.starts_with(ours));
    match (place, character(bytes, error)) {
        (Some((_, place)), Some(found)) => format!("invalid character {found:?} {place}"),
        _ => text,
    }
}

const PLACES: &[(&str, &str)] = &[
    ("key must be a string", "looking for beginning of object key string"),
    ("expected value", "looking for beginning of value"),
    ("expected ident", "in literal"),
    ("expected `:`", "after object key"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
    ("trailing comma", "looking for beginning of value"),
];

/// The character that the error points at.
fn character(bytes: &[u8], error: &serde_json::Error) -> Option<char> {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    let byte = line.get(error.column().checked_sub(1)?)?;
    Some(char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn complaints_read_as_go_writes_them() {
        assert_eq!(
            message("{invalid json"),
            "invalid JSON: invalid character 'i' looking for beginning of object key string"
        );
        assert_eq!(message("invalid"), "invalid JSON: invalid character 'i' looking for beginning of value");
        assert_eq!(message(r#"{"a""#), "invalid JSON: unexpected EOF");
        assert_eq!(message(""), "invalid JSON: got EOF while reading request body");
        assert_eq!(message(r#"{"a" 1}"#), "invalid JSON: invalid character '1' after object key");
        assert_eq!(message("[1 2]"), "invalid JSON: invalid character '2' after array element");
        assert_eq!(message(r#"{} "more""#), "unexpected content after JSON");
    }

    #[test]
    fn one_value_is_read() {
        assert_eq!(parse(b" {\"a\":1}\n").unwrap()["a"], 1);
    }
}
