//! `load`: images from an archive, Docker's or an OCI layout's, plain or compressed as a whole.
//!
//! The order of an archive's members is arbitrary, so they go to `ingest` first, hashed while written; no layer is ever
//! held in memory. Then a pure plan says which members make which image, the layers are unpacked, and all images appear
//! together. Whatever is wrong with the archive, nothing of it stays.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use fault::{Error, Result};
use oci::{Descriptor, Digest, Platform, Reference};

use crate::image::{Manifest, Moved, NewImage, parse_config};
use crate::index::Indexed;
use crate::layer::{StagedTree, file_compression, joined, layer_type};
use crate::lease::{Held, Lease};
use crate::publish::Staged;
use crate::{Document, ImageId, Layer, Signed, Store};

mod docker;
mod layout;
mod members;

use members::Members;

/// One line of what was loaded: a name, or the id of an image that came without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub id: ImageId,
    pub reference: Option<Reference>,
    /// The image that had the name before.
    pub replaced: Option<ImageId>,
}

/// A layer was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub diff_id: Digest,
    /// The layer's bytes in the archive.
    pub size: u64,
}

/// What one image of the archive is made of, by members' names.
#[derive(Debug)]
pub(crate) struct Planned {
    config: String,
    /// Lowest first.
    layers: Vec<PlannedLayer>,
    manifest: Manifest,
    names: Vec<Reference>,
    /// The index that it is of, by its place among the archive's.
    group: Option<usize>,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    images: Vec<Planned>,
    /// Indexes with those below them, the uppermost first.
    groups: Vec<Vec<Document>>,
}

#[derive(Debug)]
pub(crate) struct PlannedLayer {
    member: String,
    /// As the manifest names it, if there is one.
    blob: Option<Descriptor>,
}

impl Store {
    /// Loads all images of an archive, or none; with platforms only what is for these. `Invalid` for what is
    /// corrupt, truncated or no image archive.
    pub fn load(
        &self,
        reader: impl Read,
        platforms: &[Platform],
        report: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let lease = self.lease();
        let members = Members::read(self, reader)?;
        sys::crash::point("store.load.read");
        let planned = match members.has("index.json") {
            true => layout::plan(&members, platforms)?,
            false => docker::plan(&members, platforms)?,
        };
        self.load_planned(&lease, members, planned, report)
    }

    fn load_planned(
        &self,
        lease: &Lease,
        members: Members,
        Plan { images: planned, groups }: Plan,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let mut configs = Vec::new();
        for image in &planned {
            configs.push(read_config(&members, image)?);
        }
        let known = self.known_layers(lease, &members, &planned, &configs)?;
        let wanted = wanted_layers(&members, &planned, &configs, &known)?;
        let trees = self.unpack_layers(lease, &members, &wanted, report)?;
        let mut images = Vec::new();
        let of_groups: Vec<Option<usize>> = planned.iter().map(|image| image.group).collect();
        for (image, config) in planned.into_iter().zip(configs) {
            images.push(new_image(&members, image, config, &trees, &known)?);
        }
        let mut indexes = Vec::new();
        for (number, documents) in groups.iter().enumerate() {
            indexes.extend(join_group(&mut images, &of_groups, number, documents).then_some(documents));
        }
        let is_told = |image: &&NewImage| {
            !image.names.is_empty() || !images.iter().any(|other| other.leads_to(&image.id()))
        };
        let lines: Vec<(ImageId, Vec<Reference>)> =
            images.iter().filter(is_told).map(|image| (image.id(), image.names.clone())).collect();
        let blobs =
            members.into_blobs(images.iter().flat_map(|image| &image.layers).map(|layer| &layer.blob.digest));
        let staged = trees.into_values().filter_map(|tree| tree.staged).map(Staged::Tree);
        let mut staged: Vec<Staged> = staged.chain(blobs.into_iter().map(Staged::Blob)).collect();
        for documents in indexes {
            staged.extend(self.stage_indexes(lease, documents)?);
        }
        let moved = self.register(lease, staged, images)?;
        Ok(loaded(lines, &moved))
    }

    /// What an archive lacks and an image here has: who knows that the receiver has a layer may leave it out. By diffIDs.
    fn known_layers(
        &self,
        lease: &Lease,
        members: &Members,
        planned: &[Planned],
        configs: &[(Vec<u8>, oci::Image)],
    ) -> Result<BTreeMap<Digest, Layer>> {
        let mut missing = BTreeMap::new();
        for (image, (_, config)) in planned.iter().zip(configs) {
            let layers = image.layers.iter().zip(&config.rootfs.diff_ids);
            let lacking = layers.filter(|(layer, _)| members.blob(&layer.member).is_err());
            missing.extend(lacking.map(|(layer, diff_id)| (diff_id, layer.blob.as_ref())));
        }
        let mut known = BTreeMap::new();
        for (diff_id, named) in missing {
            let layer = self.hold_layer(lease, diff_id, named.map(|blob| &blob.digest))?;
            known.extend(layer.map(|layer| (diff_id.clone(), layer)));
        }
        Ok(known)
    }

