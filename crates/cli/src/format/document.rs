//! JSON documents as template data: `inspect` shows them, whole or by template.
//!
//! A template works on the decoded values; `json` must still write keys in the daemon's order, and a struct must print
//! as Go prints structs (`{0.0.0.0 80}`). So beside the values stands, for each object, what was in it and in which order.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use fault::{Error, Result};
use gotmpl::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Fields that templates may ask for although the daemon leaves them out: path and JSON, or `=Name` for what stands under
/// another name beside it. `~A,B` says instead that the client's own type has these fields in this order and writes none
/// that is empty.
pub(crate) type Skeleton = &'static [(&'static str, &'static str)];

/// What an object held, by its address: the values live as long as the document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(Arc<HashMap<usize, Object>>);

#[derive(Clone, Debug)]
struct Object {
    /// What the daemon sent, in its order.
    keys: Vec<Arc<str>>,
    /// What Go's type has beyond that.
    added: Vec<Arc<str>>,
    /// Prints as a struct, not as a map.
    is_struct: bool,
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) orders: Orders,
}

impl Document {
    /// Decodes `json`, adding what the skeleton names and the daemon left out.
    pub(crate) fn parse(json: &[u8], skeleton: Skeleton) -> Result<Self> {
        let broken = |error| Error::internal(format!("unable to read inspect data: {error}"));
        let mut tree: Tree = serde_json::from_slice(json).map_err(broken)?;
        for (path, value) in skeleton {
            if let Some(sibling) = value.strip_prefix('=') {
                tree.alias(path, sibling);
            } else if let Some(order) = value.strip_prefix('~') {
                tree.recast(path, order);
            } else {
                tree.add(path, &serde_json::from_str(value).map_err(broken)?);
            }
        }
        let mut objects = HashMap::new();
        let value = tree.into_value("", &mut objects);
        Ok(Self { value, orders: Orders(Arc::new(objects)) })
    }
}

/// JSON that remembers the order of keys.
#[derive(Clone, Debug)]
enum Tree {
    Plain(Value),
    List(Vec<Self>),
    /// Each with whether the daemon sent it.
    Object(Vec<(Arc<str>, Self, bool)>),
}

impl Tree {
    fn add(&mut self, path: &str, value: &Self) {
        let Self::Object(fields) = self else { return };
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        let found = fields.iter_mut().find(|(name, ..)| &**name == key);
        match (found, rest) {
            (Some((_, inner, _)), Some(rest)) => inner.add(rest, value),
            (None, None) => fields.push((key.into(), value.clone(), false)),
            _ => {}
        }
    }

    fn alias(&mut self, path: &str, sibling: &str) {
        let Self::Object(fields) = self else { return };
        match path.split_once('.') {
            Some((key, rest)) => {
                if let Some((_, inner, _)) = fields.iter_mut().find(|(name, ..)| &**name == key) {
                    inner.alias(rest, sibling);
                }
            }
            None => {
                if let Some((_, value, _)) = fields.iter().find(|(name, ..)| &**name == sibling) {
                    let value = value.clone();
                    fields.push((path.into(), value, false));
                }
            }
        }
    }

    /// The object at the field `key` as a client's type writes it.
    fn recast(&mut self, key: &str, order: &str) {
        let Self::Object(fields) = self else { return };
        let Some((_, Self::Object(inner), _)) = fields.iter_mut().find(|(name, ..)| &**name == key) else {
            return;
        };
        for (_, value, sent) in inner.iter_mut() {
            *sent &= !value.is_empty();
        }
        let place = |name: &str| order.split(',').position(|known| known == name).unwrap_or(usize::MAX);
        inner.sort_by_key(|(name, ..)| place(name));
    }

    /// What Go's `omitempty` leaves out.
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(Value::Nil | Value::Bool(false) | Value::Int(0)) => true,
            Self::Plain(Value::String(text)) => text.is_empty(),
            Self::Plain(_) => false,
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
        }
    }

    fn into_value(self, name: &str, objects: &mut HashMap<usize, Object>) -> Value {
        match self {
            Self::Plain(value) => value,
            Self::List(items) => {
                Value::List(items.into_iter().map(|item| item.into_value("", objects)).collect())
            }
            Self::Object(fields) => {
                let names = |wanted: bool| {
                    let fields = fields.iter().filter(move |(.., sent)| *sent == wanted);
                    fields.map(|(key, ..)| key.clone()).collect()
                };
                let (keys, added) = (names(true), names(false));
                let map: BTreeMap<Arc<str>, Value> = fields
                    .into_iter()
                    .map(|(key, tree, _)| (key.clone(), tree.into_value(&key, objects)))
                    .collect();
                let map = Arc::new(map);
                objects.insert(address(&map), Object { keys, added, is_struct: !MAPS.contains(&name) });
                Value::Map(map)
            }
        }
    }
}

