//! `cp`, `export` and `diff`, with containers that run and that do not.

use std::io::Read;

use bytes::Bytes;
use engine::archive::{self, Put};
use engine::container;
use fault::{Kind, Result};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::house::House;
use crate::in_house;

/// A whole archive as its names in order; files with their content, links with their target.
fn listed(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(target) = entry.link_name().unwrap() {
            name += &format!(" -> {}", target.display());
        }
        let mut content = String::new();
        if entry.size() < 100 && entry.read_to_string(&mut content).is_ok() && !content.is_empty() {
            name += &format!(": {}", content.trim_end());
        }
        name
    });
    entries.collect()
}

async fn collected(mut parts: BoxStream<'static, Result<Bytes>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    bytes
}

impl House {
    async fn get(&self, id: &str, path: &str) -> Vec<String> {
        listed(&collected(archive::get(&self.engine, id, path).await.unwrap().1).await)
    }

    async fn put(&self, id: &str, path: &str, how: Put, tar: Vec<u8>) -> Result<()> {
        let body = stream::iter([Ok(Bytes::from(tar))]).boxed();
        archive::put(&self.engine, id, path, how, body).await
    }

    /// A container that has run this line and stands still now, by stopping if it still runs.
    async fn stopped(&self, json: &str) -> String {
        let id = self.create(json).await;
        self.run(&id).await;
        id
    }
}

/// A tar of one file that belongs to user 7.
fn one_file(name: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o640);
    header.set_uid(7);
    header.set_gid(7);
    header.set_size(content.len() as u64);
    header.set_path(name).unwrap();
    header.set_cksum();
    tar.append(&header, content.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

const TREE: &str =
    "mkdir -p /d/in; echo one >/d/in/f; echo two >/d/.hidden; cd /; ln -s d/in /link; ln -s gone /broken";

#[test]
fn archives_are_named_by_the_path_that_was_asked_for() {
    in_house(async |house| {
        let id = house.stopped(&format!(r#"{{"Cmd":["sh","-c","{TREE}"]}}"#)).await;
        let mut text = String::new();
        for path in ["/d", "d/", "/d/.", "/d/in/f", "/link", "/link/", "/link/.", "/link/f", "/tmp/../d/in"] {
            text += &format!("{path}: {:?}\n", house.get(&id, path).await);
        }
        insta::assert_snapshot!(text);
        let whole = house.get(&id, "/").await;
        assert!(whole.contains(&"/".to_owned()) && whole.contains(&"/d/in/f: one".to_owned()), "{whole:?}");
    });
}

#[test]
fn a_stat_tells_what_go_clients_expect() {
    in_house(async |house| {
        let id = house.stopped(&format!(r#"{{"Cmd":["sh","-c","{TREE}"]}}"#)).await;
        let mut text = String::new();
        for path in ["/d", "/d/in/f", "/link", "/link/", "/broken", "/", "/d/."] {
            let stat = archive::stat(&house.engine, &id, path).await.unwrap();
            text += &format!("{path}: {} {:o} {:?}\n", stat.name, stat.mode, stat.link_target);
        }
        insta::assert_snapshot!(text);
    });
}

#[test]
fn what_is_not_there_is_told_in_dockers_words() {
    in_house(async |house| {
        house.try_create(Some("web"), r#"{"Cmd":["true"]}"#).await.unwrap();
        let engine = &house.engine;
        let error = archive::stat(engine, "web", "/x").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::NotFound, "Could not find the file /x in container web")
        );
        let error = archive::get(engine, "web", "/etc/x/y").await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "Could not find the file /etc/x/y in container web");
        let put = async |path| house.put("web", path, Put::default(), one_file("f", "x")).await.unwrap_err();
        assert_eq!(put("/x").await.to_string(), "Could not find the file /x in container web");
        let error = put("/etc/passwd").await;
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Invalid, "extraction point is not a directory")
        );
        for path in ["/etc/passwd/x", "/etc/passwd/"] {
            let error = archive::stat(engine, "web", path).await.unwrap_err();
            assert!(error.to_string().ends_with(": not a directory"), "{error}");
            assert_eq!(error.kind(), Kind::Invalid);
        }
        let error = archive::stat(engine, "nobody", "/").await.unwrap_err();
        assert_eq!(error.to_string(), "No such container: nobody");
    });
}

#[test]
fn files_go_in_and_come_out_again_running_or_not() {
    in_house(async |house| {
        let id = house.create_shell("echo ready; exec sleep 1000").await;
        house.put(&id, "/tmp", Put::default(), one_file("before", "1")).await.unwrap();
        house.start(&id).await;
        assert_eq!(house.get(&id, "/tmp/before").await, ["before: 1"]);
        house.put(&id, "/tmp", Put::default(), one_file("during", "2")).await.unwrap();
        container::kill(&house.engine, &id, "KILL").await.unwrap();
        let wait = container::wait(&house.engine, &id, api::container::WaitCondition::NotRunning).unwrap();
        wait.await;
        house.put(&id, "/tmp", Put::default(), one_file("after", "3")).await.unwrap();
        assert_eq!(house.get(&id, "/tmp").await, ["tmp/", "tmp/after: 3", "tmp/before: 1", "tmp/during: 2"]);
        house.start(&id).await;
        assert_eq!(house.get(&id, "/tmp/after").await, ["after: 3"]);
    });
}

#[test]
fn owners_are_the_archives_or_the_containers_user() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["sh","-c","stat -c '%u %g %a' /tmp/a /tmp/b"],"User":"www"}"#).await;
        house.put(&id, "/tmp", Put::default(), one_file("a", "x")).await.unwrap();
        let how = Put { copy_uid_gid: true, ..Put::default() };
        house.put(&id, "/tmp", how, one_file("b", "x")).await.unwrap();
        assert_eq!(house.run(&id).await, (0, "7 7 640\n33 33 640\n".into()));
    });
}

