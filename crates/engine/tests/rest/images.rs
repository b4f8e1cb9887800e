//! Images, from where they are made to where they go.

use api::container::Commit;
use api::filters::Filters;
use api::image::ListOptions;
use api::progress::Message;
use bytes::Bytes;
use engine::image::{self, Import};
use engine::prune;
use fault::Kind;
use futures_util::StreamExt;
use futures_util::stream;

use crate::house::House;
use crate::in_house;

/// A tar of nothing: two empty blocks.
const EMPTY_TAR: &[u8] = &[0; 1024];

impl House {
    async fn images(&self, filters: &str) -> Vec<String> {
        let options = ListOptions { filters: Filters::parse(filters).unwrap(), ..ListOptions::default() };
        let rows = image::list(&self.engine, options).await.unwrap();
        rows.into_iter().flat_map(|row| row.repo_tags.unwrap_or_default()).collect()
    }

    async fn saved(&self, name: &str) -> Vec<u8> {
        let mut parts = image::save(&self.engine, vec![name.into()], vec![]).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            bytes.extend_from_slice(&part.unwrap());
        }
        bytes
    }

    async fn imported(&self, bytes: &'static [u8], changes: Vec<String>) -> fault::Result<Vec<String>> {
        let wanted = Import { reference: Some("x:1".parse().unwrap()), changes, ..Import::default() };
        let body = stream::iter([Ok(Bytes::from_static(bytes))]).boxed();
        let lines = image::import(&self.engine, wanted, body).await?;
        Ok(lines.map(|line| line.status + &line.error).collect().await)
    }

    async fn loaded(&self, tar: Vec<u8>) -> Vec<String> {
        let lines = self.lines_of_load(tar, true).await;
        lines.into_iter().map(|line| format!("{}{}", line.stream, line.error)).collect()
    }

    async fn lines_of_load(&self, tar: Vec<u8>, quiet: bool) -> Vec<Message> {
        let body = stream::iter([Ok(Bytes::from(tar))]).boxed();
        image::load(&self.engine, body, quiet, vec![]).await.unwrap().collect().await
    }
}

/// Nothing has planned a sweep before, so this does.
#[test]
fn a_load_may_be_the_first_change_of_all() {
    in_house(async |house| {
        let tar = house.saved("busybox").await;
        assert_eq!(house.loaded(tar).await, ["Loaded image: busybox:latest\n"]);
    });
}

#[test]
fn names_come_and_go_and_the_image_with_its_last() {
    in_house(async |house| {
        let engine = &house.engine;
        image::tag(engine, "busybox", &"mine:2".parse().unwrap()).await.unwrap();
        assert_eq!(house.images("").await, ["busybox:latest", "mine:2"]);
        assert_eq!(house.images(r#"{"reference":["mine*"]}"#).await, ["mine:2"]);
        let id = image::inspect(engine, "mine:2").await.unwrap().id;
        let user = house.create_shell("true").await;
        let removed = image::remove(engine, "busybox", false, true, vec![]).await.unwrap();
        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].untagged, "busybox:latest");
        let refused = image::remove(engine, "mine:2", false, true, vec![]).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
        engine::container::remove(engine, &user, api::container::Remove::default()).await.unwrap();
        let removed = image::remove(engine, "mine:2", false, true, vec![]).await.unwrap();
        assert_eq!((removed[0].untagged.as_str(), removed[1].deleted.as_str()), ("mine:2", id.as_str()));
        let error = image::inspect(engine, "mine:2").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "No such image: mine:2"));
        let told = house.past(r#"{"type":["image"]}"#).await;
        assert_eq!(told.len(), 4, "{told:?}");
    });
}

#[test]
fn a_saved_image_loads_again() {
    in_house(async |house| {
        let engine = &house.engine;
        let before = image::inspect(engine, "busybox").await.unwrap();
        let tar = house.saved("busybox").await;
        image::remove(engine, "busybox", false, true, vec![]).await.unwrap();
        assert_eq!(house.loaded(tar.clone()).await, ["Loaded image: busybox:latest\n"]);
        let after = image::inspect(engine, "busybox").await.unwrap();
        assert_eq!((after.id, after.root_fs.layers), (before.id, before.root_fs.layers));
        assert_eq!(house.run_shell("echo hi").await, (0, "hi\n".into()));
        let lines = house.lines_of_load(tar.clone(), false).await;
        assert!(lines.iter().any(|line| line.status == "Loading layer"), "{lines:?}");
        let broken = house.loaded(tar[..tar.len() / 2].to_vec()).await;
        assert!(broken.last().unwrap().contains("EOF"), "{broken:?}");
        let missing = image::save(engine, vec!["nope".into()], vec![]).await.map(|_| ()).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
    });
}

