//! An OCI image layout (image-spec, image-layout.md), read and written as a stream.
//!
//! What is read: the one image that is meant, with all that it needs and the folder has. What is written: blobs first,
//! each under its name only when it is whole, then the folder's index; other images of the folder stay.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use archive::tar::{EntryKind, Header, Reader, Writer};
use client::{Answer, Body, ChunkReader};
use fault::{Call, Doing, Error, Result};
use oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use oci::{Descriptor, Digest, Index, Reference, media_type};
use sha2::{Digest as _, Sha256};
use sys::fs;

use crate::packed::Packed;

/// An archive of one image of a folder.
pub(super) fn read(folder: &Path, tag: Option<&str>) -> Result<Body> {
    let about = || format!("reading the image layout {}", folder.display());
    let index = index(folder).doing(about)?.ok_or_else(|| {
        Error::not_found(format!("{} is no image layout: index.json is missing", folder.display()))
    })?;
    let mut entry = chosen(index.manifests, folder, tag)?;
    let blobs = needed(folder, &entry).doing(about)?;
    let name = name(&entry, folder, tag)?;
    entry.annotations.insert(ANNOTATION_IMAGE_NAME.into(), name.canonical());
    let index = serde_json::to_vec(&Index::new(vec![entry])).expect("an index is always JSON");
    let folder = folder.to_owned();
    let packed = Packed::by(move |writer| {
        let mut tar = Writer::new(writer);
        tar.append_bytes(&header("oci-layout".into(), 0), OCI_LAYOUT)?;
        tar.append_bytes(&header("index.json".into(), 0), &index)?;
        for digest in &blobs {
            let file = fs::open(folder.join(blob_name(digest)), &fs::OpenHow::READ)?;
            let size = fs::fstat(&file)?.size;
            tar.append(&header(blob_name(digest), size), file)?;
        }
        tar.finish().map(drop)
    });
    packed.map(Body::reader)
}

/// The entry that a tag names, or the only one.
fn chosen(entries: Vec<Descriptor>, folder: &Path, tag: Option<&str>) -> Result<Descriptor> {
    let place = folder.display();
    let fits = |entry: &&Descriptor| tag.is_none_or(|tag| tag_of(entry).as_deref() == Some(tag));
    let mut fitting = entries.iter().filter(fits);
    match (fitting.next(), fitting.next(), tag) {
        (Some(entry), None, _) | (Some(entry), Some(_), Some(_)) => Ok(entry.clone()),
        (None, _, Some(tag)) => Err(Error::not_found(format!("no image with the tag {tag} in oci:{place}"))),
        (None, _, None) => Err(Error::not_found(format!("no image in oci:{place}"))),
        (Some(_), Some(_), None) => {
            let tags: Vec<String> = entries.iter().filter_map(tag_of).collect();
            Err(Error::invalid(format!("oci:{place} has several images, name a tag: {}", tags.join(", "))))
        }
    }
}

/// The tag of an entry; some writers put a whole name there.
fn tag_of(entry: &Descriptor) -> Option<String> {
    let text = entry.annotations.get(ANNOTATION_REF_NAME)?;
    let name = text.contains(['/', ':']).then(|| Reference::parse(text).ok()).flatten();
    Some(name.and_then(|name| name.tag().map(str::to_owned)).unwrap_or_else(|| text.clone()))
}

/// What the image is called: as the folder says, else as the folder itself.
fn name(entry: &Descriptor, folder: &Path, tag: Option<&str>) -> Result<Reference> {
    if let Some(name) = entry.annotations.get(ANNOTATION_IMAGE_NAME) {
        return Ok(Reference::parse(name)?.with_default_tag());
    }
    if let Some(name) = entry.annotations.get(ANNOTATION_REF_NAME).filter(|name| name.contains(['/', ':'])) {
        return Ok(Reference::parse(name)?.with_default_tag());
    }
    let own = fs::canonicalize(folder)?;
    let own = own.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let tag = tag.map(str::to_owned).or_else(|| tag_of(entry)).unwrap_or_else(|| "latest".into());
    let called = Reference::parse(&own).and_then(|name| name.with_tag(&tag));
    called.doing(|| format!("naming the image after its folder, {own:?}"))
}

