//! A second engine over what the first one left.

mod house;

use std::path::Path;
use std::time::Duration;

use api::container::WaitCondition;
use engine::{container, exec};
use house::{House, in_house, mounted_at, until, with_own_mounts};

#[test]
fn containers_outlive_the_engine_and_are_met_again() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["sh","-c","read x; exit 4"],"OpenStdin":true}"#).await;
        house.start(&id).await;
        let before = house.inspect(&id).await.state;
        let house = house.reopen().await;
        let after = house.inspect(&id).await.state;
        assert_eq!((after.pid, after.started_at), (before.pid, before.started_at));
        let ended = container::wait(&house.engine, &id, WaitCondition::NotRunning).unwrap();
        let options = api::container::Attach { stdin: true, stream: true, ..Default::default() };
        let mut stream = container::attach(&house.engine, &id, options).await.unwrap();
        house::write_all(&mut stream, "\n").await;
        assert_eq!(ended.await.status_code, 4);
        house
    });
}

#[test]
fn an_exit_while_no_engine_is_there_is_known_to_the_next() {
    in_house(async |house| {
        // It ends when it is told so through a file, which needs no engine.
        let shared = house.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let json = serde_json::json!({
            "Cmd": ["sh", "-c", "while ! test -e /shared/end; do sleep 0.01; done; exit 9"],
            "HostConfig": { "Binds": [format!("{}:/shared", shared.display())] },
        });
        let id = house.create(&json.to_string()).await;
        house.start(&id).await;
        let pid = i32::try_from(house.inspect(&id).await.state.pid).unwrap();
        let process = sys::process::PidFd::open(pid).unwrap();
        house.engine.shutdown().await;
        std::fs::write(shared.join("end"), "").unwrap();
        sys::poll::wait_readable(std::os::fd::AsFd::as_fd(&process), None).unwrap();
        let exit_file = house.path().join("run/containers").join(&id).join("exit.json");
        while !exit_file.exists() {
            tokio::task::yield_now().await;
        }
        let house = house.reopen().await;
        let state = house.inspect(&id).await.state;
        assert_eq!((state.status.as_str(), state.exit_code), ("exited", 9));
        assert!(!exit_file.exists(), "recorded, so not needed any more");
        house
    });
}

#[test]
fn codes_of_execs_are_kept() {
    in_house(async |house| {
        let id = house.create_shell("exec sleep 1000").await;
        house.start(&id).await;
        let wanted = api::exec::Create {
            cmd: ["sh", "-c", "exit 6"].map(str::to_owned).to_vec(),
            attach_stdout: true,
            ..Default::default()
        };
        let exec = exec::create(&house.engine, &id, wanted).await.unwrap();
        let mut stream = exec::start(&house.engine, &exec, Default::default()).await.unwrap().unwrap();
        house::read_all(&mut stream).await;
        let house = house.reopen().await;
        assert_eq!(exec::inspect(&house.engine, &exec).await.unwrap().exit_code, Some(6));
        house
    });
}

/// A record that somebody broke: people can mend it, and the container runs on.
#[test]
fn a_container_with_an_unreadable_record_runs_on() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["sleep","1000"],"HostConfig":{"NetworkMode":"bridge"}}"#).await;
        house.start(&id).await;
        let before = house.inspect(&id).await;
        let record = house.data_root().join("containers").join(&id).join("record.json");
        let whole = std::fs::read(&record).unwrap();
        std::fs::write(&record, "{").unwrap();
        let house = house.reopen().await;
        container::inspect(&house.engine, &id, false).await.unwrap_err();
        std::fs::write(&record, whole).unwrap();
        let house = house.reopen().await;
        let after = house.inspect(&id).await;
        assert_eq!((after.state.pid, after.state.status.as_str()), (before.state.pid, "running"));
        let address = |inspect: &api::container::Inspect| {
            inspect.network_settings.networks["bridge"].ip_address.clone()
        };
        assert_eq!(address(&after), address(&before));
        house
    });
}

