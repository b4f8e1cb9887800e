//! The process is killed at every crash point of every action; the next open converges.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use store::{Budget, Commit, Owners, Remove, Store};

use crate::fetch::fetched;
use crate::make::{docker_archive, gzip, import, name, root, rubbish, tar};

type Scene = (&'static str, fn(&Store));

/// What the child process does, on a store that `prepare` made.
const SCENES: &[Scene] = &[
    ("import", |store| drop(import(store, &tar(&[("a", b"1")]), "new"))),
    ("load", |store| {
        let archive = docker_archive("new:1", &[&root(), &tar(&[("b", b"2")]), &tar(&[("c", b"3")])]);
        store.load(archive.as_slice(), &[], &mut |_| ()).unwrap();
    }),
    ("commit", |store| {
        let base = store.resolve("base").unwrap();
        let snapshot = store.snapshot("work").unwrap();
        let commit = Commit { parent: Some(base), reference: Some(name("new")), ..Commit::default() };
        store.commit(&snapshot, &commit).unwrap();
    }),
    ("snapshot", |store| {
        let base = store.resolve("base").unwrap();
        store.snapshot_remove("new").unwrap();
        store.snapshot_create("new", Some(&base)).unwrap();
    }),
    ("remove", |store| {
        store.snapshot_remove("work").unwrap();
        for name in ["used", "gone"] {
            if store.resolve(name).is_ok() {
                let remove = Remove { force: false, prune_children: true, in_use: &|_| Vec::new() };
                store.remove(name, &remove).unwrap();
            }
        }
        store.sweep().unwrap();
    }),
    ("sweep", |store| store.sweep().unwrap()),
    ("fetch", |store| {
        let tars = [root(), tar(&[("d", b"4")])];
        let lease = store.lease();
        let fetch = |tar: &Vec<u8>| {
            let packed = gzip(tar);
            let blob = oci::Descriptor::of(oci::media_type::OCI_LAYER_GZIP, &packed);
            let partial = store.partial(&lease, &blob).unwrap();
            let length = partial.length() as usize;
            partial.finish(&lease, &oci::Digest::sha256(tar), &packed[length..], &|_| ()).unwrap()
        };
        let layers = tars.iter().map(fetch).collect();
        store.image_add(&lease, fetched(&[&tars[0], &tars[1]], layers, "new")).unwrap();
    }),
    ("compress", |store| {
        let base = store.resolve("base").unwrap();
        store.image_compress(&store.lease(), &base).unwrap();
    }),
    ("adopt", |store| {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        crate::adopt::docker(folder.path(), &[&root(), &tar(&[("e", b"5")])]);
        crate::adopt::second(folder.path());
        store.adopt(folder.path(), &[], &mut |_| ()).unwrap();
    }),
    ("budget", |store| {
        let in_use = |id: &store::ImageId| match store.resolve("base").unwrap() == *id {
            true => vec![store::User { container: "c".repeat(64), running: true }],
            false => Vec::new(),
        };
        store.used(&store.resolve("base").unwrap());
        store.keep_within(&Budget { bytes_max: 0, spared_for: Duration::ZERO }, &in_use).unwrap();
    }),
    ("repair", |store| drop(store.repair(&Owners::none()).unwrap())),
    ("blob", |store| drop(store.blob_put(&store.lease(), &b"hello"[..], None).unwrap())),
];

fn prepare(root_path: &Path) {
    let store = Store::open(root_path).unwrap();
    let base = import(&store, &root(), "base");
    import(&store, &tar(&[("gone", b"1")]), "gone");
    let used = import(&store, &tar(&[("used", b"1")]), "used");
    store.snapshot_create("stays", Some(&used)).unwrap();
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"changed").unwrap();
}

/// Not a test by itself: what the tests below start as a process of its own.
#[test]
fn child() {
    let (Ok(scene), Ok(path)) = (std::env::var("STORE_SCENE"), std::env::var("STORE_PATH")) else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    let (_, action) = SCENES.iter().find(|(name, _)| *name == scene).unwrap();
    action(&store);
}

