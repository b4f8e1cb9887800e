//! Tolerance for `null`: Go writes it for every empty list and map, and Docker's files are full of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;

/// `null` reads as the default; pair it with `#[serde(default)]` for absent fields.
pub(crate) fn default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A field that must not be there: it reads from `null` or an empty list; pair it with `#[serde(default)]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<Value>::deserialize(deserializer)? {
            None => Ok(Self),
            Some(Value::Array(list)) if list.is_empty() => Ok(Self),
            Some(_) => Err(serde::de::Error::custom("the document is a manifest and an index at once")),
        }
    }
}

/// Go's `map[string]struct{}`, as in `"Volumes": {"/data": {}}`: a set here.
pub(crate) mod keys {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, SerializeMap, Serializer};

    pub(crate) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(set.len()))?;
        for key in set {
            map.serialize_entry(key, &BTreeMap::<String, ()>::new())?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(input)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
