//! Docker's archive: `manifest.json` names for each image its config, layers and tags
//! (moby, image/spec; skopeo, podman and bazel write it too).

use fault::{Error, Result};
use oci::Reference;
use serde::Deserialize;

use super::members::Members;
use super::{Planned, PlannedLayer};
use crate::image::Manifest;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn plan(members: &Members) -> Result<Vec<Planned>> {
    if !members.has("manifest.json") {
        return Err(Error::invalid("invalid image archive: manifest.json is missing"));
    }
    let items: Vec<Item> = members.json("manifest.json")?;
    items.into_iter().map(plan_one).collect()
}

fn plan_one(item: Item) -> Result<Planned> {
    let layers =
        item.layers.unwrap_or_default().into_iter().map(|member| PlannedLayer { member, blob: None });
    let names = item.repo_tags.unwrap_or_default().iter().map(|tag| parse_tag(tag)).collect::<Result<_>>()?;
    Ok(Planned { config: item.config, layers: layers.collect(), manifest: Manifest::New, names })
}

fn parse_tag(text: &str) -> Result<Reference> {
    let name = Reference::parse(text)?;
    if name.tag().is_none() || name.digest().is_some() {
        return Err(Error::invalid(format!("invalid tag \"{text}\"")));
    }
    Ok(name)
}
