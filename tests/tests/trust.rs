//! Signed images through `kogge` itself: keys, a policy, what is refused, and that nothing stays of it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use fixtures::daemon::program;
use fixtures::{Client, Daemon, Host, Output, image, remains};

const IMAGE: &str = "127.0.0.1:5000/prod/app:1";

/// A daemon with a policy, and a registry beside it.
struct Scene<'h> {
    host: &'h Host,
    daemon: Daemon<'h>,
    client: Client,
    registry: Child,
}

impl<'h> Scene<'h> {
    /// Nothing is asked yet; an unsigned image lies in the registry, and two keys in the folder.
    fn on(host: &'h Host) -> Self {
        let policy = host.folder().join("policy.json");
        std::fs::write(&policy, r#"{"version":1,"rules":[]}"#).unwrap();
        let daemon = host.start_with(&["--trust-policy", policy.to_str().unwrap()], &[]);
        let scene = Self { client: daemon.own(), daemon, registry: registry(host), host };
        let busybox = image::busybox_root().expect("busybox-static is installed");
        scene.client.ok_with(&["import", "-", IMAGE], &busybox);
        scene.client.ok(&["push", IMAGE]);
        scene.client.ok(&["rmi", IMAGE]);
        for key in ["release", "stranger"] {
            let made = scene.with_password(&["trust", "key", "generate", "--dir", &scene.file(""), key]);
            assert_eq!(made.code, 0, "{}", made.stderr);
        }
        scene
    }

    fn file(&self, name: &str) -> String {
        self.host.folder().join(name).to_str().unwrap().to_owned()
    }

    fn with_password(&self, words: &[&str]) -> Output {
        Output::of(self.client.command(words).env("KOGGE_KEY_PASSWORD", "pw"), b"")
    }

    fn sign(&self, key: &str) {
        let signed = self.with_password(&["sign", "--key", &self.file(&format!("{key}.key")), IMAGE]);
        assert_eq!(signed.code, 0, "{}", signed.stderr);
    }

    /// Another rule for everything, and a wait until it counts.
    fn demand(&self, rule: &str, shown: &str) {
        let text = format!(r#"{{"version":1,"rules":[{{"prefix":"127.0.0.1:5000",{rule}}}]}}"#);
        std::fs::write(self.file("policy.json"), text).unwrap();
        self.host.ok("kill", &["-HUP", &self.daemon.pid().to_string()]);
        let shows = || self.client.ok(&["trust", "policy", "show"]).contains(shown);
        assert!(remains::comes_true(shows), "{}", self.host.log());
    }

    #[track_caller]
    fn refused(&self, words: &[&str], why: &str) {
        let output = self.client.run(words);
        assert_ne!(output.code, 0, "{words:?}");
        assert!(output.stderr.contains(why), "{words:?}: {}", output.stderr);
    }

    /// Neither a pull nor a run brings anything.
    #[track_caller]
    fn kept_out(&self, why: &str) {
        self.refused(&["pull", IMAGE], why);
        self.refused(&["run", "--rm", IMAGE, "true"], why);
        assert_eq!(self.client.ok(&["images", "-aq"]), "");
        assert_eq!(self.client.ok(&["ps", "-aq"]), "");
        self.client.ok(&["system", "check"]);
    }

    /// The signatures' own blobs in the registry, in both forms.
    fn signatures(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.file("registry/blobs/sha256")).unwrap();
        let read =
            files.map(|file| file.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap()));
        let is_one = |(_, content): &(PathBuf, Vec<u8>)| {
            let text = String::from_utf8_lossy(content);
            text.contains("cosign container image signature") || text.contains(r#""dsseEnvelope""#)
        };
        read.filter(is_one).collect()
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.registry.kill().unwrap();
        self.registry.wait().unwrap();
    }
}

fn registry(host: &Host) -> Child {
    let (program, root) = (program("kogged"), host.folder().join("registry"));
    let words = ["registry", "serve", "--listen", "127.0.0.1:5000", "--root", root.to_str().unwrap()];
    let mut command = host.command(program.to_str().unwrap(), &words);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("registry serves") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended early");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    child
}

#[test]
fn an_image_runs_if_the_right_key_signed_it_and_nothing_else_does() {
    let host = Host::new();
    let scene = Scene::on(&host);
    scene.demand(r#""require":"signature","keys":["release.pub"]"#, "signature");
    scene.kept_out("not signed, and the policy asks for a signature");
    scene.sign("stranger");
    scene.kept_out("signed, but by none of the keys that the policy accepts");
    let strange = scene.signatures();
    scene.sign("release");
    let all = scene.signatures();
    assert_eq!(
        (strange.len(), all.len()),
        (2, 3),
        "the claims are the same, the statements' signatures differ"
    );
    for (path, content) in &all {
        std::fs::write(path, content.iter().rev().copied().collect::<Vec<u8>>()).unwrap();
    }
    scene.kept_out("reading a signature: blob verification failed for digest");
    for (path, _) in &all {
        std::fs::remove_file(path).unwrap();
    }
    scene.kept_out("not signed, and the policy asks for a signature");
    for (path, content) in &all {
        std::fs::write(path, content).unwrap();
    }
    scene.client.ok(&["run", "--rm", IMAGE, "true"]);
    assert_eq!(
        scene.client.ok(&["images", "--format", "{{.Repository}} {{.Trust}}"]),
        "127.0.0.1:5000/prod/app signed"
    );
    scene.client.ok(&["verify", "--key", &scene.file("release.pub"), IMAGE]);
}

#[test]
fn what_is_rejected_later_is_not_started_again() {
    let host = Host::new();
    let scene = Scene::on(&host);
    scene.client.ok(&[
        "run",
        "-d",
        "--network",
        "none",
        "--restart",
        "always",
        "--name",
        "old",
        IMAGE,
        "sleep",
        "600",
    ]);
    scene.client.ok(&["create", "--network", "none", "--name", "new", IMAGE, "true"]);
    scene.demand(r#""require":"reject","reason":"ticket 7""#, "reject");
    let why = "image 127.0.0.1:5000/prod/app:1 is rejected by the policy: ticket 7";
    for words in
        [["start", "new"].as_slice(), &["restart", "-t", "0", "old"], &["run", IMAGE], &["pull", IMAGE]]
    {
        scene.refused(words, why);
    }
    let state = |name: &str| scene.client.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Error}}", name]);
    assert_eq!(state("new"), format!("created {why}"));
    assert_eq!(state("old").trim(), "running");
    scene.daemon.clear();
}
