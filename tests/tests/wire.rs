//! The API's bytes with real containers behind them: taking connections over, heads that come before bodies, and what
//! older versions see.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use fixtures::{Daemon, Host, image};
use serde_json::{Value, json};

const UPGRADE: &str = "Upgrade: tcp\r\nConnection: Upgrade\r\n";

/// A host with a daemon and an image, and a way to speak with it.
struct Wire<'h> {
    host: &'h Host,
    _daemon: Daemon<'h>,
}

impl<'h> Wire<'h> {
    fn on(host: &'h Host) -> Self {
        Self::with(host, &[])
    }

    fn with(host: &'h Host, flags: &[&str]) -> Self {
        let wire = Self { _daemon: host.start_with(flags, &[]), host };
        let busybox = image::busybox_root().expect("busybox-static is installed");
        let (status, _) =
            wire.send("POST", "/images/create?fromSrc=-&repo=busybox", &busybox, "application/x-tar");
        assert_eq!(status, 200);
        wire
    }

    /// Sends a head and what follows it; the input stays open.
    fn open(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(self.host.socket()).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: d\r\n{headers}\r\n").unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    fn send(&self, method: &str, path: &str, body: &[u8], kind: &str) -> (u16, String) {
        let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let headers = format!("Connection: close\r\n{kind}Content-Length: {}\r\n", body.len());
        let answer = rest(&mut self.open(method, path, &headers, body));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let (status, answer) = self.send("POST", path, &bytes, "application/json");
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send("GET", path, b"", "");
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn create(&self, name: &str, command: &[&str]) {
        let body = json!({
            "Image": "busybox", "Cmd": command, "OpenStdin": true, "StdinOnce": true,
            "HostConfig": {"NetworkMode": "none"}
        });
        let (status, answer) = self.post(&format!("/containers/create?name={name}"), &body);
        assert_eq!(status, 201, "{answer}");
    }

    fn start(&self, name: &str) {
        assert_eq!(self.post(&format!("/containers/{name}/start"), &Value::Null).0, 204);
    }

    fn exec(&self, container: &str, command: &[&str]) -> String {
        let wanted = json!({"Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true});
        let (status, created) = self.post(&format!("/containers/{container}/exec"), &wanted);
        assert_eq!(status, 201, "{created}");
        created["Id"].as_str().unwrap().to_owned()
    }
}

fn rest(stream: &mut UnixStream) -> String {
    String::from_utf8(rest_bytes(stream)).unwrap()
}

fn rest_bytes(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn head(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The text of one stream (1 or 2) of framed output.
fn unframed(framed: &[u8], stream: u8) -> String {
    let (mut bytes, mut text) = (framed, Vec::new());
    while let Some((frame, after)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(frame[4..].try_into().unwrap()) as usize;
        if frame[0] == stream {
            text.extend_from_slice(&after[..length]);
        }
        bytes = &after[length..];
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn attach_takes_input_in_front_of_the_start_and_output_behind_the_end_of_input() {
    let host = Host::new();
    let wire = Wire::on(&host);
    let forms = [
        (
            "v1.41",
            UPGRADE,
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        ),
        (
            "v1.51",
            UPGRADE,
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        ),
        ("v1.41", "", "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"),
        ("v1.51", "", "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"),
    ];
    for (number, (version, headers, wanted)) in forms.into_iter().enumerate() {
        let name = format!("c{number}");
        wire.create(&name, &["sh", "-c", "cat; echo done; echo wrong >&2"]);
        let path = format!("/{version}/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1");
        let mut stream = wire.open("POST", &path, headers, b"early ");
        assert_eq!(head(&mut stream), wanted);
        wire.start(&name);
        stream.write_all(b"late\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let output = rest_bytes(&mut stream);
        assert_eq!(unframed(&output, 1), "early late\ndone\n");
        assert_eq!(unframed(&output, 2), "wrong\n");
    }
}

#[test]
fn exec_start_may_be_sent_with_its_input_and_its_end_at_once() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["sleep", "1000"]);
    wire.start("box");
    for headers in ["", UPGRADE] {
        let exec = wire.exec("box", &["cat"]);
        let headers = format!("{headers}Content-Type: application/json\r\nContent-Length: 2\r\n");
        let mut stream = wire.open("POST", &format!("/exec/{exec}/start"), &headers, b"{}all at once");
        stream.shutdown(Shutdown::Write).unwrap();
        head(&mut stream);
        assert_eq!(unframed(&rest_bytes(&mut stream), 1), "all at once");
        let inspect = wire.get(&format!("/exec/{exec}/json"));
        assert_eq!((&inspect["Running"], &inspect["ExitCode"]), (&json!(false), &json!(0)));
    }
}

#[test]
fn a_client_that_reads_the_head_through_a_buffer_loses_nothing() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["sleep", "1000"]);
    wire.start("box");
    for headers in ["", UPGRADE] {
        let exec = wire.exec("box", &["sh", "-c", "echo out; echo err >&2"]);
        let headers = format!("{headers}Content-Type: application/json\r\nContent-Length: 2\r\n");
        let mut stream = wire.open("POST", &format!("/exec/{exec}/start"), &headers, b"{}");
        // A client slower than the process, whose output lies ready by now.
        while wire.get(&format!("/exec/{exec}/json"))["ExitCode"].is_null() {}
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer).unwrap();
        assert!(buffer[..count].ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&buffer[..count]));
        let output = rest_bytes(&mut stream);
        assert_eq!((unframed(&output, 1).as_str(), unframed(&output, 2).as_str()), ("out\n", "err\n"));
    }
}

#[test]
fn containers_get_the_daemon_s_defaults() {
    let host = Host::new();
    let settings = json!({
        "default-shm-size": "8M", "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 77, "Soft": 66}},
        "init": true, "no-new-privileges": true, "log-opts": {"max-size": "1m", "max-file": "2"},
        "bip": "10.99.0.7/24", "dns-search": ["lan"], "exec-opts": ["native.cgroupdriver=systemd"]
    });
    let file = host.folder().join("daemon.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    let wire = Wire::with(&host, &["--config-file", file.to_str().unwrap()]);
    let script = "ulimit -Sn; ulimit -Hn; cat /proc/1/comm; grep NoNewPrivs /proc/self/status; \
                  df -k /dev/shm | tail -1; tail -1 /etc/resolv.conf; ip route; cat";
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "OpenStdin": true});
    let (status, answer) = wire.post("/containers/create?name=box", &body);
    assert_eq!(status, 201, "{answer}");
    let mut stream = wire.open("POST", "/containers/box/attach?stream=1&stdout=1", UPGRADE, b"");
    head(&mut stream);
    wire.start("box");
    let exec = wire.exec("box", &["sh", "-c", "ulimit -n; grep NoNewPrivs /proc/self/status"]);
    let headers = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    let mut inside = wire.open("POST", &format!("/exec/{exec}/start"), headers, b"{}");
    head(&mut inside);
    assert_eq!(unframed(&rest_bytes(&mut inside), 1), "66\nNoNewPrivs:\t1\n");
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("default via") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        told.extend(byte);
    }
    wire.post("/containers/box/kill", &Value::Null);
    told.extend(rest_bytes(&mut stream));
    let output = unframed(&told, 1);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..4], ["66", "77", "docker-init", "NoNewPrivs:\t1"], "{output}");
    assert!(lines[4].contains(" 8192 ") && lines[5] == "search lan", "{output}");
    assert!(lines[6].starts_with("default via 10.99.0.7 "), "{output}");
    let seen = wire.get("/containers/box/json");
    assert_eq!(seen["HostConfig"]["LogConfig"]["Config"], json!({"max-file": "2", "max-size": "1m"}));
    assert_eq!(
        (&seen["HostConfig"]["ShmSize"], &seen["HostConfig"]["Init"]),
        (&json!(8 << 20), &Value::Null)
    );
    let info = wire.get("/info");
    assert_eq!(info["CgroupDriver"], "cgroupfs");
    assert!(info["Warnings"].to_string().contains("native.cgroupdriver=systemd"), "{info}");
}

