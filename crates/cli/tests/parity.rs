//! The same words given to `docker` and to `kogge`, against a daemon made of fixed answers: what each sends, prints and
//! returns must be equal. The stock client is needed on PATH.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod parity {
    pub(crate) mod answers;
    pub(crate) mod daemon;
}

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use parity::daemon::{Daemon, Request};

const KOGGE: &str = env!("CARGO_BIN_EXE_kogge");

/// What a client did.
#[derive(Debug, PartialEq)]
struct Deed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    requests: Vec<Request>,
}

/// Runs one client against a daemon of its own.
fn run(program: impl AsRef<OsStr>, words: &[String]) -> Deed {
    run_against(&Daemon::start(), program, words)
}

#[expect(clippy::disallowed_methods, reason = "the two command lines are what is tested")]
fn run_against(daemon: &Daemon, program: impl AsRef<OsStr>, words: &[String]) -> Deed {
    let output = Command::new(program)
        .args(words)
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .env("DOCKER_CONFIG", daemon.folder())
        .env("HOME", daemon.folder())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TAKEN", "from outside")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Deed {
        code: output.status.code(),
        stdout: normal(&output.stdout),
        stderr: normal(&output.stderr),
        requests: daemon.requests(),
    }
}

/// The program's own name is the one difference that is wanted; and Docker misspells `Run` in one place.
fn normal(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.replace("\nSRun '", "\nRun '").replace("kogge", "docker").replace("\t\n", "\n")
}

/// A tilde stands for a blank within a word.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace('~', " ")).collect()
}

/// How often the stock client is asked: what it keeps in Go's maps (binds, variables) comes in a random order.
const ORDERS: usize = 8;

