//! `update`: other limits for a container that exists.

use std::io::Read as _;
use std::process::ExitCode;

use fault::{Call, Error, Result};
use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, Status};

use super::args::{Args, Global, Word, missing_id};
use super::container::Container;
use super::create::SPEC_BYTES_MAX;

pub(super) fn update(global: &Global, args: Args) -> Result<ExitCode> {
    let (id, changes) = flags(args)?;
    let mut container = Container::load(&global.root, &id)?;
    if container.status()? == Status::Stopped {
        return Err(Error::conflict("container not running"));
    }
    let linux = container.record.spec.linux.get_or_insert_default();
    let old = linux.resources.clone().unwrap_or_default();
    let wanted = merged(&old, &changes);
    linux.resources = Some(wanted.clone());
    let cgroup = container.cgroup()?;
    if let Err(error) = cgroup.update(&touched(&wanted, &changes)) {
        // What was written before the refusal goes back to what it was, as far as the kernel lets it.
        cgroup.update(&touched(&old, &changes)).ok();
        return Err(error);
    }
    container.write()?;
    Ok(ExitCode::SUCCESS)
}

/// The container, and what is to change.
fn flags(mut args: Args) -> Result<(String, Resources)> {
    let (mut id, mut changes) = (None, Resources::default());
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) => take(&flag, &mut args, &mut changes)?,
            Word::Positional(word) if id.is_none() => id = Some(word),
            Word::Positional(word) => return Err(Error::invalid(format!("unexpected argument {word:?}"))),
        }
    }
    Ok((id.ok_or_else(missing_id)?, changes))
}

fn take(flag: &str, args: &mut Args, changes: &mut Resources) -> Result<()> {
    let memory = changes.memory.get_or_insert_default();
    let cpu = changes.cpu.get_or_insert_default();
    match flag {
        "resources" | "r" => *changes = read(&args.value()?)?,
        "memory" => memory.limit = Some(bytes(&args.value()?)?),
        "memory-reservation" => memory.reservation = Some(bytes(&args.value()?)?),
        "memory-swap" => memory.swap = Some(bytes(&args.value()?)?),
        // Given up by the kernel, and ignored by everybody since.
        "kernel-memory" | "kernel-memory-tcp" => drop(bytes(&args.value()?)?),
        "cpu-period" => cpu.period = Some(args.parsed()?),
        "cpu-quota" => cpu.quota = Some(args.parsed()?),
        "cpu-burst" => cpu.burst = Some(args.parsed()?),
        "cpu-share" => cpu.shares = Some(args.parsed()?),
        "cpu-rt-period" => cpu.realtime_period = Some(args.parsed()?),
        "cpu-rt-runtime" => cpu.realtime_runtime = Some(args.parsed()?),
        "cpu-idle" => cpu.idle = Some(args.parsed()?),
        "cpuset-cpus" => cpu.cpus = args.value()?,
        "cpuset-mems" => cpu.mems = args.value()?,
        "pids-limit" => changes.pids = Some(Pids { limit: Some(args.parsed()?) }),
        "blkio-weight" => changes.block_io.get_or_insert_default().weight = Some(args.parsed()?),
        "l3-cache-schema" | "mem-bw-schema" => return Err(Error::unsupported(format!("--{flag}"))),
        _ => return Err(args.unknown(flag)),
    }
    Ok(())
}

/// From a file, or standard input for `-`.
fn read(path: &str) -> Result<Resources> {
    let mut text = Vec::new();
    if path == "-" {
        std::io::stdin().take(SPEC_BYTES_MAX).read_to_end(&mut text).call(|| "reading standard input")?;
    } else {
        text = sys::fs::read_bounded(path, SPEC_BYTES_MAX)?;
    }
    let resources: Resources = oci::runtime::read(&text)
        .map_err(|error| Error::invalid(format!("reading resources from {path:?}")).with_source(error))?;
    // A rule of devices says nothing without those before it.
    Ok(Resources { devices: Vec::new(), ..resources })
}

/// A number of bytes, with a letter for a power of 1024; -1 for no bound.
fn bytes(text: &str) -> Result<i64> {
    let invalid = || Error::invalid(format!("invalid size: {text:?}"));
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(invalid()),
    };
    let number: i64 = digits.trim().parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes >= -1).ok_or_else(invalid)
}

