//! Images as Docker's clients see them: lists, inspect, history, names, their transport as archives, and their ways from
//! and to registries.
//!
//! The store has the truth; here it is put into Docker's words, with events and with the containers that use images.

mod adopt;
mod budget;
mod distribution;
mod form;
mod list;
mod make;
mod manifests;
mod progress;
mod pull;
mod push;
mod show;
mod transport;

use std::collections::BTreeMap;

use api::events::Type;
use api::image::{HistoryRow, Inspect, Removed};
use fault::{Error, Result};
use oci::{Platform, Reference};
use store::{Image, ImageId, User};

use crate::Engine;

pub use adopt::{Adopt, adopt};
pub use archive::compression::Compression;
pub(crate) use budget::keep_within_budget;
pub use budget::pin;
pub use distribution::{Remote, distribution, login, manifest, push_manifest, search};
pub use form::{convert, difference};
pub use list::list;
pub(crate) use list::{Chosen, allow_prune, usage};
pub use make::{Import, commit, import};
pub(crate) use progress::credentials;
pub use pull::{Pull, pull};
pub use push::{Push, push};
pub(crate) use show::{signed, unix_seconds};
pub use store::Convert;
pub use transport::{load, save};

pub use crate::transport::{Body, Lines, Parts};

pub async fn inspect(engine: &Engine, name: &str) -> Result<Inspect> {
    inspect_as(engine, name, Viewing::default()).await
}

/// What of an image is to be seen.
#[derive(Clone, Debug, Default)]
pub struct Viewing {
    /// What the name means without a platform, if none is given.
    pub platform: Option<Platform>,
    /// All platforms, too.
    pub manifests: bool,
}

pub async fn inspect_as(engine: &Engine, name: &str, viewing: Viewing) -> Result<Inspect> {
    if viewing.manifests && viewing.platform.is_some() {
        return Err(Error::invalid("conflicting options: manifests and platform options cannot both be set"));
    }
    let name = name.to_owned();
    engine
        .blocking(move |engine| {
            let id = resolve_for(engine, &name, viewing.platform.as_ref())?;
            let image = engine.store().image(&id)?;
            let mut shown = show::inspect(engine.store(), &image);
            shown.trust = crate::trust::shown(&engine.policy(), &image);
            if viewing.manifests {
                let variants = manifests::of_name(engine, &name, &id)?;
                shown.manifests = Some(manifests::summaries(engine, &variants)?);
                shown.descriptor = Some(variants.target);
            }
            Ok(shown)
        })
        .await
}

pub async fn history(engine: &Engine, name: &str, platform: Option<Platform>) -> Result<Vec<HistoryRow>> {
    let name = name.to_owned();
    engine
        .blocking(move |engine| {
            let id = resolve_for(engine, &name, platform.as_ref())?;
            Ok(engine.store().history(&id)?.into_iter().map(show::history_row).collect())
        })
        .await
}

/// Gives an image a further name.
pub async fn tag(engine: &Engine, name: &str, reference: &Reference) -> Result<()> {
    let (name, reference) = (name.to_owned(), reference.clone());
    engine
        .blocking(move |engine| {
            let id = resolve(engine, &name)?;
            let from = Reference::parse(&name).ok();
            engine.store().tag_like(&id, &reference, from.as_ref())?;
            tell(engine, "tag", &id, &reference.familiar());
            Ok(())
        })
        .await
}

/// Removes a name, and the image with its last one; with platforms only what the name stands for on these.
pub async fn remove(
    engine: &Engine,
    name: &str,
    force: bool,
    prune: bool,
    platforms: Vec<Platform>,
) -> Result<Vec<Removed>> {
    let name = name.to_owned();
    engine.blocking(move |engine| remove_some(engine, &name, force, prune, &platforms)).await
}

pub(crate) fn remove_now(engine: &Engine, name: &str, force: bool, prune: bool) -> Result<Vec<Removed>> {
    remove_some(engine, name, force, prune, &[])
}

fn remove_some(
    engine: &Engine,
    name: &str,
    force: bool,
    prune: bool,
    platforms: &[Platform],
) -> Result<Vec<Removed>> {
    let in_use = |id: &ImageId| users(engine, id);
    let how = store::Remove { force, prune_children: prune, in_use: &in_use };
    let removed = match platforms {
        [] => engine.store().remove(name, &how)?,
        platforms => engine.store().remove_platforms(name, platforms, &how)?,
    };
    for step in &removed {
        match step {
            store::Removed::Untagged(_, id) => tell(engine, "untag", id, &id.to_string()),
            store::Removed::Deleted(id) => tell(engine, "delete", id, &id.to_string()),
            store::Removed::Layer(_) => {}
        }
    }
    // Trees are only out of sight; deleting them takes its time and nobody waits for it.
    engine.sweep_soon();
    Ok(removed.into_iter().map(show::removed).collect())
}

/// The containers of an image.
fn users(engine: &Engine, id: &ImageId) -> Vec<User> {
    let id = id.to_string();
    let views = engine.containers().all().into_iter().map(|container| container.view());
    let user = |view: std::sync::Arc<crate::container::View>| User {
        container: view.record.id.to_string(),
        running: view.record.state.status.is_up(),
    };
    views.filter(|view| view.record.image_id == id).map(user).collect()
}

fn find(engine: &Engine, name: &str) -> Result<Image> {
    engine.store().image(&resolve(engine, name)?)
}

fn resolve(engine: &Engine, name: &str) -> Result<ImageId> {
    resolve_for(engine, name, None)
}

/// For a platform, if one is wanted.
fn resolve_for(engine: &Engine, name: &str, platform: Option<&Platform>) -> Result<ImageId> {
    if name.is_empty() {
        return Err(Error::invalid("image name cannot be empty"));
    }
    engine.store().resolve_for(name, platform)
}

/// An event of an image: its labels, and the name under which it was spoken of.
fn tell(engine: &Engine, action: &str, id: &ImageId, name: &str) {
    tell_because(engine, action, id, name, "");
}

/// With the reason for what nobody asked for, if there is one.
fn tell_because(engine: &Engine, action: &str, id: &ImageId, name: &str, reason: &str) {
    let mut attributes = attributes(engine, Some(id), name);
    if !reason.is_empty() {
        attributes.insert("reason".into(), reason.into());
    }
    engine.events().publish(Type::Image, action, &id.to_string(), attributes);
}

/// An event of a name that came from a registry or went to one: the name stands in the id's place.
async fn tell_of(engine: &Engine, action: &'static str, reference: Reference) -> Result<()> {
    engine
        .blocking(move |engine| {
            let name = reference.familiar();
            let id = engine.store().resolve(&name).ok();
            let attributes = attributes(engine, id.as_ref(), &reference.familiar_name());
            engine.events().publish(Type::Image, action, &name, attributes);
            Ok(())
        })
        .await
}

/// An image that is gone has no labels to tell any more.
fn attributes(engine: &Engine, id: Option<&ImageId>, name: &str) -> BTreeMap<String, String> {
    let config = id.and_then(|id| engine.store().image(id).ok()).and_then(|image| image.config.config);
    let mut attributes: BTreeMap<String, String> = config.map(|config| config.labels).unwrap_or_default();
    attributes.insert("name".into(), name.to_owned());
    attributes
}
