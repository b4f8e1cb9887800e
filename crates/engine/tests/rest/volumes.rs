//! Volumes and networks.

use api::filters::Filters;
use api::volume::Create;
use engine::{container, network, prune, volume};
use fault::Kind;

use crate::house::{House, mounted_at, with_own_mounts};
use crate::in_house;

impl House {
    async fn volumes(&self, filters: &str) -> Vec<String> {
        let list = volume::list(&self.engine, Filters::parse(filters).unwrap()).await.unwrap();
        list.volumes.into_iter().map(|volume| volume.name).collect()
    }
}

#[test]
fn volumes_are_made_once_and_keep_their_content() {
    in_house(async |house| {
        let engine = &house.engine;
        let wanted =
            Create { name: "data".into(), labels: [("a".into(), "b".into())].into(), ..Create::default() };
        let made = volume::create(engine, wanted.clone()).await.unwrap();
        assert_eq!(
            (made.name.as_str(), made.driver.as_str(), made.scope.as_str()),
            ("data", "local", "local")
        );
        std::fs::write(format!("{}/f", made.mountpoint), "kept").unwrap();
        assert_eq!(volume::create(engine, wanted).await.unwrap(), made);
        assert_eq!(volume::inspect(engine, "data").await.unwrap(), made);
        let id = house.create(r#"{"Cmd":["cat","/v/f"],"HostConfig":{"Binds":["data:/v"]}}"#).await;
        assert_eq!(house.run(&id).await, (0, "kept".into()));
        assert_eq!(house.past(r#"{"type":["volume"],"event":["create"]}"#).await, ["volume create data"]);
        let error = volume::inspect(engine, "nope").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "get nope: no such volume"));
        let odd = Create { name: "a/b".into(), ..Create::default() };
        assert!(
            volume::create(engine, odd)
                .await
                .unwrap_err()
                .to_string()
                .starts_with("create a/b: \"a/b\" includes invalid")
        );
    });
}

#[test]
fn a_volume_in_use_stays() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house.create(r#"{"Cmd":["true"],"HostConfig":{"Binds":["data:/v"]}}"#).await;
        let error = volume::remove(engine, "data", true).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Conflict, format!("remove data: volume is in use - [{id}]"))
        );
        assert_eq!(house.volumes(r#"{"dangling":["false"]}"#).await, ["data"]);
        container::remove(engine, &id, api::container::Remove::default()).await.unwrap();
        assert_eq!(house.volumes(r#"{"dangling":["true"]}"#).await, ["data"]);
        volume::remove(engine, "data", false).await.unwrap();
        assert_eq!(volume::remove(engine, "data", false).await.unwrap_err().kind(), Kind::NotFound);
        volume::remove(engine, "data", true).await.unwrap();
        assert_eq!(house.volumes("").await, Vec::<String>::new());
    });
}

#[test]
fn a_mount_labels_the_volume_that_it_makes() {
    in_house(async |house| {
        let wanted = |label: &str| {
            format!(
                r#"{{"Cmd":["true"],"HostConfig":{{"Mounts":[{{"Type":"volume","Source":"data","Target":"/v/",
                "VolumeOptions":{{"Labels":{{"a":"{label}"}}}}}}]}}}}"#
            )
        };
        for label in ["first", "late"] {
            house.create(&wanted(label)).await;
            assert_eq!(volume::inspect(&house.engine, "data").await.unwrap().labels.unwrap()["a"], "first");
        }
    });
}

#[test]
fn a_new_volume_has_what_the_image_has_there() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","ls /etc; stat -c %a /etc"],"HostConfig":{"Binds":["data:/etc"]}}"#;
        let id = house.create(json).await;
        assert_eq!(house.run(&id).await.1, "group\nhostname\nhosts\nmtab\npasswd\nresolv.conf\n755\n");
        let plain = r#"{"Cmd":["ls","/etc"],"HostConfig":{"Binds":["bare:/etc:nocopy"]}}"#;
        let id = house.create(plain).await;
        let (_, listed) = house.run(&id).await;
        assert!(!listed.contains("group"), "{listed}");
    });
}

