//! `docker push`.

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

/// What to push.
#[derive(Clone, Debug)]
pub struct Push {
    /// Without a tag all tags of the repository are meant.
    pub reference: Reference,
    /// Only what runs on it; else all, if all is here, or what the name means.
    pub platform: Option<Platform>,
    pub auth: AuthConfig,
}

/// Pushes as long as the lines are taken. An error before the first line is an error, a later one is the last line.
pub async fn push(engine: &Engine, wanted: Push) -> Result<Lines> {
    if let Some(platform) = wanted.platform.clone() {
        let reference = wanted.reference.clone();
        engine.blocking(move |engine| check_platform(engine, &reference, &platform)).await?;
    }
    let task = engine.clone();
    told(engine, |board| run(task, wanted, board)).await
}

/// A platform that is not here is an error, and no line.
fn check_platform(engine: &Engine, reference: &Reference, platform: &Platform) -> Result<()> {
    engine.store().resolve_exactly(&reference.familiar(), platform).map(drop)
}

async fn run(engine: Engine, wanted: Push, board: Arc<Board>) -> Result<()> {
    let Push { reference, platform, auth } = wanted;
    let request = client::Push { reference: reference.clone(), platform, credentials: credentials(&auth) };
    client::push(&engine.registries(), engine.store(), &request, &report(&board)).await?;
    tell_of(&engine, "push", reference).await
}
