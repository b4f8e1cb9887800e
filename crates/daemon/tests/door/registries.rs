//! Images on their way from and to registries, and what registries are asked beside that.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use api::registry::AuthConfig;
use oci::{Descriptor, Manifest, media_type};
use registry::server::{Config, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::common::{Daemon, read_head, read_rest};

/// A registry in a thread, until it is dropped.
struct Registry {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: TempDir,
}

impl Registry {
    fn open() -> Self {
        Self::with(|_| ())
    }

    /// That lets in `me` with the password `secret` only.
    fn closed() -> Self {
        Self::with(|config| {
            let file = config.root.with_file_name("htpasswd");
            fs::write(&file, format!("me:{SECRET_HASH}\n")).unwrap();
            config.htpasswd = Some(file);
        })
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut config = Config::new(folder.path().join("registry"));
        change(&mut config);
        let server = Server::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                server.run(listener, async { drop(ended.await) }).await.unwrap();
            });
        });
        Self { address, end: Some(end), thread: Some(thread), _folder: folder }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// bcrypt of `secret`, as cheap as it gets.
const SECRET_HASH: &str = "$2b$04$rm/PLucZxGv3j2g/lBiEr.iMkZ/BjYr4PLZPpnZ1svrZkxXLcpsXK";

fn auth(username: &str, password: &str) -> String {
    AuthConfig { username: username.into(), password: password.into(), ..AuthConfig::default() }.to_header()
}

/// Gives the daemon an image of one small layer.
fn import(daemon: &Daemon, name: &str) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    builder.append_data(&mut header, "greeting", &b"hello"[..]).unwrap();
    let archive = builder.into_inner().unwrap();
    let mut stream = daemon.open(&format!(
        "POST /images/create?fromSrc=-&repo={name} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    ));
    stream.write_all(&archive).unwrap();
    let told = read_rest(&mut stream);
    assert!(told.contains("sha256:"), "{told}");
}

fn post(daemon: &Daemon, path: &str) -> String {
    daemon.send("POST", path, &[], "")
}

/// The lines of a progress stream, without what counts bytes and with all digests alike.
fn lines(answer: &str, registry: &Registry) -> String {
    let Some(body) = answer.strip_prefix("200 ") else { panic!("{answer}") };
    let mut told = Vec::new();
    for line in unchunked(body).lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line["progressDetail"]["total"].is_u64() {
            continue;
        }
        if let Some(size) = line.pointer_mut("/aux/Size") {
            *size = 0.into();
        }
        told.push(line.to_string());
    }
    alike(&told.join("\n").replace(&registry.address.to_string(), "registry"))
}

fn unchunked(body: &str) -> String {
    // The chunks' sizes stand on lines of their own, and no line of JSON is a number.
    let is_size = |line: &&str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    body.lines().filter(|line| !line.is_empty() && !is_size(line)).collect::<Vec<_>>().join("\n")
}

/// Replaces digests and short ids.
fn alike(text: &str) -> String {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        words.push(rest[..start].into());
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        let is_id = matches!(word.len(), 12 | 64) && word.bytes().all(is_hex);
        words.push(if is_id { "<id>".into() } else { word.into() });
        rest = &rest[end..];
    }
    words.concat() + rest
}

