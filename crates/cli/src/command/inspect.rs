//! `kogge inspect` and its forms for one kind of object: the daemon's JSON, whole or by template.

use client::Client;
use fault::{Error, Kind, Result};

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Document, Skeleton, Template};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Return low-level information on Docker objects",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(any(cli, matches)),
)
.flags(&[&[super::INSPECT_FORMAT], &[SIZE, TYPE]]);

pub(crate) const CONTAINER: Command = Command::new(
    "Display detailed information on one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(of(cli, matches, Object::Container)),
)
.flags(&[&[super::INSPECT_FORMAT], &[SIZE]]);

pub(crate) const IMAGE: Command = Command::new(
    "Display detailed information on one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(of(cli, matches, Object::Image)),
)
.flags(&[&[super::INSPECT_FORMAT], &[Flag::string("platform", "Show this platform's variant")]]);

pub(crate) const NETWORK: Command = Command::new(
    "Display detailed information on one or more networks",
    "[OPTIONS] NETWORK [NETWORK...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(of(cli, matches, Object::Network)),
)
.flags(&[&[super::INSPECT_FORMAT], &[Flag::switch("verbose", "Show more, for diagnosis").short('v')]]);

pub(crate) const VOLUME: Command = Command::new(
    "Display detailed information on one or more volumes",
    "[OPTIONS] VOLUME [VOLUME...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(of(cli, matches, Object::Volume)),
)
.flags(&[&[super::INSPECT_FORMAT]]);

const SIZE: Flag = Flag::switch("size", "Show how much containers take on disk").short('s');
const TYPE: Flag = Flag::string("type", "Look for this kind of object only");

/// What can be looked for, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Container,
    Image,
    Network,
    Volume,
    Plugin,
}

impl Object {
    const ALL: [Self; 5] = [Self::Container, Self::Image, Self::Network, Self::Volume, Self::Plugin];

    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Plugin => "plugin",
        }
    }

    async fn get(self, client: &Client, name: &str, how: &How) -> Result<Vec<u8>> {
        match self {
            Self::Container => client::container::inspect_raw(client, name, how.size).await,
            Self::Image => client::image::inspect_raw(client, name, &how.platform).await,
            Self::Network => client::network::inspect_raw(client, name, how.verbose).await,
            Self::Volume => client::volume::inspect_raw(client, name).await,
            Self::Plugin => Err(Error::unsupported("plugins")),
        }
    }

    fn skeleton(self) -> Skeleton {
        match self {
            Self::Container => CONTAINER_SKELETON,
            Self::Image => IMAGE_SKELETON,
            Self::Volume => &[("Status", "null")],
            _ => &[],
        }
    }
}

/// What of an object is wanted.
#[derive(Clone, Debug, Default)]
struct How {
    size: bool,
    verbose: bool,
    /// As JSON.
    platform: String,
}

async fn any(cli: &Cli, matches: Matches) -> Outcome {
    let wanted = kind(&matches)?;
    let (client, size) = (cli.client()?, matches.is_on("size"));
    let mut view = View::new(matches.text("format"))?;
    for name in &matches.args {
        match find(client, name, size, wanted).await {
            Ok((object, json)) => view.add(object, json),
            Err(error) => view.errors.push(error.to_string()),
        }
    }
    view.show()
}

async fn of(cli: &Cli, matches: Matches, object: Object) -> Outcome {
    let client = cli.client()?;
    let platform = match object {
        Object::Image if !matches.text("platform").is_empty() => {
            super::transfer::platform_json(matches.text("platform"))?
        }
        _ => String::new(),
    };
    let how = How {
        size: object == Object::Container && matches.is_on("size"),
        verbose: object == Object::Network && matches.is_on("verbose"),
        platform,
    };
    let mut view = View::new(matches.text("format"))?;
    for name in &matches.args {
        match object.get(client, name, &how).await {
            Ok(json) => view.add(object, json),
            Err(error) => view.errors.push(error.to_string()),
        }
    }
    view.show()
}

/// The kind that `--type` names; `None` means any.
fn kind(matches: &Matches) -> Outcome<Option<Object>> {
    let list = TYPES.join("\", \"");
    match matches.text("type") {
        "" if matches.is_given("type") => {
            Err(Exit::failure(format!("type is empty: must be one of \"{list}\"")))
        }
        "" => Ok(None),
        name => match Object::ALL.into_iter().find(|object| object.name() == name) {
            Some(object) => Ok(Some(object)),
            None if TYPES.contains(&name) => Err(Error::unsupported(format!("--type {name}")).into()),
            None => Err(Exit::failure(format!("unknown type: {name:?}: must be one of \"{list}\""))),
        },
    }
}

