//! What a run takes and gives back, its network and its volumes: the events of both, and the network namespace of a run
//! that an earlier engine began.

use std::collections::BTreeMap;

use api::events::Type;
use sys::namespace::Kinds;

use crate::record::MountKind;
use crate::{ContainerId, Engine, Record};

/// The network namespace of a run that goes on, for whatever is to be changed in it later. Blocks.
pub(crate) fn hold_netns(engine: &Engine, id: &ContainerId, pid: i32) {
    if let Ok(netns) = sys::namespace::open(&pid.to_string(), Kinds::NET) {
        engine.networks().hold(id.as_str(), netns);
    }
}

/// To be told before the start.
pub(super) fn tell_taken(engine: &Engine, record: &Record) {
    tell_volumes(engine, record, "mount");
    tell_network(engine, record, "connect");
}

/// To be told before the exit, as with Docker.
pub(super) fn tell_returned(engine: &Engine, record: &Record) {
    tell_network(engine, record, "disconnect");
    tell_volumes(engine, record, "unmount");
}

fn tell_network(engine: &Engine, record: &Record, action: &str) {
    // Who joins another container's network is not spoken of.
    let Ok(network) = engine.networks().name(&record.host_config.network_mode) else { return };
    let attributes = BTreeMap::from([
        ("container".to_owned(), record.id.to_string()),
        ("name".to_owned(), network.name.to_owned()),
        ("type".to_owned(), network.driver.to_owned()),
    ]);
    engine.events().publish(Type::Network, action, &network.id, attributes);
}

fn tell_volumes(engine: &Engine, record: &Record, action: &str) {
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        let mut attributes = BTreeMap::from([
            ("container".to_owned(), record.id.to_string()),
            ("driver".to_owned(), "local".to_owned()),
        ]);
        if action == "mount" {
            let destination = mount.destination.to_string_lossy().into_owned();
            attributes.insert("destination".into(), destination);
            attributes.insert("propagation".into(), mount.propagation.clone());
            attributes.insert("read/write".into(), (!mount.read_only).to_string());
        }
        engine.events().publish(Type::Volume, action, &mount.name, attributes);
    }
}
