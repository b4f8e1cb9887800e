//! The `filters` query parameter: `{"label":["a=b"]}`, or the older `{"label":{"a=b":true}}`.

use std::collections::{BTreeMap, BTreeSet};

use fault::{Error, Result};
use serde_json::Value;

/// Named sets of values. Values of one name are alternatives; different names must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let broken = || Error::invalid("invalid filter");
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Err(broken()) };
        let mut filters = Self::default();
        for (name, values) in map {
            let values: BTreeSet<String> = match values {
                Value::Array(items) => items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<_>>()
                    .ok_or_else(broken)?,
                Value::Object(items) => {
                    items.into_iter().filter(|(_, on)| on == &Value::Bool(true)).map(|(key, _)| key).collect()
                }
                _ => return Err(broken()),
            };
            filters.0.insert(name, values);
        }
        Ok(filters)
    }

    /// As the newest API writes it.
    pub fn to_json(&self) -> String {
        let map: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(name, values)| {
                (name.as_str(), values.iter().map(|value| (value.as_str(), true)).collect())
            })
            .collect();
        serde_json::to_string(&map).expect("maps of strings are JSON")
    }

    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().insert(value.into());
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Refuses names that the caller does not know.
    pub fn allow(&self, known: &[&str]) -> Result<()> {
        match self.names().find(|name| !known.contains(name)) {
            Some(name) => Err(Error::invalid(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// True if nothing is asked under this name, or one of the values holds.
    pub fn any(&self, name: &str, holds: impl FnMut(&str) -> bool) -> bool {
        !self.contains(name) || self.values(name).any(holds)
    }

    /// A yes-or-no filter; `default` if it is not there. One value must say yes or no, and none the opposite.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(values) = self.0.get(name) else { return Ok(default) };
        let says = |words: [&str; 2]| words.iter().any(|word| values.contains(*word));
        match (says(["1", "true"]), says(["0", "false"])) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ if values.is_empty() => Err(Error::invalid(format!("invalid filter '{name}'"))),
            _ => {
                let values: Vec<&str> = self.values(name).collect();
                Err(Error::invalid(format!("invalid filter '{name}=[{}]'", values.join(" "))))
            }
        }
    }

    /// All `label` and none of the `label!` filters hold: `key` or `key=value`.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").all(holds) && !self.values("label!").any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_read_alike() {
        let new = Filters::parse(r#"{"label":{"a=b":true,"c":true}}"#).unwrap();
        let old = Filters::parse(r#"{"label":["a=b","c"]}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(Filters::parse(&new.to_json()).unwrap(), new);
    }

    #[test]
    fn labels_must_all_hold() {
        let filters = Filters::parse(r#"{"label":["a=b","c"]}"#).unwrap();
        let both = BTreeMap::from([("a".into(), "b".into()), ("c".into(), String::new())]);
        let one = BTreeMap::from([("a".into(), "b".into())]);
        assert!(filters.labels(&both));
        assert!(!filters.labels(&one));
    }

    #[test]
    fn yes_and_no_are_told_apart() {
        let flag = |text: &str| {
            let flag = Filters::parse(text).unwrap().flag("all", false);
            flag.map_or_else(|error| error.to_string(), |on| on.to_string())
        };
        assert_eq!(flag("{}"), "false");
        assert_eq!(flag(r#"{"all":["true","1"]}"#), "true");
        assert_eq!(flag(r#"{"all":["0"]}"#), "false");
        assert_eq!(flag(r#"{"all":["true","false"]}"#), "invalid filter 'all=[false true]'");
        assert_eq!(flag(r#"{"all":["True"]}"#), "invalid filter 'all=[True]'");
        assert_eq!(flag(r#"{"all":[]}"#), "invalid filter 'all'");
    }

    #[test]
    fn unknown_names_are_refused() {
        let filters = Filters::parse(r#"{"colour":["red"]}"#).unwrap();
        assert_eq!(filters.allow(&["label"]).unwrap_err().to_string(), "invalid filter 'colour'");
        assert!(Filters::parse("[]").is_err());
    }
}
