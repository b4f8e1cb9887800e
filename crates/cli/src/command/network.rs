//! `kogge network …`. What the daemon does not do yet, it says itself.

mod create;

use std::collections::BTreeMap;

use api::filters::Filters;
use api::network::{Connect, Disconnect, EndpointIpam, EndpointSettings, Inspect};
use client::Client;
use fault::Kind;

use super::pruned::{self, Pruned};
use super::{Args, Command};
use crate::cli::Cli;
use crate::create::check_link;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) use create::CREATE;

pub(crate) const LIST: Command =
    Command::new("List networks", "[OPTIONS]", Args::None, |cli, matches| Box::pin(list(cli, matches)))
        .also("kogge network ls, kogge network list")
        .flags(&[&[
            Flag::filter("Show only what fits").short('f'),
            super::FORMAT,
            Flag::switch("no-trunc", "Cut nothing short"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ]]);

pub(crate) const CONNECT: Command = Command::new(
    "Connect a container to a network",
    "[OPTIONS] NETWORK CONTAINER",
    Args::Exactly(2),
    |cli, matches| Box::pin(connect(cli, matches)),
)
.flags(&[&[
    Flag::strings("alias", "Further name of the container"),
    Flag::strings("driver-opt", "Option of the network's driver"),
    Flag::int("gw-priority", "The highest of the container's networks gives the default gateway"),
    Flag::string("ip", "IPv4 address"),
    Flag::string("ip6", "IPv6 address"),
    Flag::list("link", "Link to another container").checked(check_link),
    Flag::strings("link-local-ip", "Link-local address of the container"),
]]);

pub(crate) const DISCONNECT: Command = Command::new(
    "Disconnect a container from a network",
    "[OPTIONS] NETWORK CONTAINER",
    Args::Exactly(2),
    |cli, matches| Box::pin(disconnect(cli, matches)),
)
.flags(&[&[Flag::switch("force", "Disconnect by force").short('f')]]);

pub(crate) const REMOVE: Command =
    Command::new("Remove one or more networks", "NETWORK [NETWORK...]", Args::AtLeast(1), |cli, matches| {
        Box::pin(remove(cli, matches))
    })
    .also("kogge network rm, kogge network remove")
    .flags(&[&[Flag::switch("force", "No error if there is no such network").short('f')]]);

pub(crate) const PRUNE: Command =
    Command::new("Remove all unused networks", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(ask_and_prune(cli, matches))
    })
    .flags(&[pruned::FLAGS]);

async fn list(cli: &Cli, matches: Matches) -> Outcome {
    let mut networks = client::network::list(cli.client()?, &matches.filters()).await?;
    networks.sort_by(|a, b| human::natural(&a.name, &b.name));
    let quiet = matches.is_on("quiet");
    let format = match matches.text("format") {
        "" if !quiet && !cli.config().networks_format.is_empty() => &cli.config().networks_format,
        "" => "table",
        given => given,
    };
    let format = match (format, quiet) {
        ("table", true) => "{{.ID}}",
        ("table", false) => r"table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        ("raw", true) => "network_id: {{.ID}}",
        ("raw", false) => r"network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        (template, _) => template,
    };
    let trunc = !matches.is_on("no-trunc");
    let rows: Vec<Row> = networks.iter().map(|network| row(network, trunc)).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

const FIELDS: Fields = Fields {
    kind: "*network.networkContext",
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};

fn row(network: &Inspect, trunc: bool) -> Row {
    Row::new()
        .field("ID", if trunc { human::short_id(&network.id) } else { &network.id })
        .field("Name", &network.name)
        .field("Driver", &network.driver)
        .field("Scope", &network.scope)
        .field("IPv4", network.enable_ipv4.to_string())
        .field("IPv6", network.enable_ipv6.to_string())
        .field("Internal", network.internal.to_string())
        .field("CreatedAt", human::go_time(&network.created))
        .labels(&network.labels)
}

async fn connect(cli: &Cli, matches: Matches) -> Outcome {
    let request = Connect { container: matches.args[1].clone(), endpoint_config: Some(endpoint(&matches)?) };
    Ok(client::network::connect(cli.client()?, &matches.args[0], &request).await?)
}

fn endpoint(matches: &Matches) -> Outcome<EndpointSettings> {
    let link_local = matches.strings("link-local-ip");
    let ipam = EndpointIpam {
        ipv4_address: matches.text("ip").into(),
        ipv6_address: matches.text("ip6").into(),
        link_local_ips: Some(link_local).filter(|addresses| !addresses.is_empty()),
    };
    Ok(EndpointSettings {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        links: Some(matches.list("link")),
        aliases: Some(matches.strings("alias")),
        driver_opts: Some(driver_options(&matches.strings("driver-opt"))?),
        gw_priority: matches.int("gw-priority"),
        ..EndpointSettings::default()
    })
}

fn driver_options(given: &[String]) -> Outcome<BTreeMap<String, String>> {
    let pair = |option: &String| {
        let (key, value) = option.split_once('=').filter(|(key, _)| !key.is_empty())?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    let pairs: Option<_> = given.iter().map(pair).collect();
    pairs.ok_or_else(|| Exit::failure("invalid key/value pair format in driver options"))
}

async fn disconnect(cli: &Cli, matches: Matches) -> Outcome {
    let request = Disconnect { container: matches.args[1].clone(), force: matches.is_on("force") };
    Ok(client::network::disconnect(cli.client()?, &matches.args[0], &request).await?)
}

async fn remove(cli: &Cli, matches: Matches) -> Outcome {
    let client = cli.client()?;
    let mut failed = false;
    for name in &matches.args {
        match client::network::remove(client, name).await {
            Ok(()) => terminal::line(name)?,
            Err(error) if matches.is_on("force") && error.kind() == Kind::NotFound => {}
            Err(error) => {
                terminal::warn(format_args!("{error}"));
                failed = true;
            }
        }
    }
    if failed { Err(Exit::failure("exit status 1")) } else { Ok(()) }
}

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\n\
                       Are you sure you want to continue?";

async fn ask_and_prune(cli: &Cli, matches: Matches) -> Outcome {
    pruned::confirm(&matches, WARNING).await?;
    prune(cli.client()?, &pruned::filters(cli, &matches)).await?.show()
}

pub(super) async fn prune(client: &Client, filters: &Filters) -> Outcome<Pruned> {
    let names = client::network::prune(client, filters).await?.networks_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted Networks:", &names, 0))
}
