//! `docker pull`.

use std::sync::Arc;

use api::registry::AuthConfig;
use fault::Result;
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
    let task = engine.clone();
    told(engine, |board| run(task, wanted, board)).await
}

async fn run(engine: Engine, wanted: Pull, board: Arc<Board>) -> Result<()> {
    let Pull { reference, platform, auth } = wanted;
    let request = client::Pull {
        all_tags: reference.is_name_only(),
        reference: reference.clone(),
        platform,
        policy: engine.policy(),
        credentials: credentials(&auth),
    };
    client::pull(&engine.registries(), engine.store(), &request, &report(&board)).await?;
    if let Some(id) = engine.store().named(&reference) {
        engine.store().used(&id);
    }
    engine.sweep_soon();
    tell_of(&engine, "pull", reference).await
}
