//! `kogge container prune`.

use api::filters::Filters;
use client::Client;

use super::pruned::{self, Pruned};
use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command =
    Command::new("Remove all stopped containers", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .flags(&[pruned::FLAGS]);

const WARNING: &str = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let filters = pruned::filters(cli, &matches);
    pruned::confirm(&matches, WARNING).await?;
    prune(cli.client()?, &filters).await?.show_with_space()
}

pub(super) async fn prune(client: &Client, filters: &Filters) -> Outcome<Pruned> {
    let pruned = client::container::prune(client, filters).await?;
    let ids = pruned.containers_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted Containers:", &ids, pruned.space_reclaimed))
}
