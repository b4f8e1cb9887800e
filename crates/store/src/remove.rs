//! Removing images by Docker's rules (moby, daemon/images/image_delete.go): a name first, the image with its last name.
//!
//! The rules are a pure change of the catalog; what nobody refers to any more goes with the collector.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use fault::{Error, Result};
use oci::{Digest, Platform, Reference};

use crate::catalog::{Catalog, Entry};
use crate::image::no_such_image;
use crate::resolve::{lookup_key, resolve};
use crate::{ImageId, Store};

/// How to remove, and who uses images.
pub struct Remove<'a> {
    /// Overrides soft conflicts: several names, stopped containers.
    pub force: bool,
    /// Also removes parents that have no name and no user left.
    pub prune_children: bool,
    /// The containers of an image.
    pub in_use: &'a dyn Fn(&ImageId) -> Vec<User>,
}

impl std::fmt::Debug for Remove<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Remove")
            .field("force", &self.force)
            .field("prune_children", &self.prune_children)
            .finish_non_exhaustive()
    }
}

/// A container made from an image.
#[derive(Clone, Debug)]
pub struct User {
    /// Its whole id.
    pub container: String,
    pub running: bool,
}

/// What happened, in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone: its familiar form, and the image that it pointed at.
    Untagged(String, ImageId),
    /// An image is gone.
    Deleted(ImageId),
    /// A layer is gone with the last image on it: its chain id.
    Layer(Digest),
}

impl Store {
    /// Removes a name, or an image by its id.
    ///
    /// `Conflict` with Docker's texts when something is in the way; `NotFound` when nothing has that name.
    pub fn remove(&self, name: &str, how: &Remove<'_>) -> Result<Vec<Removed>> {
        self.remove_by(|catalog| remove(catalog, name, how))
    }

    /// Removes what a name stands for on these platforms; the name goes with the last of its images.
    ///
    /// `NotFound`, with dockerd's words, for a platform that is not here.
    pub fn remove_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        how: &Remove<'_>,
    ) -> Result<Vec<Removed>> {
        let mut wanted = Vec::new();
        for platform in platforms {
            wanted.push(self.resolve_exactly(name, platform)?);
        }
        self.remove_by(|catalog| remove_some(catalog, name, &wanted, how))
    }

    /// The images that go with the last name of this one, because they are other platforms of the same.
    pub fn taken_along(&self, id: &ImageId) -> Vec<ImageId> {
        self.catalog().taken_along(id).into_iter().cloned().collect()
    }

    /// Removes an image with all its names, unless something else is in the way.
    pub(crate) fn remove_with_names(
        &self,
        id: &ImageId,
        may_go: impl Fn(&Catalog, &ImageId) -> bool,
        how: &Remove<'_>,
    ) -> Result<Vec<Removed>> {
        self.remove_by(|catalog| {
            let mut removal = Removal::new(catalog, how);
            if may_go(removal.catalog, id) && removal.conflict(id, how.force, Names::Ignored).is_none() {
                removal.untag_all(id);
                removal.delete(id, how.force, how.prune_children, Quiet::No)?;
            }
            removal.finished()
        })
    }

    fn remove_by(&self, change: impl FnOnce(&mut Catalog) -> Result<Vec<Removed>>) -> Result<Vec<Removed>> {
        let placing = self.inner.placing.write().unwrap_or_else(PoisonError::into_inner);
        let (removed, gone) = self.inner.db.update(|catalog| {
            let before = catalog.clone();
            let removed = change(catalog)?;
            let gone = lost_images(&before, catalog);
            self.settle_snapshots_of(&gone.iter().map(|(id, _)| id).collect::<Vec<_>>())?;
            Ok((removed, gone))
        })?;
        drop(placing);
        sys::crash::point("store.remove.entered");
        self.write_layout();
        if gone.is_empty() {
            return Ok(removed);
        }
        // The images are gone whatever comes now, and that must be told; the next collection finds what stays here.
        let kept = self.collect().and_then(|_| self.chains_in_use());
        match kept {
            Ok(kept) => Ok(with_layers(removed, &gone, &kept)),
            Err(error) => {
                tracing::warn!(%error, "layers of removed images are left to the next collection");
                Ok(removed)
            }
        }
    }

    /// The chain ids that images and snapshots stand on.
    fn chains_in_use(&self) -> Result<Vec<Digest>> {
        let catalog = self.catalog();
        let mut chains: Vec<Digest> = catalog.images.values().flat_map(Entry::chain_ids).collect();
        for snapshot in self.snapshots()? {
            chains.extend(crate::catalog::chain_ids(snapshot.layers()));
        }
        Ok(chains)
    }
}