/// All blobs that an entry leads to and that are there.
fn needed(folder: &Path, entry: &Descriptor) -> Result<BTreeSet<Digest>> {
    let mut all = BTreeSet::new();
    let mut open = vec![(entry.clone(), DEPTH_MAX)];
    while let Some((entry, depth)) = open.pop() {
        let path = folder.join(blob_name(&entry.digest));
        if all.len() > BLOBS_MAX {
            return Err(Error::invalid(format!("the image has more than {BLOBS_MAX} blobs")));
        }
        if !fs::exists(&path)? || !all.insert(entry.digest.clone()) {
            continue;
        }
        let broken = |error| Error::invalid(format!("blob {}: {error}", entry.digest));
        if media_type::is_index(&entry.media_type) && depth > 0 {
            let index: Index =
                serde_json::from_slice(&fs::read_bounded(&path, DOCUMENT_BYTES_MAX)?).map_err(broken)?;
            open.extend(index.manifests.into_iter().map(|entry| (entry, depth - 1)));
        } else if media_type::is_manifest(&entry.media_type) {
            let manifest: oci::Manifest =
                serde_json::from_slice(&fs::read_bounded(&path, DOCUMENT_BYTES_MAX)?).map_err(broken)?;
            let blobs = manifest.layers.into_iter().chain([manifest.config]).map(|blob| blob.digest);
            for digest in blobs {
                if fs::exists(folder.join(blob_name(&digest)))? {
                    all.insert(digest);
                }
            }
        }
    }
    Ok(all)
}

/// Puts an image of an archive into a folder, under a tag that it takes from who had it; says its digest.
pub(super) async fn write(mut answer: Answer, folder: PathBuf, tag: String) -> Result<Digest> {
    let (feed, reader) = ChunkReader::new();
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let written = unpack(reader, &folder, &tag);
        done.send(written.doing(|| format!("writing the image layout {}", folder.display()))).ok();
    });
    let received = async {
        while let Some(chunk) = answer.chunk().await? {
            if feed.send(chunk).await.is_err() {
                break;
            }
        }
        Ok::<(), Error>(())
    };
    let received = received.await;
    drop(feed);
    let written = result.await.map_err(|_| Error::internal("writing stopped early"))?;
    // What the connection says explains what is missing.
    received.and(written)
}

fn unpack(reader: impl Read, folder: &Path, tag: &str) -> Result<Digest> {
    fs::create_dir_all(folder.join("blobs/sha256"), 0o755)?;
    let mut tar = Reader::new(reader);
    let mut index = None;
    while let Some(mut entry) = tar.next()? {
        let name = entry.header.name.to_string_lossy().into_owned();
        if entry.header.kind != EntryKind::Regular {
            continue;
        }
        if name == "index.json" {
            let mut bytes = Vec::new();
            entry.by_ref().take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes).call(|| "read index.json")?;
            index = Some(bytes);
        } else if let Some(digest) = name.strip_prefix("blobs/sha256/").and_then(digest) {
            place(folder, &digest, &mut entry)?;
        }
    }
    tar.drain()?;
    let index = index.ok_or_else(|| Error::invalid("the daemon's archive has no index.json"))?;
    let index: Index = serde_json::from_slice(&index)
        .map_err(|error| Error::invalid(format!("the daemon's archive: index.json: {error}")))?;
    let mut entry =
        index.manifests.into_iter().next().ok_or_else(|| Error::invalid("the daemon's archive is empty"))?;
    entry.annotations.insert(ANNOTATION_REF_NAME.into(), tag.to_owned());
    let digest = entry.digest.clone();
    enter(folder, entry, tag)?;
    Ok(digest)
}

fn digest(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// A blob that is there is the same.
fn place(folder: &Path, digest: &Digest, content: &mut impl Read) -> Result<()> {
    let path = folder.join(blob_name(digest));
    if fs::exists(&path)? {
        return io::copy(content, &mut io::sink()).map(drop).call(|| format!("read blob {digest}"));
    }
    let temporary = folder.join("blobs/sha256").join(format!(".{}-{}", std::process::id(), digest.short()));
    let placed = copy(&temporary, digest, content).and_then(|()| fs::rename(&temporary, &path));
    if placed.is_err() {
        std::fs::remove_file(&temporary).ok();
    }
    placed
}

/// `Invalid` if the content has another digest.
fn copy(path: &Path, digest: &Digest, content: &mut impl Read) -> Result<()> {
    let about = || format!("write {}", path.display());
    let mut file = File::create(path).call(about)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = content.read(&mut buffer).call(|| format!("read blob {digest}"))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).call(about)?;
    }
    match Digest::from_sha256(hash.finalize().into()) {
        found if found == *digest => Ok(()),
        found => Err(Error::invalid(format!("blob {digest} of the daemon's archive has the digest {found}"))),
    }
}

