//! `kogge system prune`: all the prunes, one after the other.

use api::filters::Filters;
use client::Client;

use super::pruned::{self, Pruned};
use super::{Args, Command, image_prune, network, prune, volume};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};

pub(crate) const COMMAND: Command =
    Command::new("Remove unused data", "[OPTIONS]", Args::None, |cli, matches| Box::pin(run(cli, matches)))
        .flags(&[pruned::FLAGS, FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Remove all unused images, not just dangling ones").short('a'),
    Flag::switch("volumes", "Remove anonymous volumes"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (all, volumes) = (matches.is_on("all"), matches.is_on("volumes"));
    let filters = pruned::filters(cli, &matches);
    if volumes && filters.contains("until") {
        return Err(Exit::failure("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    pruned::confirm(&matches, &question(all, volumes, &filters)).await?;
    let client = cli.client()?;
    let mut done = vec![prune::prune(client, &filters).await?, network::prune(client, &filters).await?];
    if volumes {
        done.push(volume::prune(client, &filters).await?);
    }
    done.push(image_prune::prune(client, all, filters.clone()).await?);
    done.push(prune_cache(client, all, &filters).await?);
    let bytes = done.iter().map(|pruned| pruned.bytes).sum();
    done.iter().try_for_each(Pruned::show)?;
    Pruned::new("", &[], bytes).show_with_space()
}

async fn prune_cache(client: &Client, all: bool, filters: &Filters) -> Outcome<Pruned> {
    let pruned = client::system::build_prune(client, all, filters).await?;
    let ids = pruned.caches_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted build cache objects:", &ids, pruned.space_reclaimed))
}

fn question(all: bool, volumes: bool, filters: &Filters) -> String {
    let mut text = "WARNING! This will remove:\n  - all stopped containers\n  \
                    - all networks not used by at least one container\n"
        .to_owned();
    if volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    let mut shown: Vec<String> = ["label", "label!", "until"]
        .iter()
        .flat_map(|name| filters.values(name).map(move |value| format!("  - {name}={value}\n")))
        .collect();
    shown.sort();
    if !shown.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(shown);
    }
    text + "\nAre you sure you want to continue?"
}
