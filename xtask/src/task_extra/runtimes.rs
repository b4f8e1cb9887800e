//! One small bundle through the OCI command line of kogge-runtime and of another runtime: the states and exit codes of a
//! container's life, and of programs that end or cannot be started.

use std::fmt::Write;
use std::path::Path;

use fixtures::transcript::{Known, compare};
use fixtures::{Host, Output, image, remains};
use serde_json::{Value, json};

use super::Peer;
use crate::Result;
use crate::run::{command, output};

pub(crate) fn against_crun(crun: &Peer<'_>) -> Result {
    compare_with(crun, CRUN)
}

pub(crate) fn against_runc(runc: &Peer<'_>) -> Result {
    compare_with(runc, RUNC)
}

fn compare_with(peer: &Peer<'_>, known: &[Known]) -> Result {
    let ours = peer.programs.join("kogge-runtime").display().to_string();
    let [theirs, ours] =
        [&peer.words, &vec![ours]].map(|words| Runtime::new(words, peer.programs)?.session());
    compare(&theirs?, &ours?, known)
}

struct Runtime<'a> {
    words: &'a [String],
    host: Host,
    spec: Value,
}

impl<'a> Runtime<'a> {
    fn new(words: &'a [String], programs: &Path) -> Result<Self> {
        let host = Host::new();
        let root = host.folder().join("rootfs");
        image::busybox_root()
            .and_then(|archive| image::unpack(&archive, &root))
            .map_err(|error| format!("{}: {error}", root.display()))?;
        output(command(programs.join("kogge-runtime"), &["spec"]).current_dir(host.folder()))?;
        let config = std::fs::read_to_string(host.folder().join("config.json"));
        let spec = config.map_err(|error| error.to_string()).and_then(|text| parse(&text))?;
        Ok(Self { words, host, spec })
    }

    /// Every step with its exit code, and the state after it.
    fn session(&self) -> Result<String> {
        let mut text = String::new();
        for (program, steps) in SESSIONS {
            self.write_config(program)?;
            writeln!(text, "# {}", program.join(" ")).expect("a string takes everything");
            for step in *steps {
                let code = self.settled(step).code;
                writeln!(text, "$ {step} [{code}] {}", self.status()).expect("a string takes everything");
            }
        }
        Ok(text)
    }

    fn write_config(&self, program: &[&str]) -> Result {
        let mut spec = self.spec.clone();
        spec["process"]["args"] = json!(program);
        spec["process"]["terminal"] = json!(false);
        spec["linux"]["cgroupsPath"] = json!(format!("{}/{ID}", self.host.cgroup()));
        let file = self.host.folder().join("config.json");
        std::fs::write(&file, spec.to_string()).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or("none").to_owned()
    }

    /// Null if the runtime knows no container.
    fn state(&self) -> Value {
        parse(&self.run("state ID").stdout).unwrap_or_default()
    }

    /// A step, with what it kills dead and buried behind it: a runtime may take a zombie for a living process.
    fn settled(&self, step: &str) -> Output {
        let pid = self.state()["pid"].as_i64().unwrap_or_default();
        let output = self.run(step);
        let is_fatal = step.starts_with("kill ID KILL") && output.code == 0;
        if is_fatal && !remains::comes_true(|| !Path::new(&format!("/proc/{pid}")).exists()) {
            println!("process {pid} outlives its SIGKILL");
        }
        output
    }

    /// Words with BUNDLE and ID. Output goes to files, because a container in the background keeps it open.
    fn run(&self, step: &str) -> Output {
        let folder = self.host.folder();
        let mut command = self.host.command("timeout", &["--kill-after", "5", PATIENCE]);
        command.args(self.words).arg("--root").arg(folder.join("state"));
        for word in step.split_whitespace() {
            match word {
                "BUNDLE" => command.arg(folder),
                "ID" => command.arg(ID),
                word => command.arg(word.replace('~', " ")),
            };
        }
        Output::by_files(&mut command, folder)
    }
}

const ID: &str = "compared";

/// Seconds for one command.
const PATIENCE: &str = "30";

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Programs, and what is done with a container that runs them. `~` stands for a blank within a word.
const SESSIONS: &[(&[&str], &[&str])] = &[
    (
        &["sleep", "1000"],
        &[
            "state ID",
            "kill ID KILL",
            "delete ID",
            "delete --force ID",
            "create --bundle /nowhere ID",
            "create --bundle BUNDLE a/b",
            "create --bundle BUNDLE ID",
            "create --bundle BUNDLE ID",
            "exec ID true",
            "start ID",
            "start ID",
            "delete ID",
            "exec ID true",
            "exec ID sh -c exit~3",
            "exec ID sh -c kill~-9~$$",
            "exec ID nosuch",
            "exec ID /etc",
            "exec --cwd /nowhere ID true",
            "pause ID",
            "pause ID",
            "exec ID true",
            "resume ID",
            "resume ID",
            "kill ID NOSUCH",
            "kill ID 0",
            "kill ID KILL",
            "kill ID KILL",
            "start ID",
            "pause ID",
            "exec ID true",
            "delete ID",
            "run --detach --bundle BUNDLE ID",
            "delete --force ID",
            "create --bundle BUNDLE ID",
            "kill ID KILL",
            "delete ID",
        ],
    ),
    (&["sh", "-c", "exit 7"], &["run --bundle BUNDLE ID", "create --bundle BUNDLE ID", "delete --force ID"]),
    (&["nosuch"], &["run --bundle BUNDLE ID", "create --bundle BUNDLE ID"]),
    (&["/etc"], &["run --bundle BUNDLE ID"]),
];

const CRUN: &[Known] = &[
    Known {
        theirs: &["$ pause ID [0] paused"],
        ours: &["$ pause ID [1] paused"],
        because: "what is paused cannot be paused; runc refuses it as well",
    },
    Known {
        theirs: &["$ resume ID [0] running"],
        ours: &["$ resume ID [1] running"],
        because: "what runs cannot be resumed; runc refuses it as well",
    },
    Known {
        theirs: &[
            "$ exec ID nosuch [1] running",
            "$ exec ID /etc [1] running",
            "$ exec --cwd /nowhere ID true [1] running",
        ],
        ours: &[
            "$ exec ID nosuch [255] running",
            "$ exec ID /etc [255] running",
            "$ exec --cwd /nowhere ID true [255] running",
        ],
        because: FAILED_EXEC,
    },
    Known {
        theirs: &["$ exec ID true [1] paused"],
        ours: &["$ exec ID true [255] paused"],
        because: FAILED_EXEC,
    },
    Known {
        theirs: &["$ exec ID true [1] stopped"],
        ours: &["$ exec ID true [255] stopped"],
        because: FAILED_EXEC,
    },
];

const RUNC: &[Known] = &[];

const FAILED_EXEC: &str = "an exec that cannot be started has a code that few programs use, as with runc";
