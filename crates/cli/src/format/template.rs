//! Go templates with the functions that Docker adds.
//!
//! The engine is `gotmpl`; here stand Docker's functions, the calling form of methods (`.Label "x"`), and the places and
//! words of Go's errors.

use std::fmt;

use gotmpl::{MissingKey, TemplateError, Value};

use super::document::{self, Orders};

/// What is wrong with a template, or with it and the data together.
#[derive(Debug)]
pub(crate) struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "template parsing error: {}", self.0)
    }
}

impl Problem {
    /// Without the words in front, for commands that have their own.
    pub(crate) fn bare(&self) -> &str {
        &self.0
    }
}

impl From<Problem> for crate::exit::Exit {
    fn from(problem: Problem) -> Self {
        Self::failure(problem.to_string())
    }
}

/// The text, or an empty line and the problem in Go's own words, as of commands that fill their output directly.
pub(crate) fn or_blank(text: Result<String, Problem>) -> crate::exit::Outcome<String> {
    text.or_else(|problem| {
        crate::terminal::line("")?;
        Err(crate::exit::Exit::failure(problem.0))
    })
}

pub(crate) struct Template {
    source: String,
    name: &'static str,
    orders: Orders,
    inner: gotmpl::Template,
}

impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Template({:?})", self.source)
    }
}

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, Problem> {
        Self::new("", source, Orders::default(), |template| template)
    }

    /// A template with a name of its own, which errors show.
    pub(crate) fn named(name: &'static str, source: &str) -> Result<Self, Problem> {
        Self::new(name, source, Orders::default(), |template| template)
    }

    /// For one document, whose order of keys JSON output keeps.
    pub(crate) fn over(source: &str, orders: Orders) -> Result<Self, Problem> {
        let for_show = orders.clone();
        let mut template = Self::new("", &document::shown(source), orders, |template| {
            template.func("show", move |args| {
                let value = args.get(1).unwrap_or(&Value::Nil);
                Ok(text(&document::go_text(&string(args, 0), value, &for_show)))
            })
        })?;
        // Mistakes are told by what the user wrote.
        template.source = source.to_owned();
        Ok(template)
    }

    /// The name that errors show.
    pub(crate) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same template, leaving headings as they are; a field without one has none.
    pub(crate) fn for_header(source: &str) -> Result<Self, Problem> {
        Self::new("", source, Orders::default(), |mut template| {
            for name in ["json", "split", "join", "title", "lower", "upper", "truncate"] {
                template = template.func(name, |args| Ok(first(args).clone()));
            }
            template.missing_key(MissingKey::Invalid)
        })
    }

    fn new(
        name: &'static str,
        source: &str,
        orders: Orders,
        more: impl FnOnce(gotmpl::Template) -> gotmpl::Template,
    ) -> Result<Self, Problem> {
        let strict = functions(gotmpl::Template::new(name), orders.clone()).missing_key(MissingKey::Error);
        let inner = more(strict);
        let inner = inner.parse(&call_methods(source)).map_err(|error| unparsable(name, &error))?;
        // The engine looks functions up late; Go does it while parsing. Over nothing, only that can be wrong.
        if let Err(error @ TemplateError::UndefinedFunction(_)) = inner.execute_to_string(&Value::Nil) {
            return Err(unparsable(name, &error));
        }
        Ok(Self { source: source.to_owned(), name, orders, inner })
    }

    /// Fills the template; `kind` is Go's name for the type of the data.
    pub(crate) fn execute(&self, data: &Value, kind: &str) -> Result<String, Problem> {
        self.fill(data, |key| format!("can't evaluate field {key} in type {kind}"))
    }

    /// Fills the template from a map, whose missing keys are told differently.
    pub(crate) fn execute_on_map(&self, data: &Value) -> Result<String, Problem> {
        let missing = |key: &str| format!("map has no entry for key {key:?}");
        match document::unset(&self.source, data) {
            Some(key) => Err(self.told(&TemplateError::MissingKey { key: key.to_owned() }, missing)),
            None => self.fill(data, missing),
        }
    }

    fn fill(&self, data: &Value, missing: impl Fn(&str) -> String) -> Result<String, Problem> {
        match self.inner.execute_to_string(data) {
            Ok(text) => Ok(text),
            Err(TemplateError::MissingKey { key }) if self.asks_a_map(&key) => {
                let lenient = functions(gotmpl::Template::new(self.name), self.orders.clone());
                let lenient = lenient
                    .parse(&call_methods(&self.source))
                    .map_err(|error| unparsable(self.name, &error))?;
                lenient.execute_to_string(data).map_err(|error| self.told(&error, missing))
            }
            Err(error) => Err(self.told(&error, missing)),
        }
    }

    /// Only what Go holds as a struct must have the field; `.Labels.x` may be missing.
    fn asks_a_map(&self, key: &str) -> bool {
        let (_, _, chain) = place(&self.source, key);
        let parts: Vec<&str> = chain.split('.').collect();
        let at = parts.iter().position(|part| *part == key).unwrap_or_default();
        at > 0 && document::may_lack(&parts[..at])
    }

    fn told(&self, error: &TemplateError, missing: impl Fn(&str) -> String) -> Problem {
        let name = self.name;
        match error {
            TemplateError::MissingKey { key } => {
                let (line, column, chain) = place(&self.source, key);
                let what = missing(key);
                Problem(format!("template: {name}:{line}:{column}: executing {name:?} at <{chain}>: {what}"))
            }
            TemplateError::Exec(words) if let Some(key) = field_of(words) => {
                let (line, column, chain) = place(&self.source, key);
                // What stands in a decoded document has no type of its own.
                let kind = if missing("").starts_with("map ") { "interface {}" } else { "string" };
                let what = format!("can't evaluate field {key} in type {kind}");
                Problem(format!("template: {name}:{line}:{column}: executing {name:?} at <{chain}>: {what}"))
            }
            other => Problem(format!("template: {name}: executing {name:?}: {other}")),
        }
    }
}

