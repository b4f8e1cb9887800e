//! Archives that lie, end early or want out: refused, and nothing of them stays.

use std::path::{Path, PathBuf};

use fault::Kind;
use serde_json::json;
use store::Import;

use crate::make::{config, count, docker_archive, gzip, oci_layout, root, rubbish, store, tar};

fn assert_nothing_left(folder: &Path) {
    assert_eq!(count(folder), (0, 0));
    assert_eq!(rubbish(folder), Vec::<PathBuf>::new());
}

/// Loads, expects the words, and that nothing stays.
fn check(archive: &[u8], words: &str) {
    let (folder, store) = store();
    let error = store.load(archive, &[], &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains(words), "{error} lacks {words}");
    assert!(matches!(error.kind(), Kind::Invalid | Kind::Unsupported), "{error:?}");
    assert!(store.images().unwrap().is_empty());
    assert_nothing_left(folder.path());
}

#[test]
fn what_is_no_image_archive_is_refused() {
    check(b"", "unexpected EOF");
    check(
        b"not a tar at all, and long enough to fill more than one block of it".repeat(20).as_slice(),
        "tar",
    );
    check(&tar(&[("etc/passwd", b"x")]), "manifest.json is missing");
    check(&tar(&[("manifest.json", b"{")]), "manifest.json");
    check(b"BZh91AY&SY", "bzip2");
}

#[test]
fn truncated_archives_are_refused_at_any_length() {
    let whole = docker_archive("app:1", &[&root()]);
    // Beyond the last member lie only the zero blocks that end the archive.
    for length in (512..whole.len() - 1024).step_by(700) {
        let (folder, store) = store();
        let error = store.load(&whole[..length], &[], &mut |_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{length}: {error}");
        assert_nothing_left(folder.path());
    }
    let packed = gzip(&whole);
    check(&packed[..packed.len() - 10], "unexpected EOF");
}

#[test]
fn what_broke_off_is_told_in_dockers_words() {
    let whole = docker_archive("app:1", &[&root()]);
    for length in [100, 512 + 20, 2048 + 100] {
        let (folder, store) = store();
        let loaded = store.load(&whole[..length], &[], &mut |_| ()).unwrap_err();
        let imported = store.import(&whole[..length], &Import::default()).unwrap_err();
        assert_eq!([loaded, imported].map(|error| error.to_string()), ["unexpected EOF"; 2], "{length}");
        assert_nothing_left(folder.path());
    }
}

#[test]
fn members_that_lead_out_are_refused() {
    check(&tar(&[("../evil", b"x")]), "invalid path");
    check(&tar(&[("/evil", b"x")]), "invalid path");
    let manifest = json!([{"Config": "../../etc/passwd", "RepoTags": null, "Layers": []}]).to_string();
    check(&tar(&[("manifest.json", manifest.as_bytes())]), "invalid path");
}

#[test]
fn a_layer_that_leads_out_is_refused() {
    let (folder, store) = store();
    let evil = tar(&[("a", b"x"), ("../../../../escaped", b"x")]);
    let error = store.import(evil.as_slice(), &Import::default()).unwrap_err();
    assert_eq!(error.to_string(), "invalid entry name \"../../../../escaped\"");
    assert_nothing_left(folder.path());
}

#[test]
fn an_absolute_name_counts_from_the_layers_root() {
    let (folder, store) = store();
    let id = store.import(tar(&[("/absolute", b"x")]).as_slice(), &Import::default()).unwrap();
    let layer = store.image(&id).unwrap().layers[0].diff_id.clone();
    assert!(folder.path().join(format!("store/layers/{}/diff/absolute", layer.hex())).exists());
    assert!(!Path::new("/absolute").exists());
}

#[test]
fn contents_must_be_what_they_are_called() {
    let manifest = json!([{"Config": "c", "RepoTags": ["a:1"], "Layers": ["l"]}]).to_string();
    let other = config(&[b"something else"]);
    let files: [(&str, &[u8]); 3] = [("manifest.json", manifest.as_bytes()), ("c", &other), ("l", &root())];
    check(&tar(&files), "invalid diffID for layer 0: expected");
    let none = config(&[]);
    let files: [(&str, &[u8]); 3] = [("manifest.json", manifest.as_bytes()), ("c", &none), ("l", &root())];
    check(&tar(&files), "invalid manifest, layers length mismatch: expected 0, got 1");
    check(&tar(&files[..1]), "c is missing");
    check(&tar(&[("blobs/sha256/00", b"x")]), "has digest");
    let layers = [(
        &b"not a tar, whatever the manifest says: five hundred bytes of it"[..],
        oci::media_type::OCI_LAYER,
    )];
    check(&oci_layout("a", &layers, &config(&[layers[0].0])), "");
}

#[test]
fn bad_tags_are_refused_with_docker_s_words() {
    check(&docker_archive("Foo:1", &[&root()]), "invalid reference format: repository name (library/Foo)");
    check(&docker_archive("foo", &[&root()]), "invalid tag \"foo\"");
}

#[test]
fn a_truncated_import_leaves_nothing() {
    let (folder, store) = store();
    let whole = root();
    let error = store.import(&whole[..1024 + 3], &Import::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("unexpected EOF"), "{error}");
    let packed = gzip(&whole);
    store.import(&packed[..packed.len() / 2], &Import::default()).unwrap_err();
    assert_nothing_left(folder.path());
}

#[test]
fn a_stream_that_breaks_off_tells_its_own_error() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(104))
        }
    }
    let (folder, store) = store();
    let whole = root();
    let stream = std::io::Read::chain(&whole[..1000], Broken);
    let error = store.import(stream, &Import::default()).unwrap_err();
    assert_eq!(error.errno(), Some(104), "{error}");
    assert_nothing_left(folder.path());
}
