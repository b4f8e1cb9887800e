//! `events`: what a container uses, now and then or once, in runc's JSON.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fault::{Error, Result};
use oci::runtime::Status;
use runtime::cgroup::{BlockIoEntry, Cgroup, Stats};
use serde_json::{Map, Value, json};
use sys::poll::{Interest, Poll};
use sys::process::PidFd;

use super::args::{Args, Global, Word, missing_id};
use super::container::Container;
use super::print;

pub(super) fn events(global: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut id, mut once, mut interval) = (None, false, Duration::from_secs(5));
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "stats" => once = true,
            Word::Flag(flag) if flag == "interval" => interval = duration(&args.value()?)?,
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) if id.is_none() => id = Some(word),
            Word::Positional(word) => return Err(Error::invalid(format!("unexpected argument {word:?}"))),
        }
    }
    let container = Container::load(&global.root, &id.ok_or_else(missing_id)?)?;
    let process = match container.status()? {
        Status::Stopped => None,
        _ => container.process()?,
    };
    let stopped = || Error::conflict(format!("container with id {} is not running", container.record.id));
    let process = process.ok_or_else(stopped)?;
    let cgroup = container.cgroup()?;
    if once {
        return print(&event("stats", &container.record.id, Some(document(&cgroup.stats()?))));
    }
    watch(&container.record.id, &cgroup, &process, interval)
}

/// Go's way to write a time, as far as somebody uses it here: `100ms`, `1.5s`, `2m`.
fn duration(text: &str) -> Result<Duration> {
    let invalid = || Error::invalid(format!("invalid duration {text:?}"));
    let units = [("ms", 0.001), ("us", 0.000_001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, seconds) = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, seconds)))
        .ok_or_else(invalid)?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
    if duration.is_zero() {
        Err(Error::invalid("duration interval must be greater than 0"))
    } else {
        Ok(duration)
    }
}

/// Until the container ends.
fn watch(id: &str, cgroup: &Cgroup, process: &PidFd, interval: Duration) -> Result<ExitCode> {
    let poll = Poll::new()?;
    poll.add(process, END, Interest::READ)?;
    let mut oom = File::from(cgroup.oom_events()?);
    // A file of v2 can always be read, and its changes come as errors.
    let is_v1 = cgroup.layout().has_v1("memory");
    poll.add(&oom, OOM, if is_v1 { Interest::READ } else { Interest::NONE })?;
    let (mut ready, mut kills) = (Vec::new(), cgroup.oom_kills()?);
    let mut next = Instant::now() + interval;
    loop {
        poll.wait(&mut ready, Some(next.saturating_duration_since(Instant::now())))?;
        if ready.iter().any(|source| source.token == END) {
            return Ok(ExitCode::SUCCESS);
        }
        if ready.iter().any(|source| source.token == OOM) {
            // Resets the event: an eventfd is read out, a file of cgroup v2 is read again from its start.
            let _is_no_file = oom.rewind();
            let _is_told_by_the_counter = oom.read(&mut [0; 256]);
            let now = cgroup.oom_kills()?;
            // The event of v1 comes before the kill is counted; that of v2 is told for other counters too.
            if is_v1 || now > kills {
                print(&event("oom", id, None))?;
            }
            kills = now;
        }
        if Instant::now() >= next {
            print(&event("stats", id, Some(document(&cgroup.stats()?))))?;
            next = Instant::now() + interval;
        }
    }
}

const END: u64 = 0;
const OOM: u64 = 1;

/// One line. The order of the fields is looked at by some, so it is not left to a map.
fn event(kind: &str, id: &str, data: Option<Value>) -> String {
    let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
    format!("{{\"type\":{},\"id\":{}{data}}}\n", json!(kind), json!(id))
}

fn document(stats: &Stats) -> Value {
    let Stats { cpu, memory, pids, block_io } = stats;
    let detail = |key: &str| memory.details.get(key).copied().unwrap_or_default();
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total_ns,
                "percpu": cpu.per_cpu_ns,
                "kernel": cpu.kernel_ns,
                "user": cpu.user_ns,
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "cache": detail(if memory.is_v2 { "file" } else { "cache" }),
            "usage": {
                "limit": memory.limit,
                "usage": memory.usage,
                "max": memory.usage_max,
                "failcnt": memory.failures,
            },
            "raw": memory.details,
        },
        "pids": { "current": pids.current, "limit": pids.limit },
        "blkio": {
            "ioServiceBytesRecursive": entries(&block_io.bytes),
            "ioServicedRecursive": entries(&block_io.operations),
        },
        "hugetlb": Value::Object(Map::new()),
    })
}

fn entries(entries: &[BlockIoEntry]) -> Vec<Value> {
    let entry = |entry: &BlockIoEntry| json!({ "major": entry.major, "minor": entry.minor, "op": entry.operation, "value": entry.value });
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_begins_with_its_type() {
        assert_eq!(event("oom", "a", None), "{\"type\":\"oom\",\"id\":\"a\"}\n");
        let stats = event("stats", "a", Some(document(&Stats::default())));
        assert!(stats.starts_with(r#"{"type":"stats","id":"a","data":{"#));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("100ms").unwrap(), Duration::from_millis(100));
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));
        for bad in ["", "5", "0s", "-1s", "xs", "1e999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
