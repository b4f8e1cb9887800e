//! What an engine can be told anew while it runs.

use std::collections::BTreeMap;

use api::events::Type;
use fault::Result;
use registry::client;

use super::id;
use crate::config::Live;
use crate::{Engine, system::info};

/// Goes by these settings from now on, and tells it: what is under way goes on as it began.
pub async fn reload(engine: &Engine, live: Live, registries: client::Config) -> Result<()> {
    let attributes = attributes(&live, &registries);
    engine.set_registries(registries)?;
    engine.set_live(live);
    engine.blocking(move |engine| tell(engine, attributes)).await
}

/// Blocks.
fn tell(engine: &Engine, mut attributes: BTreeMap<String, String>) -> Result<()> {
    let id = id::ensure(&engine.config().data_root)?;
    attributes.insert("name".into(), info::hostname()?);
    engine.events().publish(Type::Daemon, "reload", &id, attributes);
    Ok(())
}

/// Under the names of the configuration file, lists as JSON.
fn attributes(live: &Live, registries: &client::Config) -> BTreeMap<String, String> {
    let list = |texts: &[String]| serde_json::json!(texts).to_string();
    let pairs = [
        ("debug", live.debug.to_string()),
        ("default-ipc-mode", live.defaults.ipc_mode.clone()),
        ("default-runtime", live.defaults.runtime.clone()),
        ("default-shm-size", live.defaults.shm_size_bytes.to_string()),
        ("insecure-registries", list(&registries.insecure)),
        ("labels", list(&live.labels)),
        ("live-restore", "true".to_owned()),
        ("max-concurrent-downloads", registries.downloads_max.to_string()),
        ("max-concurrent-uploads", registries.uploads_max.to_string()),
        ("max-download-attempts", registries.attempts_max.to_string()),
        ("registry-mirrors", list(&registries.mirrors)),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
