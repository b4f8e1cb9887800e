//! The engine as a whole: its version, what it runs on and can do there, what its things take on disk.
//!
//! All of it is found out, nothing assumed: a limit whose controller is missing is told as missing.

mod check;
mod disk;
mod id;
mod info;
mod limits;
mod registries;
mod reload;
mod security;

use std::collections::BTreeMap;

use api::system::{Component, PlatformName, Version};
use fault::Result;
use oci::Platform;

use crate::Engine;

pub use check::{Repair, check, repair};
pub use disk::disk_usage;
pub use info::info;
pub(crate) use limits::Limits;
pub use reload::reload;
pub(crate) use security::confinement;

pub async fn version(engine: &Engine) -> Result<Version> {
    let kernel = engine.blocking(|_| info::kernel()).await?;
    let details = BTreeMap::from([
        ("ApiVersion", api::VERSION.to_owned()),
        ("Arch", Platform::host().architecture),
        ("BuildTime", BUILD_TIME.to_owned()),
        ("Experimental", "false".to_owned()),
        ("GitCommit", COMMIT.to_owned()),
        // Docker's clients print it; ours is not written in Go.
        ("GoVersion", String::new()),
        ("KernelVersion", kernel.clone()),
        ("MinAPIVersion", api::VERSION_MIN.to_owned()),
        ("Os", "linux".to_owned()),
    ]);
    Ok(Version {
        platform: PlatformName { name: "Kogge".into() },
        components: vec![
            component("Engine", details),
            component("kogge-runtime", BTreeMap::from([("GitCommit", COMMIT.to_owned())])),
        ],
        version: VERSION.into(),
        api_version: api::VERSION.into(),
        min_api_version: api::VERSION_MIN.into(),
        git_commit: COMMIT.into(),
        go_version: String::new(),
        os: "linux".into(),
        arch: Platform::host().architecture,
        kernel_version: kernel,
        experimental: false,
        build_time: BUILD_TIME.into(),
    })
}

/// The parts that are built together have one version.
fn component(name: &str, details: BTreeMap<&str, String>) -> Component {
    let details = details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Component { name: name.into(), version: VERSION.into(), details }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Given by who builds a release.
const COMMIT: &str = match option_env!("KOGGE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
const BUILD_TIME: &str = match option_env!("KOGGE_BUILD_TIME") {
    Some(time) => time,
    None => "",
};
