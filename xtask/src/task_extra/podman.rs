//! Podman with kogge-runtime in the place of its own runtime: what it starts, enters, stops and removes, and what it tells
//! about that. Storage, network and cgroups are of a test's own.

use std::path::Path;

use fixtures::{Host, Output, image, remains};

use super::Peer;
use crate::Result;

pub(crate) fn run(peer: &Peer<'_>) -> Result {
    let podman = Podman::new(peer)?;
    let faults: Vec<String> = STEPS.iter().filter_map(|step| podman.fault(step)).collect();
    faults.iter().for_each(|fault| println!("{fault}\n"));
    podman.run(&["rm", "--all", "--force", "--time", "0"]);
    let left = podman.cgroups_left();
    match (faults.len(), left.is_empty()) {
        (0, true) => Ok(()),
        (0, false) => Err(format!("cgroups are left: {left:?}")),
        (count, _) => Err(format!("{count} of {} steps failed", STEPS.len())),
    }
}

struct Podman {
    host: Host,
    words: Vec<String>,
}

impl Podman {
    /// What podman is to see lies in /dev/shm, which it sees even with a root of its own.
    fn new(peer: &Peer<'_>) -> Result<Self> {
        let podman = Self { host: Host::new(), words: peer.words.clone() };
        let folder = podman.host.folder();
        let failed = |error| format!("{}: {error}", folder.display());
        std::fs::copy(peer.programs.join("kogge-runtime"), folder.join("kogge-runtime")).map_err(failed)?;
        std::fs::write(folder.join("busybox.tar"), image::busybox_root().map_err(failed)?).map_err(failed)?;
        std::fs::write(folder.join("containers.conf"), settings(podman.host.cgroup())).map_err(failed)?;
        Ok(podman)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let folder = self.host.folder().display().to_string();
        let file = |name: &str| format!("{folder}/{name}");
        let mut command = self.host.command("timeout", &["--kill-after", "5", PATIENCE]);
        command.args(&self.words).args(["--cgroup-manager", "cgroupfs"]);
        for (flag, name) in
            [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp"), ("--runtime", "kogge-runtime")]
        {
            command.args([flag, &file(name)]);
        }
        command.args(arguments.iter().map(|argument| argument.replace('@', &folder)));
        command
            .env("CONTAINERS_CONF_OVERRIDE", file("containers.conf"))
            .env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        Output::of(&mut command, INPUT)
    }

    fn fault(&self, step: &Step) -> Option<String> {
        let output = self.run(step.arguments);
        let stdout = step.stdout.map(|stdout| stdout.replace('@', &self.host.folder().display().to_string()));
        let as_told = step.code == output.code
            && stdout.as_ref().is_none_or(|stdout| *stdout == output.stdout)
            && output.stderr.contains(step.stderr);
        (!as_told).then(|| {
            format!(
                "$ podman {}\nwanted [{}] {:?} {:?}\ngot    [{}] {:?} {:?}",
                step.arguments.join(" "),
                step.code,
                stdout.as_deref().unwrap_or("…"),
                step.stderr,
                output.code,
                output.stdout,
                output.stderr
            )
        })
    }

    /// The containers' own; their parent stays until the host goes.
    fn cgroups_left(&self) -> Vec<std::path::PathBuf> {
        let parent = Path::new(self.host.cgroup()).file_name().map(ToOwned::to_owned);
        let mut all = remains::cgroups(self.host.cgroup());
        all.retain(|folder| folder.file_name() != parent.as_deref());
        all
    }
}

/// Seconds for one command.
const PATIENCE: &str = "60";

/// Standard input of every command.
const INPUT: &[u8] = b"typed\n";

/// No network unless one is asked for, nothing shared with other podmans of the machine, and errors as JSON from us as well.
fn settings(cgroup_parent: &str) -> String {
    format!(
        "[containers]\nnetns = \"none\"\ncgroup_parent = \"{cgroup_parent}\"\n\
         [engine]\nlock_type = \"file\"\nruntime_supports_json = [\"kogge-runtime\"]\n"
    )
}

/// One command and what is expected of it. `@` stands for the host's folder.
struct Step {
    arguments: &'static [&'static str],
    code: i32,
    /// All of standard output.
    stdout: Option<&'static str>,
    /// A part of standard error.
    stderr: &'static str,
}

