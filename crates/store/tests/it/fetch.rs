//! What pulls rely on: one pass, resumed wherever it was cut, and nothing believed before it is verified.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fault::Kind;
use oci::{Descriptor, Digest, media_type};
use store::{Fetched, Fetching, Layer, Lease, Naming, Remove, Store};

use crate::make::{config, count, gzip, import, name, reopen, root, rubbish, store, tar, zstd};

/// A layer as a registry has it: its tar, packed, and what a manifest says of it.
struct Remote {
    bytes: Vec<u8>,
    blob: Descriptor,
    diff_id: Digest,
}

impl Remote {
    fn new(tar: &[u8], bytes: Vec<u8>) -> Self {
        let blob = Descriptor::of(media_type::OCI_LAYER_GZIP, &bytes);
        Self { bytes, blob, diff_id: Digest::sha256(tar) }
    }

    fn gzip(tar: &[u8]) -> Self {
        Self::new(tar, gzip(tar))
    }

    fn fetch(&self, store: &Store, lease: &Lease, rest: impl Read) -> fault::Result<Layer> {
        store.partial(lease, &self.blob)?.finish(lease, &self.diff_id, rest, &|_| ())
    }
}

/// Gives so many bytes, then fails.
fn cut(bytes: &[u8], at: usize) -> impl Read {
    struct Cut;
    impl Read for Cut {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    io::Cursor::new(bytes[..at].to_vec()).chain(Cut)
}

fn partials(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("store/partials")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

pub(crate) fn fetched(tars: &[&[u8]], layers: Vec<Layer>, reference: &str) -> Fetched {
    let config = config(tars);
    let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
    let manifest = oci::Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), blobs);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let tag = name(reference).with_default_tag();
    let names = vec![tag.clone(), tag.with_digest(Digest::sha256(&manifest))];
    Fetched {
        manifest_type: media_type::OCI_MANIFEST.into(),
        manifest,
        config,
        layers,
        naming: Naming { names, ..Naming::default() },
    }
}

#[test]
fn a_layer_is_fetched_verified_and_unpacked_in_one_pass() {
    let tar = root();
    for bytes in [gzip(&tar), zstd(&tar), tar.clone()] {
        let (folder, store) = store();
        let remote = Remote::new(&tar, bytes);
        let lease = store.lease();
        let told = Mutex::new(Vec::new());
        let partial = store.partial(&lease, &remote.blob).unwrap();
        let tell = |step| told.lock().unwrap().push(step);
        let layer = partial.finish(&lease, &remote.diff_id, remote.bytes.as_slice(), &tell).unwrap();
        assert_eq!(*told.lock().unwrap(), [Fetching::Verifying, Fetching::Verified]);
        assert_eq!((&layer.blob, layer.size_unpacked), (&remote.blob, 27));
        let id = store.image_add(&lease, fetched(&[&tar], vec![layer], "me/app:1")).unwrap();
        drop(lease);
        store.collect().unwrap();
        let image = store.image(&id).unwrap();
        assert_eq!(image.tags, [name("me/app:1")]);
        assert_eq!(image.digests, [name("me/app").with_digest(image.manifest.digest.clone())]);
        assert_eq!(store.verify().unwrap(), []);
        assert!(partials(folder.path()).is_empty() && rubbish(folder.path()).is_empty());
    }
}

#[test]
fn a_fetch_goes_on_where_it_was_cut() {
    let tar = root();
    let remote = Remote::gzip(&tar);
    for at in [0, 1, 5, 6, 7, 60, remote.bytes.len() - 1, remote.bytes.len()] {
        let (folder, store) = store();
        let error = remote.fetch(&store, &store.lease(), cut(&remote.bytes, at)).unwrap_err();
        assert!(error.to_string().contains("reset"), "{error}");
        // The process may end in between.
        drop(store);
        let store = reopen(folder.path());
        let lease = store.lease();
        let partial = store.partial(&lease, &remote.blob).unwrap();
        // The first bytes are read together, to see how they are packed.
        assert_eq!(partial.length(), if at < 6 { 0 } else { at as u64 });
        let rest = &remote.bytes[partial.length() as usize..];
        partial.finish(&lease, &remote.diff_id, rest, &|_| ()).unwrap();
        assert_eq!(count(folder.path()), (0, 1));
        assert!(rubbish(folder.path()).is_empty());
    }
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let mut bytes = remote.bytes.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let error = remote.fetch(&store, &store.lease(), bytes.as_slice()).unwrap_err();
    let words = format!("filesystem layer verification failed for digest {}", remote.blob.digest);
    assert_eq!((error.kind(), error.to_string()), (Kind::Invalid, words));
    assert!(partials(folder.path()).is_empty() && rubbish(folder.path()).is_empty());
    assert_eq!(count(folder.path()), (0, 0));
    remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap();
}

