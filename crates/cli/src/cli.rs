//! What every command may ask for: the client of the daemon that was named, and the user's settings.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::env;

use client::{Client, Endpoint};
use fault::{Doing, Error, Result};

use crate::autostart;
use crate::config::{self, Config};
use crate::credentials::{ConfigFile, Credentials};
use crate::flags::{Matches, csv_fields};

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

    pub(crate) fn config_folder(&self) -> std::path::PathBuf {
        config::folder(self.global.text("config"))
    }

    /// Who the user is at registries. What is wrong with the settings has been told by then.
    pub(crate) fn credentials(&self) -> Credentials {
        self.config();
        Credentials::of(&self.config_folder())
    }

    /// The command and its words.
    pub(crate) fn args(&self) -> &[String] {
        &self.global.args
    }

    pub(crate) fn is_debug(&self) -> bool {
        self.global.is_on("debug")
    }

    /// Connects to nothing, but starts a daemon if none was named and none answers.
    pub(crate) fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(self.endpoint()?).with_headers(&self.headers()?)?;
        let client = match variable("DOCKER_API_VERSION") {
            Some(version) => client.with_version(&version),
            None => client,
        };
        Ok(self.client.get_or_init(|| client))
    }

    /// Starts nothing.
    pub(crate) fn client_that_runs(&self) -> Result<Client> {
        let endpoint = self.named()?.unwrap_or_else(|| Endpoint::unix(autostart::SOCKET));
        Client::new(endpoint).with_headers(&self.headers()?)
    }

    /// What the user wants to have sent along.
    fn headers(&self) -> Result<BTreeMap<String, String>> {
        let Some(given) = variable(HEADERS) else { return Ok(self.config().http_headers.clone()) };
        header_pairs(&given).map_err(|why| {
            Error::invalid(format!(
                "Failed to initialize: failed to set custom headers from {HEADERS} environment variable: {why}"
            ))
        })
    }

    fn endpoint(&self) -> Result<Endpoint> {
        if self.global.is_given("host") && self.global.is_given("context") {
            return Err(Error::invalid("conflicting options: cannot specify both --host and --context"));
        }
        let named = self.named().doing(|| "Failed to initialize: unable to resolve docker endpoint")?;
        named.map_or_else(default_endpoint, Ok)
    }

    /// Where the host or context leads that was named, if one was.
    fn named(&self) -> Result<Option<Endpoint>> {
        self.refuse_tls()?;
        match self.context().as_str() {
            config::DEFAULT_CONTEXT => self.host()?.map(|host| Endpoint::parse(&host)).transpose(),
            name => Endpoint::parse(&self.load_context(name)?.plain_host()?).map(Some),
        }
    }

    /// The host that was named, if one was. A blank one is the default.
    fn host(&self) -> Result<Option<String>> {
        let host = match self.global.list("host").as_slice() {
            [] => host_variable().and_then(variable),
            [host] => Some(host.clone()),
            _ => return Err(Error::invalid("Specify only one -H")),
        };
        Ok(host.filter(|host| !host.trim().is_empty()))
    }

    /// What a program that knows only Docker's words has to be told of the daemon. Ours is started if it is the one.
    pub(crate) fn host_for_plugins(&self) -> Option<String> {
        let is_typed = self.global.is_given("host") || self.global.is_given("context");
        match host_variable() {
            _ if is_typed => None,
            Some("DOCKER_HOST") => None,
            Some(name) => variable(name),
            None if self.context() != config::DEFAULT_CONTEXT => None,
            None => {
                let place = Endpoint::unix(autostart::SOCKET).to_string();
                // A plugin may need no daemon; one that does tells what is wrong.
                autostart::ensure(autostart::SOCKET).ok();
                Some(place)
            }
        }
    }

    /// The name of the context in use.
    pub(crate) fn context(&self) -> String {
        if self.global.is_given("context") {
            return self.global.text("context").to_owned();
        }
        if self.global.is_given("host") || host_variable().is_some() {
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

    pub(crate) fn load_context(&self, name: &str) -> Result<config::Context> {
        config::Context::load(&self.config_folder(), name)
    }

    /// A context as it is kept; the default one as it is for this command.
    pub(crate) fn context_document(&self, name: &str) -> Result<config::Document> {
        if name != config::DEFAULT_CONTEXT {
            return config::Document::load(&self.config_folder(), name);
        }
        let mut document = config::Document::new(name, &self.default_host()?);
        document.describe(DEFAULT_DESCRIPTION);
        Ok(document)
    }

    pub(crate) fn save_context(&self, document: &config::Document) -> Result<()> {
        document.save(&self.config_folder())
    }

    /// What is not there is no error.
    pub(crate) fn remove_context(&self, name: &str) -> Result<()> {
        config::remove_context(&self.config_folder(), name)
    }

    /// Where a context and its keys are kept.
    pub(crate) fn context_places(&self, name: &str) -> (String, String) {
        let (meta, tls) = config::context_places(&self.config_folder(), name);
        (meta.display().to_string(), tls.display().to_string())
    }

    pub(crate) fn set_current_context(&self, name: &str) -> Result<()> {
        let name = Some(name).filter(|name| *name != config::DEFAULT_CONTEXT);
        ConfigFile::new(&self.config_folder()).set_current_context(name)
    }

    /// Where the default context leads.
    pub(crate) fn default_host(&self) -> Result<String> {
        let endpoint = match self.host()? {
            Some(host) => Endpoint::parse(&host)?,
            None => Endpoint::unix(autostart::SOCKET),
        };
        Ok(endpoint.to_string())
    }

    fn refuse_tls(&self) -> Result<()> {
        let flag = ["tls", "tlsverify"].into_iter().any(|flag| self.global.is_on(flag));
        let asked = ["DOCKER_TLS", "DOCKER_TLS_VERIFY"].into_iter().any(|name| variable(name).is_some());
        if flag || asked {
            return Err(Error::unsupported("TLS"));
        }
        Ok(())
    }
}

pub(crate) const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

const HEADERS: &str = "DOCKER_CUSTOM_HEADERS";

fn header_pairs(line: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |field: String| match field.split_once('=').unwrap_or((&field, "")) {
        (name, _) if name.trim().is_empty() => {
            Err(format!("value contains a key=value pair with an empty key: '{field}'"))
        }
        _ if !field.contains('=') => Err(format!("missing \"=\" in key=value pair: '{field}'")),
        (name, value) => Ok((name.trim().to_owned(), value.to_owned())),
    };
    csv_fields(line)?.into_iter().map(pair).collect()
}

/// Our own daemon's, which is started if need be.
fn default_endpoint() -> Result<Endpoint> {
    autostart::ensure(autostart::SOCKET)?;
    Ok(Endpoint::unix(autostart::SOCKET))
}

/// The environment variable that names a host, if one does.
pub(crate) fn host_variable() -> Option<&'static str> {
    ["KOGGE_HOST", "DOCKER_HOST"].into_iter().find(|name| variable(name).is_some())
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
