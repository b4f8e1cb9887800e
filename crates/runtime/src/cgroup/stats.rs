//! What a cgroup's processes use, in one shape for both versions. Files that a kernel lacks count as zero.

use std::collections::BTreeMap;

use fault::Result;
use serde::{Deserialize, Serialize};

use super::{Cgroup, Layout};

/// A reading of all controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub cpu: Cpu,
    pub memory: Memory,
    pub pids: Pids,
    pub block_io: BlockIo,
}

/// Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub total_ns: u64,
    pub user_ns: u64,
    pub kernel_ns: u64,
    /// One number a CPU; empty with v2.
    pub per_cpu_ns: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

/// In bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub usage: u64,
    pub usage_max: u64,
    /// [`u64::MAX`] if there is none; v1 gives a number near [`i64::MAX`].
    pub limit: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// The kernel's own names; they differ between the versions.
    pub details: BTreeMap<String, u64>,
    pub is_v2: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    pub current: u64,
    /// 0 if there is none.
    pub limit: u64,
}

/// Since the cgroup was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    pub bytes: Vec<BlockIoEntry>,
    pub operations: Vec<BlockIoEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIoEntry {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write` and so on.
    pub operation: String,
    pub value: u64,
}

/// The text of a file in the folder of a controller; empty if there is none.
type Files<'a> = dyn Fn(&str, &str) -> Result<String> + 'a;

impl Stats {
    /// From the files of a cgroup, whoever has read them.
    pub fn from_files(layout: &Layout, files: &Files<'_>) -> Result<Self> {
        Ok(Self {
            cpu: if layout.has_v1("cpuacct") { cpu_v1(files)? } else { cpu_v2(files)? },
            memory: if layout.has_v1("memory") { memory_v1(files)? } else { memory_v2(files)? },
            pids: pids(files)?,
            block_io: if layout.has_v1("blkio") { block_io_v1(files)? } else { block_io_v2(files)? },
        })
    }
}

pub(super) fn read(cgroup: &Cgroup) -> Result<Stats> {
    Stats::from_files(cgroup.layout, &|controller, file| {
        let Some(folder) = cgroup.folder_of(controller) else { return Ok(String::new()) };
        Ok(sys::fs::read_to_string_if_exists(folder.join(file))?.unwrap_or_default())
    })
}

/// The lines `key value` of a file.
pub(super) fn keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// The files of one controller's folder.
struct Folder<'a> {
    files: &'a Files<'a>,
    controller: &'static str,
}

impl<'a> Folder<'a> {
    fn of(files: &'a Files<'a>, controller: &'static str) -> Self {
        Self { files, controller }
    }

    fn text(&self, file: &str) -> Result<String> {
        (self.files)(self.controller, file)
    }

    fn number(&self, file: &str) -> Result<u64> {
        Ok(self.text(file)?.trim_end().parse().unwrap_or_default())
    }

    fn map(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        Ok(keyed(&self.text(file)?).map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

fn pick(map: &BTreeMap<String, u64>, key: &str) -> u64 {
    map.get(key).copied().unwrap_or_default()
}

fn cpu_v1(files: &Files<'_>) -> Result<Cpu> {
    let account = Folder::of(files, "cpuacct");
    let throttling = Folder::of(files, "cpu").map("cpu.stat")?;
    let per_cpu = account.text("cpuacct.usage_percpu")?;
    Ok(Cpu {
        total_ns: account.number("cpuacct.usage")?,
        user_ns: account.number("cpuacct.usage_user")?,
        kernel_ns: account.number("cpuacct.usage_sys")?,
        per_cpu_ns: per_cpu.split_ascii_whitespace().filter_map(|value| value.parse().ok()).collect(),
        periods: pick(&throttling, "nr_periods"),
        throttled_periods: pick(&throttling, "nr_throttled"),
        throttled_ns: pick(&throttling, "throttled_time"),
    })
}

fn cpu_v2(files: &Files<'_>) -> Result<Cpu> {
    let stat = Folder::of(files, "cpu").map("cpu.stat")?;
    Ok(Cpu {
        total_ns: pick(&stat, "usage_usec").saturating_mul(1000),
        user_ns: pick(&stat, "user_usec").saturating_mul(1000),
        kernel_ns: pick(&stat, "system_usec").saturating_mul(1000),
        per_cpu_ns: Vec::new(),
        periods: pick(&stat, "nr_periods"),
        throttled_periods: pick(&stat, "nr_throttled"),
        throttled_ns: pick(&stat, "throttled_usec").saturating_mul(1000),
    })
}

fn memory_v1(files: &Files<'_>) -> Result<Memory> {
    let folder = Folder::of(files, "memory");
    Ok(Memory {
        usage: folder.number("memory.usage_in_bytes")?,
        usage_max: folder.number("memory.max_usage_in_bytes")?,
        limit: folder.number("memory.limit_in_bytes")?,
        failures: folder.number("memory.failcnt")?,
        details: folder.map("memory.stat")?,
        is_v2: false,
    })
}

fn memory_v2(files: &Files<'_>) -> Result<Memory> {
    let folder = Folder::of(files, "memory");
    Ok(Memory {
        usage: folder.number("memory.current")?,
        usage_max: folder.number("memory.peak")?,
        limit: folder.text("memory.max")?.trim_end().parse().unwrap_or(u64::MAX),
        failures: pick(&folder.map("memory.events")?, "max"),
        details: folder.map("memory.stat")?,
        is_v2: true,
    })
}

fn pids(files: &Files<'_>) -> Result<Pids> {
    let folder = Folder::of(files, "pids");
    // "max" is no number and counts as none.
    Ok(Pids { current: folder.number("pids.current")?, limit: folder.number("pids.max")? })
}

fn block_io_v1(files: &Files<'_>) -> Result<BlockIo> {
    let folder = Folder::of(files, "blkio");
    let entries = |file: &str| -> Result<Vec<BlockIoEntry>> {
        Ok(folder.text(file)?.lines().filter_map(block_io_line).collect())
    };
    Ok(BlockIo {
        bytes: entries("blkio.throttle.io_service_bytes_recursive")?,
        operations: entries("blkio.throttle.io_serviced_recursive")?,
    })
}

/// `8:0 Read 4096`; the last line, `Total 4096`, has no device.
fn block_io_line(line: &str) -> Option<BlockIoEntry> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    Some(BlockIoEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        operation: words.next()?.to_owned(),
        value: words.next()?.parse().ok()?,
    })
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
fn block_io_v2(files: &Files<'_>) -> Result<BlockIo> {
    let text = Folder::of(files, "io").text("io.stat")?;
    let mut block_io = BlockIo::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let entry = |operation: &str| BlockIoEntry {
                major,
                minor,
                operation: operation.to_owned(),
                value: value.parse().unwrap_or_default(),
            };
            match key {
                "rbytes" => block_io.bytes.push(entry("read")),
                "wbytes" => block_io.bytes.push(entry("write")),
                "rios" => block_io.operations.push(entry("read")),
                "wios" => block_io.operations.push(entry("write")),
                _ => {}
            }
        }
    }
    Ok(block_io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_lines_skip_what_is_no_number() {
        let found: Vec<_> = keyed("a 1\nb max\nc 3\n").collect();
        assert_eq!(found, [("a", 1), ("c", 3)]);
    }

    #[test]
    fn block_io_lines_have_a_device() {
        let entry = block_io_line("8:16 Read 4096").unwrap();
        assert_eq!((entry.major, entry.minor, entry.operation.as_str(), entry.value), (8, 16, "Read", 4096));
        assert!(block_io_line("Total 4096").is_none());
    }
}