#[test]
fn images_go_and_come_back_with_dockerd_s_lines() {
    let (daemon, registry) = (Daemon::start(), Registry::open());
    let name = registry.name("team/app");
    import(&daemon, &format!("{name}:1"));
    let push = post(&daemon, &format!("/images/{name}/push?tag=1"));
    insta::assert_snapshot!(lines(&push, &registry), @r#"
    {"status":"The push refers to repository [registry/team/app]"}
    {"id":"<id>","progressDetail":{},"status":"Preparing"}
    {"id":"<id>","progressDetail":{},"status":"Pushed"}
    {"status":"1: digest: sha256:<id> size: 400"}
    {"aux":{"Digest":"sha256:<id>","Size":0,"Tag":"1"},"progressDetail":{}}
    "#);
    let again = post(&daemon, &format!("/images/{name}/push"));
    insta::assert_snapshot!(lines(&again, &registry), @r#"
    {"status":"The push refers to repository [registry/team/app]"}
    {"id":"<id>","progressDetail":{},"status":"Preparing"}
    {"id":"<id>","progressDetail":{},"status":"Layer already exists"}
    {"status":"1: digest: sha256:<id> size: 400"}
    {"aux":{"Digest":"sha256:<id>","Size":0,"Tag":"1"},"progressDetail":{}}
    "#);
    assert!(daemon.send("DELETE", &format!("/images/{name}:1"), &[], "").starts_with("200 "));
    let pull = post(&daemon, &format!("/images/create?fromImage={name}&tag=1"));
    insta::assert_snapshot!(lines(&pull, &registry), @r#"
    {"id":"1","status":"Pulling from team/app"}
    {"id":"<id>","progressDetail":{},"status":"Pulling fs layer"}
    {"id":"<id>","progressDetail":{},"status":"Verifying Checksum"}
    {"id":"<id>","progressDetail":{},"status":"Download complete"}
    {"id":"<id>","progressDetail":{},"status":"Pull complete"}
    {"status":"Digest: sha256:<id>"}
    {"status":"Status: Downloaded newer image for registry/team/app:1"}
    "#);
    let again = post(&daemon, &format!("/images/create?fromImage={name}"));
    insta::assert_snapshot!(lines(&again, &registry), @r#"
    {"id":"1","status":"Pulling from team/app"}
    {"status":"Digest: sha256:<id>"}
    {"status":"Status: Image is up to date for registry/team/app"}
    "#);
    let other = post(&daemon, &format!("/images/create?fromImage={name}&tag=1&platform=linux/s390x"));
    insta::assert_snapshot!(lines(&other, &registry), @r#"
    {"id":"1","status":"Pulling from team/app"}
    {"status":"WARNING: image with reference registry/team/app:1 was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"}
    {"status":"Digest: sha256:<id>"}
    {"status":"Status: Image is up to date for registry/team/app:1"}
    "#);
}

#[test]
fn transfers_are_told_as_events() {
    let (daemon, registry) = (Daemon::start(), Registry::open());
    let name = registry.name("team/app");
    import(&daemon, &format!("{name}:1"));
    let mut events = daemon.open(
        "GET /events?filters={%22event%22:{%22pull%22:true,%22push%22:true}} HTTP/1.1\r\nHost: d\r\n\r\n",
    );
    read_head(&mut events);
    post(&daemon, &format!("/images/{name}/push?tag=1"));
    post(&daemon, &format!("/images/create?fromImage={name}"));
    let mut events = BufReader::new(events).lines();
    let mut next = || {
        let line = events.by_ref().map(Result::unwrap).find(|line| line.starts_with('{')).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        format!(
            "{} {} {} {}",
            event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]["name"], event["id"]
        )
        .replace(&registry.address.to_string(), "registry")
    };
    assert_eq!(next(), r#""push" "registry/team/app:1" "registry/team/app" "registry/team/app:1""#);
    assert_eq!(next(), r#""pull" "registry/team/app" "registry/team/app" "registry/team/app""#);
}

#[test]
fn what_fails_before_the_first_line_is_a_status() {
    let (daemon, registry) = (Daemon::start(), Registry::open());
    let name = registry.name("nope");
    let paths = [
        format!("/images/create?fromImage={name}&tag=a"),
        "/images/create?fromImage=scratch&tag=a".into(),
        "/images/create?fromImage=Foo&tag=a".into(),
        "/images/create?fromImage=foo&tag=-a".into(),
        "/images/create?fromImage=foo&tag=a&platform=x/y/z/w".into(),
        "/images/Nope/push?tag=x".into(),
        "/images/nope/push?tag=x&platform=foo".into(),
        "/images/nope/push?tag=x&platform={%22os%22:%22linux%22,%22architecture%22:%22arm64%22}".into(),
        "/images/create?fromImage=127.0.0.1:1/x&tag=a".into(),
    ];
    let answers: Vec<String> = paths.iter().map(|path| post(&daemon, path)).collect();
    insta::assert_snapshot!(answers.join("\n").replace(&registry.address.to_string(), "registry"), @r#"
    404 {"message":"manifest for registry/nope:a not found: manifest unknown: manifest unknown: a"}
    403 {"message":"'scratch' is a reserved name"}
    400 {"message":"invalid reference format: repository name (library/Foo) must be lowercase"}
    400 {"message":"invalid tag format"}
    400 {"message":"\"x/y/z/w\": cannot parse platform specifier: invalid argument"}
    400 {"message":"invalid reference format: repository name (library/Nope) must be lowercase"}
    400 {"message":"failed to parse platform: invalid character 'o' in literal"}
    404 {"message":"No such image: nope:x"}
    503 {"message":"Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"}
    "#);
}

#[test]
fn what_fails_later_is_the_last_line() {
    let (daemon, registry) = (Daemon::start(), Registry::open());
    let name = registry.name("nope");
    let answer = post(&daemon, &format!("/images/{name}/push?tag=a"));
    insta::assert_snapshot!(lines(&answer, &registry), @r#"
    {"status":"The push refers to repository [registry/nope]"}
    {"error":"An image does not exist locally with the tag: registry/nope","errorDetail":{"message":"An image does not exist locally with the tag: registry/nope"}}
    "#);
}

#[test]
fn passwords_are_asked_of_the_registry() {
    let (daemon, registry) = (Daemon::start(), Registry::closed());
    let login = |password: &str| {
        let body = serde_json::json!({
            "username": "me", "password": password, "serveraddress": registry.address.to_string(),
        });
        daemon.send("POST", "/auth", &[], &body.to_string())
    };
    let name = registry.name("app");
    import(&daemon, &format!("{name}:1"));
    let push = |header: &str| {
        let headers = [("X-Registry-Auth", header)];
        let answer = daemon.send("POST", &format!("/images/{name}/push?tag=1"), &headers, "");
        lines(&answer, &registry).lines().last().unwrap_or_default().to_owned()
    };
    let answers = [
        login("secret"),
        login("wrong"),
        daemon.send("POST", "/auth", &[], ""),
        push(&auth("me", "secret")),
        push(&auth("me", "wrong")),
        push(""),
        push("broken"),
    ];
    insta::assert_snapshot!(answers.join("\n").replace(&registry.address.to_string(), "registry"), @r#"
    200 {"IdentityToken":"","Status":"Login Succeeded"}
    401 {"message":"login attempt to http://registry/v2/ failed with status: 401 Unauthorized"}
    400 {"message":"invalid JSON: got EOF while reading request body"}
    {"aux":{"Digest":"sha256:<id>","Size":0,"Tag":"1"},"progressDetail":{}}
    {"error":"unauthorized: authentication required","errorDetail":{"message":"unauthorized: authentication required"}}
    {"error":"Head \"http://registry/v2/app/blobs/sha256:<id>\": no basic auth credentials","errorDetail":{"message":"Head \"http://registry/v2/app/blobs/sha256:<id>\": no basic auth credentials"}}
    {"error":"Head \"http://registry/v2/app/blobs/sha256:<id>\": no basic auth credentials","errorDetail":{"message":"Head \"http://registry/v2/app/blobs/sha256:<id>\": no basic auth credentials"}}
    "#);
}

#[test]
fn searches_and_names_are_answered() {
    let (daemon, registry) = (Daemon::start(), Registry::open());
    let name = registry.name("team/app");
    import(&daemon, &format!("{name}:1"));
    post(&daemon, &format!("/images/{name}/push?tag=1"));
    let get = |path: String| {
        let answer = daemon.send("GET", &path, &[], "");
        alike(&answer.replace(&registry.address.to_string(), "registry"))
    };
    let answers = [
        get(format!("/images/search?term={}", registry.name("APP"))),
        get(format!("/images/search?term={}", registry.name("none"))),
        get(format!("/images/search?term={}&filters={{%22stars%22:[%221%22]}}", registry.name("app"))),
        get("/images/search?term=foo&limit=101".into()),
        get("/images/search?term=foo&limit=x".into()),
        get("/images/search?term=foo&filters={%22a%22:[%22b%22]}".into()),
        get("/images/search?term=http://foo".into()),
        get(format!("/distribution/{name}:1/json")),
        get(format!("/distribution/{name}:2/json")),
        get("/distribution/Nope/json".into()),
        get("/distribution/scratch/json".into()),
        get(format!("/distribution/{}/json", "0".repeat(64))),
    ];
    insta::assert_snapshot!(answers.join("\n"), @r#"
    200 [{"star_count":0,"is_official":false,"name":"registry/team/app","is_automated":false,"description":""}]
    200 []
    200 []
    400 {"message":"limit 101 is outside the range of [1, 100]"}
    400 {"message":"invalid limit specified: strconv.Atoi: parsing \"x\": invalid syntax"}
    400 {"message":"invalid filter 'a'"}
    400 {"message":"invalid repository name: repository name (http://foo) should not have a scheme"}
    200 {"Descriptor":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<id>","size":400},"Platforms":[{"architecture":"amd64","os":"linux"}]}
    404 {"message":"manifest unknown: manifest unknown: 2"}
    400 {"message":"invalid reference format: repository name (library/Nope) must be lowercase"}
    400 {"message":"'scratch' is a reserved name"}
    500 {"message":"no manifest found for full image ID"}
    "#);
}

/// A registry whose layer never comes to its end.
struct Stalling {
    address: SocketAddr,
    told: mpsc::Receiver<Told>,
}

/// What comes of the layer: enough to see how it is compressed.
const FIRST: &str = "not compressed at all";

/// What became of the layer.
#[derive(Debug, PartialEq)]
enum Told {
    /// It was asked for with this range.
    Asked(Option<String>),
    Gone,
}

impl Stalling {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                std::thread::spawn(move || Self::serve(stream, &tell));
            }
        });
        Self { address, told }
    }

    fn serve(mut stream: TcpStream, tell: &mpsc::Sender<Told>) {
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;
        let config_blob = Descriptor::of(media_type::OCI_CONFIG, config);
        let layer = Descriptor { size: 1 << 30, ..Descriptor::of(media_type::OCI_LAYER, b"x") };
        let manifest = Manifest::new(config_blob.clone(), vec![layer.clone()]);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut path = String::new();
            let mut range = None;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap().to_owned();
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("range:") {
                    range = Some(value.trim().to_owned());
                }
            }
            let (kind, body): (&str, &[u8]) = match path.as_str() {
                _ if path.contains("/manifests/") => (media_type::OCI_MANIFEST, &manifest),
                _ if path.contains(config_blob.digest.as_str()) => ("application/octet-stream", config),
                _ if path.contains(layer.digest.as_str()) => {
                    let (first, size) = (FIRST.len() as u64, layer.size);
                    let answer = match range {
                        None => format!("200 OK\r\nContent-Length: {size}\r\n\r\n{FIRST}"),
                        Some(_) => {
                            let (length, last) = (size - first, size - 1);
                            let range = format!("Content-Range: bytes {first}-{last}/{size}");
                            format!("206 Partial Content\r\n{range}\r\nContent-Length: {length}\r\n\r\ny")
                        }
                    };
                    write!(stream, "HTTP/1.1 {answer}").unwrap();
                    tell.send(Told::Asked(range)).unwrap_or(());
                    drop(reader.read(&mut [0]));
                    return tell.send(Told::Gone).unwrap_or(());
                }
                _ => ("application/json", b"{}"),
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .unwrap();
            stream.write_all(body).unwrap();
        }
    }
}

#[test]
fn a_client_that_goes_away_ends_its_pull_and_the_next_one_goes_on() {
    let (daemon, registry) = (Daemon::start(), Stalling::new());
    let pull = || {
        let request = "POST /images/create?fromImage=";
        daemon.open(&format!("{request}{}/app&tag=1 HTTP/1.1\r\nHost: d\r\n\r\n", registry.address))
    };
    let mut client = pull();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    assert_eq!(registry.told.recv().unwrap(), Told::Asked(None));
    assert!(registry.told.try_recv().is_err());
    // What has been sent has not yet arrived; what has arrived is in the store's folder.
    let partials = daemon.folder().join("data/store/partials");
    let bytes = || -> u64 {
        let files = fs::read_dir(&partials).into_iter().flatten();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    while bytes() < FIRST.len() as u64 {
        std::thread::yield_now();
    }
    drop(client);
    assert_eq!(registry.told.recv().unwrap(), Told::Gone);
    let mut client = pull();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    assert_eq!(registry.told.recv().unwrap(), Told::Asked(Some(format!("bytes={}-", FIRST.len()))));
    drop(client);
    assert_eq!(registry.told.recv().unwrap(), Told::Gone);
}

#[test]
fn the_daemons_end_ends_a_pull() {
    let (mut daemon, registry) = (Daemon::start(), Stalling::new());
    let mut client = daemon.open(&format!(
        "POST /images/create?fromImage={}/app&tag=1 HTTP/1.1\r\nHost: d\r\n\r\n",
        registry.address
    ));
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    assert_eq!(registry.told.recv().unwrap(), Told::Asked(None));
    assert!(daemon.stop().success());
    assert_eq!(registry.told.recv().unwrap(), Told::Gone);
}

fn registry_config(daemon: &Daemon) -> String {
    let answer = daemon.send("GET", "/info", &[], "");
    let info: Value = serde_json::from_str(answer.strip_prefix("200 ").unwrap()).unwrap();
    info["RegistryConfig"].to_string()
}

#[test]
fn settings_are_shown_and_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemon.json");
    fs::write(&file, r#"{"registry-mirrors":["http://one.lan"]}"#).unwrap();
    let daemon =
        Daemon::start_with(&["--config-file", file.to_str().unwrap(), "--insecure-registry", "hub.lan:5000"]);
    let shown = registry_config(&daemon);
    insta::assert_snapshot!(shown, @r#"{"IndexConfigs":{"docker.io":{"Mirrors":["http://one.lan/"],"Name":"docker.io","Official":true,"Secure":true},"hub.lan:5000":{"Mirrors":[],"Name":"hub.lan:5000","Official":false,"Secure":false}},"InsecureRegistryCIDRs":["::1/128","127.0.0.0/8"],"Mirrors":["http://one.lan/"]}"#);
    fs::write(&file, r#"{"registry-mirrors":["http://two.lan"]}"#).unwrap();
    daemon.signal("-HUP");
    let wanted = shown.replace("one.lan", "two.lan");
    while registry_config(&daemon) != wanted {
        std::thread::yield_now();
    }
}

#[test]
fn names_may_be_blocked_and_moved() {
    let registry = Registry::open();
    let folder = tempfile::tempdir().unwrap();
    let file = rules(
        folder.path(),
        &serde_json::json!([
            { "prefix": "evil.example", "block": true },
            { "prefix": "docker.io/team", "location": format!("http://{}/hub", registry.address) },
        ]),
    );
    let daemon = Daemon::start_with(&["--config-file", &file]);
    let behind = registry.name("hub/app");
    import(&daemon, &format!("{behind}:1"));
    post(&daemon, &format!("/images/{behind}/push?tag=1"));
    let pulled = post(&daemon, "/images/create?fromImage=team/app&tag=1");
    insta::assert_snapshot!(lines(&pulled, &registry), @r#"
    {"id":"1","status":"Pulling from hub/app"}
    {"status":"Digest: sha256:<id>"}
    {"status":"Status: Downloaded newer image for team/app:1"}
    "#);
    insta::assert_snapshot!(post(&daemon, "/images/create?fromImage=evil.example/x&tag=1"), @r#"403 {"message":"evil.example/x is blocked by the registry rules"}"#);
}

fn rules(folder: &Path, rules: &Value) -> String {
    let file = folder.join("daemon.json");
    fs::write(&file, serde_json::json!({ "registry-rules": rules }).to_string()).unwrap();
    file.display().to_string()
}
