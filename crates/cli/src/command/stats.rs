//! `kogge stats`: what containers use, once or as a table that refreshes itself.

mod figures;

use std::collections::BTreeMap;
use std::time::Duration;

use api::container::ListOptions;
use api::filters::Filters;
use api::stats::Stats;
use client::Client;
use fault::{Error, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

use figures::row;

pub(crate) const COMMAND: Command = Command::new(
    "Display a live stream of container(s) resource usage statistics",
    "[OPTIONS] [CONTAINER...]",
    Args::AtLeast(0),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container stats, kogge stats")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show those that do not run, too").short('a'),
    super::FORMAT,
    Flag::switch("no-stream", "Show one reading and end"),
    Flag::switch("no-trunc", "Cut nothing short"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let format = match matches.text("format") {
        "" if !cli.config().stats_format.is_empty() => &cli.config().stats_format,
        "" => "table",
        given => given,
    };
    let view = View { format: layout(format), trunc: !matches.is_on("no-trunc") };
    let client = cli.client()?;
    match matches.is_on("no-stream") {
        true => once(client, &matches, &view).await,
        false => live(client, &matches, &view).await,
    }
}

fn layout(format: &str) -> String {
    match format {
        "table" => r"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}".into(),
        given => given.into(),
    }
}

struct View {
    format: String,
    trunc: bool,
}

impl View {
    fn text<'s>(&self, readings: impl Iterator<Item = (&'s String, &'s Option<Stats>)>) -> Outcome<String> {
        let rows: Vec<Row> = readings.map(|(name, stats)| row(name, stats.as_ref(), self.trunc)).collect();
        Ok(format::list(&self.format, &FIELDS, &rows)?)
    }
}

/// The containers that were named, or those that run (or are).
async fn names(client: &Client, matches: &Matches) -> Result<Vec<String>> {
    if !matches.args.is_empty() {
        return Ok(matches.args.clone());
    }
    let options = ListOptions { all: matches.is_on("all"), ..ListOptions::default() };
    let containers = client::container::list(client, &options).await?;
    Ok(containers.iter().map(|container| human::short_id(&container.id).to_owned()).collect())
}

async fn once(client: &Client, matches: &Matches, view: &View) -> Outcome {
    let names = names(client, matches).await?;
    let readings = futures_util::future::join_all(names.iter().map(|name| reading(client, name))).await;
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (name, reading) in names.iter().zip(readings) {
        match reading {
            Ok(stats) => rows.push((name, stats)),
            Err(error) => errors.push(error),
        }
    }
    // Those that were not named may be gone by now.
    if !matches.args.is_empty() {
        Exit::join(errors)?;
    }
    terminal::print(&view.text(rows.iter().map(|(name, stats)| (*name, stats)))?)
}

async fn reading(client: &Client, name: &str) -> Result<Option<Stats>> {
    client::container::stats(client, name, false).await?.next().await
}

/// What happens to the table between two drawings.
enum Change {
    Reading(String, Box<Stats>),
    Ended(String, Option<Error>),
    Appeared(String),
    Gone(String),
}

/// The table that refreshes itself. With names it ends when none is left; without, containers come and go.
async fn live(client: &Client, matches: &Matches, view: &View) -> Outcome {
    let names = names(client, matches).await?;
    let follows_all = matches.args.is_empty();
    let (sender, changes) = mpsc::channel(CHANGES_MAX);
    let mut table: BTreeMap<usize, (String, Option<Stats>)> = BTreeMap::new();
    for name in &names {
        table.insert(table.len(), (name.clone(), None));
    }
    let drawing = draw(client, view, table, changes, sender.clone(), follows_all);
    match follows_all {
        true => tokio::select! {
            drawn = drawing => drawn,
            watched = watch(client, matches.is_on("all"), sender) => watched.map_err(Exit::from),
        },
        false => drawing.await,
    }
}

async fn draw(
    client: &Client,
    view: &View,
    table: BTreeMap<usize, (String, Option<Stats>)>,
    mut changes: mpsc::Receiver<Change>,
    sender: mpsc::Sender<Change>,
    follows_all: bool,
) -> Outcome {
    let mut rows: Vec<(String, Option<Stats>)> = table.into_values().collect();
    let mut readers: futures_util::stream::FuturesUnordered<_> =
        rows.iter().map(|(name, _)| follow(client, name.clone(), sender.clone())).collect();
    let mut tick = interval_at(Instant::now() + REFRESH, REFRESH);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                terminal::print(&screen(&view.text(rows.iter().map(|(name, stats)| (name, stats)))?))?;
                if rows.is_empty() && !follows_all {
                    return Ok(());
                }
            }
            Some(()) = futures_util::StreamExt::next(&mut readers) => {}
            Some(change) = changes.recv() => match change {
                Change::Reading(name, stats) => {
                    if let Some(row) = rows.iter_mut().find(|(known, _)| *known == name) {
                        row.1 = Some(*stats);
                    }
                }
                Change::Ended(name, error) => {
                    let first = rows.iter().any(|(known, stats)| *known == name && stats.is_none());
                    match error {
                        Some(error) if first && !follows_all => return Err(error.into()),
                        _ => rows.retain(|(known, _)| *known != name),
                    }
                }
                Change::Appeared(name) if rows.iter().all(|(known, _)| *known != name) => {
                    rows.push((name.clone(), None));
                    readers.push(follow(client, name, sender.clone()));
                }
                Change::Appeared(_) => {}
                Change::Gone(name) => rows.retain(|(known, _)| *known != name),
            },
        }
    }
}

async fn follow(client: &Client, name: String, changes: mpsc::Sender<Change>) {
    let stream = async {
        let mut readings = client::container::stats(client, &name, true).await?;
        while let Some(stats) = readings.next().await? {
            let change = Change::Reading(name.clone(), Box::new(stats));
            if changes.send(change).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let error = stream.await.err();
    changes.send(Change::Ended(name, error)).await.ok();
}

/// Tells of containers that start and end.
async fn watch(client: &Client, all: bool, changes: mpsc::Sender<Change>) -> Result<()> {
    let mut filters = Filters::default();
    filters.insert("type", "container");
    let mut events = client::system::events(client, "", "", &filters).await?;
    while let Some(event) = events.next().await? {
        let name = human::short_id(&event.actor.id).to_owned();
        let change = match event.action.as_str() {
            "start" => Change::Appeared(name),
            "create" if all => Change::Appeared(name),
            "die" if !all => Change::Gone(name),
            "destroy" => Change::Gone(name),
            _ => continue,
        };
        if changes.send(change).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Draws over what was there: home, each line cleared to its end, nothing below.
fn screen(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

const FIELDS: Fields = Fields {
    kind: "*container.statsContext",
    headings: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
};

const REFRESH: Duration = Duration::from_millis(500);
/// Readings come once a second and container; this is far more than one refresh sees.
const CHANGES_MAX: usize = 1024;
