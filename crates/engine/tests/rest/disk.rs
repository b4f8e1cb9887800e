//! The engine itself: version, info, disk usage, a check of the store.

use api::system::{DiskUsageOptions, Problem};
use engine::system;

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
        assert!(containers[0].size_rw >= 6 && containers[0].size_root_fs > all.layers_size, "{containers:?}");
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
        let problem =
            Problem { kind: "damaged blob".into(), digest: blob.to_string(), image: image.id.to_string() };
        assert_eq!(system::check(engine).await.unwrap().problems, std::slice::from_ref(&problem));
        std::fs::remove_file(&path).unwrap();
        let problem = Problem { kind: "missing blob".into(), ..problem };
        assert_eq!(system::check(engine).await.unwrap().problems, [problem]);
        std::fs::write(&path, whole).unwrap();
        assert_eq!(system::check(engine).await.unwrap().problems, []);
    });
}
