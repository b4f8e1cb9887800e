//! `kogge image prune`.

use api::filters::Filters;
use client::Client;

use super::{Args, Command, Pruned, prune_filters, reclaimed};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Remove unused images", "[OPTIONS]", Args::None, |cli, matches| Box::pin(run(cli, matches)))
        .flags(&[super::PRUNE, &[Flag::switch("all", "Remove tagged ones, too").short('a')]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let all = matches.is_on("all");
    let which =
        if all { "images without at least one container associated to them" } else { "dangling images" };
    let warning = format!("WARNING! This will remove all {which}.\nAre you sure you want to continue?");
    if !matches.is_on("force") && !terminal::confirm(&warning)? {
        return Err(Exit::new(1, ""));
    }
    reclaimed(prune(cli.client()?, all, prune_filters(cli, &matches)).await?)
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
