//! Images as they lie in a registry, and what a test needs around them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use archive::compression::{Compression, Effort, writer};
use oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media_type};
use registry::client::{
    Backoff, Config, Credentials, Progress, Pull, Pulled, Push, Pushed, Registries, Rule, pull, push,
};
use serde_json::json;
use store::{ImageId, Import, Store};

use crate::faulty::double::Double;

/// A store in memory.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

/// No test waits between attempts.
pub(crate) fn config() -> Config {
    let none = std::time::Duration::ZERO;
    Config { backoff: Backoff { first: none, longest: none }, ..Config::default() }
}

pub(crate) fn registries() -> Registries {
    Registries::new(config()).unwrap()
}

/// docker.io is a double.
pub(crate) fn docker_io(double: &Double) -> Config {
    let rule = Rule { prefix: "docker.io".into(), location: Some(double.host()), ..Rule::default() };
    Config { rules: vec![rule], ..config() }
}

pub(crate) fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// `127.0.0.1:port/app:tag`.
pub(crate) fn at(double: &Double, rest: &str) -> Reference {
    name(&format!("{}/{rest}", double.host()))
}

pub(crate) fn me() -> Credentials {
    Credentials::Basic { user: "me".into(), password: "secret".into() }
}

/// A tar of one file.
pub(crate) fn tar(file: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, file, content).unwrap();
    builder.into_inner().unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn packed(bytes: &[u8], how: Compression) -> Vec<u8> {
    let mut writer = writer(Vec::new(), how, Effort::Fast).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// An image in a registry.
pub(crate) struct Made {
    pub(crate) id: ImageId,
    pub(crate) manifest: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) trees: Vec<Digest>,
}

/// Puts an image of gzipped layers there.
pub(crate) fn image(double: &Double, repository: &str, tag: &str, tars: &[Vec<u8>]) -> Made {
    let layers: Vec<_> =
        tars.iter().map(|tar| (media_type::OCI_LAYER_GZIP, packed(tar, Compression::Gzip))).collect();
    image_of(double, repository, tag, tars, &layers, &Platform::host())
}

pub(crate) fn image_of(
    double: &Double,
    repository: &str,
    tag: &str,
    tars: &[Vec<u8>],
    blobs: &[(&str, Vec<u8>)],
    platform: &Platform,
) -> Made {
    let trees: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
    let config = json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
        "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": trees},
    });
    let config = serde_json::to_vec(&config).unwrap();
    double.put_blob(repository, &config);
    let layers: Vec<Descriptor> =
        blobs.iter().map(|(media_type, bytes)| Descriptor::of(*media_type, bytes)).collect();
    for (_, bytes) in blobs {
        double.put_blob(repository, bytes);
    }
    let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), layers.clone());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    double.put_manifest(repository, tag, media_type::OCI_MANIFEST, &bytes);
    let manifest =
        Descriptor { platform: Some(platform.clone()), ..Descriptor::of(media_type::OCI_MANIFEST, &bytes) };
    Made { id: ImageId(Digest::sha256(&config)), manifest, layers, trees }
}

/// Puts an index there.
pub(crate) fn index(double: &Double, repository: &str, tag: &str, entries: &[Descriptor]) -> Digest {
    let bytes = serde_json::to_vec(&Index::new(entries.to_vec())).unwrap();
    double.put_manifest(repository, tag, media_type::OCI_INDEX, &bytes)
}

/// What progress was told: `id: status`, amounts as `current/total`.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    pub(crate) fn tell(&self, progress: &Progress) {
        let amount = progress.action.detail().filter(|amount| amount.total > 0);
        let amount = amount.map(|amount| format!(" {}/{}", amount.current, amount.total)).unwrap_or_default();
        let id = if progress.id.is_empty() { String::new() } else { format!("{}: ", progress.id) };
        self.0.lock().unwrap().push(format!("{id}{}{amount}", progress.action));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) fn wanted(reference: &Reference) -> Pull {
    Pull {
        reference: reference.clone(),
        platform: None,
        all_tags: false,
        policy: Arc::default(),
        credentials: Credentials::Anonymous,
    }
}

pub(crate) async fn pull_with(
    registries: &Registries,
    store: &Store,
    wanted: &Pull,
) -> (fault::Result<Vec<Pulled>>, Vec<String>) {
    let told = Told::default();
    let pulled = pull(registries, store, wanted, &|progress| told.tell(&progress)).await;
    (pulled, told.lines())
}

/// Pulls one name, which has to succeed, and gives what was told.
pub(crate) async fn pulls(store: &Store, reference: &Reference) -> (Pulled, Vec<String>) {
    let (pulled, told) = pull_with(&registries(), store, &wanted(reference)).await;
    (pulled.unwrap().remove(0), told)
}

/// Pulls one name, which has to fail.
pub(crate) async fn pull_fails(store: &Store, reference: &Reference) -> fault::Error {
    pull_with(&registries(), store, &wanted(reference)).await.0.unwrap_err()
}

pub(crate) async fn push_with(
    registries: &Registries,
    store: &Store,
    reference: &Reference,
    credentials: Credentials,
) -> (fault::Result<Vec<Pushed>>, Vec<String>) {
    let told = Told::default();
    let wanted = Push { reference: reference.clone(), platform: None, credentials };
    let pushed = push(registries, store, &wanted, &|progress| told.tell(&progress)).await;
    (pushed, told.lines())
}

pub(crate) fn import(store: &Store, tar: &[u8], reference: &Reference) -> ImageId {
    store.import(tar, &Import { reference: Some(reference.clone()), ..Import::default() }).unwrap()
}

/// Nothing half done is left, and everything that is there is right.
pub(crate) fn assert_clean(folder: &tempfile::TempDir, store: &Store) {
    for below in ["ingest", "partials"] {
        let left = std::fs::read_dir(folder.path().join("store").join(below)).unwrap().count();
        assert_eq!(left, 0, "{below}");
    }
    assert_eq!(store.verify().unwrap(), []);
}

/// How much of blobs is half fetched.
pub(crate) fn partial_bytes(folder: &tempfile::TempDir) -> u64 {
    let partials = std::fs::read_dir(folder.path().join("store/partials")).unwrap();
    partials.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
