//! Images in another form, and images beside each other: what Docker has no verbs for.

use api::image::{Converted, Difference, FileChange, LayerUse, Setting};
use fault::Result;
use oci::Platform;
use store::{ChangeKind, Convert};

use super::show::signed;
use super::{resolve_for, tell};
use crate::Engine;

/// Makes an image whose layers are compressed otherwise.
pub async fn convert(engine: &Engine, wanted: Convert) -> Result<Converted> {
    engine
        .blocking(move |engine| {
            let made = engine.store().convert(&wanted)?;
            tell(engine, "tag", &made.id, &wanted.target.clone().with_default_tag().familiar());
            Ok(Converted {
                id: made.id.to_string(),
                descriptor: Some(made.target),
                size_before: signed(made.size_before),
                size_after: signed(made.size_after),
            })
        })
        .await
}

/// What the second image has otherwise than the first.
pub async fn difference(
    engine: &Engine,
    first: &str,
    second: &str,
    platform: Option<Platform>,
) -> Result<Difference> {
    let (first, second) = (first.to_owned(), second.to_owned());
    engine
        .blocking(move |engine| {
            let first = resolve_for(engine, &first, platform.as_ref())?;
            let second = resolve_for(engine, &second, platform.as_ref())?;
            Ok(shown(engine.store().difference(&first, &second)?))
        })
        .await
}

fn shown(difference: store::Difference) -> Difference {
    let file = |change: store::FileChange| FileChange {
        path: change.path.to_string_lossy().into_owned(),
        kind: match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Modified => "changed",
            ChangeKind::Deleted => "deleted",
        }
        .into(),
        size_before: signed(change.size_before),
        size_after: signed(change.size_after),
    };
    let layer = |one: store::LayerUse| LayerUse {
        diff_id: one.diff_id.to_string(),
        size: signed(one.size),
        in_first: one.in_first,
        in_second: one.in_second,
    };
    let setting = |one: store::Setting| Setting { name: one.name, before: one.before, after: one.after };
    Difference {
        files: difference.files.into_iter().map(file).collect(),
        layers: difference.layers.into_iter().map(layer).collect(),
        config: difference.settings.into_iter().map(setting).collect(),
    }
}
