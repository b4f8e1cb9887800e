//! The daemon's own log: to standard error, at a level that a reload may change.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::settings::LogFormat;

/// The switch of the level.
#[derive(Clone, Debug)]
pub(crate) struct Level(Handle<LevelFilter, Registry>);

impl Level {
    pub(crate) fn set(&self, level: LevelFilter) {
        // It fails only when the subscriber is gone, and then nobody reads the log.
        drop(self.0.reload(level));
    }
}

/// Opens the log; once in a process.
pub(crate) fn open(level: LevelFilter, format: LogFormat) -> Level {
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Level(handle)
}
