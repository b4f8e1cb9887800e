//! From counters to what the table shows.

use api::stats::{Memory, Stats};

use crate::format::{Row, human};

/// One line; dashes as long as nothing is known.
pub(super) fn row(name: &str, stats: Option<&Stats>, trunc: bool) -> Row {
    let row = Row::new().field("Container", name);
    let Some(stats) = stats else {
        return ["Name", "CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs"]
            .into_iter()
            .fold(row, |row, field| row.field(field, "--"))
            .field("ID", "")
            .field("MemUsage", "-- / --");
    };
    let id = if trunc { human::short_id(&stats.id) } else { &stats.id };
    let (used, limit) = (memory_used(&stats.memory_stats) as f64, stats.memory_stats.limit as f64);
    let percent = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let (read, written) = block_io(stats);
    let received = stats.networks.values().map(|network| network.rx_bytes).sum();
    let sent = stats.networks.values().map(|network| network.tx_bytes).sum();
    row.field("ID", id)
        .field(
            "Name",
            stats.name.strip_prefix('/').unwrap_or(if stats.name.is_empty() { "--" } else { &stats.name }),
        )
        .field("CPUPerc", format!("{:.2}%", cpu_percent(stats)))
        .field("MemUsage", format!("{} / {}", human::size_binary(used), human::size_binary(limit)))
        .field("MemPerc", format!("{percent:.2}%"))
        .field("NetIO", both(received, sent))
        .field("BlockIO", both(read, written))
        .field("PIDs", stats.pids_stats.current.to_string())
}

fn both(first: u64, second: u64) -> String {
    let size = |bytes: u64| human::size(i64::try_from(bytes).unwrap_or(i64::MAX));
    format!("{} / {}", size(first), size(second))
}

/// Of all processors together, 100 for each one.
fn cpu_percent(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let passed = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let cpus = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as f64,
        cpus => f64::from(cpus),
    };
    if used > 0.0 && passed > 0.0 { used / passed * cpus * 100.0 } else { 0.0 }
}

/// Without the part of the cache that goes first; cgroup v1 and v2 name it differently.
fn memory_used(memory: &Memory) -> u64 {
    let cache = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|name| memory.stats.get(*name).copied().filter(|cache| *cache < memory.usage));
    memory.usage - cache.unwrap_or(0)
}

fn block_io(stats: &Stats) -> (u64, u64) {
    let (mut read, mut written) = (0, 0);
    for entry in stats.blkio_stats.io_service_bytes_recursive.iter().flatten() {
        match entry.op.bytes().next() {
            Some(b'r' | b'R') => read += entry.value,
            Some(b'w' | b'W') => written += entry.value,
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_that_goes_first_is_not_used_memory() {
        let mut memory = Memory { usage: 100, ..Memory::default() };
        assert_eq!(memory_used(&memory), 100);
        memory.stats.insert("inactive_file".into(), 30);
        assert_eq!(memory_used(&memory), 70);
        memory.stats.insert("total_inactive_file".into(), 40);
        assert_eq!(memory_used(&memory), 60);
    }

    #[test]
    fn each_processor_counts_a_hundred() {
        let mut stats = Stats::default();
        stats.cpu_stats.cpu_usage.total_usage = 500;
        stats.cpu_stats.system_cpu_usage = 2000;
        stats.precpu_stats.system_cpu_usage = 1000;
        stats.cpu_stats.online_cpus = 4;
        assert!((cpu_percent(&stats) - 200.0).abs() < 1e-9);
    }
}
