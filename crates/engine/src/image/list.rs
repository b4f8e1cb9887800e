//! `docker images`: which, in which order.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::image::{ListOptions, Summary};
use fault::{Error, Result};
use oci::Reference;
use store::{Image, ImageId, ImageUsage};

use super::show;
use crate::Engine;
use crate::filter::Glob;

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "pinned", "reference", "since", "until"];

/// All images that the filters choose, newest first. Those that are only parents of others need `all`.
pub async fn list(engine: &Engine, options: ListOptions) -> Result<Vec<Summary>> {
    options.filters.allow(FILTERS)?;
    engine.blocking(move |engine| list_now(engine, &options)).await
}

fn list_now(engine: &Engine, options: &ListOptions) -> Result<Vec<Summary>> {
    let chosen = Chosen::of(engine, &options.filters)?;
    let usage = options.shared_size.then(|| engine.store().usage());
    let policy = engine.policy();
    let mut images = engine.store().images()?;
    images.retain(|image| chosen.holds(image) && (options.all || is_shown(engine, image)));
    let mut variants = Vec::new();
    for image in images.iter().filter(|_| options.manifests) {
        variants.push(engine.store().variants(&image.id)?);
    }
    let users = Users::count(engine);
    let mut rows: Vec<Summary> = images
        .iter()
        .map(|image| {
            let usage = usage.as_ref().and_then(|usage| usage.images.get(&image.id));
            let trust = crate::trust::shown(&policy, image).map(|trust| trust.verdict).unwrap_or_default();
            Summary { trust, ..show::summary(image, usage, users.of(&image.id)) }
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

/// All images with what they take and share on disk and how many containers use each, for the disk usage.
pub(crate) async fn usage(engine: &Engine, shares: BTreeMap<ImageId, ImageUsage>) -> Result<Vec<Summary>> {
    engine
        .blocking(move |engine| {
            let users = Users::count(engine);
            let row = |image: &Image| {
                let share = shares.get(&image.id).copied().unwrap_or_default();
                let row = show::summary(image, Some(&share), users.of(&image.id));
                Summary { size: show::signed(share.size), ..row }
            };
            Ok(engine.store().images()?.iter().map(row).collect())
        })
        .await
}

/// How many containers are made from each image, looked up once for all of them.
struct Users(BTreeMap<String, i64>);

impl Users {
    fn count(engine: &Engine) -> Self {
        let mut counts = BTreeMap::new();
        for container in engine.containers().all() {
            *counts.entry(container.view().record.image_id.clone()).or_default() += 1;
        }
        Self(counts)
    }

    fn of(&self, image: &ImageId) -> i64 {
        self.0.get(&image.to_string()).copied().unwrap_or_default()
    }
}

/// An image without a name is shown unless it is only a step on the way to another, or another platform of a name.
fn is_shown(engine: &Engine, image: &Image) -> bool {
    let is_named = !image.tags.is_empty() || !image.digests.is_empty();
    is_named || (image.indexed_by.is_empty() && engine.store().children(&image.id).is_empty())
}

/// The filters, with what they name looked up.
pub(crate) struct Chosen<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    pinned: Option<bool>,
    /// Only images made before the one, or after the other.
    before: Option<jiff::Timestamp>,
    since: Option<jiff::Timestamp>,
    references: Vec<Glob>,
}

impl<'a> Chosen<'a> {
    pub(crate) fn of(engine: &Engine, filters: &'a Filters) -> Result<Self> {
        let times = |name: &str| -> Result<Vec<jiff::Timestamp>> {
            let made = |image: &str| super::find(engine, image).map(|image| created(&image));
            Ok(filters.values(name).map(made).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let mut before = times("before")?;
        for text in filters.values("until") {
            before.push(crate::filter::moment(text)?);
        }
        Ok(Self {
            filters,
            dangling: if filters.contains("dangling") {
                Some(filters.flag("dangling", false)?)
            } else {
                None
            },
            pinned: if filters.contains("pinned") { Some(filters.flag("pinned", false)?) } else { None },
            before: before.into_iter().min(),
            since: times("since")?.into_iter().max(),
            references: filters.values("reference").map(Glob::parse).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn holds(&self, image: &Image) -> bool {
        let created = created(image);
        let is_dangling = image.tags.is_empty() && image.digests.is_empty() && image.indexed_by.is_empty();
        let none = BTreeMap::new();
        let labels = image.config.config.as_ref().map_or(&none, |config| &config.labels);
        self.dangling.is_none_or(|dangling| dangling == is_dangling)
            && self.pinned.is_none_or(|pinned| pinned == image.pinned)
            && self.before.is_none_or(|limit| created.is_some_and(|created| created < limit))
            && self.since.is_none_or(|limit| created.is_some_and(|created| created > limit))
            && self.filters.labels(labels)
            && (!self.filters.contains("reference") || image.tags.iter().any(|name| self.is_named(name)))
    }

    /// With a `reference` filter only the names that match are shown.
    fn names(&self, tags: &[String]) -> Option<Vec<String>> {
        if !self.filters.contains("reference") {
            return None;
        }
        let holds = |tag: &&String| Reference::parse(tag).is_ok_and(|name| self.is_named(&name));
        Some(tags.iter().filter(holds).cloned().collect())
    }

    /// Docker's `reference` filter: a pattern on the familiar name, with or without the tag.
    fn is_named(&self, name: &Reference) -> bool {
        let texts = [name.familiar(), name.familiar_name()];
        self.references.iter().any(|pattern| texts.iter().any(|text| pattern.matches(text)))
    }
}

fn created(image: &Image) -> Option<jiff::Timestamp> {
    image.created.as_deref().and_then(|time| time.parse().ok())
}

/// For prune: refuses what the list knows and pruning does not.
pub(crate) fn allow_prune(filters: &Filters) -> Result<()> {
    filters.allow(&["dangling", "label", "label!", "until"]).map_err(|_| Error::invalid("invalid filter"))
}
