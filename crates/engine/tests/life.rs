//! A container's life through the engine's public face, with real processes.

mod house;

use api::container::{Remove, WaitCondition};
use engine::container;
use fault::Kind;
use house::in_house;

#[test]
fn a_container_runs_and_tells_its_code_and_output() {
    in_house(async |house| {
        assert_eq!(house.run_shell("echo out; echo err >&2; exit 3").await, (3, "out\nerr\n".into()));
        house
    });
}

#[test]
fn states_are_shown_and_refused_as_docker_does() {
    in_house(async |house| {
        let id = house.create_shell("exec sleep 1000").await;
        let engine = &house.engine;
        assert_eq!(house.inspect(&id).await.state.status, "created");
        let stopped = container::stop(engine, &id, None, None).await.unwrap_err();
        assert_eq!(stopped.kind(), Kind::Unchanged);
        house.start(&id).await;
        let state = house.inspect(&id).await.state;
        assert!(state.running && state.pid > 0, "{state:?}");
        assert_eq!(container::start(engine, &id).await.unwrap_err().kind(), Kind::Unchanged);
        let name = house.inspect(&id).await.name;
        let refused = container::remove(engine, &id, Remove::default()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "cannot remove container \"{}\": container is running: stop the container before removing or force remove",
                name.trim_start_matches('/')
            )
        );
        container::pause(engine, &id).await.unwrap();
        assert_eq!(house.inspect(&id).await.state.status, "paused");
        container::unpause(engine, &id).await.unwrap();
        container::kill(engine, &id, "KILL").await.unwrap();
        let state = house.inspect(&id).await.state;
        assert_eq!((state.status.as_str(), state.exit_code, state.pid), ("exited", 137, 0));
        container::remove(engine, &id, Remove::default()).await.unwrap();
        let gone = container::inspect(engine, &id, false).await.unwrap_err();
        assert_eq!((gone.kind(), gone.to_string()), (Kind::NotFound, format!("No such container: {id}")));
        house
    });
}

#[test]
fn stop_kills_after_the_timeout_and_restart_starts_again() {
    in_house(async |house| {
        let id = house.create_shell("trap '' TERM; while true; do sleep 1000; done").await;
        house.start(&id).await;
        container::stop(&house.engine, &id, Some(0), None).await.unwrap();
        assert_eq!(house.inspect(&id).await.state.exit_code, 137);
        container::restart(&house.engine, &id, Some(0), None).await.unwrap();
        let first = house.inspect(&id).await.state.pid;
        container::restart(&house.engine, &id, Some(0), None).await.unwrap();
        let state = house.inspect(&id).await.state;
        assert!(state.running && state.pid != first);
        house
    });
}

#[test]
fn what_cannot_be_executed_is_told_as_docker_tells_it() {
    in_house(async |house| {
        let failed = async |program: &str| {
            let id = house.create(&format!(r#"{{"Cmd":["{program}"]}}"#)).await;
            let error = container::start(&house.engine, &id).await.unwrap_err();
            let state = house.inspect(&id).await.state;
            assert_eq!((state.status.as_str(), state.error), ("created", error.to_string()));
            (state.exit_code, error.kind(), error.to_string())
        };
        let prefix = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                      runc create failed: unable to start container process: error during container init: exec: ";
        let missing = failed("foo").await;
        assert_eq!(
            missing,
            (127, Kind::Invalid, format!("{prefix}\"foo\": executable file not found in $PATH"))
        );
        let missing = failed("/foo").await;
        assert_eq!(
            missing,
            (127, Kind::Invalid, format!("{prefix}\"/foo\": stat /foo: no such file or directory"))
        );
        let denied = failed("/bin/noexec").await;
        assert_eq!(denied, (126, Kind::Invalid, format!("{prefix}\"/bin/noexec\": permission denied")));
        let user = house.create(r#"{"Cmd":["id"],"User":"foo"}"#).await;
        let error = container::start(&house.engine, &user).await.unwrap_err();
        assert_eq!(error.to_string(), "unable to find user foo: no matching entries in passwd file");
        house
    });
}

#[test]
fn an_auto_removed_container_is_waited_for_past_its_removal() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["sh","-c","exit 7"],"HostConfig":{"AutoRemove":true}}"#).await;
        let removed = container::wait(&house.engine, &id, WaitCondition::Removed).unwrap();
        house.start(&id).await;
        assert_eq!(removed.await.status_code, 7);
        assert!(container::inspect(&house.engine, &id, false).await.is_err());
        house
    });
}

