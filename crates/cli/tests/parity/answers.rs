//! The fixed answers. Names tell what a thing is for: `nothing` does not exist, `stopped` does not run, `noexec` cannot
//! be started, `endless` goes on until it is left.

use super::daemon::Request;

pub(crate) enum Answer {
    Json(u16, String),
    Empty(u16),
    Bytes(&'static str, Vec<u8>),
    /// A tar archive, with what lies at its path in a header.
    Archive(String, Vec<u8>),
    Hijacked(Vec<u8>),
    /// A stream that stays open without a byte more.
    Held(&'static str),
}

pub(crate) fn answer(request: &Request) -> Answer {
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    if is_endless(&parts, request) {
        let is_attach = parts.last() == Some(&"attach");
        return Answer::Held(if is_attach { UPGRADED } else { "HTTP/1.1 200 OK\r\n\r\nbegun" });
    }
    match (request.method.as_str(), parts.as_slice()) {
        ("HEAD" | "GET", ["_ping"]) => Answer::Empty(200),
        ("HEAD", ["containers", "web", "archive"]) => Answer::Archive(stat(request), Vec::new()),
        ("HEAD", _) => Answer::Empty(404),
        (_, ["containers", name, ..]) if is_gone(name) => missing("container", name),
        (_, ["images", name, ..]) if is_gone(name) || *name == "web" => missing("image", name),
        (_, ["volumes", name]) if is_gone(name) => fail(404, &format!("get {name}: no such volume")),
        (_, ["networks", name]) if is_gone(name) => fail(404, &format!("network {name} not found")),
        (_, ["plugins", name, ..]) => fail(404, &format!("plugin {name:?} not found")),
        ("POST", ["containers", "create"]) => create(request),
        ("GET", ["containers", "json"]) => json(CONTAINERS),
        ("POST", ["containers", "prune"]) => {
            json(r#"{"ContainersDeleted":["aa","bb"],"SpaceReclaimed":212}"#)
        }
        ("GET", ["containers", "busybox", "json"]) => missing("container", "busybox"),
        ("GET", ["containers", _, "json"]) => json(&container(parts[1])),
        ("POST", ["containers", "web", "exec"]) => created(r#"{"Id":"e1"}"#),
        ("POST", ["containers", name, "exec"]) => fail(409, &format!("container {name} is not running")),
        ("POST", ["containers", id, "start"]) => start(id),
        ("POST", ["containers", id, "wait"]) => {
            json(&format!("{{\"StatusCode\":{}}}\n", if id.starts_with('9') { 125 } else { 3 }))
        }
        ("POST", ["containers", id, "attach"]) if id.starts_with(['8', '9']) => Answer::Hijacked(Vec::new()),
        ("POST", ["containers", _, "attach"]) => Answer::Hijacked(output()),
        ("POST", ["containers", _, "update"]) => json(r#"{"Warnings":["take care"]}"#),
        ("POST", ["containers", _, "rename" | "stop" | "restart" | "kill" | "pause" | "unpause"]) => {
            Answer::Empty(204)
        }
        ("DELETE", ["containers", _]) => Answer::Empty(204),
        ("GET", ["containers", _, "top"]) => json(TOP),
        ("GET", ["containers", _, "changes"]) => {
            json(r#"[{"Path":"/a","Kind":1},{"Path":"/b","Kind":0},{"Path":"/c","Kind":2}]"#)
        }
        ("GET", ["containers", _, "logs"]) => {
            Answer::Bytes("application/vnd.docker.multiplexed-stream", output())
        }
        ("GET", ["containers", _, "stats"]) => json(STATS),
        ("GET", ["containers", _, "archive"]) => Answer::Archive(stat(request), archive()),
        ("PUT", ["containers", _, "archive"]) => Answer::Empty(200),
        ("GET", ["containers", _, "export"]) | ("GET", ["images", "get"]) => {
            Answer::Bytes("application/x-tar", b"a tar".to_vec())
        }
        ("POST", ["exec", _, "start"]) if request.body["Detach"] == true => Answer::Empty(200),
        ("POST", ["exec", _, "start"]) => Answer::Hijacked(output()),
        ("GET", ["exec", _, "json"]) => json(r#"{"ID":"e1","Running":false,"ExitCode":7}"#),
        ("POST", ["commit"]) => created(r#"{"Id":"sha256:00ff"}"#),
        ("GET", ["images", "json"]) => json(IMAGES),
        ("GET", ["images", _, "json"]) => json(IMAGE),
        ("GET", ["images", _, "history"]) => json(HISTORY),
        ("GET", ["images", .., "signatures"]) => {
            json(&format!(r#"{{"Digest":"sha256:{}","Signatures":[]}}"#, "ab".repeat(32)))
        }
        ("POST", ["images", .., "signatures"]) => Answer::Empty(204),
        ("GET", ["trust", "policy"]) => json(r#"{"Rules":[{"Prefix":"a.example","Require":"digest"}]}"#),
        ("GET", ["trust", "check"]) => json(r#"{"Verdict":"refused","Reason":"no","Signatures":[]}"#),
        ("POST", ["images", "create"]) => pull(request),
        ("POST", ["images", "load"]) => json("{\"stream\":\"Loaded image: busybox:latest\\n\"}\r\n"),
        ("POST", ["images", "prune"]) => {
            json(r#"{"ImagesDeleted":[{"Untagged":"a:b"},{"Deleted":"sha256:1"}],"SpaceReclaimed":1234567}"#)
        }
        ("POST", ["images", _, "push"]) => json(PUSHED),
        ("POST", ["auth"]) if request.body["password"] == "wrong" => {
            fail(401, "Get \"https://box:5000/v2/\": unauthorized: authentication required")
        }
        ("POST", ["auth"]) if request.body["username"] == "token" => {
            json(r#"{"Status":"Login Succeeded","IdentityToken":"t0"}"#)
        }
        ("POST", ["auth"]) => json(r#"{"Status":"Login Succeeded","IdentityToken":""}"#),
        ("GET", ["images", "search"]) => json(FOUND),
        ("POST", ["images", _, "tag"]) => Answer::Empty(201),
        ("DELETE", ["images", _]) => json(r#"[{"Untagged":"busybox:latest"},{"Deleted":"sha256:1"}]"#),
        ("POST", ["volumes", "create"]) => created(VOLUME),
        ("GET", ["volumes"]) => json(&format!(r#"{{"Volumes":[{VOLUME},{OTHER_VOLUME}],"Warnings":null}}"#)),
        ("POST", ["volumes", "prune"]) => json(r#"{"VolumesDeleted":["data"],"SpaceReclaimed":5000}"#),
        ("GET", ["volumes", _]) => json(VOLUME),
        ("DELETE", ["volumes" | "networks", _]) => Answer::Empty(204),
        ("GET", ["networks"]) => json(&format!("[{NETWORK},{OTHER_NETWORK}]")),
        ("POST", ["networks", "create"]) => created(r#"{"Id":"n1","Warning":""}"#),
        ("POST", ["networks", _, "connect" | "disconnect"]) => Answer::Empty(200),
        ("POST", ["networks", "prune"]) => json(r#"{"NetworksDeleted":["mine"]}"#),
        ("POST", ["build", "prune"]) => json(r#"{"CachesDeleted":["k1","k2"],"SpaceReclaimed":17}"#),
        ("GET", ["networks", _]) => json(NETWORK),
        ("POST", ["system", "check"]) if request.query.contains_key("force") => {
            json(r#"{"Problems":[{"Type":"stray snapshot","Mended":true,"Outcome":"removed"}]}"#)
        }
        ("POST", ["system", "check"]) => json(REPAIRED),
        ("POST", ["images", "adopt"]) if request.query.contains_key("image") => json(ADOPTED),
        ("POST", ["images", "adopt"]) => json(
            r#"{"error":"No such image there: x:latest","errorDetail":{"message":"No such image there: x:latest"}}"#,
        ),
        ("POST", ["images", _, "pin" | "unpin"]) => Answer::Empty(204),
        ("GET", ["system", "check"]) => json(CHECK),
        ("GET", ["system", "df"]) => json(&format!(
            r#"{{"LayersSize":10000000,"Images":{IMAGES},"Containers":{CONTAINERS},"Volumes":[{USED_VOLUME}],"BuildCache":null}}"#
        )),
        ("GET", ["events"]) => json(EVENTS),
        ("GET", ["info"]) => json(INFO),
        ("GET", ["version"]) => json(VERSION),
        (method, _) => fail(404, &format!("no answer for {method} {}", request.path)),
    }
}

/// In base 64, a folder `dir` or a file `file`; Go's bit for folders is the highest.
fn stat(request: &Request) -> String {
    match request.query["path"][0].ends_with("dir") {
        true => "eyJuYW1lIjoiZGlyIiwic2l6ZSI6NDA5NiwibW9kZSI6MjE0NzQ4NDE0MSwibXRpbWUiOiIyMDI1LTAxLTAyVDAzOjA0OjA1WiIsImxpbmtUYXJnZXQiOiIifQ==".into(),
        false => "eyJuYW1lIjoiZmlsZSIsInNpemUiOjMsIm1vZGUiOjQyMCwibXRpbWUiOiIyMDI1LTAxLTAyVDAzOjA0OjA1WiIsImxpbmtUYXJnZXQiOiIifQ==".into(),
    }
}

/// One file of three bytes.
fn archive() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "file", &b"hi\n"[..]).unwrap();
    builder.into_inner().unwrap()
}

/// What has to do with `endless`, the image and the container.
fn is_endless(parts: &[&str], request: &Request) -> bool {
    let of_container = |name: &str| name == "endless" || name.starts_with('7');
    match parts {
        ["containers", name, "attach" | "wait" | "export"] => of_container(name),
        ["images", "get"] => request.query["names"][0] == "endless",
        _ => false,
    }
}

pub(crate) const UPGRADED: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

fn is_gone(name: &str) -> bool {
    name == "nothing"
}

fn json(body: &str) -> Answer {
    Answer::Json(200, body.into())
}

fn created(body: &str) -> Answer {
    Answer::Json(201, body.into())
}

fn fail(status: u16, message: &str) -> Answer {
    Answer::Json(status, serde_json::json!({ "message": message }).to_string())
}

fn missing(kind: &str, name: &str) -> Answer {
    let tag = if kind == "image" { ":latest" } else { "" };
    fail(404, &format!("No such {kind}: {name}{tag}"))
}

fn create(request: &Request) -> Answer {
    let name = request.query.get("name").map(|names| names[0].as_str());
    if name == Some("taken") {
        return fail(
            409,
            r#"Conflict. The container name "/taken" is already in use by container "1f". You have to remove (or rename) that container to be able to reuse that name."#,
        );
    }
    let (id, warnings) = match request.body["Image"].as_str().unwrap_or_default() {
        "missing" => return fail(404, "No such image: missing:latest"),
        "noexec" => ("9", "[]"),
        "denied" => ("8", "[]"),
        "endless" => ("7", "[]"),
        "warned" => ("1", r#"["mind the gap"]"#),
        _ => ("1", "[]"),
    };
    created(&format!(r#"{{"Id":"{}","Warnings":{warnings}}}"#, id.repeat(64)))
}

fn start(id: &str) -> Answer {
    let why = match id.as_bytes()[0] {
        b'9' => "exec: \"nope\": executable file not found in $PATH",
        b'8' => "exec: \"/etc\": permission denied",
        _ => return Answer::Empty(204),
    };
    fail(400, &format!("failed to create task for container: {why}"))
}

fn pull(request: &Request) -> Answer {
    if request.query.contains_key("fromSrc") {
        return json("{\"status\":\"sha256:00ff\"}\r\n");
    }
    let name = request.query.get("fromImage").map_or("", |names| names[0].as_str());
    if !name.ends_with("missing") {
        return json(PULLED);
    }
    fail(404, "pull access denied for missing, repository does not exist or may require 'docker login'")
}

fn output() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (stream, text) in [(1, "hello\n"), (2, "oops\n"), (1, "bye\n")] {
        bytes.extend([stream, 0, 0, 0, 0, 0, 0, text.len() as u8]);
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn container(name: &str) -> String {
    let running = name != "stopped";
    let text = CONTAINER.replace("RUNNING", if running { "true" } else { "false" });
    if name == "endless" { text.replacen("1f2e3d4c", "7f2e3d4c", 1) } else { text }
}

const CONTAINERS: &str = r#"[
 {"Id":"1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","Names":["/web"],"Image":"busybox","ImageID":"sha256:aa00000000000000000000000000000000000000000000000000000000000000","Command":"sleep 1000000000000000000","Created":1700000000,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"},{"PrivatePort":444,"Type":"tcp"}],"Labels":{"b":"2","a":"1"},"State":"running","Status":"Up 2 hours","SizeRw":1234,"SizeRootFs":4567890,"HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{}}},"Mounts":[{"Type":"volume","Name":"a-very-long-volume-name","Source":"/x","Destination":"/d","Driver":"local","Mode":"z","RW":true,"Propagation":""}]},
 {"Id":"aa2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","Names":["/quiet_curie","/web/alias"],"Image":"aa0000000000","ImageID":"sha256:aa00000000000000000000000000000000000000000000000000000000000000","Command":"sh -c \"echo 'x'\"","Created":1600000000,"Ports":[],"Labels":{},"State":"exited","Status":"Exited (0) 3 days ago","SizeRw":10,"HostConfig":{"NetworkMode":"none"},"NetworkSettings":{"Networks":{"none":{}}},"Mounts":[]}]"#;

const CONTAINER: &str = r#"{"Id":"1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","Created":"2025-01-02T03:04:05.678901234Z","Path":"sh","Args":["-c","x"],"State":{"Status":"running","Running":RUNNING,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":42,"ExitCode":0,"Error":"","StartedAt":"2025-01-02T03:04:06Z","FinishedAt":"0001-01-01T00:00:00Z"},"Image":"sha256:aa","Name":"/web","RestartCount":0,"Driver":"overlay2","Platform":"linux","ExecIDs":null,"HostConfig":{"LogConfig":{"Type":"json-file","Config":{}},"Binds":null,"AutoRemove":false,"NetworkMode":"bridge","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"PidsLimit":null,"Memory":0},"GraphDriver":{"Data":{"MergedDir":"/m"},"Name":"overlay2"},"Mounts":[],"Config":{"Hostname":"1f","AttachStdin":false,"Tty":false,"OpenStdin":true,"Env":["A=1","B=2"],"Cmd":["sh","-c","x"],"Image":"busybox","Volumes":null,"Entrypoint":null,"Labels":{"a":"1"}},"NetworkSettings":{"Bridge":"","Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]},"Networks":{"bridge":{"IPAMConfig":null,"IPAddress":"172.17.0.2","IPPrefixLen":16}}}}"#;

const TOP: &str = r#"{"Titles":["UID","PID","CMD"],"Processes":[["root","42","sleep 1000"],["nobody","43","a rather long command line"]]}"#;

const STATS: &str = r#"{"read":"2025-01-02T03:04:05Z","preread":"2025-01-02T03:04:04Z","pids_stats":{"current":3},"blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"Read","value":5000},{"major":8,"minor":0,"op":"Write","value":7000000}]},"cpu_stats":{"cpu_usage":{"total_usage":2000000},"system_cpu_usage":100000000,"online_cpus":2},"precpu_stats":{"cpu_usage":{"total_usage":1000000},"system_cpu_usage":50000000},"memory_stats":{"usage":10485760,"limit":1073741824,"stats":{"inactive_file":1048576}},"name":"/web","id":"1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","networks":{"eth0":{"rx_bytes":1500,"tx_bytes":648}}}"#;

const IMAGES: &str = r#"[
 {"Containers":1,"Created":1700000000,"Id":"sha256:aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Labels":null,"ParentId":"","RepoDigests":["busybox@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],"RepoTags":["busybox:latest","busybox:1"],"SharedSize":1000,"Size":4269000},
 {"Containers":0,"Created":1500000000,"Id":"sha256:bb11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Labels":null,"ParentId":"","RepoDigests":[],"RepoTags":[],"SharedSize":0,"Size":123456789},
 {"Containers":0,"Created":1500000000,"Id":"sha256:cc11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Labels":null,"ParentId":"","RepoDigests":null,"RepoTags":["localhost:5000/a/b:v1"],"SharedSize":0,"Size":999},
 {"Containers":1,"Created":1600000000,"Id":"sha256:dd11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Labels":null,"ParentId":"","RepoDigests":[],"RepoTags":["many:1"],"SharedSize":0,"Size":4269000,"Manifests":[{"ID":"sha256:ee11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Available":true,"Size":{"Total":6269000,"Content":2000000},"Kind":"image","ImageData":{"Platform":{"architecture":"amd64","os":"linux"},"Containers":["aa"],"Size":{"Unpacked":4269000}}},{"ID":"sha256:ff11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Available":false,"Size":{"Total":0,"Content":0},"Kind":"image","ImageData":{"Platform":{"architecture":"arm","os":"linux","variant":"v7"},"Containers":null,"Size":{"Unpacked":0}}},{"ID":"sha256:0011223344556677889900aabbccddeeff00112233445566778899aabbccddee","Available":true,"Size":{"Total":10,"Content":10},"Kind":"attestation","AttestationData":{"For":"sha256:ee"}}]}]"#;

const IMAGE: &str = r#"{"Id":"sha256:aa11","RepoTags":["busybox:latest"],"RepoDigests":[],"Parent":"","Comment":"","Created":"2025-01-02T03:04:05Z","DockerVersion":"","Author":"","Config":{"Cmd":["sh"]},"Architecture":"amd64","Os":"linux","Size":4269000,"GraphDriver":{"Data":null,"Name":"overlay2"},"RootFS":{"Type":"layers","Layers":["sha256:11","sha256:22"]},"Metadata":{"LastTagTime":"0001-01-01T00:00:00Z"}}"#;

const PULLED: &str = concat!(
    r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
    "\r\n",
    r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa1122334455"}"#,
    "\r\n",
    r#"{"status":"Downloading","progressDetail":{"current":500,"total":1000},"progress":"[=>  ]  500B/1kB","id":"aa1122334455"}"#,
    "\r\n",
    r#"{"status":"Pull complete","progressDetail":{},"id":"aa1122334455"}"#,
    "\r\n",
    r#"{"status":"Digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    "\r\n",
    r#"{"status":"Status: Downloaded newer image for busybox:latest"}"#,
    "\r\n",
);

const PUSHED: &str = concat!(
    r#"{"status":"The push refers to repository [box:5000/busybox]"}"#,
    "\r\n",
    r#"{"status":"Preparing","progressDetail":{},"id":"aa1122334455"}"#,
    "\r\n",
    r#"{"status":"Pushed","progressDetail":{},"id":"aa1122334455"}"#,
    "\r\n",
    r#"{"errorDetail":{"message":"denied: not yours"},"error":"denied: not yours"}"#,
    "\r\n",
);

const FOUND: &str = r#"[{"star_count":12,"is_official":true,"name":"busybox","is_automated":false,"description":"a box of tools that is rather long to describe in one line"},{"star_count":0,"is_official":false,"name":"me/busybox","is_automated":false,"description":""}]"#;

const HISTORY: &str = r#"[{"Id":"sha256:aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Created":1700000000,"CreatedBy":"/bin/sh -c #(nop)  CMD [\"a rather long command that is cut somewhere\"]","Tags":["busybox:latest"],"Size":0,"Comment":""},{"Id":"<missing>","Created":0,"CreatedBy":"ADD\tfile","Tags":null,"Size":4269000,"Comment":"Imported from -"}]"#;

const VOLUME: &str = r#"{"CreatedAt":"2025-01-02T03:04:05Z","Driver":"local","Labels":{"a":"1"},"Mountpoint":"/v/data","Name":"data","Options":null,"Scope":"local"}"#;
const OTHER_VOLUME: &str = r#"{"CreatedAt":"2025-01-02T03:04:05Z","Driver":"local","Labels":null,"Mountpoint":"/v/a10","Name":"a10","Options":null,"Scope":"local"}"#;
const USED_VOLUME: &str = r#"{"CreatedAt":"2025-01-02T03:04:05Z","Driver":"local","Labels":null,"Mountpoint":"/v/data","Name":"data","Options":null,"Scope":"local","UsageData":{"RefCount":0,"Size":5000}}"#;

const NETWORK: &str = r#"{"Name":"bridge","Id":"1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","Created":"2025-01-02T03:04:05.678Z","Scope":"local","Driver":"bridge","EnableIPv4":true,"EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"172.17.0.0/16"}]},"Internal":false,"Attachable":false,"Ingress":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{},"Options":{},"Labels":{}}"#;
const OTHER_NETWORK: &str = r#"{"Name":"a","Id":"aa2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e3d4c5b6a1f2e","Created":"2025-01-02T03:04:05Z","Scope":"local","Driver":"null","EnableIPv4":true,"EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":null},"Internal":true,"Attachable":false,"Ingress":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{},"Options":{},"Labels":{}}"#;

const CHECK: &str = r#"{"Problems":[{"Type":"damaged blob","Digest":"sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","Image":"sha256:aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee"},{"Type":"damaged blob","Digest":"sha256:22112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","Image":""}]}"#;

const REPAIRED: &str = r#"{"Problems":[{"Type":"missing layer","Digest":"sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","Image":"sha256:aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee","Mended":true,"Outcome":"unpacked again"},{"Type":"stray snapshot","Digest":"","Image":"","Object":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Outcome":"it holds files"}]}"#;

const ADOPTED: &str = "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1,\"total\":1},\"id\":\"0011\"}\n{\"stream\":\"Would adopt: a:latest\\n\"}\n";

const EVENTS: &str = "{\"status\":\"start\",\"id\":\"1f\",\"from\":\"busybox\",\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"1f\",\"Attributes\":{\"name\":\"web\",\"image\":\"busybox\"}},\"scope\":\"local\",\"time\":1700000000,\"timeNano\":1700000000123456789}\n{\"Type\":\"volume\",\"Action\":\"create\",\"Actor\":{\"ID\":\"data\",\"Attributes\":{}},\"scope\":\"local\",\"time\":1700000001,\"timeNano\":1700000001000000000}\n";

const INFO: &str = r#"{"ID":"x","Containers":3,"ContainersRunning":1,"ContainersPaused":0,"ContainersStopped":2,"Images":4,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"],["Using metacopy","false"]],"Plugins":{"Volume":["local"],"Network":["bridge","host"],"Authorization":null,"Log":["json-file","none"]},"MemoryLimit":true,"SwapLimit":true,"CpuCfsPeriod":true,"CpuCfsQuota":true,"CPUShares":true,"CPUSet":true,"PidsLimit":true,"IPv4Forwarding":true,"Debug":true,"NFd":23,"OomKillDisable":true,"NGoroutines":40,"SystemTime":"2025-01-02T03:04:05Z","LoggingDriver":"json-file","CgroupDriver":"cgroupfs","CgroupVersion":"2","NEventsListener":1,"KernelVersion":"6.1.0","OperatingSystem":"Debian","OSVersion":"13","OSType":"linux","Architecture":"x86_64","IndexServerAddress":"https://index.docker.io/v1/","RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"],"IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":["https://mirror/"],"Secure":true,"Official":true},"box:5000":{"Name":"box:5000","Mirrors":[],"Secure":false,"Official":false}},"Mirrors":["https://mirror/"]},"NCPU":2,"MemTotal":4000000000,"GenericResources":null,"DockerRootDir":"/var/lib/x","HttpProxy":"http://p:1","HttpsProxy":"","NoProxy":"x","Name":"box","Labels":["a=b","c=d"],"ExperimentalBuild":false,"ServerVersion":"28.2.2","Runtimes":{"runc":{"path":"runc"}},"DefaultRuntime":"runc","Swarm":{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"","RemoteManagers":null},"LiveRestoreEnabled":true,"Isolation":"","InitBinary":"init","ContainerdCommit":{"ID":"c"},"RuncCommit":{"ID":"r"},"InitCommit":{"ID":"i"},"SecurityOptions":["name=seccomp,profile=builtin","name=cgroupns"],"CDISpecDirs":["/etc/cdi"],"Warnings":["WARNING: mind the gap"]}"#;

const VERSION: &str = r#"{"Platform":{"Name":""},"Components":[{"Name":"Engine","Version":"28.2.2","Details":{"ApiVersion":"1.50","BuildTime":"2025-05-30T12:07:14.000000000+00:00"}}],"Version":"28.2.2","ApiVersion":"1.50","MinAPIVersion":"1.24","GitCommit":"x","GoVersion":"go","Os":"linux","Arch":"amd64","KernelVersion":"6","BuildTime":"2025-05-30T12:07:14.000000000+00:00"}"#;