    /// Unpacks the layers that are not here yet, on all processors.
    fn unpack_layers(
        &self,
        lease: &Lease,
        members: &Members,
        wanted: &BTreeMap<&str, Wanted<'_>>,
        report: &mut dyn FnMut(Progress),
    ) -> Result<BTreeMap<String, Tree>> {
        for (member, layer) in wanted {
            lease.hold(Held::Layer(layer.diff_id.clone()));
            lease.hold(Held::Blob(members.blob(member)?.digest.clone()));
        }
        let jobs: Vec<_> = wanted.iter().collect();
        let unpack = |(member, layer): &(&&str, &Wanted<'_>)| -> Result<(u64, String, Tree)> {
            let size = members.blob(member)?.size;
            Ok((size, (**member).to_owned(), self.unpack_layer(members, member, layer)?))
        };
        let told = |(size, _, tree): &(u64, String, Tree)| {
            report(Progress { diff_id: tree.diff_id.clone(), size: *size });
        };
        let trees = in_parallel_telling(&jobs, unpack, told)?;
        Ok(trees.into_iter().map(|(_, member, tree)| (member, tree)).collect())
    }

    fn unpack_layer(&self, members: &Members, member: &str, layer: &Wanted<'_>) -> Result<Tree> {
        let Wanted { index, diff_id } = *layer;
        if self.has_layer(diff_id)? {
            return Ok(Tree { diff_id: diff_id.clone(), size: self.layer_size(diff_id)?, staged: None });
        }
        let blob = members.blob(member)?;
        let staged = self.stage_tree(blob.reopen()?, &blob.digest)?;
        if staged.diff_id != *diff_id {
            let got = &staged.diff_id;
            return Err(Error::invalid(format!(
                "invalid diffID for layer {index}: expected \"{diff_id}\", got \"{got}\""
            )));
        }
        Ok(Tree { diff_id: diff_id.clone(), size: staged.size, staged: Some(staged) })
    }
}

/// A layer that an archive has.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    /// Its place in the first image that has it, for messages.
    index: usize,
    diff_id: &'a Digest,
}

/// The layers of all images by their members, each once, without those that are here and not in the archive.
fn wanted_layers<'a>(
    members: &Members,
    planned: &'a [Planned],
    configs: &'a [(Vec<u8>, oci::Image)],
    known: &BTreeMap<Digest, Layer>,
) -> Result<BTreeMap<&'a str, Wanted<'a>>> {
    let mut wanted = BTreeMap::new();
    for (image, (_, config)) in planned.iter().zip(configs) {
        for (index, (layer, diff_id)) in image.layers.iter().zip(&config.rootfs.diff_ids).enumerate() {
            match members.blob(&layer.member) {
                Err(_) if known.contains_key(diff_id) => continue,
                blob => blob?,
            };
            wanted.entry(layer.member.as_str()).or_insert(Wanted { index, diff_id });
        }
    }
    Ok(wanted)
}

/// Lets the image of a group that has a name lead to the others; `false` if none has one.
fn join_group(
    images: &mut [NewImage],
    of_groups: &[Option<usize>],
    number: usize,
    documents: &[Document],
) -> bool {
    let is_of = |group: &Option<usize>| *group == Some(number);
    let members = images.iter().zip(of_groups).filter(|(_, group)| is_of(group));
    let ids: Vec<ImageId> = members.map(|(image, _)| image.id()).collect();
    let mut group = images.iter_mut().zip(of_groups).filter(|(_, group)| is_of(group));
    let Some((first, _)) = group.find(|(image, _)| !image.names.is_empty()) else { return false };
    first.indexed = Indexed::of(documents, &first.id());
    if let Some(indexed) = &mut first.indexed {
        indexed.images.extend(ids);
    }
    first.indexed.is_some()
}

/// A layer's tree, here already or staged.
#[derive(Debug)]
struct Tree {
    diff_id: Digest,
    size: u64,
    staged: Option<StagedTree>,
}

/// Does the same with each of several things, on all processors; the answers come in any order.
pub(crate) fn in_parallel<J: Sync, T: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    in_parallel_telling(jobs, work, |_| ())
}

