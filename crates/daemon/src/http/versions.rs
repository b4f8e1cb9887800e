//! What older API versions mean and show, as differences from the newest.
//!
//! Handlers speak the newest version only. This table bends queries and requests of older clients up to it and answers
//! back down. Each entry cites the version that changed; an entry's range is half open: `BEFORE(42)` is all below 1.42.
//! Source: Docker's public version history of the Engine API.

mod bend;
#[cfg(test)]
mod tests;

use std::ops::Range;

use fault::Result;
use serde::Serialize;
use serde_json::Value;

use super::query::Query;
use super::router::Route;
use super::version::Version;

/// One difference.
struct Change {
    /// Method and pattern, as in the routes' table.
    route: &'static str,
    versions: Range<Version>,
    bend: Bend,
}

enum Bend {
    /// The query, before the handler reads it.
    Query(fn(&mut Query)),
    /// The body, before it is decoded; may refuse what the version does not have.
    Request(fn(&mut Value) -> Result<()>),
    /// The answer, or one element of a stream; `null` leaves an element out.
    Answer(fn(&mut Value)),
}

use Bend::{Answer, Query as InQuery, Request};

const fn before(minor: u32) -> Range<Version> {
    Version::OLDEST..Version::v1(minor)
}

const fn since(minor: u32) -> Range<Version> {
    Version::v1(minor)..Version::v1(u32::MAX)
}

const fn change(route: &'static str, versions: Range<Version>, bend: Bend) -> Change {
    Change { route, versions, bend }
}

const CREATE: &str = "POST /containers/create";
const INFO: &str = "GET /info";
const IMAGE: &str = "GET /images/{}/json";
const IMAGES: &str = "GET /images/json";

