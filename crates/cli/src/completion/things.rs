//! Names of what the daemon has, if one runs.

use api::filters::Filters;
use fault::Result;

use super::walk::Things;
use crate::cli::Cli;

pub(super) async fn names(cli: &Cli, things: Things) -> Result<Vec<String>> {
    if things == Things::Contexts {
        let names = cli.contexts().into_iter().map(|context| context.name);
        return Ok(std::iter::once(crate::config::DEFAULT_CONTEXT.to_owned()).chain(names).collect());
    }
    let client = cli.client_that_runs()?;
    Ok(match things {
        Things::Containers | Things::Running | Things::Resting => {
            let options =
                api::container::ListOptions { all: things != Things::Running, ..Default::default() };
            let mut containers = client::container::list(&client, &options).await?;
            containers.retain(|container| {
                things != Things::Resting || matches!(container.state.as_str(), "created" | "exited")
            });
            let names = containers.into_iter().flat_map(|container| container.names);
            names.map(|name| name.trim_start_matches('/').to_owned()).collect()
        }
        Things::Images => {
            let images = client::image::list(&client, &api::image::ListOptions::default()).await?;
            let tags = images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default());
            tags.filter(|tag| tag != "<none>:<none>").collect()
        }
        Things::Volumes => {
            let list = client::volume::list(&client, &Filters::default()).await?;
            list.volumes.into_iter().map(|volume| volume.name).collect()
        }
        Things::Networks => {
            let networks = client::network::list(&client, &Filters::default()).await?;
            networks.into_iter().map(|network| network.name).collect()
        }
        Things::Contexts => Vec::new(),
    })
}
