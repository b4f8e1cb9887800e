//! `kogge events`.

use api::events::Message;

use super::{Args, Command, moment};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{Document, Skeleton, Template, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Get real time events from the server", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge system events, kogge events")
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::filter("Show only what fits").short('f'),
    Flag::string("format", super::INSPECT_FORMAT.help),
    Flag::string("since", "From this time on"),
    Flag::string("until", "Up to this time"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        given => given,
    };
    if let Err(problem) = Template::parse(format) {
        return Err(Exit::new(64, format!("Error parsing format: {}", problem.bare())));
    }
    let (since, until) = (moment::unix(matches.text("since"))?, moment::unix(matches.text("until"))?);
    let mut events = client::system::events(cli.client()?, &since, &until, &matches.filters()).await?;
    while let Some(event) = events.next().await? {
        terminal::line(match format {
            "" => plain(&event),
            format => filled(format, &event)?,
        })?;
    }
    Ok(())
}

/// `<time> <kind> <action> <id> (<attributes>)`
fn plain(event: &Message) -> String {
    let time = match (event.time_nano, event.time) {
        (0, 0) => String::new(),
        (0, seconds) => human::rfc3339_nano(seconds * 1_000_000_000) + " ",
        (nanoseconds, _) => human::rfc3339_nano(nanoseconds) + " ",
    };
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{time}{} {} {}{attributes}", event.kind.as_str(), event.action, event.actor.id)
}

fn filled(format: &str, event: &Message) -> Outcome<String> {
    let json = serde_json::to_vec(event).expect("events are JSON");
    let document = Document::parse(&json, GO_NAMES)?;
    Ok(Template::over(format, document.orders)?.execute(&document.value, "events.Message")?)
}

/// Go's names of the fields that JSON writes small.
const GO_NAMES: Skeleton = &[
    ("Status", "=status"),
    ("ID", "=id"),
    ("From", "=from"),
    ("Scope", "=scope"),
    ("Time", "=time"),
    ("TimeNano", "=timeNano"),
];

#[cfg(test)]
mod tests {
    use api::events::{Actor, Type};

    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = Message {
            status: "start".into(),
            id: "1f".into(),
            from: "busybox".into(),
            kind: Type::Container,
            action: "start".into(),
            actor: Actor {
                id: "1f".into(),
                attributes: [("image".into(), "busybox".into()), ("name".into(), "web".into())].into(),
            },
            scope: "local".into(),
            time: 1_357_133_017,
            time_nano: 1_357_133_017_000_000_005,
        };
        let line = plain(&event);
        assert!(line.ends_with(" container start 1f (image=busybox, name=web)"), "{line}");
        assert_eq!(
            filled("{{.Type}} {{.Actor.Attributes.name}} {{.Time}}", &event).unwrap(),
            "container web 1357133017"
        );
        let json = filled("{{json .}}", &event).unwrap();
        assert!(json.starts_with(r#"{"status":"start","id":"1f","#), "{json}");
    }
}