#[test]
fn a_folder_is_not_overwritten_by_a_file_if_so_asked() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["true"]}"#).await;
        let how = Put { no_overwrite_dir_non_dir: true, ..Put::default() };
        let error = house.put(&id, "/", how, one_file("tmp", "x")).await.unwrap_err();
        assert!(
            error.to_string().contains("cannot overwrite directory \"/tmp\" with non-directory \"/\""),
            "{error}"
        );
        house.put(&id, "/", Put::default(), one_file("tmp", "x")).await.unwrap();
        assert_eq!(house.get(&id, "/tmp").await, ["tmp: x"]);
    });
}

#[test]
fn read_only_roots_and_mounts_are_not_written() {
    in_house(async |house| {
        let id = house
            .create(
                r#"{"Cmd":["true"],"HostConfig":{"ReadonlyRootfs":true,
                "Binds":["some:/rw","other:/ro:ro"]}}"#,
            )
            .await;
        let put = async |path| house.put(&id, path, Put::default(), one_file("f", "x")).await;
        assert_eq!(put("/tmp").await.unwrap_err().to_string(), "container rootfs is marked read-only");
        assert_eq!(put("/ro").await.unwrap_err().to_string(), "mounted volume is marked read-only");
        put("/rw").await.unwrap();
        assert_eq!(house.get(&id, "/rw").await, ["rw/", "rw/f: x"]);
    });
}

#[test]
fn volumes_and_binds_are_seen_whether_it_runs_or_not() {
    in_house(async |house| {
        let host = house.path().join("host");
        std::fs::create_dir(&host).unwrap();
        std::fs::write(host.join("f"), "host").unwrap();
        let json = format!(
            r#"{{"Cmd":["sh","-c","echo vol >/d/v/f; ln -s /d/v /link; echo ready; exec sleep 1000"],
            "HostConfig":{{"Binds":["some:/d/v","{}:/d/b"],"Tmpfs":{{"/d/t":""}}}}}}"#,
            host.display()
        );
        let id = house.create(&json).await;
        let expected = ["d/", "d/b/", "d/b/f: host", "d/v/"];
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names.dedup();
            names
        };
        assert_eq!(sorted(house.get(&id, "/d").await), expected);
        house.start_and_see(&id, "ready").await;
        let running = ["d/", "d/b/", "d/b/f: host", "d/t/", "d/v/", "d/v/f: vol"];
        assert_eq!(sorted(house.get(&id, "/d").await), running);
        assert_eq!(house.get(&id, "/link/f").await, ["f: vol"]);
        container::stop(&house.engine, &id, Some(0), None).await.unwrap();
        assert_eq!(sorted(house.get(&id, "/d").await), running);
        assert_eq!(house.get(&id, "/link/f").await, ["f: vol"]);
        house.put(&id, "/link", Put::default(), one_file("g", "new")).await.unwrap();
        assert_eq!(sorted(house.get(&id, "/d/v").await), ["v/", "v/f: vol", "v/g: new"]);
    });
}

#[test]
fn the_kernels_files_are_no_ones_files() {
    in_house(async |house| {
        let id = house.create_shell("echo ready; exec sleep 1000").await;
        house.start_and_see(&id, "ready").await;
        let whole = house.get(&id, "/").await;
        for (folder, inner) in [("/proc/", "/proc/1"), ("/sys/", "/sys/kernel"), ("/dev/", "/dev/null")] {
            assert!(whole.contains(&folder.to_owned()), "{folder}");
            assert!(!whole.iter().any(|name| name.starts_with(inner)), "{inner}");
        }
    });
}

