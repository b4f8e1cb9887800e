//! `kogge update`.

use api::container::Update;
use api::host_config::Resources;

use super::{Args, Command};
use crate::cli::Cli;
use crate::create::{CPUS_CHECK, check_swap, check_uint16, nano_cpus, restart_policy, swap};
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Update configuration of one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container update, kogge update")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::int("blkio-weight", "Weight of block I/O, 10 to 1000, or 0 for the default")
        .kind("uint16")
        .checked(check_uint16),
    Flag::int("cpu-period", "Period of the CPU quota, in microseconds"),
    Flag::int("cpu-quota", "CPU time in a period, in microseconds"),
    Flag::int("cpu-rt-period", "Period of real-time CPU, in microseconds"),
    Flag::int("cpu-rt-runtime", "Real-time CPU in a period, in microseconds"),
    Flag::int("cpu-shares", "Share of CPU against other containers").short('c'),
    Flag::string("cpus", "Number of CPUs, in fractions too").kind("decimal").checked(CPUS_CHECK),
    Flag::string("cpuset-cpus", "CPUs to run on (0-3, 0,1)"),
    Flag::string("cpuset-mems", "Memory nodes to use (0-3, 0,1)"),
    Flag::bytes("kernel-memory", "Limit of kernel memory").hidden(),
    Flag::bytes("memory", "Limit of memory").short('m'),
    Flag::bytes("memory-reservation", "Soft limit of memory"),
    Flag::bytes("memory-swap", "Limit of memory and swap together; -1 for unlimited swap")
        .checked(check_swap),
    Flag::int("pids-limit", "Number of processes (-1 for unlimited)"),
    Flag::string("restart", "When to start again"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    if matches.flags_given() == 0 {
        return Err(Exit::failure("you must provide one or more flags when using this command"));
    }
    let update =
        Update { resources: resources(&matches), restart_policy: restart_policy(matches.text("restart"))? };
    let client = cli.client()?;
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for name in &matches.args {
        match client::container::update(client, name, &update).await {
            Ok(more) => {
                terminal::line(name)?;
                warnings.extend(more);
            }
            Err(error) => errors.push(error),
        }
    }
    if !warnings.is_empty() {
        terminal::line(warnings.join("\n"))?;
    }
    Exit::join(errors)
}

fn resources(matches: &Matches) -> Resources {
    Resources {
        blkio_weight: u16::try_from(matches.int("blkio-weight")).unwrap_or_default(),
        cpu_period: matches.int("cpu-period"),
        cpu_quota: matches.int("cpu-quota"),
        cpu_realtime_period: matches.int("cpu-rt-period"),
        cpu_realtime_runtime: matches.int("cpu-rt-runtime"),
        cpu_shares: matches.int("cpu-shares"),
        nano_cpus: nano_cpus(matches.text("cpus")).unwrap_or_default(),
        cpuset_cpus: matches.text("cpuset-cpus").into(),
        cpuset_mems: matches.text("cpuset-mems").into(),
        kernel_memory: matches.bytes("kernel-memory"),
        memory: matches.bytes("memory"),
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: swap(matches.text("memory-swap")),
        pids_limit: Some(matches.int("pids-limit")).filter(|limit| *limit != 0),
        ..Resources::default()
    }
}