fn lost_images(before: &Catalog, after: &Catalog) -> Vec<(ImageId, Entry)> {
    let lost = before.images.iter().filter(|(id, _)| !after.images.contains_key(id));
    lost.map(|(id, entry)| (id.clone(), entry.clone())).collect()
}

/// Puts behind each deleted image the layers that went with it, uppermost first.
fn with_layers(removed: Vec<Removed>, gone: &[(ImageId, Entry)], kept: &[Digest]) -> Vec<Removed> {
    let mut told: Vec<Digest> = kept.to_vec();
    let mut all = Vec::new();
    for step in removed {
        let entry = match &step {
            Removed::Deleted(id) => gone.iter().find(|(lost, _)| lost == id).map(|(_, entry)| entry),
            _ => None,
        };
        all.push(step);
        for chain in entry.map(Entry::chain_ids).unwrap_or_default().into_iter().rev() {
            if !told.contains(&chain) {
                told.push(chain.clone());
                all.push(Removed::Layer(chain));
            }
        }
    }
    all
}

fn remove(catalog: &mut Catalog, name: &str, how: &Remove<'_>) -> Result<Vec<Removed>> {
    let id = resolve(catalog, name)?;
    let mut removal = Removal::new(catalog, how);
    if is_id_prefix(&id, name) {
        removal.by_id(&id)?;
    } else {
        removal.by_name(&id, name)?;
    }
    removal.finished()
}

/// Some images of a name's index, and with the last of them the name. An image that another name needs stays.
fn remove_some(
    catalog: &mut Catalog,
    name: &str,
    wanted: &[ImageId],
    how: &Remove<'_>,
) -> Result<Vec<Removed>> {
    let id = resolve(catalog, name)?;
    let names = names_of_index(catalog, &id, name);
    let indexed = names.first().and_then(|name| catalog.indexes.get(name));
    let heir =
        indexed.and_then(|indexed| indexed.images.iter().find(|image| !wanted.contains(image))).cloned();
    let Some(heir) = heir else { return remove(catalog, name, how) };
    let mut removal = Removal::new(catalog, how);
    for name in &names {
        // What the name means without a platform may go: another platform of it takes its place.
        if wanted.contains(&id) {
            removal.catalog.names.insert(name.clone(), heir.clone());
        }
        if let Some(indexed) = removal.catalog.indexes.get_mut(name) {
            indexed.images.retain(|image| !wanted.contains(image));
        }
    }
    for image in wanted {
        if removal.is_wanted(image) {
            // The image stays with another name; this one has lost it all the same.
            let lost = names.first().map(|name| Removed::Untagged(name.familiar(), image.clone()));
            removal.removed.extend(lost);
            continue;
        }
        if let Some(conflict) = removal.conflict(image, how.force, Names::Ignored) {
            return Err(conflict.error(image));
        }
        removal.delete(image, how.force, how.prune_children, Quiet::No)?;
    }
    removal.finished()
}

/// The name and its repository's digests that stand for the same index; the name is the first.
fn names_of_index(catalog: &Catalog, id: &ImageId, text: &str) -> Vec<Reference> {
    let Some(name) = Reference::parse(text).ok().map(|name| lookup_key(&name)) else { return Vec::new() };
    let Some(indexed) = catalog.indexes.get(&name) else { return Vec::new() };
    let is_same = |other: &&Reference| {
        let same =
            catalog.indexes.get(*other).is_some_and(|other| other.index.digest == indexed.index.digest);
        same && **other != name && other.digest().is_some() && other.repository() == name.repository()
    };
    let others: Vec<Reference> = catalog.names_of(id).into_iter().filter(is_same).cloned().collect();
    std::iter::once(name).chain(others).collect()
}

