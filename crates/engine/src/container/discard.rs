//! Limits that this machine cannot hold a container to are dropped with a warning, in dockerd's words. Pure.

use api::host_config::Resources;

use crate::system::Limits;

/// Takes out what the machine lacks; the words for the answer.
pub(super) fn discard(resources: &mut Resources, there: Limits) -> Vec<String> {
    let dropped = RULES.iter().filter(|rule| !(rule.there)(&there) && (rule.asked)(resources));
    let mut warnings = Vec::new();
    for rule in dropped.collect::<Vec<_>>() {
        (rule.drop)(resources);
        warnings.push(rule.words.to_owned());
    }
    // Nobody need be told that it may not switch off what cannot be switched off, or have no limit where there is none.
    if !there.oom_kill_disable {
        resources.oom_kill_disable = None;
    }
    if !there.pids {
        resources.pids_limit = None;
    }
    warnings
}

struct Rule {
    there: fn(&Limits) -> bool,
    asked: fn(&Resources) -> bool,
    drop: fn(&mut Resources),
    words: &'static str,
}

fn given<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// In dockerd's order.
const RULES: &[Rule] = &[
    Rule {
        there: |there| there.memory,
        asked: |asked| asked.memory > 0,
        drop: |asked| (asked.memory, asked.memory_swap) = (0, -1),
        words: "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    },
    Rule {
        there: |there| there.swap || !there.memory,
        asked: |asked| asked.memory > 0 && asked.memory_swap != -1,
        drop: |asked| asked.memory_swap = -1,
        words: "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
    },
    Rule {
        there: |there| there.swappiness,
        asked: |asked| asked.memory_swappiness.is_some_and(|value| value != -1),
        drop: |asked| asked.memory_swappiness = None,
        words: "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
    },
    Rule {
        there: |there| there.reservation,
        asked: |asked| asked.memory_reservation > 0,
        drop: |asked| asked.memory_reservation = 0,
        words: "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
    },
    // No kernel has it any more, though some still have its file.
    Rule {
        there: |_| false,
        asked: |asked| asked.kernel_memory > 0,
        drop: |asked| asked.kernel_memory = 0,
        words: "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    },
    Rule {
        there: |there| there.kernel_memory_tcp,
        asked: |asked| asked.kernel_memory_tcp > 0,
        drop: |asked| asked.kernel_memory_tcp = 0,
        words: "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.",
    },
    Rule {
        there: |there| there.oom_kill_disable,
        asked: |asked| asked.oom_kill_disable == Some(true),
        drop: |asked| asked.oom_kill_disable = None,
        words: "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    },
    Rule {
        there: |there| there.pids,
        asked: |asked| asked.pids_limit.is_some_and(|limit| limit > 0),
        drop: |asked| asked.pids_limit = None,
        words: "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
    },
    Rule {
        there: |there| there.cpu_shares,
        asked: |asked| asked.cpu_shares > 0,
        drop: |asked| asked.cpu_shares = 0,
        words: "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    },
    Rule {
        there: |there| there.cpu_quota,
        asked: |asked| asked.cpu_period != 0 || asked.cpu_quota != 0,
        drop: |asked| (asked.cpu_period, asked.cpu_quota) = (0, 0),
        words: "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
    },
    Rule {
        there: |_| false,
        asked: |asked| asked.cpu_percent > 0,
        drop: |asked| asked.cpu_percent = 0,
        words: "linux does not support CPU percent. Percent discarded.",
    },
    Rule {
        there: |there| there.cpu_set,
        asked: |asked| !asked.cpuset_cpus.is_empty() || !asked.cpuset_mems.is_empty(),
        drop: |asked| {
            asked.cpuset_cpus.clear();
            asked.cpuset_mems.clear();
        },
        words: "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    },
    Rule {
        there: |there| there.blkio.weight,
        asked: |asked| asked.blkio_weight > 0,
        drop: |asked| asked.blkio_weight = 0,
        words: "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    },
    Rule {
        there: |there| there.blkio.weight_device,
        asked: |asked| given(&asked.blkio_weight_device),
        drop: |asked| asked.blkio_weight_device = Some(Vec::new()),
        words: "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
    },
    Rule {
        there: |there| there.blkio.read_bps,
        asked: |asked| given(&asked.blkio_device_read_bps),
        drop: |asked| asked.blkio_device_read_bps = Some(Vec::new()),
        words: "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
    },
    Rule {
        there: |there| there.blkio.write_bps,
        asked: |asked| given(&asked.blkio_device_write_bps),
        drop: |asked| asked.blkio_device_write_bps = Some(Vec::new()),
        words: "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
    },
    Rule {
        there: |there| there.blkio.read_iops,
        asked: |asked| given(&asked.blkio_device_read_iops),
        drop: |asked| asked.blkio_device_read_iops = Some(Vec::new()),
        words: "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
    },
    Rule {
        there: |there| there.blkio.write_iops,
        asked: |asked| given(&asked.blkio_device_write_iops),
        drop: |asked| asked.blkio_device_write_iops = Some(Vec::new()),
        words: "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{"Memory":10000000,"MemorySwappiness":5,"MemoryReservation":7000000,"KernelMemory":7000000,
        "KernelMemoryTCP":7000000,"OomKillDisable":true,"PidsLimit":5,"CpuShares":5,"CpuPeriod":10000,"CpuPercent":5,
        "CpusetCpus":"0","BlkioWeight":50,"BlkioWeightDevice":[{"Path":"/dev/x","Weight":5}],
        "BlkioDeviceReadBps":[{"Path":"/dev/x","Rate":5}],"BlkioDeviceWriteBps":[{"Path":"/dev/x","Rate":5}],
        "BlkioDeviceReadIOps":[{"Path":"/dev/x","Rate":5}],"BlkioDeviceWriteIOps":[{"Path":"/dev/x","Rate":5}]}"#;

    fn discarded(json: &str, there: Limits) -> (Resources, String) {
        let mut resources: Resources = api::from_slice(json.as_bytes()).unwrap();
        let warnings = discard(&mut resources, there);
        (resources, warnings.join("\n"))
    }

    #[test]
    fn a_machine_without_cgroups_keeps_no_limit() {
        let (left, warnings) = discarded(ALL, Limits::default());
        let gone = Resources {
            memory_swap: -1,
            blkio_weight_device: Some(Vec::new()),
            blkio_device_read_bps: Some(Vec::new()),
            blkio_device_write_bps: Some(Vec::new()),
            blkio_device_read_iops: Some(Vec::new()),
            blkio_device_write_iops: Some(Vec::new()),
            ..Resources::default()
        };
        assert_eq!(left, gone);
        insta::assert_snapshot!(warnings);
    }

    #[test]
    fn memory_is_limited_without_swap() {
        let there = Limits { memory: true, oom_kill_disable: true, ..Limits::default() };
        let (left, warnings) = discarded(r#"{"Memory":10000000,"OomKillDisable":true}"#, there);
        assert_eq!((left.memory, left.memory_swap, left.oom_kill_disable), (10_000_000, -1, Some(true)));
        assert!(warnings.ends_with("Memory limited without swap."), "{warnings}");
    }

    #[test]
    fn what_nobody_asked_for_is_not_told() {
        let quiet = r#"{"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":-1}"#;
        let (left, warnings) = discarded(quiet, Limits::default());
        assert_eq!((left.oom_kill_disable, left.pids_limit, warnings.as_str()), (None, None, ""));
    }
}