/// Whether the child was killed at the point, instead of coming to its end.
#[expect(clippy::disallowed_methods, reason = "the process that is to die is this test's own program")]
fn is_killed(scene: &str, path: &Path, point: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact"])
        .env("STORE_SCENE", scene)
        .env("STORE_PATH", path)
        .env("KOGGE_CRASH", point)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(9), "{scene} at {point}: {status}");
    !status.success()
}

/// Every point that stands in the sources.
fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let calls = text.split("crash::point(\"").skip(1);
            points.extend(calls.map(|rest| rest.split('"').next().unwrap().to_string()));
        }
    }
    points
}

/// What must hold after any crash.
fn assert_converged(path: &Path, scene: &str, point: &str) {
    let store = Store::open(path).unwrap_or_else(|error| panic!("{scene} at {point}: {error}"));
    assert_eq!(store.verify().unwrap(), [], "{scene} at {point}");
    assert_eq!(rubbish(path.parent().unwrap()), Vec::<std::path::PathBuf>::new(), "{scene} at {point}");
    assert!(store.resolve("base").is_ok(), "{scene} at {point}");
    for image in store.images().unwrap() {
        store.snapshot_create("probe", Some(&image.id)).unwrap();
        store.snapshot_remove("probe").unwrap();
    }
    // Opening collected everything that nobody needs.
    assert_eq!(store.collect().unwrap(), store::Collected::default(), "{scene} at {point}");
    store.sweep().unwrap();
    assert_eq!(std::fs::read_dir(path.join("trash")).unwrap().count(), 0);
}

/// Dies at each point, each time that it is passed, until the scene comes to its end.
fn check(scene: &str) -> BTreeSet<String> {
    let mut passed = BTreeSet::new();
    for point in points() {
        for times in 1..=PASSES_MAX {
            let folder = tempfile::tempdir_in("/dev/shm").unwrap();
            let path = folder.path().join("store");
            prepare(&path);
            let killed = is_killed(scene, &path, &format!("{point}:{times}"));
            assert_converged(&path, scene, &format!("{point}:{times}"));
            if !killed {
                break;
            }
            passed.insert(point.clone());
            // And once more, to its end: what was cut short can be done again.
            assert!(!is_killed(scene, &path, "none"));
        }
    }
    assert!(!passed.is_empty());
    passed
}

/// No scene passes a point more often.
const PASSES_MAX: u32 = 12;

#[test]
fn a_crash_in_import_converges() {
    assert!(check("import").contains("store.register.published"));
}

#[test]
fn a_crash_in_load_converges() {
    assert!(check("load").contains("store.load.read"));
}

#[test]
fn a_crash_in_commit_converges() {
    assert!(check("commit").contains("store.layer.extracted"));
}

#[test]
fn a_crash_in_snapshot_create_converges() {
    assert!(check("snapshot").contains("store.snapshot.furnished"));
}

#[test]
fn a_crash_in_remove_converges() {
    let passed = check("remove");
    for point in ["store.collect.layer", "store.collect.aside", "store.snapshot.settled"] {
        assert!(passed.contains(point), "{point}");
    }
}

#[test]
fn a_crash_in_fetch_converges() {
    assert!(check("fetch").contains("store.blob.written"));
}

#[test]
fn a_crash_in_compress_converges() {
    assert!(check("compress").contains("store.db.write"));
}

#[test]
fn a_crash_in_sweep_converges() {
    assert!(check("sweep").contains("store.settle.one"));
}