#[test]
fn a_commit_has_the_changes_and_the_config() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house.create_shell("echo kept >/f").await;
        house.run(&id).await;
        let wanted = Commit {
            container: id.clone(),
            repo: "made".into(),
            comment: "why".into(),
            changes: vec!["CMD [\"cat\",\"/f\"]".into(), "ENV A=1".into()],
            pause: true,
            ..Commit::default()
        };
        let made = image::commit(engine, wanted).await.unwrap();
        let shown = image::inspect(engine, "made").await.unwrap();
        assert_eq!((&shown.id, shown.comment.as_str()), (&made, "why"));
        assert!(shown.config.env.contains(&"A=1".to_owned()), "{:?}", shown.config.env);
        let again = house.create(r#"{"Image":"made"}"#).await;
        assert_eq!(house.run(&again).await, (0, "kept\n".into()));
        let history = image::history(engine, "made", None).await.unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history[0].tags.as_deref(), Some(&["made:latest".to_owned()][..]));
        let told = house.past(r#"{"event":["commit"]}"#).await;
        assert_eq!(told.len(), 1);
    });
}

#[test]
fn an_import_tells_its_id_and_a_bad_one_why() {
    in_house(async |house| {
        let lines = house.imported(&[0; 1024], vec!["USER www".into()]).await.unwrap();
        let shown = image::inspect(&house.engine, "x:1").await.unwrap();
        assert_eq!((lines, shown.config.user.as_str()), (vec![shown.id], "www"));
        let refused = house.imported(&[0; 1024], vec!["RUN x".into()]).await.unwrap_err();
        assert_eq!(refused.to_string(), "RUN is not a valid change command");
        let garbage = house.imported(&[7; 1024], Vec::new()).await.unwrap_err();
        assert_eq!(garbage.to_string(), "archive/tar: invalid tar header");
        let cut = house.imported(&[0; 100], Vec::new()).await.unwrap_err();
        assert_eq!(cut.to_string(), "unexpected EOF");
    });
}