#[test]
fn two_containers_of_one_name_do_not_keep_the_engine_down() {
    in_house(async |house| {
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            ids.push(house.try_create(Some(name), r#"{"Cmd":["true"]}"#).await.unwrap());
        }
        let record = |id: &str| house.data_root().join("containers").join(id).join("record.json");
        let text = std::fs::read_to_string(record(&ids[1])).unwrap();
        let (record, renamed) = (record(&ids[1]), text.replace(r#""name":"two""#, r#""name":"one""#));
        std::fs::write(&record, renamed).unwrap();
        let house = house.reopen().await;
        let known = |id: &String| house.engine.containers().find(id).is_ok();
        assert_eq!(ids.iter().filter(|id| known(id)).count(), 1);
        std::fs::write(&record, text).unwrap();
        house.reopen().await
    });
}

/// A monitor that the machine gives no time to answer is not a dead one.
#[test]
fn a_silent_monitor_keeps_its_container() {
    in_house(async |house| {
        let id = house.create_shell("exec sleep 1000").await;
        house.start(&id).await;
        let before = house.inspect(&id).await.state;
        let monitor = house::parent(before.pid);
        sys::process::kill(monitor, STOP).unwrap();
        let house = house.reopen_with(|config| config.monitor_patience = Duration::from_millis(50)).await;
        let silent = house.inspect(&id).await.state;
        assert_eq!((silent.status.as_str(), silent.pid), ("running", 0));
        sys::process::kill(monitor, CONTINUE).unwrap();
        while house.inspect(&id).await.state.pid == 0 {
            tokio::task::yield_now().await;
        }
        let after = house.inspect(&id).await.state;
        assert_eq!((after.pid, after.started_at), (before.pid, before.started_at));
        container::kill(&house.engine, &id, "KILL").await.unwrap();
        assert_eq!(house.inspect(&id).await.state.exit_code, 137);
        house
    });
}

#[test]
fn a_run_keeps_its_cgroup_when_the_parent_changes() {
    in_house(async |house| {
        let ids = [house.create_shell("exec sleep 1000").await, house.create_shell("exec sleep 1000").await];
        for id in &ids {
            house.start(id).await;
        }
        let monitor = house::parent(house.inspect(&ids[1]).await.state.pid);
        let mut before = String::new();
        house.engine.shutdown().await;
        sys::process::kill(monitor, KILL).unwrap();
        let house = house
            .reopen_with(|config| {
                before = config.cgroup_parent.clone();
                config.cgroup_parent += "-new";
            })
            .await;
        assert_eq!(house.inspect(&ids[1]).await.state.exit_code, 137);
        let folders = runtime::cgroup::Cgroup::at(&Path::new(&before).join(&ids[1])).unwrap();
        assert!(!folders.exists().unwrap(), "what an orphan left is freed");
        container::pause(&house.engine, &ids[0]).await.unwrap();
        container::unpause(&house.engine, &ids[0]).await.unwrap();
        house.reopen_with(|config| config.cgroup_parent = before).await
    });
}

const KILL: i32 = 9;
const CONTINUE: i32 = 18;
const STOP: i32 = 19;

/// Under the name `dockerd` the data root is Docker's.
#[test]
fn containers_of_dockers_are_left_alone() {
    in_house(async |house| {
        let theirs = house.path().join("data/containers").join("ab".repeat(32));
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("config.v2.json"), "{}").unwrap();
        let house = house.reopen().await;
        assert!(house.engine.containers().all().is_empty());
        std::fs::remove_dir_all(theirs).expect("still there");
        house
    });
}

#[test]
fn half_made_and_half_removed_containers_are_gone() {
    in_house(async |house| {
        let id = house.create("{}").await;
        let folder = house.path().join("data/containers");
        std::fs::rename(folder.join(&id), folder.join(format!("removing-{id}"))).unwrap();
        let other = house.create("{}").await;
        std::fs::rename(folder.join(&other).join("record.json"), folder.join(&other).join("creating.json"))
            .unwrap();
        let house = house.reopen().await;
        assert!(house.engine.containers().all().is_empty());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        house
    });
}

/// A create is told when its record is on disk; its snapshot may follow.
#[test]
fn a_root_that_the_power_took_is_made_again_with_what_is_left_of_its_changes() {
    in_house(async |house| {
        let id = house.create_shell("cat /kept; echo yes >/kept").await;
        assert_eq!(house.run(&id).await, (0, "cat: can't open '/kept': No such file or directory\n".into()));
        let never = house.create_shell("cat /bin/noexec").await;
        house.engine.shutdown().await;
        let snapshots = house.path().join("data/store/snapshots");
        std::fs::write(snapshots.join(&id).join("snapshot.json"), "").unwrap();
        std::fs::remove_dir_all(snapshots.join(&never)).unwrap();
        let house = house.reopen().await;
        assert_eq!(house.run(&id).await, (0, "yes\n".into()));
        assert_eq!(house.run(&never).await, (0, "#!/bin/sh\n".into()));
        house
    });
}

#[test]
fn what_should_run_is_started_by_the_next_engine() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sleep","1000"],"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#;
        let id = house.create(json).await;
        house.start(&id).await;
        container::stop(&house.engine, &id, Some(0), None).await.unwrap();
        let house = house.reopen().await;
        let container = house.engine.containers().find(&id).unwrap();
        while !container.view().is_running() {
            tokio::task::yield_now().await;
        }
        house
    });
}

/// What the container's web server answers at an address of the host; nothing if nobody does.
async fn fetched(place: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut text = String::new();
    if let Ok(mut stream) = tokio::net::TcpStream::connect(place).await
        && stream.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").await.is_ok()
    {
        drop(stream.read_to_string(&mut text).await);
    }
    text
}

