//! Command line clients, as a person uses them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fault::{Call, Error, Result};

use crate::engine::IMAGE;

/// A client and the engine that it talks to.
#[derive(Debug)]
pub(crate) struct Client {
    program: PathBuf,
    host: String,
}

impl Client {
    pub(crate) fn new(program: PathBuf, socket: &Path) -> Self {
        Self { program, host: format!("unix://{}", socket.display()) }
    }

    pub(crate) fn run(&self, network: &str) -> Result<()> {
        self.call(&["run", "--rm", "--network", network, IMAGE, "true"])
    }

    pub(crate) fn exec(&self, id: &str) -> Result<()> {
        self.call(&["exec", id, "true"])
    }

    fn call(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["-H", &self.host]).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
        let output = command.output().call(|| format!("starting {}", self.program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Err(Error::internal(format!("{} {}: {}", self.program.display(), words.join(" "), told.trim_end())))
    }
}