/// The field that something without fields was asked for.
fn field_of(words: &str) -> Option<&str> {
    words.strip_prefix("can't evaluate field ")?.split(' ').next()
}

/// Go's words for what the parser refused.
fn unparsable(name: &str, error: &TemplateError) -> Problem {
    match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            Problem(format!("template: {name}:{line}: {message}"))
        }
        TemplateError::UndefinedFunction(function) => {
            Problem(format!("template: {name}:1: function {function:?} not defined"))
        }
        other => Problem(format!("template: {name}:1: {other}")),
    }
}

/// Rows hold functions as values, which Go templates call by `call`; Docker's are methods and need no such word.
fn call_methods(source: &str) -> String {
    source
        .replace(".Label \"", "call .Label \"")
        .replace(".Label `", "call .Label `")
        .replace("call call ", "call ")
}

/// Line, column and whole chain of the first use of a field. Go counts columns from zero, and for a chain of fields
/// names the place of its second.
fn place(source: &str, key: &str) -> (usize, usize, String) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let needle = format!(".{key}");
    let found = source
        .match_indices(&needle)
        .find(|(at, _)| !source[at + needle.len()..].starts_with(is_word))
        .map_or(0, |(at, _)| at);
    let head = source[..found].trim_end_matches(|c| is_word(c) || c == '.').len();
    let tail =
        source[found + 1..].find(|c| !is_word(c) && c != '.').map_or(source.len(), |end| found + 1 + end);
    let chain = &source[head..tail];
    let second = chain[1.min(chain.len())..].find('.').map_or(0, |dot| dot + 1);
    let at = head + second;
    let line_start = source[..at].rfind('\n').map_or(0, |end| end + 1);
    (source[..at].matches('\n').count() + 1, at - line_start, chain.to_owned())
}

fn functions(template: gotmpl::Template, orders: Orders) -> gotmpl::Template {
    template
        .func("json", move |args| Ok(text(&document::json_text(first(args), &orders))))
        .func("index", index)
        .func("split", |args| Ok(list(string(args, 0).split(&string(args, 1)))))
        .func("join", |args| Ok(text(&join(args))))
        .func("title", |args| Ok(text(&title(&string(args, 0)))))
        .func("lower", |args| Ok(text(&string(args, 0).to_lowercase())))
        .func("upper", |args| Ok(text(&string(args, 0).to_uppercase())))
        .func("pad", |args| Ok(text(&pad(args))))
        .func("truncate", |args| Ok(text(truncate(&string(args, 0), number(args, 1)))))
        .func("println", |args| {
            let words: Vec<String> = args.iter().map(ToString::to_string).collect();
            Ok(text(&(words.join(" ") + "\n")))
        })
}

