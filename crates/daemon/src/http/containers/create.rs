//! Making a container: what the request says beside what the engine is told.

use api::container::{Create, Created};
use engine::container;
use fault::{Error, Result};
use hyper::StatusCode;
use oci::Platform;
use serde_json::Value;

use super::super::answer::Answer;
use super::super::request::Request;
use super::super::version::Version;

pub(crate) async fn create(mut request: Request) -> Result<Answer> {
    let body = request.json_value().await?;
    let wanted = check(body)?;
    let (wanted, warnings) = settle(wanted, request.version)?;
    let name = request.query.given("name").map(str::to_owned);
    let platform = request.query.given("platform").map(Platform::parse).transpose()?;
    let mut created: Created = container::create_for(&request.door.engine, name, platform, wanted).await?;
    created.warnings.extend(warnings);
    Ok(request.answer(StatusCode::CREATED, &created))
}

/// A body without any field of the container's own configuration is no request.
fn check(body: Value) -> Result<Create> {
    let host_side = ["HostConfig", "NetworkingConfig"];
    let empty =
        |map: &serde_json::Map<String, Value>| map.keys().all(|name| host_side.contains(&name.as_str()));
    if body.is_null() || body.as_object().is_some_and(empty) {
        return Err(Error::invalid("config cannot be empty in order to create a container"));
    }
    api::from_value(body)
}

/// Puts what may be said in several ways into one, and tells the client where it used an old one.
fn settle(mut wanted: Create, version: Version) -> Result<(Create, Vec<String>)> {
    let mut warnings = Vec::new();
    wanted.read_only_binds_are_flat = version < Version::v1(44);
    if matches!(wanted.host_config.network_mode.as_str(), "" | "default") {
        wanted.host_config.network_mode = DEFAULT_NETWORK.to_owned();
        let endpoints = &mut wanted.networking_config.endpoints_config;
        if let Some(settings) = endpoints.remove("default") {
            endpoints.insert(DEFAULT_NETWORK.to_owned(), settings);
        }
    }
    if version >= Version::v1(48) {
        warnings.extend(ignored_volume_driver(&wanted));
    }
    warnings.extend(move_mac_address(&mut wanted)?);
    // Zero and less than zero both say "no limit".
    wanted.host_config.resources.pids_limit =
        wanted.host_config.resources.pids_limit.filter(|limit| *limit > 0);
    Ok((wanted, warnings))
}

const DEFAULT_NETWORK: &str = "bridge";

fn ignored_volume_driver(wanted: &Create) -> Option<String> {
    let host_config = &wanted.host_config;
    let driverless = |mount: &api::host_config::Mount| {
        let options = mount.volume_options.as_ref();
        let driver = options.and_then(|options| options.driver_config.as_ref());
        mount.kind == "volume" && driver.is_none_or(|driver| driver.name.is_empty())
    };
    (!host_config.volume_driver.is_empty() && host_config.mounts.iter().any(driverless)).then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead".to_owned()
    })
}

/// The container's own address stands at its endpoint now; older versions are bent there before.
fn move_mac_address(wanted: &mut Create) -> Result<Option<String>> {
    let address = std::mem::take(&mut wanted.config.mac_address);
    if address.is_empty() {
        return Ok(None);
    }
    let mode = wanted.host_config.network_mode.clone();
    if !(mode == "host" || mode == "none" || mode.starts_with("container:")) {
        let endpoints = &mut wanted.networking_config.endpoints_config;
        if !endpoints.is_empty() && !endpoints.contains_key(&mode) {
            return Err(Error::invalid(
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
            ));
        }
        let endpoint = endpoints.entry(mode).or_default();
        if !endpoint.mac_address.is_empty() && endpoint.mac_address != address {
            return Err(Error::invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
        endpoint.mac_address = address;
    }
    Ok(Some(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(body: Value) -> Result<(Create, Vec<String>)> {
        settle(check(body)?, Version::NEWEST)
    }

    #[test]
    fn a_request_without_a_configuration_is_refused() {
        for body in [json!({}), json!(null), json!({"HostConfig": {}})] {
            let error = check(body).unwrap_err().to_string();
            assert_eq!(error, "config cannot be empty in order to create a container");
        }
    }

    #[test]
    fn the_default_network_has_one_name() {
        let (wanted, warnings) = settled(json!({
            "Image": "a", "HostConfig": {"NetworkMode": "default", "PidsLimit": -1},
            "NetworkingConfig": {"EndpointsConfig": {"default": {"Aliases": ["x"]}}}
        }))
        .unwrap();
        assert_eq!(wanted.host_config.network_mode, "bridge");
        assert!(wanted.networking_config.endpoints_config.contains_key("bridge"));
        assert_eq!(wanted.host_config.resources.pids_limit, None);
        assert!(warnings.is_empty());
    }

    #[test]
    fn an_old_mac_address_is_moved_with_a_warning() {
        let (wanted, warnings) = settled(json!({"Image": "a", "MacAddress": "02:00:00:00:00:01"})).unwrap();
        assert_eq!(wanted.networking_config.endpoints_config["bridge"].mac_address, "02:00:00:00:00:01");
        assert!(warnings[0].starts_with("The container-wide MacAddress field is now deprecated."));
        let other = json!({
            "Image": "a", "MacAddress": "02:00:00:00:00:01",
            "NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:00:00:00:00:02"}}}
        });
        assert!(settled(other).is_err());
    }
}