#[test]
fn a_rotten_beginning_is_noticed_and_thrown_away() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    std::fs::write(folder.path().join("store/partials").join(remote.blob.digest.hex()), [0; 50]).unwrap();
    let error = remote.fetch(&store, &store.lease(), &remote.bytes[50..]).unwrap_err();
    assert!(error.to_string().starts_with("filesystem layer verification failed"), "{error}");
    assert!(partials(folder.path()).is_empty());
    remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap();
}

#[test]
fn too_many_bytes_are_refused_and_too_few_are_awaited() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let error = remote.fetch(&store, &store.lease(), remote.bytes.chain(&b"more"[..])).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(partials(folder.path()).is_empty());
    let error = remote.fetch(&store, &store.lease(), &remote.bytes[..40]).unwrap_err();
    assert_eq!(error.to_string(), "unexpected EOF");
    assert_eq!(std::fs::metadata(&partials(folder.path())[0]).unwrap().len(), 40);
    remote.fetch(&store, &store.lease(), &remote.bytes[40..]).unwrap();
}

#[test]
fn what_is_longer_than_the_blob_is_no_beginning_of_it() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let path = folder.path().join("store/partials").join(remote.blob.digest.hex());
    std::fs::write(path, vec![1; remote.bytes.len() + 1]).unwrap();
    remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap();
}

#[test]
fn a_layer_that_is_not_the_config_s_is_refused() {
    let (folder, store) = store();
    for bytes in [gzip(&root()), root()] {
        let remote = Remote { diff_id: Digest::sha256(b"other"), ..Remote::new(&root(), bytes) };
        let error = remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap_err();
        let words = "layers from manifest don't match image configuration";
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Invalid, words));
        assert!(partials(folder.path()).is_empty() && rubbish(folder.path()).is_empty());
        assert_eq!(count(folder.path()), (0, 0));
    }
    // An image of layers that are here, but not its config's.
    let remote = Remote::gzip(&root());
    let lease = store.lease();
    let layer = remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
    let image = fetched(&[&tar(&[("other", b"")])], vec![layer], "app");
    assert_eq!(store.image_add(&lease, image).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_tree_that_is_here_is_not_unpacked_again() {
    let (folder, store) = store();
    import(&store, &root(), "base");
    let remote = Remote::gzip(&root());
    let lease = store.lease();
    assert_eq!(store.layer_hold(&lease, &remote.blob, &remote.diff_id).unwrap(), None);
    let layer = remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
    assert_eq!(store.layer_hold(&lease, &remote.blob, &remote.diff_id).unwrap(), Some(layer));
    // Not even if the blob lies about what is in it.
    let other = Remote { diff_id: Digest::sha256(&root()), ..Remote::gzip(&tar(&[("x", b"")])) };
    assert_eq!(other.fetch(&store, &lease, other.bytes.as_slice()).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(count(folder.path()).1, 1);
}

#[test]
fn what_a_failed_pull_has_fetched_is_there_for_the_next() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap();
    let hold = |store: &Store| store.layer_hold(&store.lease(), &remote.blob, &remote.diff_id).unwrap();
    assert!(hold(&store).is_some());
    // The tree has no owner, the bytes stay.
    store.collect().unwrap();
    assert!(hold(&store).is_none());
    drop(store);
    let store = reopen(folder.path());
    let lease = store.lease();
    let partial = store.partial(&lease, &remote.blob).unwrap();
    assert_eq!(partial.length(), remote.blob.size);
    let layer = partial.finish(&lease, &remote.diff_id, io::empty(), &|_| ()).unwrap();
    store.image_add(&lease, fetched(&[&root()], vec![layer], "app")).unwrap();
    assert!(partials(folder.path()).is_empty());
}

/// One image has fetched a blob and waits for its other layers; meanwhile another names the same blob and lies about it.
#[test]
fn what_is_whole_is_not_touched_by_whoever_lies_about_it() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let lease = store.lease();
    let layer = remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
    let (other, wrong) = (store.lease(), Digest::sha256(b"other"));
    let smaller = Descriptor { size: remote.blob.size - 1, ..remote.blob.clone() };
    let error = store.partial(&other, &smaller).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    for rest in [&b""[..], b"more"] {
        let partial = store.partial(&other, &remote.blob).unwrap();
        assert_eq!(partial.length(), remote.blob.size);
        // While it is unpacked again, the first image may well be finished.
        assert_eq!(store.layer_hold(&lease, &remote.blob, &remote.diff_id).unwrap(), Some(layer.clone()));
        assert_eq!(partial.finish(&other, &wrong, rest, &|_| ()).unwrap_err().kind(), Kind::Invalid);
    }
    let lying = Layer { blob: smaller, ..layer.clone() };
    let error = store.image_add(&lease, fetched(&[&root()], vec![lying], "lying")).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    store.image_add(&lease, fetched(&[&root()], vec![layer], "app")).unwrap();
    assert_eq!(store.verify().unwrap(), []);
    assert!(partials(folder.path()).is_empty() && rubbish(folder.path()).is_empty());
}

