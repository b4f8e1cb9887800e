//! The engine itself: version, info, disk usage, a check of the store.

use std::os::fd::AsFd;

use api::system::{DiskUsageOptions, Problem};
use engine::archive;
use engine::system::{self, Repair};

use crate::in_house;

#[test]
fn info_counts_and_names_what_is() {
    in_house(async |house| {
        let engine = &house.engine;
        let running = house.create_shell("exec sleep 1000").await;
        house.start(&running).await;
        house.create_shell("true").await;
        let paused = house.create_shell("exec sleep 1000").await;
        house.start(&paused).await;
        engine::container::pause(engine, &paused).await.unwrap();
        let info = system::info(engine).await.unwrap();
        let counts = (
            info.containers,
            info.containers_running,
            info.containers_paused,
            info.containers_stopped,
            info.images,
        );
        assert_eq!(counts, (3, 1, 1, 1, 1));
        assert_eq!((info.driver.as_str(), info.os_type.as_str()), ("overlay2", "linux"));
        assert!(info.n_cpu > 0 && info.mem_total > 0 && info.n_fd > 0 && !info.kernel_version.is_empty());
        assert_eq!(info.security_options[0], "name=seccomp,profile=builtin");
        assert!(info.memory_limit && info.pids_limit);
        assert_eq!(system::info(engine).await.unwrap().id, info.id);
        let version = system::version(engine).await.unwrap();
        assert_eq!((version.api_version.as_str(), version.min_api_version.as_str()), ("1.51", "1.24"));
        assert_eq!(version.components[0].details["KernelVersion"], info.kernel_version);
    });
}

#[test]
fn what_goes_meanwhile_has_no_size() {
    in_house(async |house| {
        let engine = &house.engine;
        let lost = house.create_shell("true").await;
        house.create(r#"{"Cmd":["true"],"HostConfig":{"Binds":["data:/v"]}}"#).await;
        engine.store().snapshot_remove(&lost).unwrap();
        std::fs::remove_dir(house.data_root().join("volumes/data/_data")).unwrap();
        let options = api::container::ListOptions { all: true, size: true, ..Default::default() };
        let listed = engine::container::list(engine, options).await.unwrap();
        let sizes: Vec<_> = listed.iter().map(|row| (row.id == lost, row.size_root_fs > 0)).collect();
        assert_eq!(sizes, [(false, true), (true, false)]);
        let inspected = engine::container::inspect(engine, &lost, true).await.unwrap();
        assert_eq!((inspected.size_rw, inspected.size_root_fs), (Some(0), Some(0)));
        let usage = system::disk_usage(engine, DiskUsageOptions::default()).await.unwrap();
        assert_eq!(usage.volumes.unwrap()[0].usage_data.as_ref().unwrap().size, 0);
    });
}

#[test]
fn disk_usage_tells_the_kinds_that_are_wanted() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house.create(r#"{"Cmd":["sh","-c","echo 12345 >/f; echo 1234567 >/v/g"],"HostConfig":{"Binds":["data:/v"]}}"#).await;
        house.run(&id).await;
        let all = system::disk_usage(engine, DiskUsageOptions::default()).await.unwrap();
        let images = all.images.unwrap();
        assert_eq!((images.len(), images[0].containers), (1, 1));
        assert!(
            all.layers_size > 100_000 && images[0].size == all.layers_size,
            "{} {images:?}",
            all.layers_size
        );
        let containers = all.containers.unwrap();
        assert!(containers[0].size_rw >= 6 && containers[0].size_root_fs > 100_000, "{containers:?}");
        let volumes = all.volumes.unwrap();
        let usage = volumes[0].usage_data.as_ref().unwrap();
        assert!(usage.size >= 8 && usage.ref_count == 1, "{usage:?}");
        assert_eq!(all.build_cache, Some(Vec::new()));
        let wanted = DiskUsageOptions { volumes: true, ..DiskUsageOptions::default() };
        let some = system::disk_usage(engine, wanted).await.unwrap();
        assert!(some.images.is_none() && some.containers.is_none() && some.build_cache.is_none());
        assert_eq!(some.volumes.unwrap().len(), 1);
    });
}

#[test]
fn a_check_names_what_is_damaged_and_whose_it_is() {
    in_house(async |house| {
        let engine = &house.engine;
        assert_eq!(system::check(engine).await.unwrap().problems, []);
        let image = engine.store().images().unwrap().remove(0);
        let blob = &image.layers[0].blob.digest;
        let path = house.data_root().join("store/content/blobs/sha256").join(blob.hex());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"rot").unwrap();
        let problem = Problem {
            kind: "damaged blob".into(),
            digest: blob.to_string(),
            image: image.id.to_string(),
            ..Problem::default()
        };
        assert_eq!(system::check(engine).await.unwrap().problems, std::slice::from_ref(&problem));
        std::fs::remove_file(&path).unwrap();
        let problem = Problem { kind: "missing blob".into(), ..problem };
        assert_eq!(system::check(engine).await.unwrap().problems, [problem]);
        std::fs::write(&path, whole).unwrap();
        assert_eq!(system::check(engine).await.unwrap().problems, []);
    });
}