#[test]
fn a_published_port_answers_on_ipv6_before_and_after_a_restart() {
    in_house(async |house| {
        sys::namespace::set_loopback_up().unwrap();
        let json = r#"{"Cmd":["httpd","-f","-h","/etc"],"HostConfig":{"NetworkMode":"bridge",
            "PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}"#;
        let id = house.create(json).await;
        house.start(&id).await;
        let answers = async |place: &str| fetched(place).await.contains("root:x:0:0");
        until(async || answers("[::1]:8080").await).await;
        assert!(answers("127.0.0.1:8080").await);
        let shown = |house: &House| {
            let id = id.clone();
            let engine = house.engine.clone();
            async move {
                let shown = container::inspect(&engine, &id, false).await.unwrap();
                let ports = shown.network_settings.ports;
                let bindings = ports.values().flatten().flatten();
                bindings
                    .map(|binding| format!("{} {}", binding.host_ip, binding.host_port))
                    .collect::<Vec<_>>()
            }
        };
        assert_eq!(shown(&house).await, ["0.0.0.0 8080", ":: 8080"]);
        let house = house.reopen().await;
        assert!(answers("[::1]:8080").await);
        assert_eq!(shown(&house).await, ["0.0.0.0 8080", ":: 8080"]);
        for _ in 0..3 {
            container::restart(&house.engine, &id, Some(0), None).await.unwrap();
        }
        container::stop(&house.engine, &id, Some(0), None).await.unwrap();
        until(async || tokio::net::TcpStream::connect("[::1]:8080").await.is_err()).await;
        house
    });
}

#[test]
fn a_device_stays_mounted_for_who_runs_and_goes_with_the_last() {
    with_own_mounts(|| {
        in_house(async |house| {
            let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
            let driver_opts = options.map(|(key, value)| (key.into(), value.into())).into();
            let wanted = api::volume::Create { name: "ram".into(), driver_opts, ..Default::default() };
            let place = engine::volume::create(&house.engine, wanted).await.unwrap().mountpoint;
            let json = r#"{"Cmd":["sh","-c","echo kept >/ram/file; exec sleep 1000"],"HostConfig":{"Binds":["ram:/ram"]}}"#;
            let id = house.create(json).await;
            house.start(&id).await;
            let file = format!("{place}/file");
            until(async || std::fs::read(&file).is_ok_and(|text| text == b"kept\n")).await;
            let house = house.reopen().await;
            assert_eq!((mounted_at(&place), std::fs::read(&file).unwrap()), (1, b"kept\n".to_vec()));
            // It ends while no engine is there: the next one finds a device without a user.
            let pid = i32::try_from(house.inspect(&id).await.state.pid).unwrap();
            let process = sys::process::PidFd::open(pid).unwrap();
            house.engine.shutdown().await;
            process.send_signal(9).unwrap();
            sys::poll::wait_readable(std::os::fd::AsFd::as_fd(&process), None).unwrap();
            let house = house.reopen().await;
            until(async || mounted_at(&place) == 0).await;
            engine::volume::remove(&house.engine, "ram", false).await.unwrap_err();
            container::remove(&house.engine, &id, api::container::Remove::default()).await.unwrap();
            engine::volume::remove(&house.engine, "ram", false).await.unwrap();
            house
        });
    });
}

/// It stands still before it reads its order, as on a machine that is out of breath.
#[test]
fn a_start_that_is_given_up_never_comes_to_be() {
    in_house(async |house| {
        let shared = house.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let json = serde_json::json!({
            "Cmd": ["sh", "-c", "echo >>/shared/runs; exec sleep 1000"],
            "HostConfig": { "Binds": [format!("{}:/shared", shared.display())] },
        });
        let id = house.create(&json.to_string()).await;
        until(async || !house::monitors().is_empty()).await;
        let spare = house::monitors();
        let still = |signal| spare.iter().for_each(|pid| sys::process::kill(*pid, signal).unwrap());
        still(sys::signal::SIGSTOP);
        let (engine, starting) = (house.engine.clone(), id.clone());
        let mut start = tokio::task::JoinSet::new();
        start.spawn(async move { container::start(&engine, &starting).await });
        let socket = house.path().join("run/containers").join(&id).join("monitor.sock");
        until(async || socket.exists()).await;
        // Nothing tells from outside that the order is on its way.
        let moment = Duration::from_millis(100);
        tokio::time::sleep(moment).await;
        start.shutdown().await;
        let house = house.reopen_with(|config| config.monitor_patience = moment).await;
        assert_eq!(house.inspect(&id).await.state.status, "created");
        house.start(&id).await;
        let running = house.inspect(&id).await.state.pid;
        still(sys::signal::SIGCONT);
        let mut waiting = spare.clone();
        until(async || {
            waiting.retain(|pid| house::monitors().contains(pid));
            waiting.is_empty()
        })
        .await;
        assert_eq!(house.inspect(&id).await.state.pid, running);
        assert_eq!(std::fs::read_to_string(shared.join("runs")).unwrap(), "\n", "started once");
        house
    });
}
