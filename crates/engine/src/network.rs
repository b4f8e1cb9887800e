//! The networks as Docker's clients see them. There are the three that always are: bridge, host and none.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::network::{Endpoint, Inspect, Ipam, IpamConfig};
use fault::Result;
use network::Network;

use crate::Engine;
use crate::filter::Names;

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

pub async fn list(engine: &Engine, filters: Filters) -> Result<Vec<Inspect>> {
    filters.allow(FILTERS)?;
    let dangling = if filters.contains("dangling") { Some(filters.flag("dangling", false)?) } else { None };
    let networks = engine.blocking(|engine| Ok(engine.networks().list())).await?;
    let (ids, names) = (Names::of(&filters, "id"), Names::of(&filters, "name"));
    let chosen = |network: &Inspect| {
        // Docker calls user-defined networks dangling, and these three are none.
        dangling != Some(true)
            && filters.any("driver", |driver| network.driver == driver)
            && ids.hold(&network.id)
            && names.hold(&network.name)
            && filters.any("scope", |scope| network.scope == scope)
            && filters.any("type", |kind| kind == "builtin")
            && filters.labels(&network.labels)
    };
    // Who is connected is told by inspect only.
    let bare = |network: &Network| Inspect { containers: BTreeMap::new(), ..show(engine, network) };
    let mut shown: Vec<Inspect> = networks.iter().map(bare).filter(chosen).collect();
    shown.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(shown)
}

/// By name, id or unambiguous start of an id.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Inspect> {
    let name = name.to_owned();
    let network = engine.blocking(move |engine| engine.networks().inspect(&name)).await?;
    Ok(show(engine, &network))
}

fn show(engine: &Engine, network: &Network) -> Inspect {
    let configs = network.subnets.iter().map(|subnet| IpamConfig {
        subnet: subnet.subnet.to_string(),
        gateway: subnet.gateway.to_string(),
        ..IpamConfig::default()
    });
    let ipam = Ipam {
        driver: "default".into(),
        options: None,
        config: Some(configs.collect::<Vec<_>>()).filter(|configs| !configs.is_empty()),
    };
    Inspect {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created.clone(),
        scope: "local".into(),
        driver: network.driver.to_owned(),
        enable_ipv4: true,
        ipam,
        containers: containers(engine, network),
        options: network.options.clone(),
        ..Inspect::default()
    }
}

/// The containers in a network: by their endpoints where it has any, else by their mode.
fn containers(engine: &Engine, network: &Network) -> BTreeMap<String, Endpoint> {
    let views = engine.containers().all().into_iter().map(|container| container.view());
    let running = views.filter(|view| view.is_running());
    let connected = running.filter_map(|view| {
        let record = &view.record;
        let mut endpoint = Endpoint { name: record.name.clone(), ..Endpoint::default() };
        match &view.endpoint {
            Some(found) if found.network_id == network.id => {
                endpoint.endpoint_id.clone_from(&found.endpoint_id);
                endpoint.mac_address = found.mac.to_string();
                endpoint.ipv4_address = found.address.to_string();
            }
            None if record.host_config.network_mode == network.name => {
                endpoint.endpoint_id = endpoint_id(record);
            }
            _ => return None,
        }
        Some((record.id.to_string(), endpoint))
    });
    connected.collect()
}

/// Of a container in a network without endpoints, the host's or none: Docker tells one there too, of each run another.
pub(crate) fn endpoint_id(record: &crate::Record) -> String {
    oci::Digest::sha256(format!("{} {}", record.id, record.state.started_at).as_bytes()).hex().to_owned()
}
