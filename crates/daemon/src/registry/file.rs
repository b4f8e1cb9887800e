//! The registry's configuration file: one JSON object with the names of flags, lists for what may be repeated.

use std::ffi::OsString;
use std::path::Path;

use fault::{Error, Result};
use serde_json::{Map, Value};

/// The flags that a file stands for.
pub(super) fn words(path: &Path) -> Result<Vec<OsString>> {
    read(&sys::fs::read_to_string(path)?)
}

fn read(text: &str) -> Result<Vec<OsString>> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    let mut words = Vec::new();
    for (name, value) in &object {
        if name == "config" || name.starts_with('-') {
            return Err(Error::invalid(format!("{name} cannot stand in a file")));
        }
        match value {
            Value::Array(values) => {
                for value in values {
                    words.push(word(name, value)?);
                }
            }
            value => words.push(word(name, value)?),
        }
    }
    Ok(words)
}

fn word(name: &str, value: &Value) -> Result<OsString> {
    match value {
        Value::String(text) => Ok(format!("--{name}={text}").into()),
        Value::Bool(_) | Value::Number(_) => Ok(format!("--{name}={value}").into()),
        _ => Err(Error::invalid(format!("{name} is neither text, number, true, false nor a list of those"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_flags() {
        let words = read(r#"{"listen": "127.0.0.1:1", "delete": false, "notify": ["a", "b"]}"#).unwrap();
        assert_eq!(words, ["--delete=false", "--listen=127.0.0.1:1", "--notify=a", "--notify=b"]);
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"config": "x"}"#, "config cannot stand in a file"),
            (r#"{"quota": {}}"#, "quota is neither text"),
            (r#"{"quota": [[]]}"#, "quota is neither text"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
