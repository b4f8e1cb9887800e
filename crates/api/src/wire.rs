//! Go's habits on the wire: `null` means "not given", and zero values may be left out.

use fault::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Decodes a request or answer. `null` anywhere counts as absent, as it does for a Go decoder.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?;
    from_value(value)
}

/// The same for a value that is parsed already. The error names the field that is wrong, if it is one.
pub fn from_value<T: DeserializeOwned>(mut value: Value) -> Result<T> {
    drop_nulls(&mut value);
    T::deserialize(&value).map_err(|error| {
        let place = wrong_field::<T>(&mut value).map(|field| format!("{field}: ")).unwrap_or_default();
        Error::invalid(format!("invalid JSON: {place}{error}"))
    })
}

/// The deepest field without which the value could be read, `HostConfig.Memory`: fields may always be left out here.
fn wrong_field<T: DeserializeOwned>(value: &mut Value) -> Option<String> {
    if count(value) > SEARCHED_MAX {
        return None;
    }
    let mut path: Vec<String> = Vec::new();
    while let Some(name) = fields(value, &path).into_iter().find(|name| is_wrong::<T>(value, &path, name)) {
        path.push(name);
    }
    Some(path.join(".")).filter(|path| !path.is_empty())
}

fn fields(value: &mut Value, path: &[String]) -> Vec<String> {
    inner(value, path).map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

fn is_wrong<T: DeserializeOwned>(value: &mut Value, path: &[String], name: &str) -> bool {
    let Some(removed) = inner(value, path).and_then(|map| map.remove(name)) else { return false };
    let readable = T::deserialize(&*value).is_ok();
    if let Some(map) = inner(value, path) {
        map.insert(name.to_owned(), removed);
    }
    readable
}

fn inner<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Map<String, Value>> {
    path.iter().try_fold(value, |value, name| value.get_mut(name))?.as_object_mut()
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(count).sum::<usize>() + 1,
        Value::Array(items) => items.iter().map(count).sum::<usize>() + 1,
        _ => 1,
    }
}

/// The search reads the whole value once for each field; far more than people write by hand.
const SEARCHED_MAX: usize = 1000;

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// For `skip_serializing_if`.
pub fn is_false(value: &bool) -> bool {
    !*value
}

/// For `skip_serializing_if`.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_wrong_field_is_named() {
        let message =
            |text: &str| from_slice::<crate::container::Create>(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            message(r#"{"Image":"a","Tty":"yes"}"#),
            r#"invalid JSON: Tty: invalid type: string "yes", expected a boolean"#
        );
        assert_eq!(
            message(r#"{"Image":"a","HostConfig":{"Privileged":true,"Memory":"1g"}}"#),
            r#"invalid JSON: HostConfig.Memory: invalid type: string "1g", expected i64"#
        );
        assert_eq!(
            message(r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":8080}]}}}"#),
            "invalid JSON: HostConfig.PortBindings.80/tcp: invalid type: integer `8080`, expected a string"
        );
        let many = vec![r#""a""#; SEARCHED_MAX].join(",");
        assert_eq!(
            message(&format!(r#"{{"Env":[{many}],"Tty":1}}"#)),
            "invalid JSON: invalid type: integer `1`, expected a boolean"
        );
        assert!(message(r#"{"Image":1,"Tty":1}"#).starts_with("invalid JSON: invalid type: "));
        assert!(message("[]").starts_with("invalid JSON: invalid type: sequence"));
    }

    #[test]
    fn null_is_absent_at_any_depth() {
        let decoded: BTreeMap<String, BTreeMap<String, String>> =
            from_slice(br#"{"a":{"x":"1","y":null},"b":null}"#).unwrap();
        assert_eq!(decoded["a"].len(), 1);
        assert_eq!(decoded.len(), 1);
    }
}
