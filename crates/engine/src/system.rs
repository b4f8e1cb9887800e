//! The engine as a whole: its version, what it runs on and can do there, what its things take on disk.
//!
//! All of it is found out, nothing assumed: a limit whose controller is missing is told as missing.

mod id;
mod info;
mod limits;
mod registries;
mod reload;
mod security;

use std::collections::BTreeMap;

use api::container::ListOptions;
use api::system::{Check, Component, DiskUsage, DiskUsageOptions, PlatformName, Problem, Version};
use fault::Result;
use oci::{Digest, Platform};
use store::ImageId;

use crate::{Engine, container, image, volume};

pub use info::info;
pub use reload::reload;

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

/// What the wanted kinds of things take on disk.
pub async fn disk_usage(engine: &Engine, wanted: DiskUsageOptions) -> Result<DiskUsage> {
    let all = wanted == DiskUsageOptions::default();
    let mut usage = DiskUsage::default();
    if all || wanted.images {
        let images = image::usage(engine).await?;
        (usage.layers_size, usage.images) = (images.layers_size, Some(images.rows));
    }
    if all || wanted.containers {
        let options = ListOptions { all: true, size: true, ..ListOptions::default() };
        usage.containers = Some(container::list(engine, options).await?);
    }
    if all || wanted.volumes {
        usage.volumes = Some(volume::usage(engine).await?);
    }
    if all || wanted.build_cache {
        usage.build_cache = Some(Vec::new());
    }
    Ok(usage)
}

/// Reads the whole store and tells what is wrong with it, each problem once for each image that has it.
pub async fn check(engine: &Engine) -> Result<Check> {
    let problems = engine.blocking(|engine| engine.store().verify()).await?;
    Ok(Check { problems: problems.into_iter().flat_map(rows).collect() })
}

fn rows(problem: store::Problem) -> Vec<Problem> {
    let row = |kind: &str, digest: &Digest, image: Option<&ImageId>| Problem {
        kind: kind.into(),
        digest: digest.to_string(),
        image: image.map(ToString::to_string).unwrap_or_default(),
    };
    match problem {
        store::Problem::Damaged(blob, images) if images.is_empty() => vec![row("damaged blob", &blob, None)],
        store::Problem::Damaged(blob, images) => {
            images.iter().map(|image| row("damaged blob", &blob, Some(image))).collect()
        }
        store::Problem::MissingBlob(image, blob) => vec![row("missing blob", &blob, Some(&image))],
        store::Problem::MissingLayer(image, layer) => vec![row("missing layer", &layer, Some(&image))],
    }
}
