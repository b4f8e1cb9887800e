//! Every plan once, as a client drives it; and what must hold when the daemon dies in the middle.

use fixtures::{Client, Daemon, Host, image, remains};

/// A command, by a name, with the code that it ends with if nothing goes wrong.
struct Step {
    name: &'static str,
    code: i32,
    arguments: &'static [&'static str],
}

const fn step(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step { name, code: 0, arguments }
}

/// `@` stands for the host's folder.
const STEPS: &[Step] = &[
    step("import", &["import", "-", "again"]),
    step("volume", &["volume", "create", "kept"]),
    step("second volume", &["volume", "create", "gone"]),
    step("volume rm", &["volume", "rm", "gone"]),
    step(
        "run",
        &[
            "run",
            "-d",
            "--name",
            "work",
            "-p",
            "8081:80",
            "-p",
            "8082:80/udp",
            "-v",
            "kept:/v",
            "-v",
            "/etc",
            "busybox",
            "sleep",
            "1000",
        ],
    ),
    Step {
        name: "exec",
        code: 3,
        arguments: &["exec", "work", "sh", "-c", "echo x >/v/x; echo y >/y; exit 3"],
    },
    step("rename", &["rename", "work", "worked"]),
    step("pause", &["pause", "worked"]),
    step("unpause", &["unpause", "worked"]),
    step("commit", &["commit", "worked", "committed"]),
    step("restart", &["restart", "-t", "0", "worked"]),
    step("stop", &["stop", "-t", "0", "worked"]),
    step("rm", &["rm", "-v", "worked"]),
    step(
        "run with a policy",
        &["run", "-d", "--name", "guard", "--restart", "unless-stopped", "busybox", "sleep", "1000"],
    ),
    step("stop with a policy", &["stop", "-t", "0", "guard"]),
    step("rm with a policy", &["rm", "guard"]),
    step("save", &["save", "-o", "@/saved.tar", "committed"]),
    step("tag", &["tag", "committed", "tagged"]),
    step("create over again", &["create", "--name", "orphan", "again", "true"]),
    step("rmi -f", &["rmi", "-f", "again"]),
    step("rm orphan", &["rm", "orphan"]),
    step("rmi", &["rmi", "committed", "tagged"]),
    step("load", &["load", "-i", "@/saved.tar"]),
    step("run --rm", &["run", "--rm", "-v", "/etc", "busybox", "true"]),
    step("create", &["create", "--name", "missing", "busybox", "/nowhere"]),
    Step { name: "start", code: 1, arguments: &["start", "missing"] },
    step("rm -f", &["rm", "-f", "missing"]),
    step("prune images", &["image", "prune", "-f"]),
    step("volume on a device", &["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "ram"]),
    step("run on a device", &["run", "--rm", "-v", "ram:/ram", "busybox", "true"]),
    step("rm of a device", &["volume", "rm", "ram"]),
    step("prune volumes", &["volume", "prune", "-af"]),
    step("prune containers", &["container", "prune", "-f"]),
];

/// From the answer to one step until another begins (or the end), a look gives this answer.
struct Promise {
    from: &'static str,
    until: &'static str,
    look: &'static [&'static str],
    answer: &'static str,
}

const STATE: &str = "{{.State.Status}} {{.State.ExitCode}}";

const PROMISES: &[Promise] = &[
    Promise {
        from: "import",
        until: "rmi -f",
        look: &["inspect", "-f", "{{.Os}}", "again"],
        answer: "linux",
    },
    Promise {
        from: "volume",
        until: "prune volumes",
        look: &["volume", "inspect", "-f", "{{.Name}}", "kept"],
        answer: "kept",
    },
    Promise { from: "volume rm", until: "", look: &["volume", "ls", "-qf", "name=gone"], answer: "" },
    Promise { from: "run", until: "rename", look: &["inspect", "-f", STATE, "work"], answer: "running 0" },
    Promise {
        from: "rename",
        until: "pause",
        look: &["inspect", "-f", STATE, "worked"],
        answer: "running 0",
    },
    Promise {
        from: "pause",
        until: "unpause",
        look: &["inspect", "-f", STATE, "worked"],
        answer: "paused 0",
    },
    Promise {
        from: "unpause",
        until: "restart",
        look: &["inspect", "-f", STATE, "worked"],
        answer: "running 0",
    },
    Promise {
        from: "restart",
        until: "stop",
        look: &["inspect", "-f", STATE, "worked"],
        answer: "running 0",
    },
    Promise { from: "stop", until: "rm", look: &["inspect", "-f", STATE, "worked"], answer: "exited 137" },
    Promise { from: "rm", until: "", look: &["ps", "-aqf", "name=work"], answer: "" },
    Promise {
        from: "run with a policy",
        until: "stop with a policy",
        look: &["inspect", "-f", STATE, "guard"],
        answer: "running 0",
    },
    Promise {
        from: "stop with a policy",
        until: "rm with a policy",
        look: &["inspect", "-f", STATE, "guard"],
        answer: "exited 137",
    },
    Promise {
        from: "commit",
        until: "rmi",
        look: &["inspect", "-f", "{{.Os}}", "committed"],
        answer: "linux",
    },
    Promise { from: "tag", until: "rmi", look: &["inspect", "-f", "{{.Os}}", "tagged"], answer: "linux" },
    Promise {
        from: "create over again",
        until: "rm orphan",
        look: &["inspect", "-f", STATE, "orphan"],
        answer: "created 0",
    },
    Promise { from: "rmi -f", until: "", look: &["images", "-q", "again"], answer: "" },
    Promise { from: "rmi", until: "", look: &["images", "-q", "tagged"], answer: "" },
    Promise { from: "load", until: "", look: &["inspect", "-f", "{{.Os}}", "committed"], answer: "linux" },
    Promise {
        from: "create",
        until: "start",
        look: &["inspect", "-f", STATE, "missing"],
        answer: "created 0",
    },
    Promise {
        from: "start",
        until: "rm -f",
        look: &["inspect", "-f", STATE, "missing"],
        answer: "created 127",
    },
    Promise { from: "rm -f", until: "", look: &["ps", "-aqf", "name=missing"], answer: "" },
];

/// How far a drive came: the steps that were answered, and the one in which the daemon died.
#[derive(Debug)]
pub(crate) struct Progress {
    answered: usize,
    begun: usize,
}

/// Drives the plans until the daemon dies or all are done.
pub(crate) fn drive(daemon: &mut Daemon<'_>, host: &Host) -> Progress {
    let client = daemon.own();
    let folder = host.folder().display().to_string();
    for (index, step) in STEPS.iter().enumerate() {
        let arguments: Vec<_> = step.arguments.iter().map(|word| word.replace('@', &folder)).collect();
        let input = if step.name == "import" { image::busybox_root().unwrap() } else { Vec::new() };
        let output = client.run_with(&arguments, &input);
        if output.code == step.code {
            continue;
        }
        // Its sockets close a moment before it can be reaped.
        let died = remains::comes_true(|| !daemon.is_alive());
        assert!(died, "{arguments:?}: {output:?}\n{}", host.log());
        return Progress { answered: index, begun: index + 1 };
    }
    Progress { answered: STEPS.len(), begun: STEPS.len() }
}

impl Progress {
    /// Whatever was answered holds.
    #[track_caller]
    pub(crate) fn is_kept(&self, client: &Client) {
        let (answered, begun) = (&STEPS[..self.answered], &STEPS[..self.begun]);
        let among = |steps: &[Step], name| steps.iter().any(|step| step.name == name);
        for promise in PROMISES {
            if among(answered, promise.from) && !among(begun, promise.until) {
                let told = client.run(promise.look);
                assert_eq!(told.stdout.trim(), promise.answer, "{:?} after {self:?}: {told:?}", promise.look);
            }
        }
    }
}
