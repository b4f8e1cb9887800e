//! (being written by E2) The event bus.

use std::collections::BTreeMap;

use api::events::Type;

/// Everything that happens passes here.
#[derive(Debug, Default)]
pub struct Bus {}

impl Bus {
    /// Sends an event with the time of now. Never blocks.
    pub(crate) fn publish(&self, kind: Type, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let _being_written = (self, kind, action, id, attributes);
    }
}