/// The same, and tells each answer when it comes. After an error nothing more is begun.
pub(crate) fn in_parallel_telling<J: Sync, T: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T> + Sync,
    mut told: impl FnMut(&T),
) -> Result<Vec<T>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    let next = AtomicUsize::new(0);
    let (sender, answers) = mpsc::channel();
    let work = |sender: Sender<Result<T>>| {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Whoever listens does so to the end.
            drop(sender.send(work(job)));
        }
    };
    thread::scope(|scope| {
        let work = &work;
        let begin = |sender: Sender<Result<T>>| scope.spawn(move || work(sender));
        let running: Vec<_> = (0..threads).map(|_| begin(sender.clone())).collect();
        drop(sender);
        let mut done = Vec::new();
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(answer) => {
                    told(&answer);
                    done.push(answer);
                }
                Err(error) => {
                    next.store(jobs.len(), Ordering::Relaxed);
                    failure = failure.or(Some(error));
                }
            }
        }
        running.into_iter().for_each(joined);
        failure.map_or(Ok(done), Err)
    })
}

fn lacking(platforms: &[Platform]) -> Error {
    let shown: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    Error::not_found(format!("requested platform(s) not found: {}", shown.join(", ")))
}

fn read_config(members: &Members, image: &Planned) -> Result<(Vec<u8>, oci::Image)> {
    let bytes = members.document(&image.config)?;
    let config = parse_config(&bytes)?;
    let (expected, got) = (config.rootfs.diff_ids.len(), image.layers.len());
    if expected != got {
        return Err(Error::invalid(format!(
            "invalid manifest, layers length mismatch: expected {expected}, got {got}"
        )));
    }
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(Error::invalid(format!("cannot load {} image on linux", config.os)));
    }
    for diff_id in &config.rootfs.diff_ids {
        crate::content::refuse_other_algorithms(diff_id)?;
    }
    Ok((bytes, config))
}

fn new_image(
    members: &Members,
    image: Planned,
    (config, parsed): (Vec<u8>, oci::Image),
    trees: &BTreeMap<String, Tree>,
    known: &BTreeMap<Digest, Layer>,
) -> Result<NewImage> {
    let mut layers = Vec::new();
    let mut manifest = image.manifest;
    for (layer, diff_id) in image.layers.into_iter().zip(parsed.rootfs.diff_ids) {
        let staged = match (members.blob(&layer.member), known.get(&diff_id)) {
            (Err(_), Some(here)) => {
                // Ours is packed in another way, so the manifest would lead to nothing.
                if layer.blob.is_some_and(|blob| blob.digest != here.blob.digest) {
                    manifest = Manifest::New;
                }
                layers.push(here.clone());
                continue;
            }
            (staged, _) => staged?,
        };
        let blob = match layer.blob {
            Some(blob) => {
                staged.verify(&blob)?;
                blob
            }
            None => Descriptor::new(
                layer_type(file_compression(&staged.reopen()?)?),
                staged.digest.clone(),
                staged.size,
            ),
        };
        let tree = &trees[&layer.member];
        if tree.diff_id != diff_id {
            let got = &tree.diff_id;
            return Err(Error::invalid(format!("invalid diffID: expected \"{diff_id}\", got \"{got}\"")));
        }
        layers.push(Layer { blob, diff_id, size_unpacked: tree.size });
    }
    Ok(NewImage {
        config,
        manifest,
        layers,
        names: image.names,
        indexed: None,
        signed: Signed::default(),
        parent: None,
    })
}

pub(crate) fn loaded(lines: Vec<(ImageId, Vec<Reference>)>, moved: &[Moved]) -> Vec<Loaded> {
    let mut all = Vec::new();
    for (id, names) in lines {
        if names.is_empty() {
            all.push(Loaded { id: id.clone(), reference: None, replaced: None });
        }
        for name in names {
            let replaced = moved.iter().find(|one| one.name == name).map(|one| one.from.clone());
            all.push(Loaded { id: id.clone(), reference: Some(name), replaced });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_while_others_are_still_at_work() {
        let (go, wait) = mpsc::channel();
        let wait = std::sync::Mutex::new(wait);
        let work = |job: &u32| {
            if *job == 2 {
                let patience = std::time::Duration::from_secs(10);
                wait.lock().unwrap().recv_timeout(patience).expect("the first was told");
            }
            Ok(*job)
        };
        let done = in_parallel_telling(&[1, 2], work, |job| go.send(*job).unwrap()).unwrap();
        assert_eq!(done, [1, 2]);
    }

    #[test]
    fn the_first_error_is_the_answer() {
        let work = |job: &u32| if *job == 3 { Err(Error::invalid("three")) } else { Ok(*job) };
        assert_eq!(in_parallel(&[1, 2, 3, 4], work).unwrap_err().to_string(), "three");
        assert_eq!(in_parallel(&[], work).unwrap(), [0; 0]);
    }
}
