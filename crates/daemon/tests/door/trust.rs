//! A policy over the daemon's door, with a registry of our own: what may be pulled, what may be made into a container.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use trust::{PrivateKey, Signature};

use crate::common::{Daemon, tool};

/// `kogged registry serve` on a port of its own; ends with the test.
struct Registry {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut command = tool(env!("CARGO_BIN_EXE_kogged"));
        command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--root"]).arg(folder.path());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("registry serves") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended early");
        }
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address: format!("127.0.0.1:{port}"), folder }
    }
}

impl Registry {
    /// The blobs of claims and bundles.
    fn signatures(&self) -> Vec<(PathBuf, String)> {
        let files = std::fs::read_dir(self.folder.path().join("blobs/sha256")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let texts = files.filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)));
        let is_one = |text: &str| {
            text.contains("cosign container image signature") || text.contains(r#""dsseEnvelope""#)
        };
        texts.filter(|(_, text)| is_one(text)).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

struct Scene {
    daemon: Daemon,
    registry: Registry,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A daemon that asks for signatures of `prod/`, and an unsigned image `prod/app:1` in the registry and here.
    fn new(key: &PrivateKey) -> Self {
        let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
        let path = folder.path().join("policy.json").display().to_string();
        std::fs::write(&path, r#"{"version":1,"rules":[]}"#).unwrap();
        let daemon = Daemon::start_with(&["--trust-policy", &path]);
        let scene = Self { daemon, registry, folder };
        let tar = ("Content-Type", "application/x-tar");
        let repo = scene.name("prod/app");
        let empty = "\0".repeat(1024);
        scene.ask("POST", &format!("/images/create?fromSrc=-&repo={repo}&tag=1"), tar, &empty, "200");
        scene.ask("POST", &format!("/images/{repo}/push?tag=1"), tar, "", "200");
        scene.set_policy("signature", key);
        scene
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, header: (&str, &str), body: &str, status: &str) -> String {
        let answer = self.daemon.send(method, path, &[header], body);
        assert!(answer.starts_with(status), "{method} {path}: {answer}");
        answer
    }

    /// Another rule for `prod/`, and a wait until it counts.
    fn set_policy(&self, require: &str, key: &PrivateKey) {
        std::fs::write(self.folder.path().join("k.pub"), key.public().to_pem()).unwrap();
        let keys = if require == "signature" { r#","keys":["k.pub"]"# } else { "" };
        let prefix = self.name("prod");
        let rule = format!(r#"{{"prefix":"{prefix}","require":"{require}"{keys}}}"#);
        let text = format!(r#"{{"version":1,"rules":[{rule}]}}"#);
        std::fs::write(self.folder.path().join("policy.json"), text).unwrap();
        self.daemon.signal("-HUP");
        let fingerprint = key.public().fingerprint();
        let wanted =
            if keys.is_empty() { format!(r#""Require":"{require}""#) } else { fingerprint.to_string() };
        while !self.daemon.send("GET", "/trust/policy", &[], "").contains(&wanted) {
            std::thread::yield_now();
        }
    }

    fn create(&self, image: &str, status: &str) -> String {
        let json = ("Content-Type", "application/json");
        let body = format!(r#"{{"Image":"{image}","Cmd":["x"],"HostConfig":{{"NetworkMode":"none"}}}}"#);
        self.ask("POST", "/containers/create", json, &body, status)
    }

    fn pull(&self, image: &str) -> String {
        self.daemon.send("POST", &format!("/images/create?fromImage={image}"), &[], "")
    }

    /// Signs what the registry has under a name.
    fn sign(&self, image: &str, key: &PrivateKey) {
        let path = format!("/images/{image}/signatures");
        let found = self.daemon.send("GET", &path, &[], "");
        let digest = found[found.find("sha256:").unwrap()..][..71].parse().unwrap();
        let signatures = Signature::create(key, &image.parse().unwrap(), &digest).unwrap();
        let body = serde_json::json!({ "Digest": digest, "Signatures": signatures }).to_string();
        self.ask("POST", &path, ("Content-Type", "application/json"), &body, "204");
    }
}

#[test]
fn an_image_is_used_once_somebody_vouches_for_it() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    let words = scene.create(&image, "403");
    assert!(words.contains("not signed, and the policy asks for a signature"), "{words}");
    assert!(scene.pull(&image).contains("not signed, and the policy asks for a signature"));
    scene.sign(&image, &PrivateKey::generate().unwrap());
    scene.create(&image, "403");
    assert!(scene.pull(&image).contains("signed, but by none of the keys"));
    scene.sign(&image, &key);
    assert!(scene.pull(&image).contains("Image is up to date"));
    scene.create(&image, "201");
    let inspected = scene.daemon.send("GET", &format!("/images/{image}/json"), &[], "");
    assert!(inspected.contains(r#""Trust":{"Verdict":"signed""#), "{inspected}");
    let listed = scene.daemon.send("GET", "/images/json", &[], "");
    assert!(listed.contains(r#""Trust":"signed""#), "{listed}");
}

#[test]
fn a_refused_pull_leaves_nothing_behind() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    let json = ("Content-Type", "application/json");
    scene.ask("DELETE", &format!("/images/{image}"), json, "", "200");
    assert!(scene.pull(&image).contains("not signed, and the policy asks for a signature"));
    assert_eq!(scene.daemon.send("GET", "/images/json?all=1", &[], ""), "200 []");
    assert_eq!(scene.daemon.send("GET", "/system/check", &[], ""), r#"200 {"Problems":[]}"#);
    scene.sign(&image, &key);
    assert!(scene.pull(&image).contains("Downloaded newer image"));
    scene.create(&image, "201");
}

#[test]
fn signatures_that_are_tampered_with_or_lost_count_for_nothing() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    let json = ("Content-Type", "application/json");
    scene.ask("DELETE", &format!("/images/{image}"), json, "", "200");
    scene.sign(&image, &key);
    let signatures = scene.registry.signatures();
    assert_eq!(signatures.len(), 2);
    for (path, content) in &signatures {
        std::fs::write(path, content.chars().rev().collect::<String>()).unwrap();
    }
    let told = scene.pull(&image);
    assert!(told.contains("reading a signature: blob verification failed for digest"), "{told}");
    signatures.iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
    let told = scene.pull(&image);
    assert!(told.contains("not signed, and the policy asks for a signature"), "{told}");
    assert_eq!(scene.daemon.send("GET", "/images/json?all=1", &[], ""), "200 []");
    assert_eq!(scene.daemon.send("GET", "/system/check", &[], ""), r#"200 {"Problems":[]}"#);
    for (path, content) in &signatures {
        std::fs::write(path, content).unwrap();
    }
    assert!(scene.pull(&image).contains("Downloaded newer image"));
}

#[test]
fn a_container_of_an_image_that_is_rejected_later_is_not_started() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    scene.set_policy("nothing", &key);
    let created = scene.create(&image, "201");
    let id = &created[created.find(r#""Id":""#).unwrap() + 6..][..64];
    scene.set_policy("reject", &key);
    let json = ("Content-Type", "application/json");
    for verb in ["start", "restart"] {
        let words = scene.ask("POST", &format!("/containers/{id}/{verb}"), json, "", "403");
        assert!(words.contains(&format!("image {image} is rejected by the policy")), "{words}");
    }
}

#[test]
fn a_reload_changes_what_is_asked_and_a_broken_policy_changes_nothing() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    scene.set_policy("digest", &key);
    assert!(scene.create(&image, "403").contains("is not named by its digest"));
    scene.set_policy("reject", &key);
    assert!(scene.create(&image, "403").contains("is rejected by the policy"));
    std::fs::write(scene.folder.path().join("policy.json"), "{}").unwrap();
    scene.daemon.signal("-HUP");
    scene.create(&image, "403");
    scene.set_policy("nothing", &key);
    scene.create(&image, "201");
}

#[test]
fn a_signature_of_something_else_is_not_carried_to_a_registry() {
    let key = PrivateKey::generate().unwrap();
    let scene = Scene::new(&key);
    let image = scene.name("prod/app:1");
    let [claim, _] = Signature::create(&key, &image.parse().unwrap(), &oci::Digest::sha256(b"x")).unwrap();
    let digest = oci::Digest::sha256(b"y");
    let body = serde_json::json!({ "Digest": digest, "Signatures": [claim] }).to_string();
    let json = ("Content-Type", "application/json");
    let words = scene.ask("POST", &format!("/images/{image}/signatures"), json, &body, "400");
    assert!(words.contains("the signature is of another image"), "{words}");
}