fn address(map: &Arc<BTreeMap<Arc<str>, Value>>) -> usize {
    Arc::as_ptr(map) as usize
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(Value::Nil))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(Value::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(i64::try_from(value).map_or(Value::Uint(value), Value::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Tree, E> {
        Ok(Tree::Plain(Value::String(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Tree>()? {
            fields.push((key.into(), value, true));
        }
        Ok(Tree::Object(fields))
    }
}

/// The value as Docker's `json` function writes it.
pub(crate) fn json_text(value: &Value, orders: &Orders) -> String {
    let mut text = String::new();
    write_json(value, orders, &mut text);
    text
}

fn write_json(value: &Value, orders: &Orders, text: &mut String) {
    match value {
        Value::Nil | Value::Function(_) => text.push_str("null"),
        Value::String(string) => text.push_str(&quote(string)),
        Value::Map(map) if !orders.0.contains_key(&address(map)) => text.push_str(&row_json(map)),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_json(item, orders, text);
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push('{');
            for (index, (key, item)) in entries(map, orders).enumerate() {
                write!(text, "{}{}:", if index == 0 { "" } else { "," }, quote(key))
                    .expect("strings take all");
                write_json(item, orders, text);
            }
            text.push('}');
        }
        other => write!(text, "{other}").expect("strings take all"),
    }
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("strings are JSON")
}

/// A row: fields in the alphabet's order, without functions. Go marshals these another way, which makes text safe for HTML.
fn row_json(map: &BTreeMap<Arc<str>, Value>) -> String {
    let is_field = |(_, value): &(&Arc<str>, &Value)| !matches!(value, Value::Function(_));
    let fields = map.iter().filter(is_field);
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("{}:{}", quote(key), json_text(value, &Orders::default())))
        .collect();
    let text = format!("{{{}}}", fields.join(","));
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// An object's entries in the daemon's order.
fn entries<'m>(
    map: &'m Arc<BTreeMap<Arc<str>, Value>>,
    orders: &'m Orders,
) -> impl Iterator<Item = (&'m str, &'m Value)> {
    let object = orders.0.get(&address(map));
    object.into_iter().flat_map(|object| &object.keys).filter_map(|key| Some((&**key, map.get(key)?)))
}

/// The value as Go prints it: structs in braces without names, maps with sorted keys. `name` is the field's: it tells
/// what a null would have been.
pub(crate) fn go_text(name: &str, value: &Value, orders: &Orders) -> String {
    match value {
        Value::Nil if name == ENTRY => "<no value>".into(),
        Value::Nil if MAPS.contains(&name) => "map[]".into(),
        Value::Nil if POINTERS.contains(&name) => "<nil>".into(),
        Value::Nil => "[]".into(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| go_text("", item, orders)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(map) => match orders.0.get(&address(map)) {
            Some(object) if object.is_struct => {
                let keys = object.keys.iter().chain(&object.added);
                let fields = keys.filter_map(|key| Some((key, map.get(key)?)));
                let texts: Vec<String> = fields.map(|(key, item)| go_text(key, item, orders)).collect();
                format!("{{{}}}", texts.join(" "))
            }
            _ => {
                let texts: Vec<String> =
                    map.iter().map(|(key, item)| format!("{key}:{}", go_text("", item, orders))).collect();
                format!("map[{}]", texts.join(" "))
            }
        },
        other => other.to_string(),
    }
}

/// The first field that a plain `{{.A.B}}` looks into although nothing is there.
pub(super) fn unset<'s>(source: &'s str, data: &Value) -> Option<&'s str> {
    let actions = source.split("{{").skip(1).filter_map(|action| action.split_once("}}"));
    let fields = actions.map(|(action, _)| action.trim()).filter(|action| is_field(action));
    let mut chains = fields.filter_map(|field| field[1..].rsplit_once('.'));
    chains.find_map(|(chain, _)| {
        let mut value = data;
        chain.split('.').find(|name| {
            let Value::Map(map) = value else { return false };
            let Some(inner) = map.get(*name) else { return false };
            value = inner;
            matches!(inner, Value::Nil) && POINTERS.contains(name)
        })
    })
}

/// Whether an action only shows a field.
fn is_field(action: &str) -> bool {
    action.starts_with('.') && action.chars().all(|c| c.is_alphanumeric() || "._".contains(c))
}

/// Sends plain fields (`{{.A.B}}`) through `show`, which prints them as Go prints its own values.
pub(super) fn shown(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((action, tail)) = after.split_once("}}") else { break };
        match action.trim() {
            field if is_field(field) => {
                let names: Vec<&str> = field.split('.').skip(1).collect();
                let name = match names.split_last() {
                    Some((_, above)) if may_lack(above) => ENTRY,
                    last => last.map_or("", |(name, _)| *name),
                };
                text.push_str(&format!("{{{{show {name:?} {field}}}}}"));
            }
            _ => text.push_str(&format!("{{{{{action}}}}}")),
        }
        rest = tail;
    }
    text + rest
}

/// Whether an object is a map by whose text keys one may ask for what is not there; the last name is the object's.
pub(super) fn may_lack(names: &[&str]) -> bool {
    match names {
        [.., "LogConfig", "Config"] => true,
        // Ports are no plain text to Go.
        [.., "ExposedPorts" | "PortBindings" | "Ports"] => false,
        [.., name] => MAPS.contains(name),
        [] => false,
    }
}

/// JSON text without any blanks.
pub(crate) fn compact(json: &[u8]) -> Result<String> {
    let document = Document::parse(json, &[])?;
    Ok(json_text(&document.value, &document.orders))
}

/// JSON text with one value a line, indented by four, as Go's encoder does it.
pub(crate) fn indent(json: &[u8]) -> Result<String> {
    let broken = |error| Error::internal(format!("unable to read inspect data: {error}"));
    let tree: Tree = serde_json::from_slice(json).map_err(broken)?;
    let mut text = String::new();
    write_indented(&tree, 0, &mut text);
    Ok(text)
}

fn write_indented(tree: &Tree, depth: usize, text: &mut String) {
    match tree {
        Tree::Plain(value) => write_json(value, &Orders::default(), text),
        Tree::List(items) if items.is_empty() => text.push_str("[]"),
        Tree::Object(fields) if fields.is_empty() => text.push_str("{}"),
        Tree::List(items) => {
            block(['[', ']'], items.iter(), depth, text, |item, text| write_indented(item, depth + 1, text));
        }
        Tree::Object(fields) => block(['{', '}'], fields.iter(), depth, text, |(key, item, _), text| {
            text.push_str(&quote(key));
            text.push_str(": ");
            write_indented(item, depth + 1, text);
        }),
    }
}

fn block<T>(
    [open, close]: [char; 2],
    items: impl Iterator<Item = T>,
    depth: usize,
    text: &mut String,
    write: impl Fn(T, &mut String),
) {
    text.push(open);
    for (index, item) in items.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&INDENT.repeat(depth + 1));
        write(item, text);
    }
    text.push('\n');
    text.push_str(&INDENT.repeat(depth));
    text.push(close);
}