fn first(args: &[Value]) -> &Value {
    args.first().unwrap_or(&Value::Nil)
}

fn string(args: &[Value], index: usize) -> String {
    args.get(index).map(ToString::to_string).unwrap_or_default()
}

fn number(args: &[Value], index: usize) -> usize {
    args.get(index).and_then(Value::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn list<'t>(parts: impl Iterator<Item = &'t str>) -> Value {
    Value::List(parts.map(text).collect())
}

/// Go's, for which a missing entry of a map of texts is an empty text.
fn index(args: &[Value]) -> gotmpl::Result<Value> {
    let is_text = |value: &Value| matches!(value, Value::String(_));
    args.iter().skip(1).try_fold(first(args).clone(), |value, at| match (&value, at) {
        (Value::Nil, Value::String(_)) => Ok(text("")),
        (Value::Map(map), Value::String(key)) if !map.contains_key(key) && map.values().all(is_text) => {
            Ok(text(""))
        }
        _ => value.index(at),
    })
}

fn join(args: &[Value]) -> String {
    let Some(Value::List(parts)) = args.first() else { return String::new() };
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    parts.join(&string(args, 1))
}

fn title(text: &str) -> String {
    let mut after_letter = false;
    text.chars()
        .map(|c| {
            let c = if after_letter { c } else { c.to_ascii_uppercase() };
            after_letter = c.is_alphanumeric() || c == '\'' || c == '_';
            c
        })
        .collect()
}

fn pad(args: &[Value]) -> String {
    match string(args, 0) {
        empty if empty.is_empty() => empty,
        text => format!("{}{text}{}", " ".repeat(number(args, 1)), " ".repeat(number(args, 2))),
    }
}

fn truncate(text: &str, length: usize) -> &str {
    match text.char_indices().nth(length) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, wanted: &str) {
        let data = gotmpl::tmap! { "Name" => "web-one", "Args" => vec!["a".to_owned(), "b".to_owned()] };
        let got = match Template::parse(source) {
            Ok(template) => template.execute(&data, "T").unwrap_or_else(|problem| problem.to_string()),
            Err(problem) => problem.to_string(),
        };
        assert_eq!(got, wanted, "{source}");
    }

    #[test]
    fn dockers_functions_are_there() {
        check(r#"{{join .Args ","}}"#, "a,b");
        check(r#"{{index (split .Name "-") 1}}"#, "one");
        check("{{title .Name}}/{{upper .Name}}/{{lower .Name}}", "Web-One/WEB-ONE/web-one");
        check("[{{pad .Name 1 2}}][{{truncate .Name 3}}]", "[ web-one  ][web]");
        check("{{json .}}", r#"{"Args":["a","b"],"Name":"web-one"}"#);
        check("{{println .Name}}", "web-one\n");
    }

    #[test]
    fn a_missing_entry_of_a_map_of_texts_is_empty() {
        let labels = gotmpl::tmap! { "a" => "1" };
        let data = gotmpl::tmap! { "Labels" => labels, "None" => Value::Nil, "List" => vec![1, 2] };
        let filled = |source: &str| {
            let text = Template::parse(source).unwrap().execute(&data, "T");
            text.unwrap_or_else(|problem| problem.to_string())
        };
        assert_eq!(filled(r#"{{index .Labels "a"}}|{{index .Labels "b"}}|{{index .None "b"}}"#), "1||");
        assert_eq!(filled("{{index .List 1}}"), "2");
        assert!(
            filled("{{index .List 7}}").ends_with("index out of range: 7"),
            "{}",
            filled("{{index .List 7}}")
        );
    }

    #[test]
    fn a_missing_field_is_placed_as_go_places_it() {
        assert_eq!(place("{{.Nope}}", "Nope"), (1, 2, ".Nope".into()));
        assert_eq!(place("a\n {{.State.Nope}}", "Nope"), (2, 9, ".State.Nope".into()));
        assert_eq!(place("{{.Noper}}{{.Nope}}", "Nope"), (1, 12, ".Nope".into()));
    }
}