/// Both clients say the same, and ask the daemon for the same.
fn check(lines: &[&str], compare: impl Fn(&str, &mut Vec<Request>)) {
    let mut differences = Vec::new();
    for line in lines {
        let mut ours = run(KOGGE, &words(line));
        compare(line, &mut ours.requests);
        let mut asked = (0..ORDERS).map(|_| {
            let mut theirs = run("docker", &words(line));
            compare(line, &mut theirs.requests);
            theirs
        });
        let mut last = None;
        if !asked.any(|theirs| {
            theirs == ours || {
                last = Some(theirs);
                false
            }
        }) {
            differences.push(format!("--- {line}\ndocker: {last:#?}\nkogge: {ours:#?}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        lines.len(),
        differences.join("\n")
    );
}

/// Leaves out what means nothing: values that are empty, and a wait that nobody waits for.
fn loosely(line: &str, requests: &mut Vec<Request>) {
    requests.retain(|request| !(line.contains(" -d ") && request.path.ends_with("/wait")));
    for request in requests {
        request.query.retain(|_, values| values.iter().any(|value| !value.is_empty()));
        drop_empty(&mut request.body);
    }
}

fn drop_empty(value: &mut serde_json::Value) {
    use serde_json::Value;

    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(drop_empty);
        // The start says it, not the making.
        fields.retain(|name, value| name != "Detach" && !is_empty(value));
    }
}

#[test]
fn mistakes_are_told_alike() {
    check(MISTAKES, |_, requests| requests.clear());
}

#[test]
fn containers_are_asked_for_alike() {
    check(CREATES, |_, _| {});
}

#[test]
fn lists_and_objects_look_alike() {
    check(VIEWS, |_, requests| requests.clear());
}

#[test]
fn actions_are_done_alike() {
    check(ACTIONS, loosely);
}

#[test]
fn a_missing_daemon_is_told_alike() {
    let daemon = Daemon::start();
    std::fs::remove_file(daemon.socket()).unwrap();
    for line in [
        "ps",
        "run busybox",
        "create busybox",
        "exec web true",
        "rm -f a b",
        "inspect web",
        "info --format {{.ID}}",
        "logs web",
        "load",
        "system df",
    ] {
        let (theirs, ours) =
            (run_against(&daemon, "docker", &words(line)), run_against(&daemon, KOGGE, &words(line)));
        assert_eq!(ours, theirs, "{line}");
    }
}

const MISTAKES: &[&str] = &[
    "foo",
    "foo --bar",
    "--nope",
    "-x",
    "container foo",
    "container --nope",
    "volume foo",
    "system foo",
    "help nope",
    "ps -x",
    "ps extra",
    "ps -aqz",
    "ps --filter nope",
    "ps -n x",
    "ps --format {{.Nope}}",
    "ps --format {{.ID",
    "ps --format {{nope}}",
    "images a b",
    "images --format {{.Nope}}",
    "port",
    "rm",
    "logs",
    "cp a",
    "cp a b",
    "cp web:/a web:/b",
    "cp /tmp/nope web:/b",
    "cp web:/a /nope/b",
    "inspect",
    "inspect --type nope x",
    "inspect --format {{.ID x",
    "volume create a b",
    "network create",
    "network create --gateway 10.1.0.1 mine",
    "network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 mine",
    "network create --subnet 10.1.0.0/16 --subnet 10.1.2.0/24 mine",
    "network create --subnet nope --gateway 10.2.0.1 mine",
    "network connect mine",
    "network connect --driver-opt nope mine web",
    "network connect --link a:b:c mine web",
    "network connect --alias a\"b mine web",
    "volume create --label = x",
    "stop --time 3 --timeout 4 a",
    "stop -t abc x",
    "update web",
    "update --restart on-failure:x web",
    "exec web",
    "exec -it web sh",
    "attach",
    "rename a",
    "tag a",
    "tag busybox UPPER",
    "tag busybox bad:tag:tag",
    "commit web a@b",
    "load extra",
    "load -i /nope",
    "import /nope",
    "events extra",
    "start -a one two",
    "run",
    "run -e",
    "run --name",
    "run --nope x",
    "run -itx a",
    "run -h",
    "run --tty=maybe x",
    "run --memory x busybox",
    "run --memory -5 busybox",
    "run --memory 5xb busybox",
    "run --cpus abc x",
    "run --cpus 0.00000000001 x",
    "run --blkio-weight 99999 x",
    "run --blkio-weight-device /dev/sda:5 x",
    "run --blkio-weight-device sda:50 x",
    "run --device-read-bps /dev/sda x",
    "run --device-read-bps /dev/sda:x x",
    "run --device-write-iops /dev/sda:x x",
    "run --device dev x",
    "run --device /dev/a:/dev/b:x busybox",
    "run --device-cgroup-rule nope x",
    "run --restart on-failure:x busybox",
    "run --restart :3 busybox",
    "run --rm --restart always busybox",
    "run --pull bogus busybox",
    "run -a nope busybox",
    "run -a stdout -d busybox",
    "run --add-host a busybox",
    "run --add-host a:b busybox",
    "run --dns x busybox",
    "run --dns-search -a busybox",
    "run -e = busybox",
    "run --env-file /nope busybox",
    "run --label = busybox",
    "run --link a:b:c busybox",
    "run --sysctl kernel.hostname=x busybox",
    "run --ulimit nofile busybox",
    "run --ulimit x=1 busybox",
    "run --ulimit nofile=5:2 busybox",
    "run --mount type=bind busybox",
    "run --mount type=bind,dst=/x,foo=1 busybox",
    "run --mount type=bind,dst=/x,volume-nocopy busybox",
    "run --network name=x,colour=red busybox",
    "run --network alias=x busybox",
    "run --network-alias x busybox",
    "run --network a --network a busybox",
    "run --network a --network host busybox",
    "run --mac-address x busybox",
    "run --memory-swappiness 101 busybox",
    "run -v /a::/b busybox",
    "run -v /a:/b:ro:x busybox",
    "run -p abc busybox",
    "run -p x:80 busybox",
    "run -p 80/icmp busybox",
    "run -p 1-3:80-81 busybox",
    "run -p 1.2.3:80:80 busybox",
    "run -p 99999 busybox",
    "run -p published=80,target busybox",
    "run --expose 80:80 busybox",
    "run --expose x busybox",
    "run --expose 9-8 busybox",
    "run --pid nope busybox",
    "run --uts nope busybox",
    "run --userns nope busybox",
    "run --cgroupns nope busybox",
    "run --log-driver none --log-opt a=b busybox",
    "run --security-opt x busybox",
    "run --security-opt seccomp=/nope busybox",
    "run --storage-opt x busybox",
    "run --no-healthcheck --health-cmd x busybox",
    "run --health-interval -1s busybox",
    "run --health-interval 5 busybox",
    "run --health-interval abc busybox",
    "run --gpus count=x busybox",
    "run --stop-timeout x busybox",
    "run -it busybox sh",
    "run UPPER",
    "run a:b:c",
    "create",
    "create --cidfile /proc/version busybox",
];

const CREATES: &[&str] = &[
    "create busybox",
    "create busybox sh -c true --flag -x",
    "create -it busybox sh",
    "create -i -a stdout busybox",
    "create -a stdin -a stderr busybox",
    "create --name web -h host --domainname dom busybox",
    "create -e A=1 -e B=two -e TAKEN -e NOTTHERE --env C= busybox",
    "create -w /tmp -u 1000:1000 --group-add audio --group-add 5 busybox",
    "create --entrypoint /bin/sh busybox -c x",
    "create --entrypoint= busybox",
    // One bind: the stock client sends several in no fixed order.
    "create -v data:/d:ro -v /anonymous busybox",
    "create -v a:/b -v /x busybox",
    "create --mount type=bind,src=/a,dst=/b,ro --mount type=volume,src=v,dst=/v,volume-nocopy,volume-label=a=b busybox",
    "create --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 busybox",
    "create --mount type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled busybox",
    "create --mount type=volume,dst=/v,volume-driver=x,volume-opt=a=b,volume-subpath=s busybox",
    "create --volumes-from one --volumes-from two:ro --volume-driver x busybox",
    "create --tmpfs /run --tmpfs /t:size=1m,mode=700 --read-only busybox",
    "create -p 80 -p 8080:80 -p 127.0.0.1:53:53/udp -p 9000-9002:7000-7002 busybox",
    "create -p 127.0.0.1::80 -p 8000-8010:81 -p [::1]:443:443 -P busybox",
    "create -p published=8080,target=80,protocol=udp --expose 1000-1002/udp --expose 80 busybox",
    "create --network host busybox",
    "create --network none busybox",
    "create --net container:web busybox",
    "create --network mine --network-alias a --net-alias b --ip 10.0.0.5 --link x:y busybox",
    "create --network name=mine,alias=a,ip=10.0.0.5,mac-address=92:d0:c6:0a:29:33,driver-opt=a=b,gw-priority=3 busybox",
    "create --network one --network two busybox",
    "create --mac-address 92:d0:c6:0a:29:33 busybox",
    "create --link web:db --link-local-ip 169.254.1.1 busybox",
    "create --dns 1.1.1.1 --dns 8.8.8.8 --dns-search example.com --dns-opt ndots:1 --dns-option x busybox",
    "create --add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway busybox",
    "create -m 64m --memory-swap -1 --memory-reservation 32m --memory-swappiness 10 --kernel-memory 8m busybox",
    "create --memory-swap 1g -m 512m --oom-kill-disable --oom-score-adj -500 busybox",
    "create --cpus 1.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 busybox",
    "create --cpu-period 50000 --cpu-quota 25000 --cpu-rt-period 1000 --cpu-rt-runtime 500 busybox",
    "create --pids-limit 100 --ulimit nofile=10:20 --ulimit core=-1 --ulimit nofile=5 busybox",
    "create --blkio-weight 300 --blkio-weight-device /dev/sda:200 --device-read-bps /dev/sda:1mb busybox",
    "create --device-write-bps /dev/sda:2k --device-read-iops /dev/sda:10 --device-write-iops /dev/sda:20 busybox",
    "create --device /dev/null --device /dev/zero:/dev/x:r --device /dev/full:rw --device-cgroup-rule c~1:*~rwm busybox",
    "create --device vendor.com/gpu=one --gpus all busybox",
    "create --gpus device=1,driver=nvidia busybox",
    "create --sysctl net.ipv4.ip_forward=1 --sysctl net.core.somaxconn=10 --shm-size 128m busybox",
    "create --cap-add NET_ADMIN --cap-add ALL --cap-drop CHOWN --privileged busybox",
    "create --security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label=disable busybox",
    "create --security-opt systempaths=unconfined --security-opt apparmor=x busybox",
    "create --pid host --ipc host --uts host --userns host --cgroupns host busybox",
    "create --pid container:a --ipc container:b --cgroupns private --cgroup-parent /x busybox",
    "create --init --stop-signal SIGINT --stop-timeout 5 busybox",
    "create --init=false --stop-timeout 0 busybox",
    "create -l a=b -l c --label d= --annotation e=f busybox",
    "create --log-driver json-file --log-opt max-size=1m --log-opt max-file=3 busybox",
    "create --log-driver none busybox",
    "create --restart always busybox",
    "create --restart on-failure:5 busybox",
    "create --restart unless-stopped busybox",
    "create --rm busybox",
    "create --health-cmd true --health-interval 5s --health-timeout 1m30s --health-retries 3 busybox",
    "create --health-start-period 2s --health-start-interval 500ms busybox",
    "create --no-healthcheck busybox",
    "create --runtime x --isolation default --storage-opt size=1G busybox",
    "create --platform linux/amd64 busybox",
    "create --cidfile cid-of-a-test-that-is-removed missing",
    "create busybox@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "create --pull always busybox",
    "create --pull never missing",
    "create missing",
    "create -q missing",
    "create --dns 127.0.0.1 warned",
];

const VIEWS: &[&str] = &[
    "ps",
    "ps -a",
    "ps -aq",
    "ps -s",
    "ps --no-trunc",
    "ps --format {{.ID}}:{{.Names}}",
    "ps --format json",
    "ps --format raw",
    "ps --format table",
    "ps --format table{{.ID}}\\t{{.Ports}}\\t{{.Labels}}",
    "ps --format {{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}|{{.State}}|{{.Size}}",
    "ps --format {{upper~.Names}}",
    "ps -q --format x",
    "container ls",
    "images",
    "images -q",
    "images --digests",
    "images --no-trunc",
    "images --format json",
    "images --format {{.Repository}}:{{.Tag}}@{{.Digest}}",
    "image ls busybox",
    "history busybox",
    "history -q busybox",
    "history --no-trunc busybox",
    "history -H=false busybox",
    "history --format {{.ID}}:{{.Size}} busybox",
    "volume ls",
    "volume ls -q",
    "volume ls --format json",
    "volume inspect data",
    "volume inspect -f {{.Mountpoint}} data",
    "network ls",
    "network ls --no-trunc",
    "network ls -q",
    "network ls --format {{.Name}}:{{.IPv4}}:{{.Internal}}",
    "network inspect bridge",
    "inspect web",
    "inspect web busybox",
    "inspect nothing",
    "inspect web nothing",
    "inspect -f {{.State.Status}} web",
    "inspect -f {{.State.Health}}|{{.HostConfig.Binds}}|{{.HostConfig.PidsLimit}}|{{.HostConfig.Init}} web",
    "inspect -f {{json~.State}} web",
    "inspect -f {{json~.NetworkSettings.Ports}} web",
    "inspect -f {{.NetworkSettings.Ports}} web",
    "inspect -f {{.Config.Cmd}}|{{.Config.Env}}|{{.Config.Labels}}|{{.Config.Volumes}} web",
    "inspect -f {{range~$k,$v:=.NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}} web",
    "inspect -f {{.Nope}} web",
    "inspect -f {{.State.Nope}} web",
    "inspect -f {{len~.Mounts}} web",
    "inspect -f {{index~.Config.Cmd~0}} web",
    "inspect --type image busybox",
    "inspect -f {{.Config.Labels.nope}}|{{index~.Config.Labels~\"a\"}} web",
    "inspect -f {{.Config.Nope}} busybox",
    "exec nothing true",
    "ps --format {{.Label~\"a\"}}",
    "ps --format table~{{.Names}}\\t{{.Label~\"com.x.a_b\"}}",
    "inspect --type container busybox",
    "inspect --format json web",
    "container inspect web",
    "image inspect busybox",
    "image inspect -f {{.RootFS.Layers}}|{{.Size}}|{{.Architecture}}|{{.Config.Cmd}} busybox",
    "image inspect nothing",
    "top web",
    "top web -o pid,comm",
    "port web",
    "port web 80",
    "port web 80/udp",
    "port web x",
    "diff web",
    "logs web",
    "logs -t --tail 5 --since 10 web",
    "logs nothing",
    "stats --no-stream web",
    "stats --no-stream --format {{.Name}}:{{.CPUPerc}}:{{.MemUsage}} web",
    "stats --no-stream nothing",
    "system df",
    "system df -v",
    "system df --format {{.Type}}:{{.Size}}",
    "events --since 1 --until 2",
    "events --since 1 --until 2 --format {{.Type}}:{{.Action}}:{{.Actor.Attributes.name}}",
    "events --since 1 --until 2 --format json",
    "context show",
    "info --format {{.ServerVersion}}|{{.NCPU}}|{{.Swarm.LocalNodeState}}",
    "version --format {{.Server.Version}}|{{.Server.APIVersion}}",
    "export web",
    "save busybox",
];

const ACTIONS: &[&str] = &[
    "run busybox",
    "run --rm busybox echo hi",
    "run -d busybox",
    "run -i busybox cat",
    "run -t busybox",
    "run --detach-keys ctrl-a,x busybox",
    "run noexec",
    "run --rm noexec",
    "run denied",
    "run -d noexec",
    "run missing",
    "run --name taken busybox",
    "start web",
    "start web nothing",
    "start -a web",
    "start -ai web",
    "stop web",
    "stop -t 3 -s INT web nothing",
    "stop --time 3 web",
    "restart -t 1 web nothing",
    "kill web",
    "kill -s HUP web nothing",
    "pause web",
    "unpause web nothing",
    "wait web",
    "wait web nothing",
    "rename web other",
    "rename nothing other",
    "rm web",
    "rm -f -v web nothing",
    "rm nothing",
    "attach web",
    "attach --no-stdin web",
    "attach stopped",
    "exec web true",
    "exec -e A=1 -w /tmp -u root --privileged web sh -c x",
    "exec -d web true",
    "exec -i web cat",
    "exec stopped true",
    "tag busybox other:v1",
    "tag busybox localhost:5000/x",
    "tag nothing other",
    "rmi busybox",
    "rmi -f busybox nothing",
    "rmi --no-prune nothing",
    "commit web",
    "commit -a me -m msg -c CMD=x -p=false web repo:tag",
    "import - repo:tag",
    "import -c CMD=x -m msg -",
    "load",
    "load -q",
    "volume create",
    "volume create -d x -o a=b --label c=d data",
    "volume rm data nothing",
    "volume rm -f nothing",
    "volume prune -f",
    "volume prune -af --filter label=x",
    "container prune -f",
    "image prune -f",
    "image prune -af",
    "system prune -f --volumes",
    "network rm mine nothing",
    "network prune -f",
    "network create mine",
    "network create -d macvlan -o parent=eth0 --label a=b --internal --attachable --ipv6 --ipv4=false mine",
    "network create --subnet 10.1.0.0/16 --gateway 10.1.0.1 --ip-range 10.1.5.0/24 --aux-address x=10.1.0.9 mine",
    "network create --ipam-driver x --ipam-opt a=b --scope local --config-only mine",
    "network create --config-from other mine",
    "network connect mine web",
    "network connect --alias a,b --ip 10.1.0.5 --link x:y --link-local-ip 169.254.1.1 mine web",
    "network connect --driver-opt a=b,c=d --gw-priority 3 --ip6 fd00::5 mine web",
    "network disconnect -f mine web",
    "update -m 64m --cpus 2 web nothing",
    "ps --filter name=x --filter status=running -n 3",
    "ps -l",
    "images --filter dangling=true x",
];