const INDENT: &str = "    ";

/// What an entry of a map is called here, where its own name says nothing.
const ENTRY: &str = "{}";

/// Fields whose objects are maps in Go's types; all other objects are structs.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "Containers",
    "Data",
    "Details",
    "DriverOpts",
    "Endpoints",
    "EndpointsConfig",
    "ExposedPorts",
    "IndexConfigs",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Status",
    "StorageOpt",
    "Sysctls",
    "TLSMaterial",
    "Tmpfs",
    "Volumes",
];

/// Fields whose null is Go's nil pointer; all other nulls are empty lists.
const POINTERS: &[&str] = &[
    "Created",
    "Error",
    "Health",
    "Healthcheck",
    "IPAMConfig",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
    "UsageData",
];

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;

    const JSON: &[u8] = br#"{"Name":"/web","State":{"Running":true,"ExitCode":0},
        "Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]},"Binds":null,"Size":1.5}"#;

    fn check(source: &str, wanted: &str) {
        let document =
            Document::parse(JSON, &[("State.Health", "null"), ("State.Running", "false")]).unwrap();
        let got = Template::over(source, document.orders)
            .unwrap()
            .execute_on_map(&document.value)
            .unwrap_or_else(|problem| problem.to_string());
        assert_eq!(got, wanted, "{source}");
    }

    #[test]
    fn fields_print_as_go_prints_them() {
        check("{{.Name}} {{ .State }}", "/web {true 0 <nil>}");
        check("{{.Ports}}", "map[80/tcp:[{0.0.0.0 8080}]]");
        check("{{json .State}} {{json .Binds}}", r#"{"Running":true,"ExitCode":0} null"#);
        check("{{json .Ports}}", r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#);
        check("{{range $p, $b := .Ports}}{{$p}}={{(index $b 0).HostPort}}{{end}}", "80/tcp=8080");
    }

    #[test]
    fn what_the_daemon_leaves_out_is_nothing_and_not_an_error() {
        check("{{.State.Health}}|{{if .State.Health}}sick{{else}}well{{end}}", "<nil>|well");
        check(
            "{{.State.Nope}}",
            "template parsing error: template: :1:8: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"",
        );
    }

    #[test]
    fn indenting_keeps_the_order() {
        let text = indent(br#"[{"b":1,"a":[],"c":{"d":[1,"x\n"]}}]"#).unwrap();
        insta::assert_snapshot!(text, @r#"
        [
            {
                "b": 1,
                "a": [],
                "c": {
                    "d": [
                        1,
                        "x\n"
                    ]
                }
            }
        ]
        "#);
    }
}
