//! `kogge network create`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::{ConfigFrom, Create, Ipam, IpamConfig};
use ipnet::IpNet;

use super::super::{Args, Command};
use crate::cli::Cli;
use crate::create::{check_label, label_pairs};
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const CREATE: Command =
    Command::new("Create a network", "[OPTIONS] NETWORK", Args::Exactly(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("attachable", "Let containers attach by hand"),
    Flag::map("aux-address", "Address that the driver uses itself"),
    Flag::string("config-from", "Network to take the configuration from"),
    Flag::switch("config-only", "Make a configuration only"),
    Flag::string("driver", "Driver of the network").short('d').default("bridge"),
    Flag::strings("gateway", "Gateway of the subnet"),
    Flag::switch("ingress", "Make the network that spreads published ports over a swarm"),
    Flag::switch("internal", "No way to the outside"),
    Flag::strings("ip-range", "Give addresses from this range"),
    Flag::string("ipam-driver", "Driver that gives the addresses").default("default"),
    Flag::map("ipam-opt", "Option of that driver"),
    Flag::switch("ipv4", "Use IPv4").default("true"),
    Flag::switch("ipv6", "Use IPv6"),
    Flag::list("label", "Set a label").checked(check_label),
    Flag::map("opt", "Option of the driver").short('o'),
    Flag::string("scope", "Scope of the network"),
    Flag::strings("subnet", "Subnet (10.1.0.0/16)"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let request = request(&matches)?;
    terminal::line(client::network::create(cli.client()?, &request).await?)
}

fn request(matches: &Matches) -> Result<Create, String> {
    let given = |flag: &str| matches.is_given(flag).then(|| matches.is_on(flag));
    let config_from = matches.text("config-from");
    Ok(Create {
        name: matches.args[0].clone(),
        driver: matches.text("driver").into(),
        scope: matches.text("scope").into(),
        enable_ipv4: given("ipv4"),
        enable_ipv6: given("ipv6"),
        ipam: Some(Ipam {
            driver: matches.text("ipam-driver").into(),
            options: Some(label_pairs(&matches.list("ipam-opt"))),
            config: Some(subnets(&Addresses {
                subnets: matches.strings("subnet"),
                ranges: matches.strings("ip-range"),
                gateways: matches.strings("gateway"),
                auxiliary: label_pairs(&matches.list("aux-address")),
            })?),
        }),
        internal: matches.is_on("internal"),
        attachable: matches.is_on("attachable"),
        ingress: matches.is_on("ingress"),
        config_only: matches.is_on("config-only"),
        config_from: (!config_from.is_empty()).then(|| ConfigFrom { network: config_from.into() }),
        options: label_pairs(&matches.list("opt")),
        labels: label_pairs(&matches.list("label")),
    })
}

/// What the flags say of addresses, each kind for itself.
#[derive(Default)]
struct Addresses {
    subnets: Vec<String>,
    ranges: Vec<String>,
    gateways: Vec<String>,
    auxiliary: BTreeMap<String, String>,
}

/// Ranges, gateways and auxiliary addresses belong to the subnets in which they lie.
fn subnets(given: &Addresses) -> Result<Vec<IpamConfig>, String> {
    if given.subnets.len() < given.ranges.len().max(given.gateways.len()) {
        return Err("every ip-range or gateway must have a corresponding subnet".into());
    }
    let mut configs: Vec<IpamConfig> = Vec::new();
    for subnet in &given.subnets {
        if overlaps(&configs, subnet)? {
            return Err("multiple overlapping subnet configuration is not supported".into());
        }
        configs.push(IpamConfig { subnet: subnet.clone(), ..IpamConfig::default() });
    }
    for range in &given.ranges {
        let config = home(&mut configs, "range", range)?;
        if !config.ip_range.is_empty() {
            let (other, subnet) = (&config.ip_range, &config.subnet);
            return Err(format!(
                "cannot configure multiple ranges ({range}, {other}) on the same subnet ({subnet})"
            ));
        }
        config.ip_range = range.clone();
    }
    for gateway in &given.gateways {
        let config = home(&mut configs, "gateway", gateway)?;
        if !config.gateway.is_empty() {
            let (other, subnet) = (&config.gateway, &config.subnet);
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {other}) for the same subnet ({subnet})"
            ));
        }
        config.gateway = gateway.clone();
    }
    for (what, address) in &given.auxiliary {
        let config = home(&mut configs, "aux-address", address)?;
        config.auxiliary_addresses.insert(what.clone(), address.clone());
    }
    Ok(configs)
}