/// Files of trees are missing, as after a power loss: made in another boot and not settled, or without a record.
#[test]
fn layers_lost_with_the_power_are_made_again() {
    for record in [r#"{"version":1,"size":27,"boot":"another"}"#, ""] {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = folder.path().join("store");
        prepare(&path);
        let store = Store::open(&path).unwrap();
        let base = store.image(&store.resolve("base").unwrap()).unwrap();
        drop(store);
        let layer = path.join("layers").join(base.layers[0].diff_id.hex());
        std::fs::write(layer.join("layer.json"), record).unwrap();
        std::fs::remove_file(layer.join("diff/bin/sh")).unwrap();
        is_killed("blob", &path, "store.rebuild.discarded");
        assert_converged(&path, "rebuild", record);
        assert_eq!(std::fs::read(layer.join("diff/bin/sh")).unwrap(), b"shell");
        let after = std::fs::read_to_string(layer.join("layer.json")).unwrap();
        assert!(after.starts_with(r#"{"version":1,"size":27,"tree":{"content":27,"#), "{after}");
    }
}

/// Once its image is gone, a snapshot's tree cannot be made again, so it is settled first.
#[test]
fn a_tree_that_outlives_its_blob_is_settled() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let base = import(&store, &root(), "base");
    let layer = store.image(&base).unwrap().layers[0].diff_id.clone();
    let record = folder.path().join("store/layers").join(layer.hex()).join("layer.json");
    assert!(std::fs::read_to_string(&record).unwrap().contains("boot"));
    store.snapshot_create("work", Some(&base)).unwrap();
    store.remove("base", &Remove { force: false, prune_children: true, in_use: &|_| Vec::new() }).unwrap();
    assert!(!std::fs::read_to_string(&record).unwrap().contains("boot"));
}

#[test]
fn a_crash_in_adopt_converges_and_it_goes_on() {
    assert!(check("adopt").contains("store.adopt.image"));
}

#[test]
fn a_crash_under_the_budget_converges() {
    assert!(check("budget").contains("store.budget.one"));
}

/// What a manifest, a blob and a tree lack, in the store that `prepare` made.
fn damage(path: &Path) {
    let store = Store::open(path).unwrap();
    store.sweep().unwrap();
    let base = store.image(&store.resolve("base").unwrap()).unwrap();
    let used = store.image(&store.resolve("used").unwrap()).unwrap();
    let gone = store.image(&store.resolve("gone").unwrap()).unwrap();
    drop(store);
    let blob = |digest: &oci::Digest| path.join("content/blobs/sha256").join(digest.hex());
    std::fs::remove_file(blob(&base.manifest.digest)).unwrap();
    std::fs::write(blob(&gone.manifest.digest), b"rot").unwrap();
    std::fs::write(blob(&oci::Digest::sha256(b"nobody's")), b"rot").unwrap();
    std::fs::remove_file(path.join("layers").join(used.layers[0].diff_id.hex()).join("diff/used")).unwrap();
}

#[test]
fn a_repair_that_was_cut_off_is_done_by_the_next() {
    let mut passed = BTreeSet::new();
    for point in points() {
        for times in 1..=PASSES_MAX {
            let folder = tempfile::tempdir_in("/dev/shm").unwrap();
            let path = folder.path().join("store");
            prepare(&path);
            damage(&path);
            let killed = is_killed("repair", &path, &format!("{point}:{times}"));
            assert!(!is_killed("repair", &path, "none"));
            assert_converged(&path, "repair", &format!("{point}:{times}"));
            if !killed {
                break;
            }
            passed.insert(point.clone());
        }
    }
    for point in ["store.repair.one", "store.repair.remade", "store.rebuild.discarded"] {
        assert!(passed.contains(point), "{point}");
    }
}

#[test]
fn what_a_repair_set_aside_outlives_a_kill() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("store");
    prepare(&path);
    let store = Store::open(&path).unwrap();
    let gone = store.resolve("gone").unwrap();
    drop(store);
    std::fs::write(path.join("content/blobs/sha256").join(gone.0.hex()), b"rot").unwrap();
    assert!(is_killed("repair", &path, "store.repair.aside"));
    let store = Store::open(&path).unwrap();
    assert_eq!(store.verify().unwrap(), [store::Problem::MissingBlob(gone.clone(), gone.0.clone())]);
    store.sweep().unwrap();
    assert_eq!(std::fs::read(path.join("damaged").join(gone.0.hex())).unwrap(), b"rot");
}

#[test]
fn a_crash_in_blob_put_converges() {
    assert!(check("blob").contains("store.blob.written"));
}

#[test]
fn the_first_opening_converges() {
    for point in points() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = folder.path().join("store");
        is_killed("blob", &path, &point);
        let store = Store::open(&path).unwrap_or_else(|error| panic!("{point}: {error}"));
        import(&store, &root(), "base");
        assert_eq!(store.verify().unwrap(), []);
    }
}
