//! `kogge ps`.

use api::container::{ListOptions, Summary};
use jiff::Timestamp;
use oci::Reference;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("List containers", "[OPTIONS]", Args::None, |cli, matches| Box::pin(run(cli, matches)))
        .also("kogge container ls, kogge container list, kogge container ps, kogge ps")
        .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show those that do not run, too").short('a'),
    Flag::filter("Show only what fits").short('f'),
    super::FORMAT,
    Flag::int("last", "Show the latest so many, whatever their state").short('n').default("-1"),
    Flag::switch("latest", "Show the latest one, whatever its state").short('l'),
    Flag::switch("no-trunc", "Cut nothing short"),
    Flag::switch("quiet", "Show ids only").short('q'),
    Flag::switch("size", "Show how much each takes on disk").short('s'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let quiet = matches.is_on("quiet");
    let asked = match matches.text("format") {
        "" => cli.config().ps_format.clone(),
        given => {
            if quiet {
                terminal::warn(format_args!(
                    "WARNING: Ignoring custom format, because both --format and --quiet are set."
                ));
            }
            given.to_owned()
        }
    };
    let options = ListOptions {
        all: matches.is_on("all"),
        limit: limit(&matches),
        size: matches.is_on("size")
            || (!quiet && !matches.is_given("size") && format::uses_field(&asked, "Size")),
        filters: matches.filters(),
    };
    check_template(&asked)?;
    let containers = client::container::list(cli.client()?, &options).await?;
    let format = layout(&asked, quiet, options.size);
    let trunc = !matches.is_on("no-trunc");
    let rows: Vec<Row> = containers.iter().map(|container| row(container, trunc, Timestamp::now())).collect();
    terminal::print(&format::list(&format, &FIELDS, &rows)?)
}

fn limit(matches: &Matches) -> i64 {
    match matches.int("last") {
        -1 if matches.is_on("latest") => 1,
        last => last,
    }
}

/// A template is tried before the daemon is asked, with words of its own for a mistake.
fn check_template(format: &str) -> Outcome {
    if matches!(format, "" | "table" | "raw" | "json") {
        return Ok(());
    }
    let empty = row(&Summary { names: vec!["/".into()], ..Summary::default() }, true, Timestamp::now());
    let source = format.strip_prefix("table").unwrap_or(format);
    let template = format::Template::parse(source)
        .map_err(|problem| format!("failed to parse template: {}", problem.bare()))?;
    template
        .execute(&empty.value(), FIELDS.kind)
        .map(drop)
        .map_err(|problem| format!("failed to execute template: {}", problem.bare()).into())
}

/// The template behind a format's name.
pub(super) fn layout(format: &str, quiet: bool, size: bool) -> String {
    let layout = match (format, quiet) {
        ("raw", true) => "container_id: {{.ID}}",
        (_, true) => "{{.ID}}",
        ("table" | "", false) if size => {
            r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
        }
        ("table" | "", false) => {
            r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
        }
        ("raw", false) if size => concat!(raw!(), r"size: {{.Size}}\n"),
        ("raw", false) => raw!(),
        (template, false) => template,
    };
    layout.to_owned()
}

macro_rules! raw {
    () => {
        r"container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
    };
}
use raw;

pub(super) const FIELDS: Fields = Fields {
    kind: "*formatter.ContainerContext",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
};

pub(super) fn row(container: &Summary, trunc: bool, now: Timestamp) -> Row {
    let id = if trunc { human::short_id(&container.id) } else { &container.id };
    let command = if trunc { human::ellipsis(&container.command, 20) } else { container.command.clone() };
    let networks: Vec<&str> = container.network_settings.networks.keys().map(String::as_str).collect();
    let local = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    Row::new()
        .field("ID", id)
        .field("Names", names(container, trunc))
        .field("Image", image(container, trunc))
        .field("Command", human::quoted(&command))
        .field("CreatedAt", human::moment(container.created))
        .field("RunningFor", human::ago(container.created, now))
        .field("Ports", format::displayed_ports(&container.ports))
        .field("State", &container.state)
        .field("Status", &container.status)
        .field("Size", size(container))
        .field("Mounts", mounts(container, trunc))
        .field("LocalVolumes", local.to_string())
        .field("Networks", networks.join(","))
        .nothing("Platform")
        .labels(&container.labels)
}

/// Short, the name that is no link's.
fn names(container: &Summary, trunc: bool) -> String {
    let names: Vec<&str> =
        container.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name)).collect();
    match names.iter().find(|name| !name.contains('/')) {
        Some(own) if trunc => (*own).to_owned(),
        _ => names.join(","),
    }
}

fn image(container: &Summary, trunc: bool) -> String {
    let image = container.image.as_str();
    if image.is_empty() {
        return "<no image>".into();
    }
    if !trunc {
        return image.into();
    }
    let short = human::short_id(&container.image_id);
    if short == human::short_id(image) {
        return short.into();
    }
    match Reference::parse(image) {
        Ok(reference) => match reference.tag() {
            Some(tag) => format!("{}:{tag}", reference.familiar_name()),
            None => reference.familiar_name(),
        },
        Err(_) => image.into(),
    }
}

fn size(container: &Summary) -> String {
    let own = human::size(container.size_rw);
    match container.size_root_fs {
        0 => own,
        whole => format!("{own} (virtual {})", human::size(whole)),
    }
}

fn mounts(container: &Summary, trunc: bool) -> String {
    let names = container.mounts.iter().map(|mount| {
        let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
        if trunc { human::ellipsis(name, 15) } else { name.clone() }
    });
    names.collect::<Vec<_>>().join(",")
}