const CHANGES: &[Change] = &[
    // What is asked for when a container is created.
    change(CREATE, before(25), Request(bend::no_auto_remove)),
    change(CREATE, before(40), Request(bend::no_non_recursive_binds)),
    change(CREATE, before(40), Request(bend::shareable_ipc)),
    change(CREATE, before(41), Request(bend::host_cgroupns)),
    change(CREATE, before(41), InQuery(|query| query.remove("platform"))),
    change(CREATE, before(42), Request(bend::no_mismatched_mount_options)),
    change(CREATE, before(42), Request(bend::no_console_size)),
    change(CREATE, since(42), Request(bend::refuse_mismatched_mount_options)),
    change(CREATE, since(42), Request(bend::no_kernel_memory)),
    change(CREATE, before(43), Request(bend::no_annotations)),
    change(CREATE, before(44), Request(bend::no_start_interval)),
    change(CREATE, before(44), Request(bend::no_forced_recursion)),
    change(CREATE, before(44), Request(bend::one_endpoint)),
    change(CREATE, before(44), Request(bend::endpoint_mac_address)),
    change(CREATE, before(45), Request(bend::refuse_subpath)),
    change(CREATE, before(48), Request(bend::no_gateway_priority)),
    change(CREATE, before(48), Request(bend::refuse_image_mounts)),
    // Other commands on containers.
    change("POST /containers/{}/stop", before(42), InQuery(|query| query.remove("signal"))),
    change("POST /containers/{}/restart", before(42), InQuery(|query| query.remove("signal"))),
    change("POST /containers/{}/wait", before(30), InQuery(|query| query.remove("condition"))),
    change("GET /containers/{}/stats", before(41), InQuery(|query| query.remove("one-shot"))),
    change("GET /containers/{}/stats", before(27), Answer(bend::no_online_cpus)),
    change("GET /containers/json", before(46), Answer(bend::no_listed_annotations)),
    change("GET /containers/{}/json", before(45), Answer(bend::aliases_with_id)),
    change("POST /containers/{}/exec", before(42), Request(bend::no_exec_console_size)),
    change("POST /exec/{}/start", before(42), Request(bend::no_exec_console_size)),
    // Images.
    change(IMAGES, before(41), InQuery(bend::filter_by_reference)),
    change(IMAGES, before(42), InQuery(|query| query.remove("shared-size"))),
    change(IMAGES, before(43), Answer(bend::untagged_images_say_none)),
    change(IMAGES, before(44), Answer(|images| bend::each(images, bend::virtual_size))),
    change(IMAGES, before(47), InQuery(|query| query.remove("manifests"))),
    change(
        IMAGES,
        before(48),
        Answer(|images| bend::each(images, |image| bend::remove(image, "/Descriptor"))),
    ),
    change(IMAGES, before(51), Answer(|images| bend::each(images, bend::containers_not_counted))),
    change(IMAGE, before(44), Answer(bend::virtual_size)),
    change(IMAGE, before(44), Answer(bend::created_never)),
    change(IMAGE, before(45), Answer(bend::container_config)),
    change(IMAGE, before(50), Answer(bend::container_fields_in_image_config)),
    change(IMAGE, before(48), InQuery(|query| query.remove("manifests"))),
    change(IMAGE, before(49), InQuery(|query| query.remove("platform"))),
    change("GET /images/{}/history", before(48), InQuery(|query| query.remove("platform"))),
    change("GET /images/get", before(48), InQuery(|query| query.remove("platform"))),
    change("GET /images/{}/get", before(48), InQuery(|query| query.remove("platform"))),
    change("POST /images/load", before(48), InQuery(|query| query.remove("platform"))),
    change("DELETE /images/{}", before(50), InQuery(|query| query.remove("platforms"))),
    change("POST /images/create", before(32), InQuery(|query| query.remove("platform"))),
    change("POST /images/{}/push", before(46), InQuery(|query| query.remove("platform"))),
    // The system.
    change(INFO, before(25), Answer(bend::security_option_names)),
    change(INFO, before(44), Answer(bend::no_runtime_status)),
    change(INFO, before(46), Answer(|info| bend::remove(info, "/Containerd"))),
    change(INFO, before(47), Answer(bend::nondistributable_artifacts)),
    change(INFO, before(49), Answer(|info| bend::remove(info, "/FirewallBackend"))),
    change(INFO, before(49), Answer(bend::expected_commits)),
    change(INFO, before(50), Answer(bend::bridge_netfilter)),
    change(INFO, before(50), Answer(|info| bend::remove(info, "/DiscoveredDevices"))),
    change("GET /events", before(46), Answer(bend::no_image_create_event)),
    change("GET /system/df", before(42), InQuery(|query| query.remove("type"))),
    change("GET /system/df", before(42), Answer(bend::builder_size)),
    change("GET /system/df", before(44), Answer(bend::virtual_sizes_of_usage)),
    // Volumes.
    change("POST /volumes/prune", before(42), InQuery(bend::prune_named_volumes_too)),
];

fn changes(route: &Route, version: Version) -> impl Iterator<Item = &'static Bend> {
    let (method, pattern) = (route.method.as_str(), route.pattern);
    CHANGES
        .iter()
        .filter(move |change| change.versions.contains(&version))
        .filter(move |change| change.route.split_once(' ') == Some((method, pattern)))
        .map(|change| &change.bend)
}

pub(crate) fn bend_query(route: &Route, version: Version, query: &mut Query) {
    for bend in changes(route, version) {
        if let InQuery(bend) = bend {
            bend(query);
        }
    }
}

pub(crate) fn bend_request(route: &Route, version: Version, body: &mut Value) -> Result<()> {
    for bend in changes(route, version) {
        if let Request(bend) = bend {
            bend(body)?;
        }
    }
    Ok(())
}

/// The answer as this version shows it; `None` if that is how it is.
pub(crate) fn bend_answer(route: &Route, version: Version, answer: &impl Serialize) -> Option<Value> {
    let mut bends = changes(route, version)
        .filter_map(|bend| if let Answer(bend) = bend { Some(bend) } else { None })
        .peekable();
    bends.peek()?;
    let mut value = serde_json::to_value(answer).expect("answers have string keys and finite numbers");
    bends.for_each(|bend| bend(&mut value));
    Some(value)
}

/// One element of a stream as a line of this version; `None` if the version does not have it.
pub(crate) fn bend_line(route: &Route, version: Version, element: &impl Serialize) -> Option<Vec<u8>> {
    match bend_answer(route, version, element) {
        None => Some(super::answer::line(element)),
        Some(Value::Null) => None,
        Some(bent) => Some(super::answer::line(&bent)),
    }
}
