//! Go's habits on the wire: `null` means "not given", and zero values may be left out.

use fault::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Decodes a request or answer. `null` anywhere counts as absent, as it does for a Go decoder.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?;
    from_value(value)
}

/// The same for a value that is parsed already.
pub fn from_value<T: DeserializeOwned>(mut value: Value) -> Result<T> {
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
}

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
    fn null_is_absent_at_any_depth() {
        let decoded: BTreeMap<String, BTreeMap<String, String>> =
            from_slice(br#"{"a":{"x":"1","y":null},"b":null}"#).unwrap();
        assert_eq!(decoded["a"].len(), 1);
        assert_eq!(decoded.len(), 1);
    }
}