/// The folder's index with one entry more, in the place of who had the tag.
fn enter(folder: &Path, entry: Descriptor, tag: &str) -> Result<()> {
    let mut whole = index(folder)?.unwrap_or_else(|| Index::new(Vec::new()));
    whole.manifests.retain(|known| known.annotations.get(ANNOTATION_REF_NAME).is_none_or(|name| name != tag));
    whole.manifests.push(entry);
    let bytes = serde_json::to_vec(&whole).expect("an index is always JSON");
    fs::write_swapped(folder.join("oci-layout"), OCI_LAYOUT, 0o644)?;
    fs::write_swapped(folder.join("index.json"), &bytes, 0o644)
}

fn index(folder: &Path) -> Result<Option<Index>> {
    let path = folder.join("index.json");
    if !fs::exists(&path)? {
        return Ok(None);
    }
    serde_json::from_slice(&fs::read_bounded(&path, DOCUMENT_BYTES_MAX)?)
        .map(Some)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

fn header(name: String, size: u64) -> Header {
    Header { name: name.into(), kind: EntryKind::Regular, mode: 0o644, size, ..Header::default() }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// As the daemon has it.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
const BLOBS_MAX: usize = 9_000;
const DEPTH_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: &str, bytes: &[u8]) -> Descriptor {
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, bytes);
        entry.annotations.insert(ANNOTATION_REF_NAME.into(), tag.into());
        entry
    }

    #[test]
    fn one_image_is_meant() {
        let words = |entries: &[&str], tag: Option<&str>| {
            let entries = entries.iter().map(|tag| entry(tag, tag.as_bytes())).collect();
            chosen(entries, Path::new("/x"), tag)
                .map(|entry| tag_of(&entry).unwrap())
                .unwrap_or_else(|error| error.to_string())
        };
        assert_eq!(words(&["1"], None), "1");
        assert_eq!(words(&["1", "a.b/c:2"], Some("2")), "2");
        assert_eq!(words(&["1", "2"], None), "oci:/x has several images, name a tag: 1, 2");
        assert_eq!(words(&["1"], Some("3")), "no image with the tag 3 in oci:/x");
        assert_eq!(words(&[], None), "no image in oci:/x");
    }

    #[test]
    fn an_image_goes_through_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("App");
        let layer = b"layer".as_slice();
        let config = b"{}".as_slice();
        let manifest = serde_json::to_vec(&oci::Manifest::new(
            Descriptor::of(media_type::OCI_CONFIG, config),
            vec![Descriptor::of(media_type::OCI_LAYER, layer)],
        ))
        .unwrap();
        let index = serde_json::to_vec(&Index::new(vec![entry("x", &manifest)])).unwrap();
        let mut tar = Writer::new(Vec::new());
        for blob in [layer, config, &manifest] {
            tar.append_bytes(&header(blob_name(&Digest::sha256(blob)), 0), blob).unwrap();
        }
        tar.append_bytes(&header("index.json".into(), 0), &index).unwrap();
        let archive = tar.finish().unwrap();
        for tag in ["one", "two", "one"] {
            assert_eq!(unpack(archive.as_slice(), &place, tag).unwrap(), Digest::sha256(&manifest));
        }
        assert_eq!(super::index(&place).unwrap().unwrap().manifests.len(), 2);
        assert_eq!(needed(&place, &entry("", &manifest)).unwrap().len(), 3);
        assert_eq!(name(&entry("one", &manifest), &place, Some("one")).unwrap().familiar(), "app:one");
        assert!(read(&place, Some("two")).is_ok());
        let mut tar = Writer::new(Vec::new());
        tar.append_bytes(&header(blob_name(&Digest::sha256(layer)), 0), b"other").unwrap();
        let wrong = folder.path().join("wrong");
        let words = unpack(tar.finish().unwrap().as_slice(), &wrong, "x").unwrap_err().to_string();
        assert!(words.contains("has the digest"), "{words}");
        assert!(std::fs::read_dir(wrong.join("blobs/sha256")).unwrap().next().is_none());
        // An archive that ends early leaves no half blob.
        let other = folder.path().join("other");
        assert!(unpack(&archive[..514], &other, "x").is_err());
        assert!(std::fs::read_dir(other.join("blobs/sha256")).unwrap().next().is_none());
        assert!(!other.join("index.json").exists());
        assert!(read(&other, None).unwrap_err().to_string().contains("no image layout"));
    }
}
