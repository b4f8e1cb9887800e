//! One sample, from the files of the kernel.

use std::collections::BTreeMap;

use api::stats::{Blkio, BlkioEntry, Cpu, CpuUsage, Memory, Network, Pids, Stats, Throttling};
use fault::Result;
use runtime::cgroup::{self, Cgroup};

use crate::Record;

/// What a running container uses now. "Not found" if it has just ended. Blocks.
pub(super) fn read(cgroup: &Cgroup, record: &Record) -> Result<Stats> {
    let used = cgroup.stats()?;
    let host = Host::read()?;
    let networks = match record.host_config.network_mode.as_str() {
        // The host's interfaces are not the container's.
        "host" => BTreeMap::new(),
        _ => networks(&sys::fs::read_to_string(format!("/proc/{}/net/dev", record.state.pid))?),
    };
    Ok(Stats {
        read: sys::time::now_rfc3339_nano(),
        cpu_stats: cpu(&used.cpu, &host),
        pids_stats: pids(&used.pids, cgroup.layout().has_v1("pids")),
        blkio_stats: block_io(&used.block_io, cgroup.layout().has_v1("blkio")),
        memory_stats: memory(used.memory, host.memory),
        networks,
        ..Stats::default()
    })
}

/// What the whole machine has and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Nanoseconds that all processors have lived, idle time included.
    cpu_ns: u64,
    pub(crate) cpus: u32,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Host {
    pub(crate) fn read() -> Result<Self> {
        let stat = sys::fs::read_to_string("/proc/stat")?;
        Ok(Self {
            cpu_ns: cpu_ns(&stat),
            cpus: cpus(&stat),
            memory: memory_total(&sys::fs::read_to_string("/proc/meminfo")?),
        })
    }
}

/// The first seven fields of the line `cpu`, as Docker counts: guests are in `user` already (proc_stat(5)).
fn cpu_ns(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = line.unwrap_or_default().split_ascii_whitespace().take(7);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * NS_A_TICK
}

/// The kernel shows user space 100 ticks a second on every architecture of ours.
const NS_A_TICK: u64 = 1_000_000_000 / 100;

fn cpus(stat: &str) -> u32 {
    let is_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(is_one).map(|_| 1).sum()
}

fn memory_total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn cpu(cpu: &cgroup::Cpu, host: &Host) -> Cpu {
    Cpu {
        cpu_usage: CpuUsage {
            total_usage: cpu.total_ns,
            percpu_usage: Some(cpu.per_cpu_ns.clone()).filter(|all| !all.is_empty()),
            usage_in_kernelmode: cpu.kernel_ns,
            usage_in_usermode: cpu.user_ns,
        },
        system_cpu_usage: host.cpu_ns,
        online_cpus: host.cpus,
        throttling_data: Throttling {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_ns,
        },
    }
}

/// No limit is the machine's memory, as Docker shows it.
fn memory(memory: cgroup::Memory, machine: u64) -> Memory {
    Memory {
        usage: memory.usage,
        max_usage: if memory.is_v2 { 0 } else { memory.usage_max },
        stats: memory.details,
        failcnt: memory.failures,
        limit: memory.limit.min(machine),
    }
}

/// No limit is 0 with v1 and the greatest number with v2.
fn pids(pids: &cgroup::Pids, is_v1: bool) -> Pids {
    let limit = if pids.limit == 0 && !is_v1 { u64::MAX } else { pids.limit };
    Pids { current: pids.current, limit }
}

/// With v1 what the kernel does not tell is an empty list, with v2 null; clients tell the versions by that.
fn block_io(block_io: &cgroup::BlockIo, is_v1: bool) -> Blkio {
    let entries = |entries: &[cgroup::BlockIoEntry]| Some(entries.iter().map(entry).collect::<Vec<_>>());
    let rest = || is_v1.then(Vec::new);
    Blkio {
        io_service_bytes_recursive: entries(&block_io.bytes),
        io_serviced_recursive: if is_v1 { entries(&block_io.operations) } else { None },
        io_queue_recursive: rest(),
        io_service_time_recursive: rest(),
        io_wait_time_recursive: rest(),
        io_merged_recursive: rest(),
        io_time_recursive: rest(),
        sectors_recursive: rest(),
    }
}

fn entry(entry: &cgroup::BlockIoEntry) -> BlkioEntry {
    BlkioEntry { major: entry.major, minor: entry.minor, op: entry.operation.clone(), value: entry.value }
}

/// The lines of /proc/PID/net/dev but the loopback's.
fn networks(text: &str) -> BTreeMap<String, Network> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, numbers)| {
            let all: Vec<u64> =
                numbers.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0)).collect();
            let at = |index: usize| all.get(index).copied().unwrap_or_default();
            let network = Network {
                rx_bytes: at(0),
                rx_packets: at(1),
                rx_errors: at(2),
                rx_dropped: at(3),
                tx_bytes: at(8),
                tx_packets: at(9),
                tx_errors: at(10),
                tx_dropped: at(11),
            };
            (name.trim().to_owned(), network)
        })
        .filter(|(name, _)| name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_time_and_processors_are_counted() {
        let stat = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n";
        assert_eq!(cpu_ns(stat), 280 * 10_000_000);
        assert_eq!(cpus(stat), 2);
        assert_eq!(memory_total("MemTotal:        2048 kB\nMemFree: 1 kB\n"), 2048 * 1024);
    }

    #[test]
    fn interfaces_are_read_but_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n\
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
             lo:       1       1    1    1    0     0          0         0        1       1    1    1    0     0       0          0\n  \
             eth0:  1516      15    1    2    0     0          0         0      616      16    3    4    0     0       0          0\n";
        insta::assert_json_snapshot!(networks(text), @r#"
        {
          "eth0": {
            "rx_bytes": 1516,
            "rx_packets": 15,
            "rx_errors": 1,
            "rx_dropped": 2,
            "tx_bytes": 616,
            "tx_packets": 16,
            "tx_errors": 3,
            "tx_dropped": 4
          }
        }
        "#);
    }

    #[test]
    fn limits_are_shown_as_docker_s() {
        let unlimited = cgroup::Memory { limit: u64::MAX, usage_max: 7, ..cgroup::Memory::default() };
        assert_eq!(memory(unlimited.clone(), 1 << 30).limit, 1 << 30);
        assert_eq!(memory(unlimited, 1 << 30).max_usage, 7);
        assert_eq!(pids(&cgroup::Pids::default(), true).limit, 0);
        assert_eq!(pids(&cgroup::Pids::default(), false).limit, u64::MAX);
        assert!(block_io(&cgroup::BlockIo::default(), true).io_time_recursive.is_some());
        assert!(block_io(&cgroup::BlockIo::default(), false).io_time_recursive.is_none());
    }
}
