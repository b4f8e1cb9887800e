//! `kogge volume …`.

use api::filters::Filters;
use api::volume::{Create, Volume};
use client::Client;

use super::pruned::{self, Pruned};
use super::{Args, Command, many};
use crate::cli::Cli;
use crate::create::{check_label, label_pairs};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const CREATE: Command =
    Command::new("Create a volume", "[OPTIONS] [VOLUME]", Args::AtMost(1), |cli, matches| {
        Box::pin(create(cli, matches))
    })
    .flags(&[&[
        Flag::string("driver", "Driver of the volume").short('d').default("local"),
        Flag::list("label", "Set a label").checked(check_label),
        Flag::string("name", "Name of the volume").hidden(),
        Flag::map("opt", "Option of the driver").short('o'),
    ]]);

pub(crate) const LIST: Command =
    Command::new("List volumes", "[OPTIONS]", Args::None, |cli, matches| Box::pin(list(cli, matches)))
        .also("kogge volume ls, kogge volume list")
        .flags(&[&[
            Flag::filter("Show only what fits").short('f'),
            super::FORMAT,
            Flag::switch("quiet", "Show names only").short('q'),
        ]]);

pub(crate) const REMOVE: Command = Command::new(
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    "[OPTIONS] VOLUME [VOLUME...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(remove(cli, matches)),
)
.also("kogge volume rm, kogge volume remove")
.flags(&[&[Flag::switch("force", "No error if there is no such volume").short('f')]]);

pub(crate) const PRUNE: Command =
    Command::new("Remove unused local volumes", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(ask_and_prune(cli, matches))
    })
    .flags(&[pruned::FLAGS, &[Flag::switch("all", "Remove named ones, too").short('a')]]);

async fn create(cli: &Cli, matches: Matches) -> Outcome {
    let name = match (matches.args.first(), matches.text("name")) {
        (Some(_), name) if !name.is_empty() => {
            return Err(Exit::failure(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        (Some(name), _) => name,
        (None, name) => name,
    };
    let volume = Create {
        name: name.into(),
        driver: matches.text("driver").into(),
        driver_opts: label_pairs(&matches.list("opt")),
        labels: label_pairs(&matches.list("label")),
        cluster_volume_spec: None,
    };
    terminal::line(client::volume::create(cli.client()?, &volume).await?.name)
}

async fn list(cli: &Cli, matches: Matches) -> Outcome {
    let mut volumes = client::volume::list(cli.client()?, &matches.filters()).await?.volumes;
    volumes.sort_by(|a, b| human::natural(&a.name, &b.name));
    let quiet = matches.is_on("quiet");
    let format = match matches.text("format") {
        "" if !quiet && !cli.config().volumes_format.is_empty() => &cli.config().volumes_format,
        "" => "table",
        given => given,
    };
    let format = match (format, quiet) {
        ("table", true) => "{{.Name}}",
        ("table", false) => r"table {{.Driver}}\t{{.Name}}",
        ("raw", true) => "name: {{.Name}}",
        ("raw", false) => r"name: {{.Name}}\ndriver: {{.Driver}}\n",
        (template, _) => template,
    };
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

pub(super) const FIELDS: Fields = Fields {
    kind: "*formatter.volumeContext",
    headings: &[
        ("ID", "ID"),
        ("Name", "VOLUME NAME"),
        ("Group", "GROUP"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Availability", "AVAILABILITY"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

pub(super) fn row(volume: &Volume) -> Row {
    let (links, size) = match volume.usage_data {
        Some(usage) => (usage.ref_count.to_string(), human::size_exact(usage.size)),
        None => ("N/A".into(), "N/A".into()),
    };
    Row::new()
        .field("Name", &volume.name)
        .field("Group", "N/A")
        .field("Driver", &volume.driver)
        .field("Scope", &volume.scope)
        .field("Availability", "N/A")
        .field("Mountpoint", &volume.mountpoint)
        .field("Links", links)
        .field("Size", size)
        .field("Status", "N/A")
        .labels(volume.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new()))
}

async fn remove(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let remove = async |name: &String| {
        client::volume::remove(client, name, matches.is_on("force")).await.map(|()| name.clone())
    };
    many::in_order(&matches.args, remove).await
}

async fn ask_and_prune(cli: &Cli, matches: Matches) -> Outcome {
    let all = matches.is_on("all");
    let mut filters = pruned::filters(cli, &matches);
    if all {
        if filters.contains("all") {
            return Err(Exit::failure("conflicting options: cannot specify both --all and --filter all=1"));
        }
        filters.insert("all", "true");
    }
    let which = if all { "all local volumes" } else { "anonymous local volumes" };
    let warning = format!(
        "WARNING! This will remove {which} not used by at least one container.\nAre you sure you want to continue?"
    );
    pruned::confirm(&matches, &warning).await?;
    prune(cli.client()?, &filters).await?.show_with_space()
}

pub(super) async fn prune(client: &Client, filters: &Filters) -> Outcome<Pruned> {
    let pruned = client::volume::prune(client, filters).await?;
    let names = pruned.volumes_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted Volumes:", &names, pruned.space_reclaimed))
}
