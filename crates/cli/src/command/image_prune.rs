//! `kogge image prune`.

use api::filters::Filters;
use client::Client;

use super::pruned::{self, Pruned};
use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};

pub(crate) const COMMAND: Command =
    Command::new("Remove unused images", "[OPTIONS]", Args::None, |cli, matches| Box::pin(run(cli, matches)))
        .flags(&[pruned::FLAGS, &[Flag::switch("all", "Remove tagged ones, too").short('a')]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let all = matches.is_on("all");
    let which =
        if all { "images without at least one container associated to them" } else { "dangling images" };
    let warning = format!("WARNING! This will remove all {which}.\nAre you sure you want to continue?");
    pruned::confirm(&matches, &warning).await?;
    prune(cli.client()?, all, pruned::filters(cli, &matches)).await?.show_with_space()
}

pub(super) async fn prune(client: &Client, all: bool, mut filters: Filters) -> Outcome<Pruned> {
    filters.insert("dangling", (!all).to_string());
    let pruned = client::image::prune(client, &filters).await?;
    let lines: Vec<String> = pruned
        .images_deleted
        .unwrap_or_default()
        .into_iter()
        .map(|step| match step.untagged.as_str() {
            "" => format!("deleted: {}", step.deleted),
            untagged => format!("untagged: {untagged}"),
        })
        .collect();
    Ok(Pruned::new("Deleted Images:", &lines, pruned.space_reclaimed))
}