fn overlaps(configs: &[IpamConfig], subnet: &str) -> Result<bool, String> {
    for other in configs {
        if contains(subnet, &other.subnet)? || contains(&other.subnet, subnet)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The subnet in which an address or the start of a range lies.
fn home<'c>(configs: &'c mut [IpamConfig], what: &str, wanted: &str) -> Result<&'c mut IpamConfig, String> {
    for config in configs {
        if contains(&config.subnet, wanted)? {
            return Ok(config);
        }
    }
    Err(format!("no matching subnet for {what} {wanted}"))
}

fn contains(subnet: &str, wanted: &str) -> Result<bool, String> {
    let subnet = block(subnet).map_err(|problem| format!("invalid subnet: {problem}"))?;
    let address = match wanted.contains('/') {
        true => Some(block(wanted)?.addr()),
        false => wanted.parse::<IpAddr>().ok(),
    };
    Ok(address.is_some_and(|address| subnet.contains(&address)))
}

fn block(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| format!("invalid CIDR address: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, wanted: &str) {
        let mut given = Addresses::default();
        for word in words.split(' ') {
            match word.split_at(1) {
                ("s", subnet) => given.subnets.push(subnet.into()),
                ("r", range) => given.ranges.push(range.into()),
                ("g", gateway) => given.gateways.push(gateway.into()),
                (_, address) => drop(given.auxiliary.insert("aux".into(), address.into())),
            }
        }
        let got = match subnets(&given) {
            Err(problem) => problem,
            Ok(configs) => {
                let texts = configs.iter().map(|config| {
                    let auxiliary: Vec<&str> =
                        config.auxiliary_addresses.values().map(String::as_str).collect();
                    format!(
                        "{}|{}|{}|{}",
                        config.subnet,
                        config.ip_range,
                        config.gateway,
                        auxiliary.join(",")
                    )
                });
                texts.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, wanted, "{words}");
    }

    #[test]
    fn addresses_find_their_subnet() {
        check(
            "s10.1.0.0/16 s10.2.0.0/16 g10.2.0.1 r10.1.5.0/24",
            "10.1.0.0/16|10.1.5.0/24|| 10.2.0.0/16||10.2.0.1|",
        );
        check("s10.1.0.0/16 sfd00::/64 gfd00::1 a10.1.0.9", "10.1.0.0/16|||10.1.0.9 fd00::/64||fd00::1|");
    }

    #[test]
    fn what_fits_nowhere_is_refused() {
        check("g10.1.0.1", "every ip-range or gateway must have a corresponding subnet");
        check("s10.1.0.0/16 g10.2.0.1", "no matching subnet for gateway 10.2.0.1");
        check("s10.1.0.0/16 aother", "no matching subnet for aux-address other");
        check("s10.1.0.0/16 s10.1.2.0/24", "multiple overlapping subnet configuration is not supported");
        check(
            "s10.1.0.0/16 s10.2.0.0/16 g10.1.0.1 g10.1.0.2",
            "cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet (10.1.0.0/16)",
        );
        check(
            "s10.1.0.0/16 s10.2.0.0/16 r10.1.1.0/24 r10.1.2.0/24",
            "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet (10.1.0.0/16)",
        );
        check("snope g10.1.0.1", "invalid subnet: invalid CIDR address: nope");
        check("s10.1.0.0/16 rnope/8", "invalid CIDR address: nope/8");
    }
}
