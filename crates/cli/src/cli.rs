//! What every command may ask for: the client of the daemon that was named, and the user's settings.

use std::cell::OnceCell;
use std::env;

use client::{Client, Endpoint};
use fault::{Error, Result};

use crate::autostart;
use crate::config::{self, Config};
use crate::credentials::Credentials;
use crate::flags::Matches;

#[derive(Debug)]
pub(crate) struct Cli {
    global: Matches,
    config: OnceCell<Config>,
    client: OnceCell<Client>,
}

impl Cli {
    /// `global` is what was typed before the command.
    pub(crate) fn new(global: Matches) -> Self {
        Self { global, config: OnceCell::new(), client: OnceCell::new() }
    }

    pub(crate) fn config(&self) -> &Config {
        self.config.get_or_init(|| Config::load(&self.config_folder()))
    }

    fn config_folder(&self) -> std::path::PathBuf {
        config::folder(self.global.text("config"))
    }

    /// Who the user is at registries. What is wrong with the settings has been told by then.
    pub(crate) fn credentials(&self) -> Credentials {
        self.config();
        Credentials::of(&self.config_folder())
    }

    pub(crate) fn is_debug(&self) -> bool {
        self.global.is_on("debug")
    }

    /// Connects to nothing, but starts a daemon if none was named and none answers.
    pub(crate) fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(self.endpoint()?);
        let client = match variable("DOCKER_API_VERSION") {
            Some(version) => client.with_version(&version),
            None => client,
        };
        Ok(self.client.get_or_init(|| client))
    }

    fn endpoint(&self) -> Result<Endpoint> {
        self.refuse_tls()?;
        if let Some(host) = self.host()? {
            return Endpoint::parse(&host);
        }
        match self.context().as_str() {
            config::DEFAULT_CONTEXT => {
                autostart::ensure(autostart::SOCKET)?;
                Ok(Endpoint::unix(autostart::SOCKET))
            }
            name => Endpoint::parse(&config::context_host(&self.config_folder(), name)?),
        }
    }

    /// The host that was named, if one was and no context was.
    fn host(&self) -> Result<Option<String>> {
        let hosts = self.global.list("host");
        if hosts.len() > 1 {
            return Err(Error::invalid("Specify only one -H"));
        }
        if self.global.is_given("context") {
            return match hosts.is_empty() {
                true => Ok(None),
                false => Err(Error::invalid("conflicting options: cannot specify both --host and --context")),
            };
        }
        Ok(hosts.into_iter().next().or_else(|| variable("KOGGE_HOST")).or_else(|| variable("DOCKER_HOST")))
    }

    /// The name of the context in use.
    pub(crate) fn context(&self) -> String {
        if self.global.is_given("context") {
            return self.global.text("context").to_owned();
        }
        if self.host().is_ok_and(|host| host.is_some()) {
            return config::DEFAULT_CONTEXT.into();
        }
        variable("DOCKER_CONTEXT")
            .or_else(|| self.config().current_context())
            .unwrap_or_else(|| config::DEFAULT_CONTEXT.into())
    }

    /// Contexts that the user made, by name, with their hosts.
    pub(crate) fn contexts(&self) -> Vec<config::Context> {
        config::contexts(&self.config_folder())
    }

    /// Where the default context leads.
    pub(crate) fn default_host(&self) -> String {
        match self.host() {
            Ok(Some(host)) => host,
            _ => Endpoint::unix(autostart::SOCKET).to_string(),
        }
    }

    fn refuse_tls(&self) -> Result<()> {
        let asked = ["tls", "tlsverify"].into_iter().any(|flag| self.global.is_on(flag));
        if asked || variable("DOCKER_TLS_VERIFY").is_some() {
            return Err(Error::unsupported("TLS"));
        }
        Ok(())
    }
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