#[test]
fn pruning_takes_what_nobody_names() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house.create(r#"{"Cmd":["sh","-c","echo x >/v/f"],"Volumes":{"/v":{}},"HostConfig":{"Binds":["used:/u"]}}"#).await;
        house.run(&id).await;
        for name in ["named", "kept"] {
            let labels =
                if name == "kept" { [("keep".to_owned(), String::new())].into() } else { Default::default() };
            volume::create(engine, Create { name: name.into(), labels, ..Create::default() }).await.unwrap();
        }
        let pruned = prune::volumes(engine, Filters::default()).await.unwrap();
        assert_eq!(pruned.volumes_deleted, None, "the anonymous one is in use");
        container::remove(engine, &id, api::container::Remove::default()).await.unwrap();
        let pruned = prune::volumes(engine, Filters::default()).await.unwrap();
        assert_eq!(pruned.volumes_deleted.map(|names| names.len()), Some(1));
        assert!(pruned.space_reclaimed > 0);
        assert_eq!(house.volumes("").await, ["kept", "named", "used"]);
        let all = Filters::parse(r#"{"all":["true"],"label!":["keep"]}"#).unwrap();
        let pruned = prune::volumes(engine, all).await.unwrap();
        assert_eq!(pruned.volumes_deleted.unwrap(), ["named", "used"]);
    });
}