const fn done(arguments: &'static [&'static str]) -> Step {
    Step { arguments, code: 0, stdout: None, stderr: "" }
}

const fn prints(arguments: &'static [&'static str], stdout: &'static str) -> Step {
    Step { arguments, code: 0, stdout: Some(stdout), stderr: "" }
}

const fn ends(arguments: &'static [&'static str], code: i32, stderr: &'static str) -> Step {
    Step { arguments, code, stdout: None, stderr }
}

#[rustfmt::skip]
const STEPS: &[Step] = &[
    done(&["import", "--quiet", "@/busybox.tar", "busybox"]),
    // Output, input, exit codes.
    Step {
        arguments: &["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"],
        code: 7, stdout: Some("out\n"), stderr: "err\n",
    },
    prints(&["run", "--rm", "-i", "busybox", "cat"], "typed\n"),
    prints(&["run", "--rm", "-t", "busybox", "tty"], "/dev/pts/0\r\n"),
    ends(&["run", "--rm", "busybox", "nosuch"], 127, "executable file not found in $PATH"),
    ends(&["run", "--rm", "busybox", "/etc"], 126, "is a directory"),
    ends(&["run", "--rm", "-w", "/etc/passwd", "busybox", "true"], 126, "not a directory"),
    // What the process is.
    prints(&["run", "--rm", "-u", "33:500", "-w", "/tmp", "-e", "A=b", "--hostname", "boxed", "busybox", "sh", "-c",
             "id -u; id -g; pwd; echo $A; hostname"], "33\n500\n/tmp\nb\nboxed\n"),
    prints(&["run", "--rm", "--cap-drop", "all", "busybox", "grep", "CapEff", "/proc/self/status"],
           "CapEff:\t0000000000000000\n"),
    prints(&["run", "--rm", "--security-opt", "no-new-privileges", "busybox", "grep", "NoNewPrivs", "/proc/self/status"],
           "NoNewPrivs:\t1\n"),
    prints(&["run", "--rm", "--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn"], "100\n200\n"),
    done(&["run", "--rm", "--init", "busybox", "sh", "-c", "test $$ != 1"]),
    // What it sees.
    ends(&["run", "--rm", "--read-only", "busybox", "touch", "/x"], 1, "Read-only file system"),
    ends(&["run", "--rm", "-v", "@:/mnt:ro", "busybox", "touch", "/mnt/x"], 1, "Read-only file system"),
    prints(&["run", "--rm", "-v", "@:/mnt", "busybox", "sh", "-c", "echo kept >/mnt/kept"], ""),
    prints(&["run", "--rm", "-v", "@/kept:/kept:ro", "busybox", "cat", "/kept"], "kept\n"),
    prints(&["run", "--rm", "--tmpfs", "/mnt:size=1m", "busybox", "sh", "-c", "df -k /mnt | tail -n 1 | awk '{print $1, $2}'"],
           "tmpfs 1024\n"),
    prints(&["run", "--rm", "--shm-size", "1m", "busybox", "sh", "-c", "df -k /dev/shm | tail -n 1 | awk '{print $2}'"], "1024\n"),
    prints(&["run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "cat", "/proc/sys/net/ipv4/ip_forward"], "1\n"),
    prints(&["run", "--rm", "--device", "/dev/null:/dev/nothing", "busybox", "stat", "-c", "%F %t %T", "/dev/nothing"],
           "character special file 1 3\n"),
    prints(&["run", "--rm", "--privileged", "busybox", "sh", "-c", "mount -t tmpfs none /home && echo mounted"], "mounted\n"),
    prints(&["run", "--rm", "--network", "podman", "busybox", "sh", "-c", "ip -o -4 address show eth0 | wc -l"], "1\n"),
    prints(&["run", "--rm", "--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000", "busybox", "sh", "-c",
             "echo $(cat /proc/self/uid_map); touch /x; stat -c %u /x"], "0 100000 1000\n0\n"),
    // What it may take.
    prints(&["run", "--rm", "-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "busybox", "sh", "-c",
             "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes pids.max pids/pids.max 2>/dev/null; \
              cat cpu.max cpu/cpu.cfs_quota_us 2>/dev/null | sed 's/ .*//'"], "67108864\n20\n50000\n"),
    ends(&["run", "--name", "eater", "-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", "tail /dev/zero"], 137, ""),
    prints(&["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "eater"], "true 137\n"),
    done(&["rm", "eater"]),
    // A life in the background.
    done(&["run", "-d", "--name", "box", "busybox", "sh", "-c",
           "trap 'exit 9' TERM; echo up; touch /ready; while :; do usleep 10000; done"]),
    done(&["exec", "box", "sh", "-c", "until [ -e /ready ]; do usleep 10000; done"]),
    prints(&["inspect", "-f", "{{.State.Status}} {{.OCIRuntime}}", "box"], "running @/kogge-runtime\n"),
    prints(&["logs", "box"], "up\n"),
    ends(&["exec", "box", "sh", "-c", "exit 5"], 5, ""),
    ends(&["exec", "box", "nosuch"], 127, "executable file not found in $PATH"),
    prints(&["exec", "-i", "box", "cat"], "typed\n"),
    prints(&["exec", "-t", "box", "tty"], "/dev/pts/0\r\n"),
    prints(&["exec", "-u", "33", "-w", "/tmp", "-e", "A=b", "box", "sh", "-c", "id -u; pwd; echo $A"], "33\n/tmp\nb\n"),
    ends(&["exec", "box", "ip", "link", "set", "lo", "down"], 2, "Operation not permitted"),
    done(&["exec", "--privileged", "box", "ip", "link", "set", "lo", "down"]),
    done(&["exec", "-d", "box", "sleep", "1000"]),
    done(&["top", "box"]),
    done(&["stats", "--no-stream", "box"]),
    done(&["pause", "box"]),
    prints(&["inspect", "-f", "{{.State.Status}}", "box"], "paused\n"),
    ends(&["exec", "box", "true"], 255, "container state improper"),
    done(&["unpause", "box"]),
    done(&["stop", "-t", "20", "box"]),
    prints(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"], "exited 9\n"),
    done(&["start", "box"]),
    done(&["kill", "box"]),
    prints(&["wait", "box"], "137\n"),
    done(&["restart", "-t", "0", "box"]),
    ends(&["rm", "box"], 2, "cannot be removed without force"),
    done(&["rm", "-f", "-t", "0", "box"]),
    ends(&["run", "--rm", "--timeout", "1", "busybox", "sleep", "1000"], 255, ""),
    // Created and not started.
    done(&["create", "--name", "made", "busybox", "echo", "started"]),
    done(&["init", "made"]),
    prints(&["inspect", "-f", "{{.State.Status}}", "made"], "initialized\n"),
    prints(&["start", "-a", "made"], "started\n"),
    done(&["init", "made"]),
    done(&["rm", "-f", "-t", "0", "made"]),
    // Namespaces of others.
    done(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]),
    prints(&["run", "--rm", "--pid", "container:first", "--ipc", "container:first", "--network", "container:first", "busybox",
             "sh", "-c", "ps -o args | grep -c '^sleep 1000'"], "1\n"),
    done(&["rm", "-f", "-t", "0", "first"]),
    prints(&["ps", "-aq"], ""),
];
