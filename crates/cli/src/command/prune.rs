//! `kogge container prune`.

use api::filters::Filters;
use client::Client;

use super::{Args, Command, Pruned, prune_filters, reclaimed};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Remove all stopped containers", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .flags(&[super::PRUNE]);

const WARNING: &str = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let filters = prune_filters(cli, &matches);
    if !matches.is_on("force") && !terminal::confirm(WARNING)? {
        return Err(Exit::new(1, ""));
    }
    reclaimed(prune(cli.client()?, &filters).await?)
}

pub(super) async fn prune(client: &Client, filters: &Filters) -> Outcome<Pruned> {
    let pruned = client::container::prune(client, filters).await?;
    let ids = pruned.containers_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted Containers:", &ids, pruned.space_reclaimed))
}
