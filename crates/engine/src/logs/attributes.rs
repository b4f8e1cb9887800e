//! What users want written with every line of a log: labels, variables and a tag, chosen by options of the driver.

use std::collections::BTreeMap;

use fault::{Error, Result};

use crate::{Record, filter};

/// As dockerd's json-file driver has them. An option without a value chooses nothing.
pub(crate) fn attributes(record: &Record) -> Result<BTreeMap<String, String>> {
    let options = &record.host_config.log_config.config;
    let option = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let labels = &record.config.labels;
    let env: BTreeMap<String, String> = record
        .config
        .env
        .iter()
        .flatten()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut chosen = BTreeMap::new();
    for (all, names, pattern) in [(labels, "labels", "labels-regex"), (&env, "env", "env-regex")] {
        for name in option(names).into_iter().flat_map(|names| names.split(',')) {
            chosen.extend(all.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some(pattern) = option(pattern) {
            let pattern = regex(pattern)?;
            let matching = all.iter().filter(|(name, _)| pattern.is_match(name.as_bytes()));
            chosen.extend(matching.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    if let Some(template) = option("tag") {
        let tag = tag(template, |field| value(record, field))?;
        chosen.extend((!tag.is_empty()).then(|| ("tag".to_owned(), tag)));
    }
    Ok(chosen)
}

/// Whether these values of options are fit for use, before there is a container.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in options.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "labels-regex" | "env-regex" => drop(regex(value)?),
            "tag" => drop(tag(value, |field| FIELDS.contains(&field).then(String::new))?),
            _ => {}
        }
    }
    Ok(())
}

fn regex(pattern: &str) -> Result<regex::bytes::Regex> {
    filter::regex(pattern).ok_or_else(|| Error::invalid(format!("error parsing regexp: `{pattern}`")))
}

/// Text with `{{.Field}}` in it. Everything else that Go's templates know is refused: it would be a program.
fn tag(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after
            .split_once("}}")
            .ok_or_else(|| Error::invalid("template: log-tag:1: unclosed action".to_owned()))?;
        let field =
            action.trim().strip_prefix('.').filter(|field| field.bytes().all(|b| b.is_ascii_alphanumeric()));
        let Some(field) = field.filter(|field| !field.is_empty()) else {
            return Err(Error::unsupported(format!("{{{{{action}}}}} in the tag of a log, only fields are")));
        };
        let value = value(field).ok_or_else(|| {
            Error::invalid(format!(
                "template: log-tag:1:{}: executing \"log-tag\" at <.{field}>: can't evaluate field {field} in type *logger.Info",
                template.len() - rest.len() + before.len() + 2
            ))
        })?;
        text.push_str(before);
        text.push_str(&value);
        rest = after;
    }
    Ok(text + rest)
}

const FIELDS: &[&str] = &[
    "Command",
    "ContainerID",
    "ContainerImageID",
    "ContainerImageName",
    "ContainerName",
    "DaemonName",
    "FullID",
    "ID",
    "ImageFullID",
    "ImageID",
    "ImageName",
    "Name",
];

/// What dockerd's templates know of a container.
fn value(record: &Record, field: &str) -> Option<String> {
    let words = || record.command().map(String::as_str).collect::<Vec<_>>().join(" ");
    Some(match field {
        "Command" => words(),
        "ContainerID" | "FullID" => record.id.to_string(),
        "ID" => record.id.short().to_owned(),
        "ContainerName" => format!("/{}", record.name),
        "Name" => record.name.clone(),
        "ContainerImageID" | "ImageFullID" => record.image_id.clone(),
        // The digits begin behind the name of the algorithm, which dockerd counts in.
        "ImageID" => record.image_id.chars().take(12).collect(),
        "ContainerImageName" | "ImageName" => record.config.image.clone(),
        "DaemonName" => "docker".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(options: &str) -> String {
        let json = format!(
            r#"{{"Image":"busybox:1","Cmd":["echo","hi"],"Labels":{{"a":"1","b":"2","xa":"3"}},
            "Env":["FOO=bar","FOX=y","BARE"],"HostConfig":{{"LogConfig":{{"Config":{options}}}}}}}"#
        );
        let wanted: api::container::Create = api::from_slice(json.as_bytes()).unwrap();
        let id = "4f".repeat(32).parse().unwrap();
        let mut record = Record::new(id, "web".into(), crate::record::NEVER.into());
        record.image_id = format!("sha256:{}", "ab".repeat(32));
        record.config = wanted.config;
        record.host_config = wanted.host_config;
        let checked = check(&record.host_config.log_config.config);
        match checked.and_then(|()| attributes(&record)) {
            Ok(attributes) => attributes.iter().map(|(name, value)| format!("{name}={value} ")).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_by_pattern() {
        assert_eq!(told("{}"), "");
        assert_eq!(told(r#"{"labels":"a,nope","env":"FOO,BARE"}"#), "FOO=bar a=1 ");
        assert_eq!(told(r#"{"labels-regex":"^x","env-regex":"^FO"}"#), "FOO=bar FOX=y xa=3 ");
        assert_eq!(told(r#"{"labels-regex":"["}"#), "error parsing regexp: `[`");
    }

    #[test]
    fn a_tag_has_fields_of_the_container() {
        assert_eq!(
            told(r#"{"tag":"{{.Name}}/{{ .ID }}/{{.ImageName}}/{{.ImageID}}/{{.Command}}"}"#),
            "tag=web/4f4f4f4f4f4f/busybox:1/sha256:ababa/echo hi "
        );
        assert_eq!(
            told(r#"{"tag":"{{.Nope}}"}"#),
            "template: log-tag:1:2: executing \"log-tag\" at <.Nope>: can't evaluate field Nope in type *logger.Info"
        );
        assert_eq!(told(r#"{"tag":"a{{"}"#), "template: log-tag:1: unclosed action");
        assert_eq!(
            told(r#"{"tag":"{{len .Name}}"}"#),
            "not supported: {{len .Name}} in the tag of a log, only fields are"
        );
    }
}