/// What holds after the change.
fn merged(old: &Resources, changes: &Resources) -> Resources {
    let mut all = old.clone();
    if let Some(change) = &changes.memory {
        merge_memory(all.memory.get_or_insert_default(), change);
    }
    if let Some(change) = &changes.cpu {
        merge_cpu(all.cpu.get_or_insert_default(), change);
    }
    all.pids = changes.pids.clone().or(all.pids);
    if let Some(change) = &changes.block_io {
        merge_block_io(all.block_io.get_or_insert_default(), change);
    }
    if !changes.hugepage_limits.is_empty() {
        all.hugepage_limits.clone_from(&changes.hugepage_limits);
    }
    all.rdma.extend(changes.rdma.clone());
    all.unified.extend(changes.unified.clone());
    all
}

fn merge_memory(all: &mut Memory, change: &Memory) {
    all.limit = change.limit.or(all.limit);
    all.reservation = change.reservation.or(all.reservation);
    all.swap = change.swap.or(all.swap);
    // Swap is counted together with memory, and cannot stay bounded when memory is not.
    if change.limit == Some(-1) && change.swap.is_none() {
        all.swap = Some(-1);
    }
    all.swappiness = change.swappiness.or(all.swappiness);
    all.disable_oom_killer = change.disable_oom_killer.or(all.disable_oom_killer);
    all.check_before_update = change.check_before_update.or(all.check_before_update);
}

fn merge_cpu(all: &mut Cpu, change: &Cpu) {
    all.shares = change.shares.or(all.shares);
    all.quota = change.quota.or(all.quota);
    all.burst = change.burst.or(all.burst);
    all.period = change.period.or(all.period);
    all.realtime_runtime = change.realtime_runtime.or(all.realtime_runtime);
    all.realtime_period = change.realtime_period.or(all.realtime_period);
    all.idle = change.idle.or(all.idle);
    for (all, change) in [(&mut all.cpus, &change.cpus), (&mut all.mems, &change.mems)] {
        if !change.is_empty() {
            all.clone_from(change);
        }
    }
}

fn merge_block_io(all: &mut BlockIo, change: &BlockIo) {
    all.weight = change.weight.or(all.weight);
    all.leaf_weight = change.leaf_weight.or(all.leaf_weight);
    if !change.weight_device.is_empty() {
        all.weight_device.clone_from(&change.weight_device);
    }
    for (all, change) in [
        (&mut all.throttle_read_bps_device, &change.throttle_read_bps_device),
        (&mut all.throttle_write_bps_device, &change.throttle_write_bps_device),
        (&mut all.throttle_read_iops_device, &change.throttle_read_iops_device),
        (&mut all.throttle_write_iops_device, &change.throttle_write_iops_device),
    ] {
        if !change.is_empty() {
            all.clone_from(change);
        }
    }
}

/// Of all limits those of the controllers that a change is about; their files may take several limits at once.
fn touched(all: &Resources, changes: &Resources) -> Resources {
    let is_memory = changes.memory.as_ref().is_some_and(|memory| *memory != Memory::default());
    let is_cpu = changes.cpu.as_ref().is_some_and(|cpu| *cpu != Cpu::default());
    Resources {
        devices: Vec::new(),
        memory: all.memory.clone().filter(|_| is_memory),
        cpu: all.cpu.clone().filter(|_| is_cpu),
        pids: all.pids.clone().filter(|_| changes.pids.is_some()),
        block_io: all.block_io.clone().filter(|_| changes.block_io.is_some()),
        hugepage_limits: changes.hugepage_limits.clone(),
        network: None,
        rdma: changes.rdma.clone(),
        unified: changes.unified.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn sizes_have_letters() {
        assert_eq!(bytes("50M").unwrap(), 50 << 20);
        assert_eq!(bytes("1GiB").unwrap(), 1 << 30);
        assert_eq!(bytes("-1").unwrap(), -1);
        for bad in ["", "M", "-2", "1x", "9999999999999p"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_keeps_the_rest() {
        let old = resources(
            r#"{"cpu":{"shares":100,"quota":5,"cpus":"0"},"pids":{"limit":20},"memory":{"swap":8}}"#,
        );
        let changes = resources(r#"{"cpu":{"quota":7},"memory":{"limit":-1}}"#);
        let all = merged(&old, &changes);
        let cpu = all.cpu.clone().unwrap();
        assert_eq!((cpu.shares, cpu.quota, cpu.cpus.as_str()), (Some(100), Some(7), "0"));
        assert_eq!(all.memory.clone().unwrap().swap, Some(-1));
        let touched = touched(&all, &changes);
        assert_eq!((touched.cpu, touched.pids), (all.cpu, None));
    }
}