/// A disk may spoil what was verified before.
#[test]
fn what_was_whole_and_rotted_is_fetched_anew() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    remote.fetch(&store, &store.lease(), remote.bytes.as_slice()).unwrap();
    store.collect().unwrap();
    let path = &partials(folder.path())[0];
    std::fs::write(path, vec![0; remote.bytes.len()]).unwrap();
    let lease = store.lease();
    assert_eq!(remote.fetch(&store, &lease, io::empty()).unwrap_err().kind(), Kind::Invalid);
    assert!(partials(folder.path()).is_empty());
    remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
}

#[test]
fn a_missing_tree_is_made_from_the_blob() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let lease = store.lease();
    let layer = remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
    store.image_add(&lease, fetched(&[&root()], vec![layer.clone()], "app")).unwrap();
    std::fs::remove_dir_all(store.layer_path(&remote.diff_id)).unwrap();
    assert_eq!(store.layer_hold(&lease, &remote.blob, &remote.diff_id).unwrap(), Some(layer));
    assert_eq!((count(folder.path()).1, store.verify().unwrap()), (1, vec![]));
}

#[test]
fn one_at_a_time_fetches_a_blob() {
    let (_folder, store) = store();
    let remote = Remote::gzip(&root());
    let lease = store.lease();
    let first = store.partial(&lease, &remote.blob).unwrap();
    assert_eq!(store.partial(&lease, &remote.blob).unwrap_err().kind(), Kind::Conflict);
    drop(first);
    store.partial(&lease, &remote.blob).unwrap();
}

#[test]
fn two_pulls_may_make_images_of_the_same_bytes() {
    let (_folder, store) = store();
    let remote = Remote::gzip(&root());
    let (one, other) = (store.lease(), store.lease());
    let layer = remote.fetch(&store, &one, remote.bytes.as_slice()).unwrap();
    let same = store.layer_hold(&other, &remote.blob, &remote.diff_id).unwrap().unwrap();
    store.image_add(&one, fetched(&[&root()], vec![layer], "app:1")).unwrap();
    store.image_add(&other, fetched(&[&root()], vec![same], "app:2")).unwrap();
    assert_eq!(store.verify().unwrap(), []);
}

/// The first to publish a blob moves its file away from under the others.
#[test]
fn images_of_the_same_bytes_come_at_the_same_moment() {
    let tar = root();
    let remote = Remote::gzip(&tar);
    let (folder, store) = store();
    for round in 0..50 {
        let lease = store.lease();
        let layer = remote.fetch(&store, &lease, remote.bytes.as_slice()).unwrap();
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for one in 0..4 {
                let (store, lease, layer, together) = (&store, &lease, &layer, &together);
                let image = fetched(&[&root()], vec![layer.clone()], &format!("me/app{one}:{round}"));
                scope.spawn(move || {
                    together.wait();
                    store.layer_hold(lease, &layer.blob, &layer.diff_id).unwrap().expect("it is here");
                    store.image_add(lease, image).unwrap();
                });
            }
        });
        for one in 0..4 {
            store
                .remove(
                    &format!("me/app{one}:{round}"),
                    &Remove { force: false, prune_children: true, in_use: &|_| Vec::new() },
                )
                .unwrap();
        }
        drop(lease);
        store.collect().unwrap();
    }
    assert!(partials(folder.path()).is_empty());
}

#[test]
fn partials_go_with_age_or_when_asked_unless_somebody_works_with_them() {
    let (folder, store) = store();
    let remote = Remote::gzip(&root());
    let cut_off = |store: &Store| {
        remote.fetch(store, &store.lease(), cut(&remote.bytes, 30)).unwrap_err();
    };
    cut_off(&store);
    store.sweep().unwrap();
    assert_eq!(partials(folder.path()).len(), 1);
    let lease = store.lease();
    let partial = store.partial(&lease, &remote.blob).unwrap();
    assert_eq!(store.discard_partials().unwrap(), 0);
    drop((partial, lease));
    assert_eq!(store.discard_partials().unwrap(), 30);
    cut_off(&store);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4 * 24 * 60 * 60);
    let file = std::fs::File::open(&partials(folder.path())[0]).unwrap();
    file.set_modified(old).unwrap();
    store.sweep().unwrap();
    assert!(partials(folder.path()).is_empty());
}

#[test]
fn names_come_together_and_are_found() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let by_digest = name("localhost:5000/me/app").with_digest(Digest::sha256(b"manifest"));
    let names = [name("localhost:5000/me/app:1"), by_digest.clone()];
    store.name(&id, &names).unwrap();
    let tagged = store.image(&id).unwrap().tagged;
    store.name(&id, &names).unwrap();
    assert_eq!(store.image(&id).unwrap().tagged, tagged);
    assert_eq!(store.named(&by_digest), Some(id.clone()));
    assert_eq!(store.names_in(&name("localhost:5000/me/app")).len(), 2);
    let blob = store.image(&id).unwrap().layers[0].blob.digest.clone();
    assert_eq!(store.repositories_with(&blob, "localhost:5000"), [name("localhost:5000/me/app")]);
    assert_eq!(store.repositories_with(&blob, "docker.io"), []);
}
