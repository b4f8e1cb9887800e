//! `kogge stats`: what containers use, once or as a table that refreshes itself.

mod figures;

use std::time::Duration;

use api::container::ListOptions;
use api::filters::Filters;
use api::stats::Stats;
use client::Client;
use fault::{Error, Result};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
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
    let (sender, changes) = mpsc::channel(CHANGES_MAX);
    let follows_all = matches.args.is_empty();
    let (rows, readers) = (Vec::new(), FuturesUnordered::new());
    let mut table = Table { client, follows_all, rows, readers, sender: sender.clone() };
    names(client, matches).await?.into_iter().for_each(|name| table.add(name));
    let drawing = table.draw(view, changes);
    match follows_all {
        true => tokio::select! {
            drawn = drawing => drawn,
            watched = watch(client, matches.is_on("all"), sender) => watched.map_err(Exit::from),
        },
        false => drawing.await,
    }
}

/// What is shown, and who finds out what there is to show.
struct Table<'c> {
    client: &'c Client,
    follows_all: bool,
    rows: Vec<(String, Option<Stats>)>,
    readers: FuturesUnordered<LocalBoxFuture<'c, ()>>,
    sender: mpsc::Sender<Change>,
}

impl Table<'_> {
    fn add(&mut self, name: String) {
        if self.rows.iter().all(|(known, _)| *known != name) {
            self.rows.push((name.clone(), None));
            self.readers.push(follow(self.client, name, self.sender.clone()).boxed_local());
        }
    }

    fn remove(&mut self, name: &str) {
        self.rows.retain(|(known, _)| known != name);
    }

    async fn draw(mut self, view: &View, mut changes: mpsc::Receiver<Change>) -> Outcome {
        let mut tick = interval_at(Instant::now() + REFRESH, REFRESH);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let rows = self.rows.iter().map(|(name, stats)| (name, stats));
                    terminal::print(&screen(&view.text(rows)?))?;
                    if self.rows.is_empty() && !self.follows_all {
                        return Ok(());
                    }
                }
                Some(()) = self.readers.next() => {}
                Some(change) = changes.recv() => self.apply(change)?,
            }
        }
    }

    fn apply(&mut self, change: Change) -> Outcome {
        match change {
            Change::Reading(name, stats) => {
                if let Some(row) = self.rows.iter_mut().find(|(known, _)| *known == name) {
                    row.1 = Some(*stats);
                }
            }
            Change::Ended(name, error) => {
                let is_unknown = self.rows.iter().any(|(known, stats)| *known == name && stats.is_none());
                match error {
                    Some(error) if is_unknown && !self.follows_all => return Err(error.into()),
                    _ => self.remove(&name),
                }
            }
            Change::Appeared(name) => self.add(name),
            Change::Gone(name) => self.remove(&name),
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use client::Endpoint;

    use super::*;

    fn check(follows_all: bool, changes: Vec<Change>, wanted: &str) {
        let client = Client::new(Endpoint::unix("/nobody/listens"));
        let (sender, _receiver) = mpsc::channel(1);
        let (rows, readers) = (Vec::new(), FuturesUnordered::new());
        let mut table = Table { client: &client, follows_all, rows, readers, sender };
        let got = match changes.into_iter().try_for_each(|change| table.apply(change)) {
            Err(exit) => exit.message,
            Ok(()) => {
                let text = |(name, stats): &(String, Option<Stats>)| format!("{name}:{}", stats.is_some());
                table.rows.iter().map(text).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, wanted);
    }

    fn appeared() -> Change {
        Change::Appeared("a".into())
    }

    fn reading() -> Change {
        Change::Reading("a".into(), Box::default())
    }

    fn failed() -> Change {
        Change::Ended("a".into(), Some(Error::not_found("no such container")))
    }

    #[test]
    fn containers_come_and_go() {
        check(true, vec![appeared(), appeared(), reading()], "a:true");
        check(true, vec![appeared(), Change::Gone("a".into()), reading()], "");
        check(true, vec![appeared(), failed()], "");
        check(false, vec![appeared(), reading(), failed()], "");
    }

    #[test]
    fn a_name_that_never_was_is_an_error() {
        check(false, vec![appeared(), failed()], "no such container");
    }
}
