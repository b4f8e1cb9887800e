//! The room that images may take, and pins: what the budget never removes.

use fault::Result;
use store::{ImageId, Removed};

use super::{resolve, tell_because, users};
use crate::Engine;

/// Keeps an image whatever room it takes, or no longer. Pruning leaves it, too; removing it by name does not ask.
pub async fn pin(engine: &Engine, name: &str, pinned: bool) -> Result<()> {
    let name = name.to_owned();
    engine
        .blocking(move |engine| {
            let id = resolve(engine, &name)?;
            engine.store().pin(&id, pinned)?;
            super::tell(engine, if pinned { "pin" } else { "unpin" }, &id, &name);
            Ok(())
        })
        .await
}

/// Removes images that nobody uses, longest unused first, until the rest is within the budget. Blocks.
pub(crate) fn keep_within_budget(engine: &Engine) -> Result<()> {
    let Some(budget) = engine.config().image_budget else { return Ok(()) };
    let removed = engine.store().keep_within(&budget, &|id: &ImageId| users(engine, id))?;
    for step in &removed {
        match step {
            Removed::Untagged(_, id) => tell_because(engine, "untag", id, &id.to_string(), REASON),
            Removed::Deleted(id) => {
                tracing::info!(image = %id, "removed to keep within the budget");
                tell_because(engine, "delete", id, &id.to_string(), REASON);
            }
            Removed::Layer(_) => {}
        }
    }
    if removed.is_empty() { Ok(()) } else { engine.store().sweep() }
}

/// Why an image went, in its events.
const REASON: &str = "budget";