#[test]
fn pruning_takes_the_nameless_or_the_unused() {
    in_house(async |house| {
        let engine = &house.engine;
        let id = house.create_shell("echo x >/f").await;
        house.run(&id).await;
        let nameless =
            image::commit(engine, Commit { container: id.clone(), ..Commit::default() }).await.unwrap();
        image::tag(engine, "busybox", &"other:1".parse().unwrap()).await.unwrap();
        let pruned = prune::images(engine, Filters::default()).await.unwrap();
        let deleted = pruned.images_deleted.unwrap();
        assert!(deleted.iter().any(|row| row.deleted == nameless), "{deleted:?}");
        assert!(pruned.space_reclaimed > 0);
        let all = Filters::parse(r#"{"dangling":["false"]}"#).unwrap();
        assert_eq!(
            prune::images(engine, all.clone()).await.unwrap().images_deleted,
            None,
            "a container uses it"
        );
        engine::container::remove(engine, &id, api::container::Remove::default()).await.unwrap();
        prune::images(engine, all).await.unwrap();
        assert_eq!(house.images("").await, Vec::<String>::new());
    });
}

#[test]
fn an_images_health_check_is_warned_of() {
    in_house(async |house| {
        house.imported(&[0; 1024], vec!["HEALTHCHECK CMD true".into()]).await.unwrap();
        let made = async |json: &str| {
            let wanted = api::from_slice(json.as_bytes()).unwrap();
            engine::container::create(&house.engine, None, wanted).await
        };
        let created = made(r#"{"Image":"x:1","Cmd":["true"]}"#).await.unwrap();
        let warning = "The image's HEALTHCHECK is not supported yet. The container has no health status.";
        assert_eq!(created.warnings, [warning]);
        assert!(house.inspect(&created.id).await.state.health.is_none());
        let without =
            made(r#"{"Image":"x:1","Cmd":["true"],"Healthcheck":{"Test":["NONE"]}}"#).await.unwrap();
        assert!(without.warnings.is_empty());
        let own = made(r#"{"Image":"x:1","Cmd":["true"],"Healthcheck":{"Test":["CMD","true"]}}"#).await;
        assert_eq!(own.unwrap_err().to_string(), "not supported: health checks");
    });
}

#[test]
fn pinned_images_are_shown_and_not_pruned() {
    in_house(async |house| {
        let engine = &house.engine;
        house.imported(EMPTY_TAR, Vec::new()).await.unwrap();
        image::pin(engine, "x:1", true).await.unwrap();
        assert!(image::inspect(engine, "x:1").await.unwrap().pinned);
        assert_eq!(house.images(r#"{"pinned":["true"]}"#).await, ["x:1"]);
        assert_eq!(house.images(r#"{"pinned":["false"]}"#).await, ["busybox:latest"]);
        let all = || Filters::parse(r#"{"dangling":["false"]}"#).unwrap();
        prune::images(engine, all()).await.unwrap();
        assert_eq!(house.images("{}").await, ["x:1"]);
        image::pin(engine, "x:1", false).await.unwrap();
        prune::images(engine, all()).await.unwrap();
        assert!(house.images("{}").await.is_empty());
        assert_eq!(image::pin(engine, "x:1", true).await.unwrap_err().kind(), Kind::NotFound);
    });
}

#[test]
fn images_beyond_the_budget_go_and_say_why() {
    crate::house::in_house(async |house| {
        let budget = engine::ImageBudget { bytes_max: 0, spared_for: std::time::Duration::ZERO };
        let id = house.create_shell("true").await;
        house.imported(EMPTY_TAR, Vec::new()).await.unwrap();
        image::tag(&house.engine, "x:1", &"pinned:1".parse().unwrap()).await.unwrap();
        let house = house.reopen_with(|config| config.image_budget = Some(budget)).await;
        // One is in use by a container that never ran; the other goes in the background.
        crate::house::until(async || house.images("{}").await == ["busybox:latest"]).await;
        let options = api::events::Options { since: Some(0), ..api::events::Options::default() };
        let events: Vec<_> =
            engine::events::subscribe(&house.engine, options).unwrap().take(3).collect().await;
        let told: Vec<_> = events
            .iter()
            .map(|event| (event.action.as_str(), event.actor.attributes["reason"].as_str()))
            .collect();
        assert_eq!(told, [("untag", "budget"), ("untag", "budget"), ("delete", "budget")]);
        assert_eq!(house.run(&id).await.0, 0);
        house
    });
}

/// An image made here, as Docker would have it in its data root: taken over with its id, and its volumes with it.
#[test]
fn what_docker_has_comes_over() {
    in_house(async |house| {
        let root = house.path().join("docker");
        std::fs::create_dir_all(root.join("image/overlay2")).unwrap();
        std::fs::write(root.join("image/overlay2/repositories.json"), r#"{"Repositories":{}}"#).unwrap();
        let volumes = root.join("volumes");
        for (name, file) in
            [("data", "f"), ("0".repeat(64).as_str(), "f"), ("limited", "f"), ("mounted", "f")]
        {
            std::fs::create_dir_all(volumes.join(name).join("_data")).unwrap();
            std::fs::write(volumes.join(name).join("_data").join(file), name).unwrap();
        }
        std::fs::write(volumes.join("limited/opts.json"), r#"{"Quota":{"Size":1024}}"#).unwrap();
        let options =
            r#"{"MountType":"tmpfs","MountOpts":"size=1m","MountDevice":"tmpfs","Quota":{"Size":0}}"#;
        std::fs::write(volumes.join("mounted/opts.json"), options).unwrap();
        std::fs::write(volumes.join("metadata.db"), "").unwrap();
        let adopt = async |dry_run| -> Vec<String> {
            let wanted =
                image::Adopt { path: root.clone(), volumes: true, dry_run, ..image::Adopt::default() };
            let lines = image::adopt(&house.engine, wanted).await.unwrap();
            lines.map(|line| line.stream + &line.error).collect().await
        };
        let left = "Left: volume limited: not supported: a volume with a quota\n";
        let end = "1 volume was not adopted";
        let would = ["Would adopt volume: data\n", left, "Would adopt volume: mounted\n", end];
        assert_eq!(adopt(true).await, would);
        assert_eq!(engine::volume::list(&house.engine, Filters::default()).await.unwrap().volumes, []);
        let lock = sys::fs::Lock::acquire(volumes.join("metadata.db")).unwrap();
        assert!(adopt(false).await[0].ends_with("stop it first, or leave out --volumes"));
        drop(lock);
        assert_eq!(adopt(false).await, ["Adopted volume: data\n", left, "Adopted volume: mounted\n", end]);
        let volume = engine::volume::inspect(&house.engine, "data").await.unwrap();
        assert_eq!(std::fs::read_to_string(format!("{}/f", volume.mountpoint)).unwrap(), "data");
        let mounted = engine::volume::inspect(&house.engine, "mounted").await.unwrap();
        assert_eq!(std::fs::read_dir(mounted.mountpoint).unwrap().count(), 0, "files lie on the device");
        assert_eq!(mounted.options.unwrap()["o"], "size=1m");
        let here = ["Volume data is here already\n", left, "Volume mounted is here already\n", end];
        assert_eq!(adopt(false).await, here);
        let nowhere = image::Adopt { path: "relative".into(), ..image::Adopt::default() };
        assert_eq!(image::adopt(&house.engine, nowhere).await.err().unwrap().kind(), Kind::Invalid);
    });
}