/// All rows together are what the file system gave: what `du` tells.
#[test]
fn disk_usage_is_true_to_the_block() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house
            .create(
                r#"{"Cmd":["sh","-c","echo 12345 >/f; echo 1 >/v/g; seq 5000"],"HostConfig":{"Binds":["data:/v"]}}"#,
            )
            .await;
        house.run(&id).await;
        house.create_shell("true").await;
        let root = house.data_root().to_owned();
        let measured = || sys::fs::tree_usage(&root).unwrap().allocated;
        let sum = async || {
            let all = system::disk_usage(engine, DiskUsageOptions::default()).await.unwrap();
            let containers: i64 = all.containers.unwrap().iter().map(|row| row.size_rw).sum();
            let volumes: i64 = all.volumes.unwrap().iter().map(|row| row.usage_data.unwrap().size).sum();
            let other: i64 = all.other.iter().map(|row| row.size).sum();
            assert!(all.other.iter().all(|row| row.size > 0 || row.reclaimable), "{:?}", all.other);
            u64::try_from(all.layers_size + containers + volumes + other).unwrap()
        };
        // A sweep may be under way in the background.
        crate::house::until(async || measured() == sum().await).await;
        engine::container::remove(engine, &id, api::container::Remove::default()).await.unwrap();
        crate::house::until(async || measured() == sum().await).await;
    });
}

/// What a repair says of each problem: its kind, whether it was mended, and how or why not.
async fn repaired(house: &crate::house::House, force: bool) -> Vec<(String, bool, String)> {
    let check = system::repair(&house.engine, Repair { force }).await.unwrap();
    check.problems.into_iter().map(|problem| (problem.kind, problem.mended, problem.outcome)).collect()
}

#[test]
fn a_snapshot_of_nobody_goes_only_by_force_if_it_holds_files() {
    in_house(async |house| {
        let snapshots = house.data_root().join("store/snapshots");
        let image = house.engine.store().images().unwrap().remove(0).id;
        let (empty, full) = ("1".repeat(64), "2".repeat(64));
        for key in [&empty, &full] {
            house.engine.store().snapshot_create(key, Some(&image)).unwrap();
        }
        std::fs::write(snapshots.join(&full).join("diff/mine"), "precious").unwrap();
        let found = system::check(&house.engine).await.unwrap().problems;
        assert_eq!(found.iter().map(|problem| &problem.object).collect::<Vec<_>>(), [&empty, &full]);
        let why = "it holds files of a container that is gone: --force removes them";
        let stray = |mended, words: &str| ("stray snapshot".to_owned(), mended, words.to_owned());
        assert_eq!(repaired(house, false).await, [stray(true, "removed"), stray(false, why)]);
        assert!(snapshots.join(&full).join("diff/mine").exists());
        assert_eq!(repaired(house, true).await, [stray(true, "removed")]);
        assert_eq!(repaired(house, true).await, []);
    });
}

#[test]
fn a_container_gets_its_snapshot_and_its_record_back() {
    in_house(async |house| {
        let id = house.create_shell("echo here").await;
        let snapshot = house.data_root().join("store/snapshots").join(&id);
        std::fs::write(snapshot.join("diff/mine"), "precious").unwrap();
        std::fs::write(snapshot.join("snapshot.json"), "{").unwrap();
        let made = ("damaged snapshot".to_owned(), true, "its record was made anew".to_owned());
        assert_eq!(repaired(house, false).await, [made]);
        assert_eq!(std::fs::read_to_string(snapshot.join("diff/mine")).unwrap(), "precious");
        std::fs::remove_dir_all(&snapshot).unwrap();
        let words = "made anew; what the container had written is lost".to_owned();
        assert_eq!(repaired(house, false).await, [("missing snapshot".to_owned(), true, words)]);
        assert_eq!(house.run(&id).await, (0, "here\n".to_owned()));
        assert_eq!(repaired(house, false).await, []);
    });
}

/// A look into a container's files, and its end, leave its root mounted for a while.
#[test]
fn what_lies_below_a_kept_root_is_not_replaced() {
    in_house(async |house| {
        let id = house.create_shell("echo here").await;
        archive::stat(&house.engine, &id, "/bin").await.unwrap();
        let store = house.engine.store();
        let layer = store.images().unwrap().remove(0).layers.remove(0).diff_id;
        let record = store.layer_path(&layer).join("layer.json");
        let whole = std::fs::read(&record).unwrap();
        std::fs::write(&record, "{").unwrap();
        let why = format!("the files of container {id:.12} are still open: try again soon");
        assert_eq!(repaired(house, false).await, [("damaged layer".to_owned(), false, why)]);
        std::fs::write(&record, &whole).unwrap();
        assert_eq!(house.run(&id).await, (0, "here\n".to_owned()));
        std::fs::write(&record, "{").unwrap();
        // Its run may not be put away yet, which is told in other words.
        let outcomes = repaired(house, false).await;
        assert!(matches!(&outcomes[..], [(kind, false, _)] if kind == "damaged layer"), "{outcomes:?}");
        std::fs::write(&record, &whole).unwrap();
    });
}

#[test]
fn a_mount_in_the_store_is_found_and_goes() {
    in_house(async |house| {
        let place = house.data_root().join("store/trash/mounted");
        std::fs::create_dir(&place).unwrap();
        let mount = sys::mount::new_filesystem("tmpfs", None, &[], sys::mount::Attributes::NONE).unwrap();
        sys::mount::attach(mount.as_fd(), sys::fs::open_dir(&place).unwrap().as_fd()).unwrap();
        drop(mount);
        let outcomes = repaired(house, false).await;
        if !matches!(&outcomes[..], [(kind, true, _)] if kind == "left mount") {
            sys::mount::detach(&place).unwrap();
            panic!("{outcomes:?}");
        }
        assert_eq!(repaired(house, false).await, []);
    });
}