async fn find(client: &Client, name: &str, size: bool, wanted: Option<Object>) -> Result<(Object, Vec<u8>)> {
    let how = How { size, ..How::default() };
    if let Some(object) = wanted {
        return Ok((object, object.get(client, name, &how).await?));
    }
    for object in Object::ALL {
        match object.get(client, name, &how).await {
            Ok(json) => {
                if size && object != Object::Container {
                    terminal::warn(format_args!("WARNING: --size ignored for {}", object.name()));
                }
                return Ok((object, json));
            }
            Err(error) if is_another_kind(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::not_found(format!("Error: No such object: {name}")))
}

/// The name means nothing for this kind of object, but may for the next.
fn is_another_kind(error: &Error) -> bool {
    let text = error.to_string();
    error.kind() == Kind::NotFound
        || text.contains("not supported")
        || text.contains("invalid reference format")
}

/// What is shown at the end, after all objects were asked for.
pub(super) struct View {
    format: String,
    documents: Vec<Vec<u8>>,
    text: String,
    errors: Vec<String>,
}

impl View {
    pub(super) fn new(format: &str) -> Outcome<Self> {
        if !matches!(format, "" | "json") {
            Template::parse(format).map_err(|problem| Exit::new(64, problem.to_string()))?;
        }
        Ok(Self { format: format.into(), documents: Vec::new(), text: String::new(), errors: Vec::new() })
    }

    fn add(&mut self, object: Object, json: Vec<u8>) {
        // The client decodes volumes itself, and has nothing else to look at.
        let kind = (object == Object::Volume).then_some("volume.Volume");
        self.push(json, object.skeleton(), kind);
    }

    /// A document of our own, which is a value of this type to Docker.
    pub(super) fn add_typed(&mut self, json: Vec<u8>, kind: &str) {
        self.push(json, &[], Some(kind));
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.errors.push(error.to_string());
    }

    fn push(&mut self, json: Vec<u8>, skeleton: Skeleton, kind: Option<&str>) {
        if matches!(self.format.as_str(), "" | "json") {
            self.documents.push(json);
            return;
        }
        match filled(&self.format, &json, skeleton, kind) {
            Ok(text) => {
                self.text.push_str(&text);
                self.text.push('\n');
            }
            Err(problem) => self.errors.push(problem),
        }
    }

    pub(super) fn show(self) -> Outcome {
        terminal::print(&self.rendered()?)?;
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Exit::failure(self.errors.join("\n"))),
        }
    }

    fn rendered(&self) -> Result<String> {
        let list = || {
            let mut list = b"[".to_vec();
            list.extend(self.documents.join(&b","[..]));
            list.push(b']');
            list
        };
        Ok(match self.format.as_str() {
            "" | "json" if self.documents.is_empty() => "[]\n".into(),
            "" => format::indent(&list())? + "\n",
            "json" => format::compact(&list())? + "\n",
            _ if self.text.is_empty() => "\n".into(),
            _ => self.text.clone(),
        })
    }
}

/// A template over one document.
fn filled(
    template: &str,
    json: &[u8],
    skeleton: Skeleton,
    kind: Option<&str>,
) -> std::result::Result<String, String> {
    let document = Document::parse(json, skeleton).map_err(|error| error.to_string())?;
    let template = Template::over(template, document.orders).map_err(|problem| problem.to_string())?;
    let text = match kind {
        Some(kind) => template.execute(&document.value, kind),
        None => template.execute_on_map(&document.value),
    };
    text.map_err(|problem| problem.to_string())
}

const TYPES: &[&str] =
    &["config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"];

/// What Go's types hold although the daemon leaves it out.
const CONTAINER_SKELETON: Skeleton = &[
    ("SizeRw", "null"),
    ("SizeRootFs", "null"),
    ("State.Health", "null"),
    ("Config.ExposedPorts", "{}"),
    ("Config.Healthcheck", "null"),
    ("Config.ArgsEscaped", "false"),
    ("Config.NetworkDisabled", "false"),
    ("Config.MacAddress", "\"\""),
    ("Config.StopSignal", "\"\""),
    ("Config.StopTimeout", "null"),
    ("Config.Shell", "[]"),
    ("HostConfig.Annotations", "{}"),
    ("HostConfig.StorageOpt", "{}"),
    ("HostConfig.Tmpfs", "{}"),
    ("HostConfig.Sysctls", "{}"),
    ("HostConfig.Runtime", "\"\""),
    ("HostConfig.Mounts", "[]"),
    ("HostConfig.Init", "null"),
    ("HostConfig.KernelMemory", "0"),
];

const IMAGE_SKELETON: Skeleton = &[
    ("Created", "\"\""),
    ("Variant", "\"\""),
    ("OsVersion", "\"\""),
    (
        "Config",
        "~User,ExposedPorts,Env,Entrypoint,Cmd,Volumes,WorkingDir,Labels,StopSignal,Healthcheck,OnBuild,Shell",
    ),
    ("Config.User", "\"\""),
    ("Config.ExposedPorts", "{}"),
    ("Config.Env", "[]"),
    ("Config.Entrypoint", "[]"),
    ("Config.Cmd", "[]"),
    ("Config.Volumes", "{}"),
    ("Config.WorkingDir", "\"\""),
    ("Config.Labels", "{}"),
    ("Config.StopSignal", "\"\""),
    ("Config.Healthcheck", "null"),
    ("Config.OnBuild", "[]"),
    ("Config.Shell", "[]"),
];