#[test]
fn names_are_unique_and_can_be_changed() {
    in_house(async |house| {
        let id = house.try_create(Some("web"), "{}").await.unwrap();
        let taken = house.try_create(Some("/web"), "{}").await.unwrap_err();
        assert_eq!(
            (taken.kind(), taken.to_string()),
            (
                Kind::Conflict,
                format!(
                    "Conflict. The container name \"/web\" is already in use by container \"{id}\". \
                     You have to remove (or rename) that container to be able to reuse that name."
                )
            )
        );
        container::rename(&house.engine, "web", "db").await.unwrap();
        assert_eq!(house.inspect("db").await.id, id);
        house.try_create(Some("web"), "{}").await.unwrap();
        let error = container::rename(&house.engine, "db", "web").await.unwrap_err();
        assert!(error.to_string().starts_with("Error when allocating new name: Conflict."), "{error}");
        house
    });
}

#[test]
fn a_failed_creation_leaves_nothing() {
    in_house(async |house| {
        let unknown = house.try_create(None, r#"{"Image":"foo"}"#).await.unwrap_err();
        assert_eq!(
            (unknown.kind(), unknown.to_string()),
            (Kind::NotFound, "No such image: foo:latest".into())
        );
        let json = r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/none","Target":"/x"}]}}"#;
        let error = house.try_create(Some("web"), json).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid mount config for type \"bind\": bind source path does not exist: /none"
        );
        house.try_create(Some("web"), "{}").await.unwrap();
        assert_eq!(house.engine.containers().all().len(), 1);
        house
    });
}

#[test]
fn a_restart_policy_runs_it_again_until_it_is_stopped() {
    in_house(async |house| {
        let json =
            r#"{"Cmd":["false"],"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":2}}}"#;
        let id = house.create(json).await;
        let ended = container::wait(&house.engine, &id, WaitCondition::NextExit).unwrap();
        house.start(&id).await;
        ended.await;
        let over = container::wait(&house.engine, &id, WaitCondition::NotRunning).unwrap();
        assert_eq!(over.await.status_code, 1);
        let inspect = house.inspect(&id).await;
        assert_eq!((inspect.restart_count, inspect.state.status.as_str()), (2, "exited"));
        house
    });
}

#[test]
fn a_writer_keeps_its_files_over_a_restart() {
    in_house(async |house| {
        let id = house.create_shell("cat /n 2>/dev/null; echo x >> /n").await;
        assert_eq!(house.run(&id).await.1, "");
        assert_eq!(house.run(&id).await.1, "x\n");
        assert_eq!(house.run(&id).await.1, "x\nx\n");
        house
    });
}

/// `docker run --rm` waits for the removal while it starts: the failure must come from the start alone.
#[test]
fn a_failed_start_is_told_once() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["nope"],"HostConfig":{"AutoRemove":true}}"#).await;
        let removed = container::wait(&house.engine, &id, WaitCondition::Removed).unwrap();
        assert!(container::start(&house.engine, &id).await.is_err());
        let answer = removed.await;
        assert_eq!((answer.status_code, answer.error.is_none()), (127, true));
        house
    });
}

#[test]
fn the_root_of_a_stopped_container_is_unmounted_when_nobody_needs_it() {
    in_house(async |house| {
        let quiet = std::time::Duration::from_millis(200);
        let house = house.reopen_with(|config| config.root_kept_for = quiet).await;
        let id = house.create_shell("echo x >>/f; cat /f").await;
        assert_eq!(house.run(&id).await.1, "x\n");
        assert_eq!(house.run(&id).await.1, "x\nx\n", "a restart finds the root as it was");
        assert_eq!(held_overlays(), 1);
        let mut look = tokio::time::interval(quiet / 20);
        while held_overlays() > 0 {
            look.tick().await;
        }
        assert_eq!(house.run(&id).await.1, "x\nx\nx\n");
        house
    });
}

/// Descriptors of this process that are roots of overlays.
fn held_overlays() -> usize {
    let fds = std::fs::read_dir("/proc/self/fdinfo").expect("a process sees its own descriptors");
    let fds = fds.filter_map(|entry| {
        let path = std::path::Path::new("/proc/self/fd").join(entry.ok()?.file_name());
        sys::fs::filesystem_magic(path).ok()
    });
    fds.filter(|magic| *magic == OVERLAY).count()
}

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: u64 = 0x794c_7630;

#[test]
fn a_users_start_begins_to_count_restarts_anew() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","echo run; false"],
            "HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":1}}}"#;
        let id = house.create(json).await;
        for _ in 0..2 {
            house.start(&id).await;
            let over = container::wait(&house.engine, &id, WaitCondition::NotRunning).unwrap();
            assert_eq!(over.await.status_code, 1);
            assert_eq!(house.inspect(&id).await.restart_count, 1);
        }
        house
    });
}
