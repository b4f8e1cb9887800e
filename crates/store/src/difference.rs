//! `image diff`: what one image has otherwise than another: files, layers, configuration. In a stable order.
//!
//! Files are read from the layers' tars, each layer once, and laid over each other in memory: what they are, never what
//! they hold. Times are left out: two builds of the same differ in them and in nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use archive::compression;
use archive::tar::{EntryKind, Header, Reader};
use fault::{Call, Doing, Error, Result};
use oci::Digest;
use serde_json::{Map, Value};

use crate::layer::hash;
use crate::load::in_parallel;
use crate::snapshot::ChangeKind;
use crate::{ImageId, Layer, Store};

/// How two images differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// By path.
    pub files: Vec<FileChange>,
    /// Those of the first image, lowest first, then what only the second has.
    pub layers: Vec<LayerUse>,
    /// By name.
    pub settings: Vec<Setting>,
}

/// A path that differs; sizes are those of regular files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Absolute.
    pub path: PathBuf,
    pub kind: ChangeKind,
    pub size_before: u64,
    pub size_after: u64,
}

/// A layer and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    pub diff_id: Digest,
    /// Unpacked, in bytes.
    pub size: u64,
    pub in_first: bool,
    pub in_second: bool,
}

/// A part of the configuration, as JSON; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Store {
    /// Compares two images that are here.
    pub fn difference(&self, first: &ImageId, second: &ImageId) -> Result<Difference> {
        let lease = self.lease();
        let (before, after) =
            (self.hold_image(&lease, first)?.layers, self.hold_image(&lease, second)?.layers);
        let (config, other) = (self.blob_read(&first.0)?, self.blob_read(&second.0)?);
        Ok(Difference {
            files: self.compare_files(&before, &after)?,
            layers: layers(&before, &after),
            settings: settings(&config, &other)?,
        })
    }

    fn compare_files(&self, before: &[Layer], after: &[Layer]) -> Result<Vec<FileChange>> {
        if before.iter().map(|layer| &layer.diff_id).eq(after.iter().map(|layer| &layer.diff_id)) {
            return Ok(Vec::new());
        }
        let all: BTreeMap<&Digest, &Layer> =
            before.iter().chain(after).map(|layer| (&layer.diff_id, layer)).collect();
        let all: Vec<&Layer> = all.into_values().collect();
        let room = Room::default();
        let read = in_parallel(&all, |layer| Ok((layer.diff_id.clone(), self.contents(layer, &room)?)))?;
        let read: BTreeMap<Digest, Contents> = read.into_iter().collect();
        Ok(compare(&laid_over(before, &read), &laid_over(after, &read)))
    }

    fn contents(&self, layer: &Layer, room: &Room) -> Result<Contents> {
        let reading = || -> Result<Contents> {
            let mut tar = Reader::new(compression::reader(self.blob_open(&layer.blob.digest)?)?);
            let mut contents = Contents::default();
            while let Some(mut entry) = tar.next()? {
                let digest = match entry.header.kind {
                    EntryKind::Regular => Some(hash(&mut entry).call(|| "read a layer")?),
                    _ => None,
                };
                room.take(&entry.header)?;
                contents.add(&entry.header, digest);
            }
            Ok(contents)
        };
        reading().doing(|| format!("reading layer {}", layer.blob.digest))
    }
}

/// What is held of all layers together.
#[derive(Debug, Default)]
struct Room {
    entries: AtomicUsize,
    path_bytes: AtomicUsize,
}

impl Room {
    /// Whiteouts are held, too, and an entry that comes twice is counted twice.
    fn take(&self, header: &Header) -> Result<()> {
        if self.entries.fetch_add(1, Ordering::Relaxed) >= ENTRIES_MAX {
            return Err(Error::invalid(format!("more than {ENTRIES_MAX} files")));
        }
        let bytes = header.name.as_os_str().len() + header.link.as_os_str().len();
        if self.path_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > PATH_BYTES_MAX {
            return Err(Error::invalid(format!("more than {PATH_BYTES_MAX} bytes of paths")));
        }
        Ok(())
    }
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: EntryKind,
    mode: u32,
    owner: (i64, i64),
    size: u64,
    link: PathBuf,
    content: Option<[u8; 32]>,
}

/// One layer: what it has, and what it hides of those below.
#[derive(Debug, Default)]
struct Contents {
    nodes: BTreeMap<PathBuf, Node>,
    gone: BTreeSet<PathBuf>,
    /// Directories of which nothing from below is seen.
    opaque: BTreeSet<PathBuf>,
}

impl Contents {
    fn add(&mut self, header: &Header, content: Option<[u8; 32]>) {
        let path = plain(&header.name);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if name == OPAQUE {
            self.opaque.insert(folder);
            return;
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            self.gone.insert(folder.join(hidden));
            return;
        }
        if path.as_os_str().is_empty() {
            return;
        }
        let is_link = header.kind == EntryKind::HardLink;
        let node = match self.nodes.get(&plain(&header.link)).filter(|_| is_link) {
            Some(target) => target.clone(),
            None => Node {
                kind: header.kind,
                mode: header.mode,
                owner: (header.uid, header.gid),
                size: if header.kind == EntryKind::Regular { header.size } else { 0 },
                link: header.link.clone(),
                content,
            },
        };
        self.nodes.insert(path, node);
    }
}