#[test]
fn input_that_nobody_reads_does_not_cost_the_output() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["sleep", "1000"]);
    wire.start("box");
    let exec = wire.exec("box", &["echo", "quick"]);
    let headers = format!("{UPGRADE}Content-Type: application/json\r\nContent-Length: 2\r\n");
    let mut stream = wire.open("POST", &format!("/exec/{exec}/start"), &headers, b"{}");
    stream.write_all(&vec![b'x'; 4 << 20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    head(&mut stream);
    assert_eq!(unframed(&rest_bytes(&mut stream), 1), "quick\n");
}

#[test]
fn a_program_that_is_missing_is_told_in_the_stream_and_a_missing_exec_by_the_status() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["sleep", "1000"]);
    wire.start("box");
    let exec = wire.exec("box", &["nosuch"]);
    let headers = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    let mut stream = wire.open("POST", &format!("/exec/{exec}/start"), headers, b"{}");
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(
        unframed(&rest_bytes(&mut stream), 1),
        "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH\r\n"
    );
    assert_eq!(wire.get(&format!("/exec/{exec}/json"))["ExitCode"], 127);
    assert_eq!(
        wire.post("/exec/nope/start", &json!({})),
        (404, json!({"message": "No such exec instance: nope"}))
    );
}

#[test]
fn wait_sends_its_head_before_the_container_starts() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["sh", "-c", "exit 3"]);
    let mut stream =
        wire.open("POST", "/containers/box/wait?condition=next-exit", "Connection: close\r\n", b"");
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 OK"));
    wire.start("box");
    assert!(rest(&mut stream).contains("{\"StatusCode\":3}"));
}

#[test]
fn logs_name_their_framing_since_1_42() {
    let host = Host::new();
    let wire = Wire::on(&host);
    wire.create("box", &["echo", "line"]);
    wire.start("box");
    wire.post("/containers/box/wait", &Value::Null);
    for (version, kind) in [("v1.41", "raw-stream"), ("v1.51", "multiplexed-stream")] {
        let path = format!("/{version}/containers/box/logs?stdout=1&stderr=1");
        let mut stream = wire.open("GET", &path, "Connection: close\r\n", b"");
        let head = head(&mut stream);
        assert!(head.contains(&format!("content-type: application/vnd.docker.{kind}\r\n")), "{head}");
    }
}

#[test]
fn images_and_info_show_older_versions_what_they_showed() {
    let host = Host::new();
    let wire = Wire::on(&host);
    let [old, new] = ["v1.41", "v1.51"].map(|version| wire.get(&format!("/{version}/images/json")));
    assert_eq!((&old[0]["VirtualSize"], &old[0]["Containers"]), (&old[0]["Size"], &json!(-1)));
    assert_eq!((new[0].get("VirtualSize"), &new[0]["Containers"]), (None, &json!(0)));
    let [old, new] = ["v1.41", "v1.51"].map(|version| wire.get(&format!("/{version}/images/busybox/json")));
    assert_eq!(old["Config"]["Tty"], false);
    assert_eq!((new["Config"].get("Tty"), new.get("ContainerConfig")), (None, None));
    let [old, new] = ["v1.41", "v1.51"].map(|version| wire.get(&format!("/{version}/info")));
    assert_eq!((&old["BridgeNfIptables"], new.get("BridgeNfIptables")), (&json!(false), None));
}
