//! What `--format` means: a table, JSON, or the user's own Go template over the rows of a list.
//!
//! A row is a map of field names, as the `docker` templates know them; `Label` is a function. Defaults, headings and
//! error texts are Docker's.

mod document;
pub(crate) mod human;
mod ports;
mod tabs;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use document::{Document, Skeleton, compact, indent};
pub(crate) use ports::{displayed as displayed_ports, join as join_host_port};
pub(crate) use tabs::Tabs;
pub(crate) use template::{Problem, Template, or_blank};

/// The fields of one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(BTreeMap<Arc<str>, gotmpl::Value>);

impl Row {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(crate) fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), gotmpl::Value::String(value.into().into()));
        self
    }

    /// A field that templates ask with `if`.
    #[must_use]
    pub(crate) fn switch(mut self, name: &str, on: bool) -> Self {
        self.0.insert(name.into(), gotmpl::Value::Bool(on));
        self
    }

    /// A field that Docker has and that is nothing here.
    #[must_use]
    pub(crate) fn nothing(mut self, name: &str) -> Self {
        self.0.insert(name.into(), gotmpl::Value::Nil);
        self
    }

    /// The function `Label`, and the field `Labels`.
    #[must_use]
    pub(crate) fn labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        let joined: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels = labels.clone();
        let label = move |args: &[gotmpl::Value]| {
            let key = args.first().and_then(gotmpl::Value::as_str).unwrap_or_default();
            let value = labels.get(key).map(String::as_str).unwrap_or_default();
            Ok(gotmpl::Value::String(value.into()))
        };
        self.0.insert("Label".into(), gotmpl::Value::Function(Arc::new(label)));
        self.field("Labels", joined.join(","))
    }

    pub(crate) fn value(&self) -> gotmpl::Value {
        gotmpl::Value::Map(Arc::new(self.0.clone()))
    }
}

/// A list's fields: their headings, and the name of Go's type, which errors show.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) kind: &'static str,
    pub(crate) headings: &'static [(&'static str, &'static str)],
}

impl Fields {
    fn header(&self) -> gotmpl::Value {
        let mut row = Row::new();
        for (name, heading) in self.headings {
            row = row.field(name, *heading);
        }
        let label = |args: &[gotmpl::Value]| {
            let key = args.first().and_then(gotmpl::Value::as_str).unwrap_or_default();
            let last = key.rsplit('.').next().unwrap_or_default();
            Ok(gotmpl::Value::String(last.replace(['-', '_'], " ").into()))
        };
        row.0.insert("Label".into(), gotmpl::Value::Function(Arc::new(label)));
        row.value()
    }
}

/// Lays the rows out as `format` says.
pub(crate) fn list(format: &str, fields: &Fields, rows: &[Row]) -> Result<String, Problem> {
    let is_table = format.starts_with("table");
    let source = match format {
        "json" => "{{json .}}",
        _ if is_table => &format["table".len()..],
        _ => format,
    };
    let source = source.trim_matches(' ').replace(r"\t", "\t").replace(r"\n", "\n");
    let template = Template::parse(&source)?;
    let mut text = String::new();
    if is_table {
        text = Template::for_header(&source)?.execute(&fields.header(), fields.kind).unwrap_or_default();
        text.push('\n');
    }
    for row in rows {
        text.push_str(&template.execute(&row.value(), fields.kind)?);
        text.push('\n');
    }
    Ok(if is_table { Tabs::LIST.align(&text) } else { text })
}

/// True if the template would ask rows for this field.
pub(crate) fn uses_field(format: &str, name: &str) -> bool {
    format.match_indices(&format!(".{name}")).any(|(at, found)| {
        !format[at + found.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields {
        kind: "*formatter.testContext",
        headings: &[("ID", "THE ID"), ("Names", "NAMES"), ("Labels", "LABELS")],
    };

    fn check(format: &str, wanted: &str) {
        let labels = BTreeMap::from([("com.x.role".to_owned(), "db".to_owned())]);
        let rows = [
            Row::new().field("ID", "1f").field("Names", "a long name").labels(&labels),
            Row::new().field("ID", "22222222222222").field("Names", "b").labels(&BTreeMap::new()),
        ];
        let got = list(format, &FIELDS, &rows).unwrap_or_else(|problem| problem.to_string());
        assert_eq!(got, wanted, "{format}");
    }

    #[test]
    fn tables_have_headings_and_columns() {
        check(
            r"table {{.ID}}\t{{.Names}}",
            "THE ID           NAMES\n1f               a long name\n22222222222222   b\n",
        );
        check(
            r#"table {{.ID}}\t{{.Label "com.x.role"}}"#,
            "THE ID           role\n1f               db\n22222222222222   \n",
        );
    }

    #[test]
    fn templates_and_json_stand_alone() {
        check("{{.ID}}: {{upper .Names}}", "1f: A LONG NAME\n22222222222222: B\n");
        check(
            "json",
            "{\"ID\":\"1f\",\"Labels\":\"com.x.role=db\",\"Names\":\"a long name\"}\n\
             {\"ID\":\"22222222222222\",\"Labels\":\"\",\"Names\":\"b\"}\n",
        );
    }

    #[test]
    fn problems_are_told_as_go_tells_them() {
        check(
            "{{.Nope}}",
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: \
             can't evaluate field Nope in type *formatter.testContext",
        );
        check("{{.ID", "template parsing error: template: :1: unclosed action");
        check("{{nope .ID}}", "template parsing error: template: :1: function \"nope\" not defined");
    }

    #[test]
    fn a_used_field_is_found() {
        assert!(uses_field("{{.ID}} {{.Size}}", "Size"));
        assert!(!uses_field("{{.Sizes}}", "Size"));
    }
}
