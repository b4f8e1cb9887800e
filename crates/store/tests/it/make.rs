//! What the tests put into stores: small trees, archives as others write them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci::{Digest, Reference};
use serde_json::json;
use store::{ImageId, Import, Store};

/// A store in memory, with room for the test's own files beside it.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

/// Opens the store of a folder again, after everything that had it open is gone.
pub(crate) fn reopen(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

/// A tar of regular files; a name that ends with a slash is a directory.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        // Set by hand: `set_path` would refuse what hostile archives hold.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A root file system of a few files.
pub(crate) fn root() -> Vec<u8> {
    tar(&[("bin/", b""), ("bin/sh", b"shell"), ("etc/", b""), ("etc/passwd", b"root:x:0:0::/:/bin/sh\n")])
}

pub(crate) fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub(crate) fn import(store: &Store, tar: &[u8], reference: &str) -> ImageId {
    let import =
        Import { message: "Imported from -".into(), reference: Some(name(reference)), ..Import::default() };
    store.import(tar, &import).unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    compress(bytes, archive::compression::Compression::Gzip)
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress(bytes, archive::compression::Compression::Zstd)
}

fn compress(bytes: &[u8], how: archive::compression::Compression) -> Vec<u8> {
    use std::io::Write;
    let mut writer =
        archive::compression::writer(Vec::new(), how, archive::compression::Effort::Fast).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// An image config over these uncompressed layers.
pub(crate) fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
    let history: Vec<_> =
        layers.iter().map(|_| json!({"created": "2024-01-02T03:04:05Z", "created_by": "made"})).collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z", "docker_version": "20.10.23",
        "config": {"Cmd": ["sh"], "Env": null, "Volumes": null, "Labels": null},
        "history": history, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// A docker-archive as old Dockers write it: a folder for each layer; the manifest comes first or last.
pub(crate) fn docker_archive(tag: &str, layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let paths: Vec<String> = (0..layers.len()).map(|index| format!("layer{index}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": paths}]).to_string();
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", manifest.as_bytes()), ("config.json", &config)];
    files.extend(paths.iter().map(String::as_str).zip(layers.iter().copied()));
    tar(&files)
}

/// An OCI image layout with one image under `tag`; layers go in as they are.
pub(crate) fn oci_layout(tag: &str, layers: &[(&[u8], &str)], config: &[u8]) -> Vec<u8> {
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut blob = |bytes: &[u8], media_type: &str| {
        let digest = Digest::sha256(bytes);
        blobs.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let layers: Vec<_> = layers.iter().map(|(bytes, media_type)| blob(bytes, media_type)).collect();
    let config = blob(config, oci::media_type::OCI_CONFIG);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    let mut entry = blob(manifest.as_bytes(), oci::media_type::OCI_MANIFEST);
    entry["annotations"] = json!({"io.containerd.image.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut files: Vec<(&str, &[u8])> =
        blobs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    files.push(("index.json", index.as_bytes()));
    tar(&files)
}

/// The members of a tar, as the `tar` crate reads them.
pub(crate) fn members(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    entries.collect()
}

/// All names in a store's folder that a failed action must not leave behind.
pub(crate) fn rubbish(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("store/ingest")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// How many blobs and layers there are.
pub(crate) fn count(folder: &Path) -> (usize, usize) {
    let entries = |below: &str| std::fs::read_dir(folder.join("store").join(below)).unwrap().count();
    // The init layer is always there.
    (entries("content/blobs/sha256"), entries("layers") - 1)
}