#[test]
fn links_lead_nowhere_else_than_into_the_container() {
    in_house(async |house| {
        let secret = house.path().join("secret");
        std::fs::write(&secret, "host's").unwrap();
        let line = format!(
            "ln -s {} /a; ln -s /../../../..{} /b; ln -s / /root/up; ln -s c /c",
            secret.display(),
            secret.display()
        );
        let id = house.create_shell(&line).await;
        house.run(&id).await;
        for path in ["/a/", "/b/", "/a/.", &format!("/root/up{}", secret.display())] {
            let error = archive::get(&house.engine, &id, path).await.map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("Could not find the file {path} in container {id}"));
        }
        assert_eq!(house.get(&id, "/root/up/root/up/etc/group").await.len(), 1);
        let error = archive::get(&house.engine, &id, "/c/").await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "/c: too many links");
        let escaping = one_file("x", "y");
        let mut tar = tar::Builder::new(escaping);
        drop(tar.finish());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_mut_bytes()[..10].copy_from_slice(b"../../../x");
        header.set_cksum();
        let mut bad = header.as_bytes().to_vec();
        bad.extend([b'!'; 512]);
        bad.extend([0; 1024]);
        let error = house.put(&id, "/tmp", Put::default(), bad).await.unwrap_err();
        assert!(error.to_string().contains("invalid entry name"), "{error}");
        assert!(!house.path().join("x").exists());
    });
}

#[test]
fn a_broken_off_archive_is_an_error() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["true"]}"#).await;
        let tar = one_file("f", &"x".repeat(5000));
        let error = house.put(&id, "/tmp", Put::default(), tar[..2000].to_vec()).await.unwrap_err();
        assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
        let body = stream::iter([
            Ok(Bytes::from(tar[..1024].to_vec())),
            Err(fault::Error::unavailable("the client went away")),
        ]);
        let put = archive::put(&house.engine, &id, "/tmp", Put::default(), body.boxed()).await;
        assert!(put.is_err());
    });
}

#[test]
fn an_export_has_the_root_without_its_mounts() {
    in_house(async |house| {
        let id = house
            .create(
                r#"{"Cmd":["sh","-c","echo x >/f; echo y >/v/g; echo ready; exec sleep 1000"],
                "HostConfig":{"Binds":["some:/v"]}}"#,
            )
            .await;
        house.start_and_see(&id, "ready").await;
        let running = listed(&collected(archive::export(&house.engine, &id).await.unwrap()).await);
        assert!(running.contains(&"f: x".to_owned()) && running.contains(&"v/".to_owned()), "{running:?}");
        assert!(running.contains(&"proc/".to_owned()) && running.contains(&"bin/sh -> busybox".to_owned()));
        assert!(
            !running.iter().any(|name| name.starts_with("v/g") || name.starts_with("proc/1")),
            "{running:?}"
        );
        container::stop(&house.engine, &id, Some(0), None).await.unwrap();
        let stopped = listed(&collected(archive::export(&house.engine, &id).await.unwrap()).await);
        assert_eq!(running, stopped);
    });
}

#[test]
fn changes_are_what_differs_from_the_image() {
    in_house(async |house| {
        let id = house.create_shell("echo x >/new; rm /etc/group; echo >>/etc/passwd").await;
        assert!(archive::changes(&house.engine, &id).await.unwrap().is_empty());
        house.run(&id).await;
        let changes = archive::changes(&house.engine, &id).await.unwrap();
        let changes: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.kind)).collect();
        assert_eq!(changes, [("/etc", 0), ("/etc/group", 2), ("/etc/passwd", 0), ("/new", 1)]);
    });
}

#[test]
fn what_goes_into_a_folder_with_mounts_goes_into_them() {
    in_house(async |house| {
        let host = house.path().join("host");
        std::fs::create_dir_all(host.join("deep")).unwrap();
        let binds = [&format!("{}:/d/b", host.display()), "data:/d/b/deep", "kept:/d/ro:ro"];
        let json = serde_json::json!({ "Cmd": ["true"], "HostConfig": { "Binds": binds } });
        let id = house.stopped(&json.to_string()).await;
        for (name, content) in [("d/f", "1"), ("d/b/f", "2"), ("d/b/deep/f", "3"), ("etc/hosts", "4")] {
            house.put(&id, "/", Put::default(), one_file(name, content)).await.unwrap();
            assert_eq!(house.get(&id, &format!("/{name}")).await.len(), 1);
        }
        let refused = house.put(&id, "/d", Put::default(), one_file("ro/f", "5")).await.unwrap_err();
        assert!(refused.to_string().contains("Read-only file system"), "{refused}");
        let of_host = |path: &str| std::fs::read_to_string(house.path().join(path)).ok();
        assert_eq!(of_host("host/f").as_deref(), Some("2"));
        assert_eq!(of_host("data/volumes/data/_data/f").as_deref(), Some("3"));
        assert_eq!(of_host("host/deep/f"), None, "the volume is there, not on the host");
        let changes = archive::changes(&house.engine, &id).await.unwrap();
        let files: Vec<_> = changes.iter().filter(|change| change.path.ends_with("/f")).collect();
        assert!(matches!(files[..], [file] if file.path == "/d/f"), "{changes:?}");
    });
}
