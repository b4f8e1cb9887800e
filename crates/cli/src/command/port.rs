//! `kogge port`: where a container's ports are published.

use api::port::{Binding, PortMap};

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::format::{human, join_host_port};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "List port mappings or a specific mapping for the container",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    Args::Between(1, 2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container port, kogge port");

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let name = &matches.args[0];
    let container = client::container::inspect(cli.client()?, name).await?;
    let ports = &container.network_settings.ports;
    let mut lines = match matches.args.get(1) {
        Some(port) => one(ports, port, name)?,
        None => all(ports),
    };
    lines.sort_by(|a, b| human::natural(a, b));
    lines.into_iter().try_for_each(terminal::line)
}

fn one(ports: &PortMap, wanted: &str, container: &str) -> Outcome<Vec<String>> {
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    if number.parse::<u16>().is_err() {
        let problem = if number.parse::<u64>().is_ok() { "value out of range" } else { "invalid syntax" };
        let why = api::units::go_error("ParseUint", number, problem);
        return Err(Exit::failure(format!("Error: invalid port ({number}): {why}")));
    }
    let key = format!("{number}/{protocol}");
    let bindings =
        ports.iter().find(|(port, _)| port.to_string() == key).and_then(|(_, bindings)| bindings.as_ref());
    match bindings {
        Some(bindings) if !bindings.is_empty() => Ok(bindings.iter().map(place).collect()),
        _ => Err(Exit::failure(format!("Error: No public port '{wanted}' published for {container}"))),
    }
}

fn all(ports: &PortMap) -> Vec<String> {
    ports
        .iter()
        .flat_map(|(port, bindings)| {
            bindings.iter().flatten().map(move |binding| format!("{port} -> {}", place(binding)))
        })
        .collect()
}

fn place(binding: &Binding) -> String {
    join_host_port(&binding.host_ip, &binding.host_port)
}
