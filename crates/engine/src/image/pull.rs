//! `docker pull`.

use std::sync::Arc;

use api::progress::Message;
use api::registry::AuthConfig;
use fault::{Error, Result};
use oci::{Platform, Reference};
use registry::client;

use super::progress::{credentials, report};
use super::tell_of;
use crate::Engine;
use crate::telling::{Board, told};
use crate::transport::Lines;

/// What to pull.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Without tag and digest all tags of the repository are meant.
    pub reference: Reference,
    /// The host's if not given.
    pub platform: Option<Platform>,
    pub auth: AuthConfig,
}

/// Pulls as long as the lines are taken. An error before the first line is an error, a later one is the last line.
pub async fn pull(engine: &Engine, wanted: Pull) -> Result<Lines> {
    refuse_reserved(&wanted.reference)?;
    let engine_too = engine.clone();
    told(engine, |board| async move { run(&engine_too, wanted, &board).await }).await
}

/// `scratch` stands for no image at all.
pub(super) fn refuse_reserved(reference: &Reference) -> Result<()> {
    match reference.familiar_name().as_str() {
        name @ "scratch" => Err(Error::denied(format!("'{name}' is a reserved name"))),
        _ => Ok(()),
    }
}

async fn run(engine: &Engine, wanted: Pull, board: &Arc<Board>) -> Result<()> {
    let Pull { reference, platform, auth } = wanted;
    let request = client::Pull {
        all_tags: reference.is_name_only(),
        reference: reference.clone(),
        platform: platform.clone(),
        credentials: credentials(&auth),
    };
    client::pull(&engine.registries(), engine.store(), &request, &report(board)).await?;
    let board = Arc::clone(board);
    engine
        .blocking(move |engine| {
            tell_of(engine, "pull", &reference);
            if let Some(warning) = platform.and_then(|platform| mismatch(engine, &reference, &platform)) {
                board.tell(Message::status(format!("WARNING: {warning}")));
            }
            Ok(())
        })
        .await
}

/// An image that has one platform only is pulled whatever platform was asked for, with a word about it.
fn mismatch(engine: &Engine, reference: &Reference, wanted: &Platform) -> Option<String> {
    let image = super::find(engine, &reference.familiar()).ok()?;
    let found = image.config.platform();
    (wanted.rank(&found).is_none()).then(|| {
        format!(
            "image with reference {} was found but its platform ({found}) does not match the specified platform ({wanted})",
            reference.familiar()
        )
    })
}
