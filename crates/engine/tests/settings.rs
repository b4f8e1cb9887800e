//! What `docker run`'s flags do to the process inside.

mod house;

use house::in_house;

#[test]
fn names_users_and_places() {
    in_house(async |house| {
        let run = async |json: &str| {
            let id = house.create(json).await;
            house.run(&id).await.1
        };
        let id = house.create(r#"{"Cmd":["cat","/etc/hostname"]}"#).await;
        assert_eq!(house.run(&id).await.1, format!("{}\n", &id[..12]));
        assert_eq!(run(r#"{"Cmd":["hostname"],"Hostname":"web"}"#).await, "web\n");
        assert_eq!(
            run(r#"{"Cmd":["id"],"User":"www"}"#).await,
            "uid=33(www) gid=33(www) groups=29(audio),33(www)\n"
        );
        let groups = r#"{"Cmd":["id","-G"],"User":"5:6","HostConfig":{"GroupAdd":["audio","7"]}}"#;
        assert_eq!(run(groups).await, "6 7 29\n");
        assert_eq!(run(r#"{"Cmd":["pwd"],"WorkingDir":"/made/for/it"}"#).await, "/made/for/it\n");
        assert_eq!(
            run(r#"{"Cmd":["sh","-c","echo $A $HOME"],"Env":["A=1"],"User":"www"}"#).await,
            "1 /www\n"
        );
        assert_eq!(run(r#"{"Entrypoint":["echo"],"Cmd":["a","b"]}"#).await, "a b\n");
        house
    });
}

#[test]
fn limits_and_rights() {
    in_house(async |house| {
        let run = async |host: &str, line: &str| house.run_with(host, line).await.1;
        let capabilities = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2";
        assert_eq!(run("{}", capabilities).await, "00000000a80425fb\n0\n2\n");
        let bare = r#"{"CapDrop":["ALL"],"CapAdd":["CHOWN"],"SecurityOpt":["no-new-privileges","seccomp=unconfined"]}"#;
        assert_eq!(run(bare, capabilities).await, "0000000000000001\n1\n0\n");
        let memory = r#"{"Memory":20971520,"PidsLimit":77,"CpuShares":512}"#;
        let limits = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares";
        assert_eq!(run(memory, limits).await, "20971520\n77\n512\n");
        assert_eq!(
            run(r#"{"Ulimits":[{"Name":"nofile","Soft":64,"Hard":65}]}"#, "ulimit -Sn; ulimit -Hn").await,
            "64\n65\n"
        );
        assert_eq!(
            run(r#"{"Sysctls":{"net.core.somaxconn":"77"}}"#, "cat /proc/sys/net/core/somaxconn").await,
            "77\n"
        );
        assert_eq!(run(r#"{"OomScoreAdj":500}"#, "cat /proc/self/oom_score_adj").await, "500\n");
        assert_eq!(
            run(r#"{"ReadonlyRootfs":true}"#, "touch /x 2>&1; echo $?").await,
            "touch: /x: Read-only file system\n1\n"
        );
        assert_eq!(
            run(r#"{"ShmSize":1048576}"#, "df -k /dev/shm | tail -n1 | tr -s ' ' | cut -d' ' -f2").await,
            "1024\n"
        );
        assert_eq!(
            run(r#"{"Privileged":true}"#, "test -w /proc/sys/kernel/hostname && echo yes").await,
            "yes\n"
        );
        assert_eq!(
            run(
                "{}",
                "cat /proc/timer_list 2>/dev/null | wc -c; echo x 2>/dev/null > /proc/sys/kernel/hostname || echo no"
            )
            .await,
            "0\nno\n"
        );
        assert_eq!(
            run(r#"{"Init":true}"#, "readlink /proc/1/exe; cut -d' ' -f4 /proc/self/stat")
                .await
                .lines()
                .next(),
            Some("/sbin/docker-init")
        );
        house
    });
}

#[test]
fn mounts_of_every_kind() {
    in_house(async |house| {
        let source = house.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "bound\n").unwrap();
        let binds = serde_json::json!({ "Binds": [format!("{}:/bound:ro", source.display()), "named:/named", format!("{}/made:/made", source.display())],
            "Tmpfs": { "/t": "size=1m" } }).to_string();
        let line = "cat /bound/file; touch /bound/x 2>/dev/null || echo ro; echo kept > /named/k; grep -c ' /t tmpfs' /proc/mounts; touch /made/it";
        assert_eq!(house.run_with(&binds, line).await, (0, "bound\nro\n1\n".into()));
        assert!(source.join("made/it").exists());
        assert_eq!(house.run_with(r#"{"Binds":["named:/n"]}"#, "cat /n/k").await.1, "kept\n");
        let first = house.create(r#"{"Cmd":["true"],"Volumes":{"/etc":{}}}"#).await;
        let inherit = serde_json::json!({ "VolumesFrom": [format!("{first}:ro")] }).to_string();
        assert_eq!(
            house.run_with(&inherit, "cut -d: -f1 /etc/passwd; touch /etc/x 2>/dev/null || echo ro").await.1,
            "root\nwww\nro\n"
        );
        house
    });
}

#[test]
fn namespaces_are_shared_when_asked_for() {
    in_house(async |house| {
        let peer = house.create(r#"{"Cmd":["sleep","1000"],"HostConfig":{"IpcMode":"shareable"}}"#).await;
        house.start(&peer).await;
        let pid = house.inspect(&peer).await.state.pid;
        let link =
            |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
        for (mode, kind) in [("NetworkMode", "net"), ("IpcMode", "ipc"), ("PidMode", "pid")] {
            let json = serde_json::json!({ mode: format!("container:{peer}") }).to_string();
            assert_eq!(
                house.run_with(&json, &format!("readlink /proc/self/ns/{kind}")).await.1,
                format!("{}\n", link(kind)),
                "{mode}"
            );
        }
        let own =
            |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        for (mode, kind) in
            [("UTSMode", "uts"), ("IpcMode", "ipc"), ("PidMode", "pid"), ("CgroupnsMode", "cgroup")]
        {
            let json = serde_json::json!({ mode: "host" }).to_string();
            assert_eq!(
                house.run_with(&json, &format!("readlink /proc/self/ns/{kind}")).await.1,
                format!("{}\n", own(kind)),
                "{mode}"
            );
        }
        house
    });
}

#[test]
fn a_page_is_served_through_a_published_port() {
    in_house(async |house| {
        let line = "echo page > /index.html; exec httpd -f -p 80 -h /";
        let json = serde_json::json!({ "Cmd": ["sh", "-c", line], "HostConfig": { "NetworkMode": "bridge",
            "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] } } })
        .to_string();
        let id = house.create(&json).await;
        house.start(&id).await;
        let settings = house.inspect(&id).await.network_settings;
        assert_eq!(settings.ports[&"80/tcp".parse().unwrap()].as_ref().unwrap()[0].host_port, "8080");
        let address = format!("{}:80", settings.ip_address);
        let page = loop {
            // Refused until the server listens.
            match tokio::net::TcpStream::connect(&address).await {
                Ok(stream) => break fetch(stream).await,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert!(page.ends_with("page\n"), "{page}");
        let other = house.create(&json).await;
        let error = engine::container::start(&house.engine, &other).await.unwrap_err().to_string();
        assert!(error.starts_with("failed to set up container networking: driver failed programming external connectivity on endpoint "), "{error}");
        assert!(error.ends_with("): Bind for 0.0.0.0:8080 failed: port is already allocated"), "{error}");
        house
    });
}

#[test]
fn read_only_binds_reach_what_is_mounted_beneath() {
    in_house(async |house| {
        // `/dev/shm` is a mount of its own, and the house stands there.
        let place = house.path().strip_prefix("/dev").unwrap().join("f");
        let line = format!("touch /d/{} 2>/dev/null && echo written || echo refused", place.display());
        assert_eq!(house.run_with(r#"{"Binds":["/dev:/d:ro"]}"#, &line).await.1, "refused\n");
        let mount = |options: &str| {
            format!(
                r#"{{"Mounts":[{{"Type":"bind","Source":"/dev","Target":"/d","ReadOnly":true,"BindOptions":{options}}}]}}"#
            )
        };
        let deep = mount(r#"{"ReadOnlyForceRecursive":true}"#);
        assert_eq!(house.run_with(&deep, &line).await.1, "refused\n");
        let flat = mount(r#"{"ReadOnlyNonRecursive":true}"#);
        assert_eq!(house.run_with(&flat, &line).await.1, "written\n");
        house
    });
}

#[test]
fn who_joins_a_network_has_its_owner_s_files() {
    in_house(async |house| {
        let owner = house
            .create(
                r#"{"Cmd":["sleep","1000"],"Hostname":"web","HostConfig":{"Dns":["1.1.1.1"],"ExtraHosts":["db:10.0.0.9"]}}"#,
            )
            .await;
        house.start(&owner).await;
        let joining = |id: &str| {
            let host = serde_json::json!({ "NetworkMode": format!("container:{id}") });
            serde_json::json!({ "Cmd": ["sleep", "1000"], "HostConfig": host }).to_string()
        };
        let first = house.create(&joining(&owner)).await;
        house.start(&first).await;
        let second = house
            .create(
                &joining(&first)
                    .replace("sleep\",\"1000", "cat\",\"/etc/hosts\",\"/etc/resolv.conf\",\"/etc/hostname"),
            )
            .await;
        let (_, files) = house.run(&second).await;
        assert!(files.contains("10.0.0.9\tdb\n") && files.contains("nameserver 1.1.1.1\n"), "{files}");
        assert!(files.ends_with("web\n"), "{files}");
        let (owner, second) = (house.inspect(&owner).await, house.inspect(&second).await);
        assert_eq!(second.hosts_path, owner.hosts_path);
        assert_eq!(second.resolv_conf_path, owner.resolv_conf_path);
        assert_eq!(second.hostname_path, owner.hostname_path);
        assert!(second.log_path.contains(&second.id), "{}", second.log_path);
        house
    });
}

async fn fetch(mut stream: tokio::net::TcpStream) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("the server reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("the server answers");
    text
}
