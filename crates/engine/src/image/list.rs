//! `docker images`: which, in which order.

use api::filters::Filters;
use api::image::{ListOptions, Summary};
use fault::{Error, Result};
use oci::Reference;
use store::Image;

use super::show;
use crate::Engine;

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];

/// All images that the filters choose, newest first. Those that are only parents of others need `all`.
pub async fn list(engine: &Engine, options: ListOptions) -> Result<Vec<Summary>> {
    options.filters.allow(FILTERS)?;
    engine.blocking(move |engine| list_now(engine, &options)).await
}

fn list_now(engine: &Engine, options: &ListOptions) -> Result<Vec<Summary>> {
    let chosen = Chosen::of(engine, &options.filters)?;
    let usage = options.shared_size.then(|| engine.store().usage());
    let mut images = engine.store().images()?;
    images.retain(|image| chosen.holds(image) && (options.all || is_shown(engine, image)));
    let mut variants = Vec::new();
    for image in images.iter().filter(|_| options.manifests) {
        variants.push(engine.store().variants(&image.id)?);
    }
    let mut rows: Vec<Summary> = images
        .iter()
        .map(|image| {
            let usage = usage.as_ref().and_then(|usage| usage.images.get(&image.id));
            show::summary(image, usage, containers(engine, image))
        })
        .collect();
    for (row, variants) in rows.iter_mut().zip(variants) {
        row.manifests = Some(super::manifests::summaries(engine, &variants)?);
        row.descriptor = Some(variants.target);
    }
    for row in &mut rows {
        if let Some(names) = chosen.names(row.repo_tags.as_deref().unwrap_or_default()) {
            row.repo_tags = Some(names);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows)
}

/// What images take on disk.
#[derive(Debug)]
pub(crate) struct ImagesUsage {
    /// Bytes of all layers, each counted once.
    pub(crate) layers_size: i64,
    pub(crate) rows: Vec<Summary>,
}

/// All images with what they share and how many containers use each, for the disk usage.
pub(crate) async fn usage(engine: &Engine) -> Result<ImagesUsage> {
    engine
        .blocking(|engine| {
            let usage = engine.store().usage();
            let images = engine.store().images()?;
            let row =
                |image: &Image| show::summary(image, usage.images.get(&image.id), containers(engine, image));
            Ok(ImagesUsage {
                layers_size: show::signed(usage.layers),
                rows: images.iter().map(row).collect(),
            })
        })
        .await
}

/// How many containers are made from it.
fn containers(engine: &Engine, image: &Image) -> i64 {
    i64::try_from(super::users(engine, &image.id).len()).unwrap_or(i64::MAX)
}

/// An image without a name is shown unless it is only a step on the way to another, or another platform of a name.
fn is_shown(engine: &Engine, image: &Image) -> bool {
    let is_named = !image.tags.is_empty() || !image.digests.is_empty();
    is_named || (!image.indexed && engine.store().children(&image.id).is_empty())
}

/// The filters, with what they name looked up.
pub(crate) struct Chosen<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    /// Unix seconds: only images made before the one, or after the other.
    before: Option<i64>,
    since: Option<i64>,
    until: Option<i64>,
}

impl<'a> Chosen<'a> {
    pub(crate) fn of(engine: &Engine, filters: &'a Filters) -> Result<Self> {
        let created = |name: &str| -> Result<Option<i64>> {
            let Some(image) = filters.values(name).next() else { return Ok(None) };
            let image = super::find(engine, image)?;
            Ok(Some(image.created.as_deref().map_or(0, show::unix_seconds)))
        };
        Ok(Self {
            filters,
            dangling: if filters.contains("dangling") {
                Some(filters.flag("dangling", false)?)
            } else {
                None
            },
            before: created("before")?,
            since: created("since")?,
            until: filters.values("until").next().map(crate::filter::moment).transpose()?,
        })
    }

    pub(crate) fn holds(&self, image: &Image) -> bool {
        let created = image.created.as_deref().map_or(0, show::unix_seconds);
        let is_dangling = image.tags.is_empty() && image.digests.is_empty() && !image.indexed;
        let none = std::collections::BTreeMap::new();
        let labels = image.config.config.as_ref().map_or(&none, |config| &config.labels);
        self.dangling.is_none_or(|dangling| dangling == is_dangling)
            && self.before.is_none_or(|limit| created < limit)
            && self.since.is_none_or(|limit| created > limit)
            && self.until.is_none_or(|limit| created < limit)
            && self.filters.labels(labels)
            && self.filters.any("reference", |pattern| image.tags.iter().any(|name| matches(pattern, name)))
    }

    /// With a `reference` filter only the names that match are shown.
    fn names(&self, tags: &[String]) -> Option<Vec<String>> {
        if !self.filters.contains("reference") {
            return None;
        }
        let holds = |tag: &&String| {
            Reference::parse(tag)
                .is_ok_and(|name| self.filters.any("reference", |pattern| matches(pattern, &name)))
        };
        Some(tags.iter().filter(holds).cloned().collect())
    }
}

/// Docker's `reference` filter: a pattern of `path.Match` on the familiar name, with or without the tag.
fn matches(pattern: &str, name: &Reference) -> bool {
    let familiar = name.familiar();
    let bare = name.familiar_name();
    [&familiar, &bare].into_iter().any(|text| crate::filter::glob(pattern, text))
}

/// For prune: refuses what the list knows and pruning does not.
pub(crate) fn allow_prune(filters: &Filters) -> Result<()> {
    filters.allow(&["dangling", "label", "label!", "until"]).map_err(|_| Error::invalid("invalid filter"))
}