struct Removal<'a> {
    catalog: &'a mut Catalog,
    how: &'a Remove<'a>,
    removed: Vec<Removed>,
    /// Images of indexes that lost a name.
    left: BTreeSet<ImageId>,
}

impl<'a> Removal<'a> {
    fn new(catalog: &'a mut Catalog, how: &'a Remove<'a>) -> Self {
        Self { catalog, how, removed: Vec::new(), left: BTreeSet::new() }
    }

    /// Takes along the other platforms' images whose last name went.
    fn finished(mut self) -> Result<Vec<Removed>> {
        for id in std::mem::take(&mut self.left) {
            if self.catalog.images.contains_key(&id) && !self.is_wanted(&id) {
                self.delete(&id, self.how.force, self.how.prune_children, Quiet::Yes)?;
            }
        }
        Ok(self.removed)
    }

    /// Something has a name for it, its own or an index's.
    fn is_wanted(&self, id: &ImageId) -> bool {
        self.catalog.is_indexed(id) || !self.catalog.names_of(id).is_empty()
    }

    /// Takes the name away; the image goes too if that was its last.
    fn by_name(&mut self, id: &ImageId, text: &str) -> Result<()> {
        let users = (self.how.in_use)(id);
        if !self.how.force
            && is_single(&self.catalog.names_of(id))
            && let Some(user) = users.first()
        {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference \"{text}\" (must force) - container {} is using its \
                 referenced image {}",
                short(&user.container),
                id.short()
            )));
        }
        let name = lookup_key(&Reference::parse(text)?);
        self.untag(id, &name);
        if name.digest().is_none() {
            self.untag_digests(id, &name);
        }
        if self.is_wanted(id) {
            return Ok(());
        }
        self.delete(id, self.how.force, self.how.prune_children, Quiet::Yes)
    }

    /// By id: a single name goes with the image, several are a conflict.
    fn by_id(&mut self, id: &ImageId) -> Result<()> {
        if is_single(&self.catalog.names_of(id)) {
            if let Some(conflict) = self.conflict(id, self.how.force, Names::Ignored) {
                return Err(conflict.error(id));
            }
            self.untag_all(id);
        }
        self.delete(id, self.how.force, self.how.prune_children, Quiet::No)
    }

    /// Deletes the image and, if wanted, the parents that nobody needs any more.
    fn delete(&mut self, id: &ImageId, force: bool, prune: bool, quiet: Quiet) -> Result<()> {
        if let Some(conflict) = self.conflict(id, force, Names::Count) {
            let is_dangling =
                self.catalog.names_of(id).is_empty() && self.catalog.children_of(id).next().is_none();
            let silent = quiet == Quiet::Yes && (!is_dangling || conflict.used);
            return if silent { Ok(()) } else { Err(conflict.error(id)) };
        }
        self.untag_all(id);
        let entry = self.catalog.images.get(id).ok_or_else(|| no_such_image(id))?;
        let parent = entry.parent.clone().filter(|parent| self.catalog.images.contains_key(parent));
        self.catalog.remove(id);
        self.removed.push(Removed::Deleted(id.clone()));
        match parent {
            Some(parent) if prune && !self.catalog.images[&parent].pinned => {
                self.delete(&parent, false, true, Quiet::Yes)
            }
            _ => Ok(()),
        }
    }

    fn untag(&mut self, id: &ImageId, name: &Reference) {
        let indexed = self.catalog.indexes.get(name).map(|indexed| indexed.images.clone());
        if self.catalog.untag(name) {
            self.left.extend(indexed.into_iter().flatten().filter(|other| other != id));
            self.removed.push(Removed::Untagged(name.familiar(), id.clone()));
        }
    }

    fn untag_all(&mut self, id: &ImageId) {
        let names: Vec<Reference> = self.catalog.names_of(id).into_iter().cloned().collect();
        for name in names {
            self.untag(id, &name);
        }
    }

    /// When a repository's last tag of the image went, its digests go too.
    fn untag_digests(&mut self, id: &ImageId, gone: &Reference) {
        let names = self.catalog.names_of(id).into_iter().cloned();
        let same: Vec<Reference> = names.filter(|name| name.repository() == gone.repository()).collect();
        if same.iter().any(|name| name.digest().is_none()) {
            return;
        }
        for name in same {
            self.untag(id, &name);
        }
    }

    fn conflict(&self, id: &ImageId, force: bool, names: Names) -> Option<Conflict> {
        if self.catalog.children_of(id).next().is_some() {
            return Some(Conflict::hard("image has dependent child images".into(), false));
        }
        let users = (self.how.in_use)(id);
        if let Some(user) = users.iter().find(|user| user.running) {
            let container = short(&user.container);
            return Some(Conflict::hard(
                format!("image is being used by running container {container}"),
                true,
            ));
        }
        if force {
            return None;
        }
        if names == Names::Count && !self.catalog.names_of(id).is_empty() {
            return Some(Conflict::soft("image is referenced in multiple repositories".into(), false));
        }
        let user = users.first()?;
        let container = short(&user.container);
        Some(Conflict::soft(format!("image is being used by stopped container {container}"), true))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quiet {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Count,
    Ignored,
}

struct Conflict {
    why: String,
    forcible: bool,
    /// By a container.
    used: bool,
}

impl Conflict {
    fn hard(why: String, used: bool) -> Self {
        Self { why, forcible: false, used }
    }

    fn soft(why: String, used: bool) -> Self {
        Self { why, forcible: true, used }
    }

    fn error(self, id: &ImageId) -> Error {
        let force = if self.forcible { "must be forced" } else { "cannot be forced" };
        Error::conflict(format!("conflict: unable to delete {} ({force}) - {}", id.short(), self.why))
    }
}

/// All names are of one repository, with at most one tag among them.
fn is_single(names: &[&Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let one_repository = names.windows(2).all(|pair| pair[0].repository() == pair[1].repository());
    !names.is_empty() && tags <= 1 && one_repository
}

fn is_id_prefix(id: &ImageId, text: &str) -> bool {
    id.0.as_str().starts_with(text) || id.0.hex().starts_with(text)
}

/// A container's id as Docker shows it.
fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{digest, entry};

    fn id(hex: &str) -> ImageId {
        ImageId(digest(hex))
    }

    fn catalog(names: &[(&str, &str)]) -> Catalog {
        let mut catalog = Catalog::default();
        for (name, hex) in names {
            catalog.add(id(hex), entry(&[]));
            catalog.tag(lookup_key(&Reference::parse(name).unwrap()), &id(hex), "now");
        }
        catalog
    }

    /// What `rmi` prints, or the error.
    fn check(
        catalog: &mut Catalog,
        name: &str,
        force: bool,
        users: &[(&str, bool)],
    ) -> Result<Vec<String>, String> {
        let in_use = |_: &ImageId| -> Vec<User> {
            users
                .iter()
                .map(|(container, running)| User { container: (*container).into(), running: *running })
                .collect()
        };
        let removed = remove(catalog, name, &Remove { force, prune_children: true, in_use: &in_use });
        let line = |step| match step {
            Removed::Untagged(name, _) => format!("Untagged: {name}"),
            Removed::Deleted(id) => format!("Deleted: {}", id.short()),
            Removed::Layer(chain) => format!("Deleted: {chain}"),
        };
        removed.map(|steps| steps.into_iter().map(line).collect()).map_err(|error| error.to_string())
    }

    const CONTAINER: &str = "1234567890abcdef1234567890abcdef";

    #[test]
    fn the_last_name_takes_the_image_along() {
        let mut images = catalog(&[("x", "aa"), ("y", "aa")]);
        assert_eq!(check(&mut images, "x", false, &[]).unwrap(), ["Untagged: x:latest"]);
        let rest = check(&mut images, "y", false, &[]).unwrap();
        assert_eq!(rest, ["Untagged: y:latest", "Deleted: aa0000000000"]);
        assert_eq!(images, Catalog::default());
    }

    #[test]
    fn digests_go_with_their_repository_s_last_tag() {
        let by_digest = format!("x@{}", digest("dd"));
        let mut images = catalog(&[("x", "aa"), (&by_digest, "aa")]);
        let printed = check(&mut images, "x", false, &[]).unwrap();
        assert_eq!(
            printed,
            ["Untagged: x:latest".into(), format!("Untagged: {by_digest}"), "Deleted: aa0000000000".into()]
        );
    }

    #[test]
    fn an_id_with_one_name_removes_both_and_with_several_is_a_conflict() {
        let mut images = catalog(&[("a", "aa"), ("b:1", "bb"), ("b:2", "bb")]);
        assert_eq!(
            check(&mut images, "aa", false, &[]).unwrap(),
            ["Untagged: a:latest", "Deleted: aa0000000000"]
        );
        let words = "conflict: unable to delete bb0000000000 (must be forced) - image is referenced in multiple repositories";
        assert_eq!(check(&mut images, "bb", false, &[]).unwrap_err(), words);
        let forced = check(&mut images, "bb", true, &[]).unwrap();
        assert_eq!(forced, ["Untagged: b:1", "Untagged: b:2", "Deleted: bb0000000000"]);
    }

    #[test]
    fn containers_are_in_the_way() {
        let mut images = catalog(&[("x", "aa")]);
        let stopped = [(CONTAINER, false)];
        let running = [(CONTAINER, true)];
        let words = "conflict: unable to remove repository reference \"x\" (must force) - container 1234567890ab is using \
                     its referenced image aa0000000000";
        assert_eq!(check(&mut images, "x", false, &stopped).unwrap_err(), words);
        let words = "conflict: unable to delete aa0000000000 (must be forced) - image is being used by stopped container \
                     1234567890ab";
        assert_eq!(check(&mut images, "aa", false, &stopped).unwrap_err(), words);
        let words = "conflict: unable to delete aa0000000000 (cannot be forced) - image is being used by running container \
                     1234567890ab";
        assert_eq!(check(&mut images, "aa", true, &running).unwrap_err(), words);
        // By name and by force the name goes, and the image stays for its container.
        assert_eq!(check(&mut images, "x", true, &running).unwrap(), ["Untagged: x:latest"]);
        assert!(images.images.contains_key(&id("aa")));
        assert_eq!(check(&mut images, "aa", true, &stopped).unwrap(), ["Deleted: aa0000000000"]);
    }

    #[test]
    fn parents_stay_while_they_have_children_and_go_with_the_last() {
        let mut images = catalog(&[("child", "cc"), ("parent", "aa")]);
        images.images.get_mut(&id("cc")).unwrap().parent = Some(id("aa"));
        let words =
            "conflict: unable to delete aa0000000000 (cannot be forced) - image has dependent child images";
        assert_eq!(check(&mut images, "aa", false, &[]).unwrap_err(), words);
        assert_eq!(check(&mut images, "parent", false, &[]).unwrap(), ["Untagged: parent:latest"]);
        let printed = check(&mut images, "child", false, &[]).unwrap();
        assert_eq!(printed, ["Untagged: child:latest", "Deleted: cc0000000000", "Deleted: aa0000000000"]);
    }

    #[test]
    fn layers_are_told_once_and_only_if_nobody_stands_on_them() {
        let gone = [(id("aa"), entry(&["1", "2"])), (id("bb"), entry(&["1", "3"]))];
        let chains = gone[0].1.chain_ids();
        let removed = vec![Removed::Deleted(id("aa")), Removed::Deleted(id("bb"))];
        let told = with_layers(removed, &gone, &chains[..1]);
        let expected = [
            Removed::Deleted(id("aa")),
            Removed::Layer(chains[1].clone()),
            Removed::Deleted(id("bb")),
            Removed::Layer(gone[1].1.chain_ids()[1].clone()),
        ];
        assert_eq!(told, expected);
    }
}
