//! cosign and `kogge` with the same registry: what one signs, the other verifies, in both of cosign's forms, and a daemon under
//! a policy takes cosign's word. Nothing is asked of the network: no transparency log, keys in files.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use fixtures::{Client, Daemon, Host, Output, image};

use super::Peer;
use crate::Result;

pub(crate) fn run(peer: &Peer<'_>) -> Result {
    let host = Host::with_programs(peer.programs.to_owned());
    let pair = Pair { host: &host, words: &peer.words, kogge: peer.programs.join("kogge") };
    // Keys are made first: the policy names them.
    let mut faults: Vec<String> = KEYS.iter().filter_map(|step| pair.fault(step)).collect();
    let served = Served::on(&host, peer)?;
    let client = served.daemon.own();
    let busybox = image::busybox_root().map_err(|error| error.to_string())?;
    for name in IMAGES {
        client.ok_with(&["import", "-", name], &busybox);
        client.ok(&["push", name]);
        client.ok(&["rmi", name]);
    }
    faults.extend(STEPS.iter().filter_map(|step| pair.fault(step)));
    faults.iter().for_each(|fault| println!("{fault}\n"));
    if faults.is_empty() { Ok(()) } else { Err(format!("{} steps failed", faults.len())) }
}

/// A registry, and a daemon that asks for signatures.
struct Served<'h> {
    daemon: Daemon<'h>,
    registry: Child,
}

impl<'h> Served<'h> {
    fn on(host: &'h Host, peer: &Peer<'_>) -> Result<Self> {
        let failed = |error: std::io::Error| format!("kogged registry serve: {error}");
        let policy = host.folder().join("policy.json");
        std::fs::write(&policy, POLICY).map_err(failed)?;
        let (program, root) = (peer.programs.join("kogged"), host.folder().join("registry"));
        let mut serve =
            host.command(&program.to_string_lossy(), &["registry", "serve", "--listen", REGISTRY]);
        serve.arg("--root").arg(root).stderr(Stdio::piped());
        let mut registry = serve.spawn().map_err(failed)?;
        let mut log = BufReader::new(registry.stderr.take().ok_or("the log is not piped")?);
        let mut line = String::new();
        while !line.contains("registry serves") {
            line.clear();
            if log.read_line(&mut line).map_err(failed)? == 0 {
                return Err("kogged registry serve: it ended early".into());
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let daemon = host.start_with(&["--trust-policy", &policy.to_string_lossy()], &[]);
        Ok(Self { daemon, registry })
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        drop(self.registry.kill());
        drop(self.registry.wait());
    }
}

/// Both programs, on one host and in one folder.
struct Pair<'a> {
    host: &'a Host,
    words: &'a [String],
    kogge: PathBuf,
}

impl Pair<'_> {
    fn run(&self, step: &Step) -> Output {
        let folder = self.host.folder().display().to_string();
        let arguments: Vec<String> = step.arguments.iter().map(|word| word.replace('@', &folder)).collect();
        let mut command = match step.program {
            Program::Kogge => Client::new(&self.kogge, self.host.socket()).command(&arguments),
            Program::Cosign => {
                let mut command = self.host.command("timeout", &["--kill-after", "5", PATIENCE]);
                command.args(self.words).args(&arguments);
                command
            }
        };
        command.env("COSIGN_PASSWORD", "pw").env("HOME", &folder).current_dir(&folder);
        Output::of(&mut command, b"")
    }

    fn fault(&self, step: &Step) -> Option<String> {
        let output = self.run(step);
        let is_right = (output.code == 0) == step.why.is_empty() && output.stderr.contains(step.why);
        (!is_right).then(|| {
            let Output { stdout, stderr, code } = output;
            format!(
                "$ {:?} {}\nwanted {:?}\ngot    [{code}] {stdout}{stderr}",
                step.program,
                step.arguments.join(" "),
                step.why
            )
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Program {
    Kogge,
    Cosign,
}

/// One command: it is done, or refused for this reason. `@` stands for the host's folder.
struct Step {
    program: Program,
    arguments: &'static [&'static str],
    why: &'static str,
}

const fn kogge(arguments: &'static [&'static str], why: &'static str) -> Step {
    Step { program: Program::Kogge, arguments, why }
}

const fn cosign(arguments: &'static [&'static str], why: &'static str) -> Step {
    Step { program: Program::Cosign, arguments, why }
}

/// Seconds for one command.
const PATIENCE: &str = "60";
const REGISTRY: &str = "127.0.0.1:5000";
/// One for each form that cosign signs in, and one that we sign.
const IMAGES: &[&str] = &[NEW, OLD, OURS];
const NEW: &str = "127.0.0.1:5000/new:1";
const OLD: &str = "127.0.0.1:5000/old:1";
const OURS: &str = "127.0.0.1:5000/ours:1";
const POLICY: &str = r#"{"version":1,"rules":[
    {"prefix":"127.0.0.1:5000","require":"signature","keys":["cosign.pub"]},
    {"prefix":"127.0.0.1:5000/ours","require":"signature","keys":["kogge.pub"]}]}"#;

const KEYS: &[Step] =
    &[cosign(&["generate-key-pair"], ""), kogge(&["trust", "key", "generate", "--dir", "@", "kogge"], "")];

const UNSIGNED: &str = "not signed, and the policy asks for a signature";
const STEPS: &[Step] = &[
    kogge(&["pull", NEW], UNSIGNED),
    cosign(
        &["sign", "--yes", "--key", "@/cosign.key", "--use-signing-config=false", "--tlog-upload=false", NEW],
        "",
    ),
    kogge(&["verify", "--key", "@/kogge.pub", NEW], "by no such key"),
    kogge(&["verify", "--key", "@/cosign.pub", NEW], ""),
    kogge(&["run", "--rm", "--network", "none", NEW, "true"], ""),
    kogge(&["pull", OLD], UNSIGNED),
    cosign(
        &[
            "sign",
            "--yes",
            "--key",
            "@/cosign.key",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "--new-bundle-format=false",
            OLD,
        ],
        "",
    ),
    kogge(&["verify", "--key", "@/cosign.pub", OLD], ""),
    kogge(&["run", "--rm", "--network", "none", OLD, "true"], ""),
    // A key of cosign's signs with us as well, and ours with cosign.
    kogge(&["pull", OURS], UNSIGNED),
    kogge(&["sign", "--key", "@/kogge.key", OURS], ""),
    cosign(&["verify", "--key", "@/kogge.pub", "--insecure-ignore-tlog", OURS], ""),
    cosign(
        &["verify", "--key", "@/kogge.pub", "--insecure-ignore-tlog", "--new-bundle-format=false", OURS],
        "",
    ),
    cosign(&["verify", "--key", "@/cosign.pub", "--insecure-ignore-tlog", OURS], "no matching"),
    kogge(&["run", "--rm", "--network", "none", OURS, "true"], ""),
    kogge(&["sign", "--key", "@/cosign.key", OURS], ""),
    cosign(&["verify", "--key", "@/cosign.pub", "--insecure-ignore-tlog", OURS], ""),
];
