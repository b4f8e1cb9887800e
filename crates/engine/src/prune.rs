//! Pruning: what nobody uses goes, and what that frees is told.

use std::collections::BTreeMap;

use api::container::{Pruned as PrunedContainers, Remove};
use api::events::Type;
use api::filters::Filters;
use api::image::{Pruned as PrunedImages, Removed};
use fault::{Error, Kind, Result};
use store::Image;

use crate::image::{Chosen, allow_prune, remove_now};
use crate::{Engine, Status, container, filter, volume};

/// Removes stopped containers.
pub async fn containers(engine: &Engine, filters: Filters) -> Result<PrunedContainers> {
    filters.allow(&["label", "label!", "until"])?;
    let until = filter::until(&filters)?;
    let mut pruned = PrunedContainers::default();
    for found in engine.containers().all() {
        let view = found.view();
        let record = &view.record;
        let stopped = matches!(record.state.status, Status::Created | Status::Exited | Status::Dead);
        let created = record.created.parse::<jiff::Timestamp>().ok();
        let old = until.is_none_or(|until| created.is_none_or(|created| created <= until));
        if !stopped || !old || !filters.labels(&record.config.labels) {
            continue;
        }
        let id = found.id.to_string();
        match remove_measured(engine, &id).await {
            Ok(size) => {
                pruned.space_reclaimed += size;
                pruned.containers_deleted.get_or_insert_default().push(id);
            }
            Err(error) => left("container", &id, &error),
        }
    }
    tell(engine, Type::Container, pruned.space_reclaimed);
    Ok(pruned)
}

/// One that stays does not keep the others. Started again, used again or gone already is no failure.
pub(crate) fn left(kind: &str, name: &str, error: &Error) {
    if !matches!(error.kind(), Kind::Conflict | Kind::NotFound) {
        tracing::warn!(kind, name, %error, "not pruned");
    }
}

async fn remove_measured(engine: &Engine, id: &str) -> Result<u64> {
    let size = freed(engine, id).await?;
    container::remove(engine, id, Remove::default()).await.map(|()| size)
}

async fn freed(engine: &Engine, id: &str) -> Result<u64> {
    let key = id.to_owned();
    let size = engine.blocking(move |engine| engine.store().snapshot(&key)?.size_rw()).await;
    match size {
        // What is left of a removal that failed half-way may have no files any more.
        Err(error) if error.kind() == Kind::NotFound => Ok(0),
        size => size,
    }
}

/// Removes images without a name, or with `dangling=false` all that no container uses; pinned ones stay.
pub async fn images(engine: &Engine, filters: Filters) -> Result<PrunedImages> {
    allow_prune(&filters)?;
    engine.blocking(move |engine| images_now(engine, &filters)).await
}

fn images_now(engine: &Engine, filters: &Filters) -> Result<PrunedImages> {
    let dangling_only = filters.flag("dangling", true)?;
    filter::until(filters)?;
    let mut filters = filters.clone();
    filters.remove("dangling");
    let chosen = Chosen::of(engine, &filters)?;
    let before = engine.store().usage().layers;
    let mut deleted = Vec::new();
    let images = engine.store().images()?;
    let may_go = |image: &Image| chosen.holds(image) && is_free(engine, image);
    for image in &images {
        let dangling = image.tags.is_empty() && image.digests.is_empty() && image.indexed_by.is_empty();
        // Other platforms that would lose their name with it must be free, too.
        let along = engine.store().taken_along(&image.id);
        let mut all = images.iter().filter(|other| other.id == image.id || along.contains(&other.id));
        if (dangling || !dangling_only) && all.all(may_go) {
            deleted.extend(remove_all_names(engine, image));
        }
    }
    let space_reclaimed = before.saturating_sub(engine.store().usage().layers);
    tell(engine, Type::Image, space_reclaimed);
    let images_deleted = Some(deleted).filter(|deleted| !deleted.is_empty());
    Ok(PrunedImages { images_deleted, space_reclaimed })
}

/// Nobody pinned it, no container was made from it and no image stands on it.
fn is_free(engine: &Engine, image: &Image) -> bool {
    if image.pinned {
        return false;
    }
    let id = image.id.to_string();
    let used = engine.containers().all().iter().any(|container| container.view().record.image_id == id);
    !used && engine.store().children(&image.id).is_empty()
}

/// Removes an image by each of its names, or by its id if it has none.
fn remove_all_names(engine: &Engine, image: &Image) -> Vec<Removed> {
    let mut names: Vec<String> =
        image.tags.iter().chain(&image.digests).map(oci::Reference::familiar).collect();
    if names.is_empty() {
        names.push(image.id.to_string());
    }
    let mut removed = Vec::new();
    for name in names {
        match remove_now(engine, &name, false, true) {
            Ok(steps) => removed.extend(steps),
            Err(error) => left("image", &name, &error),
        }
    }
    removed
}

/// Removes volumes that no container names: anonymous ones, or all of them.
pub async fn volumes(engine: &Engine, filters: Filters) -> Result<api::volume::Pruned> {
    let pruned = volume::prune(engine, filters).await?;
    tell(engine, Type::Volume, pruned.space_reclaimed);
    Ok(pruned)
}

fn tell(engine: &Engine, kind: Type, reclaimed: u64) {
    engine.events().publish(kind, "prune", "", BTreeMap::from([("reclaimed".into(), reclaimed.to_string())]));
}
