//! Others are told of what happens, also when they do not listen at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use registry::server::Config;
use serde_json::Value;

use crate::world::World;

/// Answers one request with a status; its body as JSON.
fn heard(listener: &TcpListener, status: &str) -> Value {
    let (mut stream, _) = listener.accept().unwrap();
    let body = body(&mut stream);
    stream
        .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        read.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let line = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let whole = end + 4 + line.parse::<usize>().unwrap();
            if read.len() >= whole {
                return read[end + 4..whole].to_vec();
            }
        }
    }
}

#[test]
fn pushes_pulls_and_deletions_are_told_in_order() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let notify = vec![format!("http://{}/hook", listener.local_addr().unwrap())];
    let world = World::with(Config { notify, ..Config::new(folder.path()) });
    let digest = world.push_image("a", "1", b"layer");
    world.get("/v2/a/manifests/1");
    world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
    // What was refused comes again, before what came after it.
    let first = heard(&listener, "500 Internal Server Error");
    let told: Vec<Value> = (0..5).map(|_| heard(&listener, "200 OK")["events"][0].clone()).collect();
    assert_eq!(told[0], first["events"][0]);
    let actions: Vec<&str> = told.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["push", "push", "push", "pull", "delete"]);
    assert_eq!(told[2]["target"]["tag"], "1");
    assert_eq!(told[2]["target"]["digest"], digest.as_str());
    assert_eq!(told[3]["request"]["method"], "GET");
    assert_eq!(told[4]["target"]["digest"], digest.as_str());
}