/// Without `./`, `..` and the like, as unpacking sees it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

type Tree<'a> = BTreeMap<&'a Path, &'a Node>;

fn laid_over<'a>(layers: &[Layer], read: &'a BTreeMap<Digest, Contents>) -> Tree<'a> {
    let mut tree = Tree::new();
    for contents in layers.iter().filter_map(|layer| read.get(&layer.diff_id)) {
        for gone in &contents.gone {
            tree.remove(gone.as_path());
            remove_below(&mut tree, gone);
        }
        for folder in &contents.opaque {
            remove_below(&mut tree, folder);
        }
        for (path, node) in &contents.nodes {
            if node.kind != EntryKind::Directory {
                remove_below(&mut tree, path);
            }
            tree.insert(path, node);
        }
    }
    tree
}

fn remove_below(tree: &mut Tree<'_>, folder: &Path) {
    let below: Vec<&Path> = tree
        .range(folder..)
        .map(|(path, _)| *path)
        .skip_while(|path| *path == folder)
        .take_while(|path| path.starts_with(folder))
        .collect();
    for path in below {
        tree.remove(path);
    }
}

fn compare(before: &Tree<'_>, after: &Tree<'_>) -> Vec<FileChange> {
    let mut changes = Vec::new();
    let paths: BTreeSet<&Path> = before.keys().chain(after.keys()).copied().collect();
    for path in paths {
        let (old, new) = (before.get(path), after.get(path));
        let kind = match (old, new) {
            (Some(_), None) => ChangeKind::Deleted,
            (None, _) => ChangeKind::Added,
            (Some(old), Some(new)) if old == new => continue,
            _ => ChangeKind::Modified,
        };
        let size = |node: Option<&&Node>| node.map_or(0, |node| node.size);
        let path = Path::new("/").join(path);
        changes.push(FileChange { path, kind, size_before: size(old), size_after: size(new) });
    }
    changes
}

fn layers(before: &[Layer], after: &[Layer]) -> Vec<LayerUse> {
    let has = |layers: &[Layer], wanted: &Layer| layers.iter().any(|layer| layer.diff_id == wanted.diff_id);
    let mut uses: Vec<LayerUse> = Vec::new();
    for layer in before.iter().chain(after) {
        if uses.iter().any(|known| known.diff_id == layer.diff_id) {
            continue;
        }
        uses.push(LayerUse {
            diff_id: layer.diff_id.clone(),
            size: layer.size_unpacked,
            in_first: has(before, layer),
            in_second: has(after, layer),
        });
    }
    uses
}

fn settings(before: &[u8], after: &[u8]) -> Result<Vec<Setting>> {
    let (before, after) = (flat(before)?, flat(after)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&&String| before.get(**name) != after.get(**name);
    let setting = |name: &String| Setting {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    Ok(names.iter().filter(differs).map(|name| setting(name)).collect())
}

/// Each setting by a name of its own: `Env.PATH`, `Labels.maintainer`, `Cmd`.
fn flat(config: &[u8]) -> Result<BTreeMap<String, Value>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(config)
        .map_err(|error| Error::invalid(format!("invalid image config: {error}")))?;
    let mut flat = BTreeMap::new();
    let inner = fields.remove("config");
    for name in TOP {
        add(&mut flat, name, fields.remove(*name).unwrap_or_default());
    }
    for (name, value) in inner.iter().filter_map(Value::as_object).flatten() {
        match value {
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(key, value)| add(&mut flat, &format!("{name}.{key}"), value.clone()));
            }
            Value::Array(rows) if name == "Env" => {
                for row in rows.iter().filter_map(Value::as_str) {
                    let (key, value) = row.split_once('=').unwrap_or((row, ""));
                    add(&mut flat, &format!("Env.{key}"), value.into());
                }
            }
            value => add(&mut flat, name, value.clone()),
        }
    }
    Ok(flat)
}

/// What is empty says no more than what is missing.
fn add(flat: &mut BTreeMap<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !name.starts_with("Env."),
        Value::Array(rows) => rows.is_empty(),
        Value::Bool(on) => !on,
        _ => false,
    };
    if !is_empty {
        flat.insert(name.to_owned(), value);
    }
}

