//! Docker's archive: `manifest.json` names for each image its config, layers and tags
//! (moby, image/spec; skopeo, podman and bazel write it too).

use fault::{Error, Result};
use oci::{Platform, Reference};
use serde::Deserialize;

use super::members::Members;
use super::{Plan, Planned, PlannedLayer};
use crate::image::{Manifest, parse_config};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// This form of an archive has one platform for each image.
pub(super) fn plan(members: &Members, platforms: &[Platform]) -> Result<Plan> {
    if !members.has("manifest.json") {
        return Err(Error::invalid("invalid image archive: manifest.json is missing"));
    }
    let items: Vec<Item> = members.json("manifest.json")?;
    let mut images = items.into_iter().map(plan_one).collect::<Result<Vec<Planned>>>()?;
    if !platforms.is_empty() {
        let mut fitting = Vec::new();
        for image in images {
            let found = parse_config(&members.document(&image.config)?)?.platform();
            if platforms.iter().any(|wanted| wanted.rank(&found) == Some(0)) {
                fitting.push(image);
            }
        }
        images = fitting;
        if images.is_empty() {
            return Err(super::lacking(platforms));
        }
    }
    Ok(Plan { images, groups: Vec::new() })
}

fn plan_one(item: Item) -> Result<Planned> {
    let layers =
        item.layers.unwrap_or_default().into_iter().map(|member| PlannedLayer { member, blob: None });
    let names = item.repo_tags.unwrap_or_default().iter().map(|tag| parse_tag(tag)).collect::<Result<_>>()?;
    Ok(Planned { config: item.config, layers: layers.collect(), manifest: Manifest::New, names, group: None })
}

fn parse_tag(text: &str) -> Result<Reference> {
    let name = Reference::parse(text)?;
    if name.tag().is_none() || name.digest().is_some() {
        return Err(Error::invalid(format!("invalid tag \"{text}\"")));
    }
    Ok(name)
}
