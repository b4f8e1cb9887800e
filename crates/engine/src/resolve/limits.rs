//! Docker's limits in the specification's form.

use std::path::Path;

use api::host_config::{Resources, ThrottleDevice};
use fault::{Error, Result};
use oci::runtime::{BlockIo, Cpu, Device, Memory, Pids};

type Find = fn(&Path) -> Result<Vec<Device>>;

/// All but the rules for devices.
pub(super) fn resources(limits: &Resources, find: Find) -> Result<oci::runtime::Resources> {
    Ok(oci::runtime::Resources {
        memory: some(memory(limits)),
        cpu: some(cpu(limits)),
        pids: limits.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        block_io: some(block_io(limits, find)?),
        ..oci::runtime::Resources::default()
    })
}

/// A part that says nothing is left out.
fn some<T: Default + PartialEq>(part: T) -> Option<T> {
    (part != T::default()).then_some(part)
}

fn positive(value: i64) -> Option<i64> {
    (value > 0).then_some(value)
}

fn memory(limits: &Resources) -> Memory {
    Memory {
        limit: positive(limits.memory),
        reservation: positive(limits.memory_reservation),
        // -1 is no limit of swap.
        swap: (limits.memory_swap != 0).then_some(limits.memory_swap),
        swappiness: limits.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        kernel_tcp: positive(limits.kernel_memory_tcp),
        disable_oom_killer: limits.oom_kill_disable.filter(|disable| *disable),
        ..Memory::default()
    }
}

fn cpu(limits: &Resources) -> Cpu {
    let period = |period: i64| u64::try_from(period).ok().filter(|period| *period > 0);
    let (quota, period) = match limits.nano_cpus {
        0 => ((limits.cpu_quota != 0).then_some(limits.cpu_quota), period(limits.cpu_period)),
        nano => (Some(nano * PERIOD / 1_000_000_000), period(PERIOD)),
    };
    Cpu {
        shares: u64::try_from(limits.cpu_shares).ok().filter(|shares| *shares > 0),
        quota,
        period,
        realtime_runtime: (limits.cpu_realtime_runtime != 0).then_some(limits.cpu_realtime_runtime),
        realtime_period: u64::try_from(limits.cpu_realtime_period).ok().filter(|period| *period > 0),
        cpus: limits.cpuset_cpus.clone(),
        mems: limits.cpuset_mems.clone(),
        ..Cpu::default()
    }
}

/// The kernel's own period, in microseconds.
const PERIOD: i64 = 100_000;

fn block_io(limits: &Resources, find: Find) -> Result<BlockIo> {
    let throttles = |list: &Option<Vec<ThrottleDevice>>| -> Result<Vec<oci::runtime::ThrottleDevice>> {
        list.iter()
            .flatten()
            .map(|limit| {
                let (major, minor) = numbers(&limit.path, find)?;
                Ok(oci::runtime::ThrottleDevice { major, minor, rate: limit.rate })
            })
            .collect()
    };
    let weights = limits.blkio_weight_device.iter().flatten().map(|weight| {
        let (major, minor) = numbers(&weight.path, find)?;
        Ok(oci::runtime::WeightDevice { major, minor, weight: Some(weight.weight), leaf_weight: None })
    });
    Ok(BlockIo {
        weight: Some(limits.blkio_weight).filter(|weight| *weight > 0),
        leaf_weight: None,
        weight_device: weights.collect::<Result<_>>()?,
        throttle_read_bps_device: throttles(&limits.blkio_device_read_bps)?,
        throttle_write_bps_device: throttles(&limits.blkio_device_write_bps)?,
        throttle_read_iops_device: throttles(&limits.blkio_device_read_iops)?,
        throttle_write_iops_device: throttles(&limits.blkio_device_write_iops)?,
    })
}

fn numbers(path: &str, find: Find) -> Result<(i64, i64)> {
    let found = find(Path::new(path))?;
    let [device] = &found[..] else {
        return Err(Error::invalid(format!("not a device: {path}")));
    };
    Ok((device.major, device.minor))
}