#[test]
fn containers_that_stand_still_are_pruned() {
    in_house(async |house| {
        let engine = &house.engine;
        let stopped = house.create_shell("echo 12345 >/f").await;
        house.run(&stopped).await;
        let running = house.create_shell("exec sleep 1000").await;
        house.start(&running).await;
        let old = Filters::parse(r#"{"until":["1h"]}"#).unwrap();
        assert_eq!(prune::containers(engine, old).await.unwrap().containers_deleted, None);
        let pruned = prune::containers(engine, Filters::default()).await.unwrap();
        assert_eq!(pruned.containers_deleted, Some(vec![stopped]));
        assert!(pruned.space_reclaimed >= 6, "{pruned:?}");
        assert!(container::inspect(engine, &running, false).await.is_ok());
    });
}

#[test]
fn what_cannot_be_pruned_does_not_keep_the_rest() {
    in_house(async |house| {
        let engine = &house.engine;
        let (stays, goes) = (house.create_shell("true").await, house.create_shell("true").await);
        // Its folder cannot be renamed.
        let obstacle = house.data_root().join("containers").join(format!("removing-{stays}"));
        std::fs::create_dir_all(obstacle.join("x")).unwrap();
        let pruned = prune::containers(engine, Filters::default()).await.unwrap();
        assert_eq!(pruned.containers_deleted, Some(vec![goes]));
        std::fs::remove_dir_all(obstacle).unwrap();
        for name in ["broken", "whole"] {
            volume::create(engine, Create { name: name.into(), ..Create::default() }).await.unwrap();
        }
        let data = house.data_root().join("volumes/broken/_data");
        std::fs::remove_dir(&data).unwrap();
        std::fs::write(&data, "no folder").unwrap();
        let all = Filters::parse(r#"{"all":["true"]}"#).unwrap();
        assert_eq!(prune::volumes(engine, all).await.unwrap().volumes_deleted.unwrap(), ["whole"]);
    });
}

#[test]
fn there_are_three_networks() {
    in_house(async |house| {
        let engine = &house.engine;
        let all = network::list(engine, Filters::default()).await.unwrap();
        let names: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.driver.as_str())).collect();
        assert_eq!(names, [("bridge", "bridge"), ("host", "host"), ("none", "null")]);
        let id = house.create_shell("exec sleep 1000").await;
        house.start(&id).await;
        let none = network::inspect(engine, "none").await.unwrap();
        assert_eq!(none.containers.keys().collect::<Vec<_>>(), [&id]);
        let bridge = network::inspect(engine, "bridge").await.unwrap();
        assert!(bridge.containers.is_empty() && bridge.ipam.config.is_some());
        let prefix = network::inspect(engine, &bridge.id[..12]).await.unwrap();
        assert_eq!(prefix.id, bridge.id);
        let error = network::inspect(engine, "nope").await.unwrap_err();
        assert_eq!(error.to_string(), "network nope not found");
        let filtered = Filters::parse(r#"{"driver":["null"]}"#).unwrap();
        assert_eq!(network::list(engine, filtered).await.unwrap().len(), 1);
    });
}

fn in_house_with_mounts(test: impl AsyncFnOnce(&House) + Send + 'static) {
    with_own_mounts(|| in_house(test));
}

fn on_device(name: &str, options: &[(&str, &str)]) -> Create {
    let driver_opts = options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Create { name: name.into(), driver_opts, ..Create::default() }
}

#[test]
fn a_device_is_mounted_from_the_first_use_to_the_last() {
    in_house_with_mounts(async |house| {
        let engine = &house.engine;
        let tmpfs = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=7")];
        let made = volume::create(engine, on_device("data", &tmpfs)).await.unwrap();
        assert_eq!(made.options.unwrap()["o"], "size=1m,uid=7");
        let place = made.mountpoint.as_str();
        let shell =
            |line: &str| format!(r#"{{"Cmd":["sh","-c","{line}"],"HostConfig":{{"Binds":["data:/v"]}}}}"#);
        let keeper = house.create(&shell("exec sleep 1000")).await;
        assert_eq!(mounted_at(place), 0);
        house.start(&keeper).await;
        let writer = house.create(&shell("stat -c %u /v; echo kept >/v/f; grep ' /v ' /proc/mounts")).await;
        let (code, output) = house.run(&writer).await;
        assert!(
            code == 0 && output.starts_with("7\ntmpfs /v tmpfs") && output.contains("size=1024k"),
            "{output}"
        );
        assert_eq!(
            (mounted_at(place), std::fs::read(format!("{place}/f")).unwrap()),
            (1, b"kept\n".to_vec())
        );
        let stop = container::stop(engine, &keeper, Some(0), None);
        stop.await.unwrap();
        crate::house::until(async || mounted_at(place) == 0).await;
        assert!(std::fs::read_dir(place).unwrap().next().is_none());
        assert_eq!(house.run(&house.create(&shell("ls /v")).await).await, (0, String::new()));
    });
}

#[test]
fn what_lies_on_a_device_outlives_its_volume() {
    in_house_with_mounts(async |house| {
        let engine = &house.engine;
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let bind = [("type", "none"), ("device", folder.path().to_str().unwrap()), ("o", "bind")];
        volume::create(engine, on_device("data", &bind)).await.unwrap();
        let json =
            r#"{"Cmd":["sh","-c","ls /etc; echo new >/etc/new"],"HostConfig":{"Binds":["data:/etc"]}}"#;
        let id = house.create(json).await;
        let (code, output) = house.run(&id).await;
        assert!(code == 0 && output.contains("passwd"), "an empty one is filled from the image: {output}");
        let remove = container::remove(engine, &id, api::container::Remove::default());
        remove.await.unwrap();
        let pruned = prune::volumes(engine, Filters::parse(r#"{"all":["true"]}"#).unwrap()).await.unwrap();
        assert_eq!(pruned.volumes_deleted, None);
        volume::remove(engine, "data", false).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("new")).unwrap(), b"new\n");
        assert!(folder.path().join("passwd").exists());
    });
}

#[test]
fn a_device_that_cannot_be_mounted_fails_the_start() {
    in_house_with_mounts(async |house| {
        let options = r#"{"Options":{"type":"none","device":"/nope","o":"bind"}}"#;
        let mount = format!(
            r#"{{"Type":"volume","Source":"data","Target":"/v","VolumeOptions":{{"NoCopy":true,"Labels":{{"a":"b"}},"DriverConfig":{options}}}}}"#
        );
        let id = house.create(&format!(r#"{{"HostConfig":{{"Mounts":[{mount}]}}}}"#)).await;
        let made = volume::inspect(&house.engine, "data").await.unwrap();
        assert_eq!(made.labels.unwrap()["a"], "b");
        let place = made.mountpoint;
        let why = format!(
            "error while mounting volume '{place}': failed to mount local volume: \
             mount /nope:{place}, flags: 0x1000: no such file or directory"
        );
        let error = container::start(&house.engine, &id).await.unwrap_err();
        assert_eq!(error.to_string(), why);
        let filled = house.try_create(None, r#"{"HostConfig":{"Binds":["data:/etc"]}}"#).await.unwrap_err();
        assert_eq!(filled.to_string(), format!("failed to populate volume: {why}"));
    });
}
