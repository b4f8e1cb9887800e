//! `kogge network …`. What the daemon does not do yet, it says itself.

use api::filters::Filters;
use api::network::Inspect;
use client::Client;
use fault::Kind;
use serde_json::json;

use super::pruned::{self, Pruned};
use super::{Args, Command};
use crate::cli::Cli;
use crate::create::{check_label, label_pairs};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const LIST: Command =
    Command::new("List networks", "[OPTIONS]", Args::None, |cli, matches| Box::pin(list(cli, matches)))
        .also("kogge network ls, kogge network list")
        .flags(&[&[
            Flag::filter("Show only what fits").short('f'),
            super::FORMAT,
            Flag::switch("no-trunc", "Cut nothing short"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ]]);

pub(crate) const CREATE: Command =
    Command::new("Create a network", "[OPTIONS] NETWORK", Args::Exactly(1), |cli, matches| {
        Box::pin(create(cli, matches))
    })
    .flags(&[&[
        Flag::switch("attachable", "Let containers attach by hand"),
        Flag::string("driver", "Driver of the network").short('d').default("bridge"),
        Flag::list("gateway", "Gateway of the subnet").kind("strings"),
        Flag::switch("internal", "No way to the outside"),
        Flag::list("ip-range", "Give addresses from this range").kind("strings"),
        Flag::switch("ipv4", "Use IPv4").default("true"),
        Flag::switch("ipv6", "Use IPv6"),
        Flag::list("label", "Set a label").checked(check_label),
        Flag::map("opt", "Option of the driver").short('o'),
        Flag::list("subnet", "Subnet (10.1.0.0/16)").kind("strings"),
    ]]);

pub(crate) const CONNECT: Command = Command::new(
    "Connect a container to a network",
    "[OPTIONS] NETWORK CONTAINER",
    Args::Exactly(2),
    |cli, matches| Box::pin(connect(cli, matches)),
)
.flags(&[&[
    Flag::list("alias", "Further name of the container").kind("strings"),
    Flag::string("ip", "IPv4 address"),
    Flag::string("ip6", "IPv6 address"),
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

async fn create(cli: &Cli, matches: Matches) -> Outcome {
    let ranges = |flag: &str| matches.list(flag).into_iter().next();
    let subnets: Vec<_> = matches
        .list("subnet")
        .into_iter()
        .map(
            |subnet| json!({ "Subnet": subnet, "IPRange": ranges("ip-range"), "Gateway": ranges("gateway") }),
        )
        .collect();
    let request = json!({
        "Name": matches.args[0],
        "Driver": matches.text("driver"),
        "EnableIPv4": matches.is_given("ipv4").then(|| matches.is_on("ipv4")),
        "EnableIPv6": matches.is_given("ipv6").then(|| matches.is_on("ipv6")),
        "Internal": matches.is_on("internal"),
        "Attachable": matches.is_on("attachable"),
        "IPAM": { "Driver": "default", "Options": {}, "Config": subnets },
        "Options": label_pairs(&matches.list("opt")),
        "Labels": label_pairs(&matches.list("label")),
    });
    terminal::line(client::network::create(cli.client()?, &request).await?)
}

async fn connect(cli: &Cli, matches: Matches) -> Outcome {
    let request = json!({
        "Container": matches.args[1],
        "EndpointConfig": {
            "IPAMConfig": { "IPv4Address": matches.text("ip"), "IPv6Address": matches.text("ip6") },
            "Aliases": matches.list("alias"),
        },
    });
    Ok(client::network::connect(cli.client()?, &matches.args[0], &request).await?)
}

async fn disconnect(cli: &Cli, matches: Matches) -> Outcome {
    let request = json!({ "Container": matches.args[1], "Force": matches.is_on("force") });
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
    pruned::confirm(&matches, WARNING)?;
    prune(cli.client()?, &pruned::filters(cli, &matches)).await?.show()
}

pub(super) async fn prune(client: &Client, filters: &Filters) -> Outcome<Pruned> {
    let names = client::network::prune(client, filters).await?.networks_deleted.unwrap_or_default();
    Ok(Pruned::new("Deleted Networks:", &names, 0))
}