/// The fields beside the configuration that say what an image is; times and histories differ in every build.
const TOP: &[&str] = &["architecture", "author", "os", "os.features", "os.version", "variant"];
/// image-spec, layer.md, "Whiteouts".
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Images of a million files are unheard of; these take some hundred mebibytes here.
const ENTRIES_MAX: usize = 1_000_000;
/// A path is long now and then, not always.
const PATH_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: EntryKind, size: u64) -> Header {
        Header { name: name.into(), kind, size, mode: 0o644, ..Header::default() }
    }

    /// `name=content` is a file, `name/` a directory.
    fn contents(entries: &[&str]) -> Contents {
        let mut contents = Contents::default();
        for entry in entries {
            let (name, text) = entry.split_once('=').unwrap_or((entry, ""));
            let kind = if name.ends_with('/') { EntryKind::Directory } else { EntryKind::Regular };
            let content = (kind == EntryKind::Regular).then(|| hash(text.as_bytes()).unwrap());
            contents.add(&header(name, kind, text.len() as u64), content);
        }
        contents
    }

    fn layer(number: u8) -> Layer {
        let blob = oci::Descriptor::of("", &[number]);
        Layer { diff_id: blob.digest.clone(), blob, size_unpacked: number.into() }
    }

    fn changes(first: &[&[&str]], second: &[&[&str]]) -> Vec<String> {
        let mut read = BTreeMap::new();
        let mut number = 0;
        let mut put = |layers: &[&[&str]]| -> Vec<Layer> {
            let all = layers.iter().map(|entries| {
                number += 1;
                let layer = layer(number);
                read.insert(layer.diff_id.clone(), contents(entries));
                layer
            });
            all.collect()
        };
        let (before, after) = (put(first), put(second));
        let changes = compare(&laid_over(&before, &read), &laid_over(&after, &read));
        let line = |change: &FileChange| {
            let letter = match change.kind {
                ChangeKind::Added => 'A',
                ChangeKind::Modified => 'C',
                ChangeKind::Deleted => 'D',
            };
            format!("{letter} {} {} {}", change.path.display(), change.size_before, change.size_after)
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn layers_are_laid_over_each_other_before_they_are_compared() {
        let base: &[&str] = &["etc/", "etc/a=1", "etc/b=22", "./usr/x=1"];
        assert_eq!(changes(&[base], &[base]), [""; 0]);
        assert_eq!(
            changes(&[base], &[base, &["etc/.wh.a", "etc/b=33", "new=444"]]),
            ["D /etc/a 1 0", "C /etc/b 2 2", "A /new 0 3"]
        );
        assert_eq!(changes(&[base], &[base, &["etc/.wh..wh..opq", "etc/a=1"]]), ["D /etc/b 2 0"]);
        // A file in a directory's place takes all that was below.
        assert_eq!(changes(&[base], &[base, &["etc=x"]]), ["C /etc 0 1", "D /etc/a 1 0", "D /etc/b 2 0"]);
        // The same files in other layers are no difference.
        assert_eq!(changes(&[base], &[&["usr/x=1", "etc/"], &["/etc/a=1", "etc/c/../b=22"]]), [""; 0]);
    }

    #[test]
    fn all_that_is_held_of_all_layers_is_bounded() {
        let (_folder, store) = crate::store::tests::store();
        let ids = ["one", "other"].map(|name| {
            let hidden = format!("{name}/.wh.x");
            crate::store::tests::image(&store, name, &[(&hidden, b""), ("a/.wh..wh..opq", b""), ("b", b"")])
        });
        let [one, other] = ids.map(|id| store.image(&id).unwrap().layers[0].clone());
        let room = Room { entries: AtomicUsize::new(ENTRIES_MAX - 5), ..Room::default() };
        store.contents(&one, &room).unwrap();
        let error = store.contents(&other, &room).unwrap_err();
        assert!(error.to_string().ends_with("more than 1000000 files"), "{error}");
        let room = Room { path_bytes: AtomicUsize::new(PATH_BYTES_MAX - 10), ..Room::default() };
        let error = store.contents(&one, &room).unwrap_err();
        assert!(error.to_string().ends_with("more than 268435456 bytes of paths"), "{error}");
    }

    #[test]
    fn settings_are_told_one_by_one() {
        let before = br#"{"os":"linux","created":"x","config":{"Env":["A=1","B=2"],"Cmd":["sh"],"Labels":{"l":"1"},"User":""}}"#;
        let after = br#"{"os":"linux","config":{"Env":["A=1","B=3","C="],"Cmd":null,"Labels":{"l":"1"},"Tty":false}}"#;
        let shown: Vec<String> = settings(before, after)
            .unwrap()
            .into_iter()
            .map(|one| format!("{} {} {}", one.name, shown(one.before), shown(one.after)))
            .collect();
        assert_eq!(shown, ["Cmd [\"sh\"] -", "Env.B \"2\" \"3\"", "Env.C - \"\""]);
        assert!(settings(b"[]", b"{}").is_err());
    }

    fn shown(value: Option<Value>) -> String {
        value.map_or_else(|| "-".into(), |value| value.to_string())
    }

    #[test]
    fn layers_are_told_once_and_with_who_has_them() {
        let uses = layers(&[layer(1), layer(2)], &[layer(1), layer(3)]);
        let told: Vec<_> = uses.iter().map(|one| (one.size, one.in_first, one.in_second)).collect();
        assert_eq!(told, [(1, true, true), (2, true, false), (3, false, true)]);
    }
}
