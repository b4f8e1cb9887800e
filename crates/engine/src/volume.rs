//! Volumes of the local driver: folders that outlive containers.
//!
//! ```text
//! <root>/<name>/_data          what containers see
//!              /volume.json    the record; a folder without one is half made
//!              /.populating    a copy of an image's folder that is not finished, or (.populated) not moved in
//! <root>/.removing-<name>.<random>   a removal that is not finished
//! ```
//!
//! A volume with a device is mounted at its `_data` while somebody uses it ([`device`]).
//!
//! Guarantees: creation and removal are durable before they are answered; what was left half-made is gone after the
//! next [`Volumes::open`]. A volume that a container names, or one that is being created, is not removed.

mod adopt;
mod device;
mod populate;
mod record;
mod verbs;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Doing, Error, Kind, Result};
use sys::errno::{ENOENT, EXDEV};
use sys::fs::OpenHow;

use crate::{ContainerId, Engine, MountKind};
use device::Uses;
use record::Record;

pub(crate) use adopt::{Adopted, adopt};
pub(crate) use record::check_name;
pub(crate) use verbs::{bookkeeping, tell};
pub use verbs::{create, inspect, list, prune, remove, usage};

/// All volumes. Every method blocks.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
    /// One change at a time, so that two creations of one name make one volume, and nobody begins to use one that goes.
    changing: Mutex<Held>,
    /// One filling at a time: it has a folder beside the data.
    populating: Mutex<()>,
    /// Of the volumes that have a device. Locked before `changing`.
    uses: Uses,
}

/// Volumes of containers that are not in the registry yet.
type Held = Vec<(String, ContainerId)>;

/// Keeps volumes from being removed until the container that names them is known to all.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    volumes: &'a Volumes,
    holder: ContainerId,
}

/// What a container or a user asks of a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// Empty: a random one.
    pub(crate) name: &'a str,
    /// Empty means `local`.
    pub(crate) driver: &'a str,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Made for one container; gets the label `com.docker.volume.anonymous`.
    pub(crate) anonymous: bool,
}

impl Volumes {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        sys::fs::create_dir_all(root, 0o701)?;
        let volumes = Self {
            root: root.to_owned(),
            changing: Mutex::default(),
            populating: Mutex::default(),
            uses: Uses::default(),
        };
        volumes.sweep()?;
        Ok(volumes)
    }

    /// Begins to hold volumes for a container: none yet.
    pub(crate) fn hold(&self, holder: &ContainerId) -> Hold<'_> {
        Hold { volumes: self, holder: holder.clone() }
    }

    /// The volume's record, and whether it was made just now.
    fn create(&self, wish: &Wish<'_>) -> Result<(Record, bool)> {
        self.create_now(wish, &self.lock())
    }

    /// Nobody else changes anything meanwhile.
    fn create_now(&self, wish: &Wish<'_>, _alone: &Held) -> Result<(Record, bool)> {
        if let Some(found) = self.find(wish.name)? {
            return Ok((found, false));
        }
        let record = Record::of(wish)?;
        let folder = self.folder(&record.name);
        let is_anothers = sys::fs::exists(&folder)?;
        let made = self.write(&record, &folder);
        if made.is_err() && !is_anothers {
            // The first error is the one to tell; what stays is swept at the next start.
            drop(sys::fs::remove_tree(&folder));
        }
        made.doing(|| format!("create {}", record.name)).map(|()| (record, true))
    }

    fn write(&self, record: &Record, folder: &Path) -> Result<()> {
        sys::fs::create_dir_all(folder, 0o701)?;
        sys::fs::create_dir_all(folder.join(DATA), 0o755)?;
        sys::crash::point("volume.create.folder");
        record.save(folder)?;
        sys::fs::fsync_dir(&self.root)?;
        sys::crash::point("volume.create.recorded");
        Ok(())
    }

    /// Fills an *empty* volume with what the root file system has at `path`, folder's owner and mode included; nothing
    /// there is fine, a volume that is not empty stays as it is.
    pub(crate) fn populate(&self, name: &str, rootfs: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let Some(source) = populate::source(rootfs, path)? else { return Ok(()) };
        let user = format!("filling-{}", crate::id::random_hex()?);
        self.enter(name, &user).doing(|| "failed to populate volume")?;
        let filled = self
            .fill(name, &source)
            .doing(|| format!("filling volume {name} from {} of the image", path.display()));
        filled.and(self.leave(name, &user))
    }

    fn fill(&self, name: &str, source: &OwnedFd) -> Result<()> {
        let _one = device::lock(&self.populating);
        match self.get(name)?.device() {
            Some(_) => populate::populate_device(&self.folder(name), source),
            None => populate::populate(&self.folder(name), source),
        }
    }

    /// Removes an anonymous volume with its container; one that is gone, or that another container uses, is fine.
    pub(crate) fn remove_anonymous(&self, engine: &Engine, name: &str) -> Result<()> {
        match self.delete(name, || users(engine, name)) {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Ok(()),
            deleted => deleted.map(|()| tell(engine, "destroy", name)),
        }
    }

    /// Removes a volume that nobody names.
    fn delete(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<()> {
        // The name is free at once, and may be removed again while this tree still goes.
        let removing = self.root.join(format!("{REMOVING}{name}.{}", crate::id::random_hex()?));
        let uses = self.get(name)?.device().map(|_| self.uses.of(name));
        let in_use = uses.as_deref().map(device::lock);
        let users = || {
            let mut users: Vec<String> = users();
            let others = in_use.iter().flat_map(|in_use| in_use.iter());
            let others: Vec<String> = others.filter(|user| !users.contains(user)).cloned().collect();
            users.extend(others);
            users
        };
        self.set_aside(name, users, &removing)?;
        drop(in_use);
        sys::crash::point("volume.remove.renamed");
        sys::fs::remove_tree(&removing)
    }

    fn set_aside(&self, name: &str, users: impl FnOnce() -> Vec<String>, removing: &Path) -> Result<()> {
        let held = self.lock();
        let mut users = users();
        users.extend(held.iter().filter(|(held, _)| held == name).map(|(_, holder)| holder.to_string()));
        if !users.is_empty() {
            return Err(Error::conflict(format!("volume is in use - [{}]", users.join(", "))));
        }
        self.get(name)?;
        // What lies on a device stays there.
        device::unmount(&self.data(name))?;
        sys::fs::rename_durable(self.folder(name), removing)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Option<Record>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        Record::load(&self.folder(name))
    }

    fn get(&self, name: &str) -> Result<Record> {
        self.find(name)?.ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }

    fn all(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for name in sys::fs::read_dir(&self.root)? {
            let Some(name) = name.to_str() else { continue };
            match self.find(name) {
                Ok(found) => records.extend(found),
                Err(error) => tracing::warn!(volume = name, %error, "not shown"),
            }
        }
        records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// Takes away what an earlier process left half-made or half-removed. In Docker's data root its volumes lie here,
    /// too: what holds anything, or may be Docker's, is not ours to remove.
    fn sweep(&self) -> Result<()> {
        let is_dockers = sys::fs::exists(self.root.join(DOCKERS_RECORDS))?;
        for name in sys::fs::read_dir(&self.root)? {
            // One that cannot be read, a link to a disk that is away for one, must not keep all others down.
            if let Err(error) = sweep_one(&self.root.join(&name), is_dockers) {
                tracing::error!(volume = %name.display(), %error, "left as it is until the next start");
            }
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Begins to use a volume: mounts its device, unless somebody has it mounted or it has none. Where it lies on the
    /// host; whoever entered leaves again. Blocks as long as the device does.
    pub(crate) fn enter(&self, name: &str, user: &str) -> Result<PathBuf> {
        let Some(device) = self.get(name)?.device() else { return Ok(self.data(name)) };
        let uses = self.uses.of(name);
        let mut users = device::lock(&uses);
        // It may have gone while we waited.
        self.get(name)?;
        let data = self.data(name);
        if !device::is_mounted(&data)? {
            device.mount(&data)?;
            sys::crash::point("volume.mount.mounted");
        }
        users.insert(user.to_owned());
        Ok(data)
    }

    /// Ends a use; the last one unmounts. Who does not use it may leave all the same.
    pub(crate) fn leave(&self, name: &str, user: &str) -> Result<()> {
        let Some(uses) = self.uses.known(name) else { return Ok(()) };
        let mut users = device::lock(&uses);
        if !users.remove(user) || !users.is_empty() {
            return Ok(());
        }
        device::unmount(&self.data(name))
    }

    /// Uses it until what comes back is dropped.
    pub(crate) fn borrow(&self, engine: &Engine, name: &str) -> Result<Use> {
        let user = format!("use-{}", crate::id::random_hex()?);
        self.enter(name, &user)?;
        Ok(Use { engine: engine.clone(), name: name.to_owned(), user })
    }

    /// Who uses which volumes after a restart; what nobody uses is unmounted.
    pub(crate) fn converge(&self, users: &[(String, String)]) -> Result<()> {
        for record in self.all()?.iter().filter(|record| record.device().is_some()) {
            let uses = self.uses.of(&record.name);
            let mut known = device::lock(&uses);
            known.extend(users.iter().filter(|(name, _)| *name == record.name).map(|(_, user)| user.clone()));
            if known.is_empty() {
                device::unmount(&self.data(&record.name))?;
            }
        }
        Ok(())
    }

    /// What containers see of a volume that exists, as a folder on the host.
    pub(crate) fn mountpoint(&self, name: &str) -> Result<PathBuf> {
        self.get(name).map(|record| self.data(&record.name))
    }

    /// The same, whether the volume is still there or not.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder(name).join(DATA)
    }
}

/// A use of a volume that no container stands for.
#[derive(Debug)]
pub(crate) struct Use {
    engine: Engine,
    name: String,
    user: String,
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Err(error) = self.engine.volumes().leave(&self.name, &self.user) {
            tracing::warn!(volume = self.name, %error, "not unmounted");
        }
    }
}

impl Hold<'_> {
    /// Makes the volume durably unless it is there, and holds it; whether it was made.
    pub(crate) fn ensure(&self, wish: &Wish<'_>) -> Result<bool> {
        let mut held = self.volumes.lock();
        let (record, new) = self.volumes.create_now(wish, &held)?;
        held.push((record.name, self.holder.clone()));
        Ok(new)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.volumes.lock().retain(|(_, holder)| *holder != self.holder);
    }
}

/// A volume that nobody has used yet.
fn sweep_one(folder: &Path, is_dockers: bool) -> Result<()> {
    let is_going = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(REMOVING));
    if is_going {
        device::unmount(&folder.join(DATA))?;
        return sys::fs::remove_tree(folder);
    }
    if !sys::fs::metadata(folder)?.is_dir() {
        return Ok(());
    }
    if Record::load(folder)?.is_some() {
        return populate::converge(folder);
    }
    if !is_dockers && is_empty(folder)? {
        return sys::fs::remove_tree(folder);
    }
    tracing::warn!(folder = %folder.display(), "no volume of ours, left alone");
    Ok(())
}

fn is_empty(folder: &Path) -> Result<bool> {
    match sys::fs::read_dir(folder.join(DATA)) {
        Err(error) if error.kind() == Kind::NotFound => Ok(true),
        names => Ok(names?.is_empty()),
    }
}

const DATA: &str = "_data";
/// Docker's database of its volumes, in the same folder as those (moby, volume/service/store.go).
const DOCKERS_RECORDS: &str = "metadata.db";
/// No volume's name begins with a dot.
const REMOVING: &str = ".removing-";

/// A place inside a volume's data. What leads out of it is refused, links included, whatever is renamed meanwhile.
pub(crate) fn beneath(data: &Path, subpath: &str) -> Result<OwnedFd> {
    let how = OpenHow { no_escape: true, ..OpenHow::PATH };
    let (base, place) = (data.display(), data.join(subpath));
    sys::fs::open_beneath(sys::fs::open_dir(data)?, subpath, &how).map_err(|error| match error.errno() {
        Some(EXDEV) => Error::invalid(format!(
            "path concatenation escapes the base directory, base: {base}, subpath: {subpath}"
        )),
        Some(ENOENT) => Error::not_found(format!(
            "cannot access path {place}: lstat {place}: no such file or directory",
            place = place.display()
        )),
        _ => error.doing(format!("cannot access path {}", place.display())),
    })
}

/// The containers that name this volume, those in removal left out.
fn users(engine: &Engine, name: &str) -> Vec<String> {
    let uses = |record: &crate::Record| {
        record.state.status != crate::Status::Removing
            && record.mounts.iter().any(|mount| mount.kind == MountKind::Volume && mount.name == name)
    };
    let containers = engine.containers().all();
    containers
        .iter()
        .filter(|container| uses(&container.view().record))
        .map(|container| container.id.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn named(name: &str) -> Wish<'_> {
        Wish { name, ..Wish::default() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = sys::fs::read_dir(folder).unwrap();
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// An image's root with a folder `data` of user 7.
    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::create_dir_all(root.path().join("data/in")).unwrap();
        std::fs::write(root.path().join("data/in/f"), "image's").unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        sys::fs::chown(root.path().join("data"), 7, 8).unwrap();
        sys::fs::chmod(root.path().join("data"), 0o1750).unwrap();
        root
    }

    fn populate(volumes: &Volumes, image: &Path, path: &str) {
        let root = sys::fs::open_dir(image).unwrap();
        volumes.populate("data", root.as_fd(), Path::new(path)).unwrap();
    }

    #[test]
    fn an_empty_volume_is_filled_once_with_owner_and_mode() {
        let (root, image) = (tempfile::tempdir_in("/dev/shm").unwrap(), image());
        let volumes = Volumes::open(root.path()).unwrap();
        assert!(volumes.create(&named("data")).unwrap().1);
        let data = volumes.data("data");
        let before = sys::fs::metadata(&data).unwrap();
        for nothing in ["/missing", "/file"] {
            populate(&volumes, image.path(), nothing);
            assert!(names(&data).is_empty());
        }
        populate(&volumes, image.path(), "/data");
        let stat = sys::fs::metadata(&data).unwrap();
        assert_eq!((stat.uid, stat.gid, stat.permissions()), (7, 8, 0o1750));
        assert!(stat.same_file(&before), "containers that have the folder see the content");
        std::fs::write(data.join("in/f"), "container's").unwrap();
        populate(&volumes, image.path(), "/data");
        assert_eq!(std::fs::read_to_string(data.join("in/f")).unwrap(), "container's");
        assert_eq!(names(&root.path().join("data")), ["_data", "volume.json"]);
    }

    #[test]
    fn a_volume_that_cannot_be_read_keeps_no_other_down() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        for name in ["broken", "whole"] {
            volumes.create(&named(name)).unwrap();
        }
        std::fs::write(root.path().join("broken/volume.json"), "{").unwrap();
        std::fs::write(volumes.data("broken").join("f"), "precious").unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join("away")).unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        let known: Vec<String> = volumes.all().unwrap().into_iter().map(|record| record.name).collect();
        assert_eq!(known, ["whole"]);
        assert_eq!(std::fs::read_to_string(volumes.data("broken").join("f")).unwrap(), "precious");
    }

    #[test]
    fn a_copy_that_failed_is_begun_anew() {
        let (root, image) = (tempfile::tempdir_in("/dev/shm").unwrap(), image());
        let volumes = Volumes::open(root.path()).unwrap();
        volumes.create(&named("data")).unwrap();
        std::fs::create_dir(root.path().join("data/.populating")).unwrap();
        std::fs::write(root.path().join("data/.populating/other"), "another image's").unwrap();
        populate(&volumes, image.path(), "/data");
        assert_eq!(names(&volumes.data("data")), ["in"]);
    }

    #[test]
    fn what_was_left_half_made_is_undone_or_finished() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        let at = |path: &str| root.path().join(path);
        for name in ["whole", "copying", "moving"] {
            volumes.create(&named(name)).unwrap();
        }
        for folder in
            ["no-record/_data", ".removing-gone.1/_data", "copying/.populating/x", "moving/.populated/x"]
        {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::create_dir(at("moving/.populated/y")).unwrap();
        std::fs::write(at("moving/_data/y"), "a container's").unwrap();
        sys::fs::chown(at("moving/.populated"), 7, 7).unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        assert_eq!(names(root.path()), ["copying", "moving", "whole"]);
        for name in ["whole", "copying", "moving"] {
            assert_eq!(names(&at(name)), ["_data", "volume.json"], "{name}");
        }
        assert!(names(&at("copying/_data")).is_empty());
        assert_eq!(names(&at("moving/_data")), ["x", "y"]);
        assert_eq!(std::fs::read_to_string(at("moving/_data/y")).unwrap(), "a container's");
        assert_eq!(sys::fs::metadata(at("moving/_data")).unwrap().uid, 7);
        assert_eq!(volumes.all().unwrap().len(), 3);
    }

    /// Under the name `dockerd` the data root is Docker's.
    #[test]
    fn dockers_volumes_are_left_alone() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("theirs/_data")).unwrap();
        std::fs::write(at("theirs/_data/f"), "precious").unwrap();
        std::fs::create_dir_all(at("half-made/_data")).unwrap();
        Volumes::open(root.path()).unwrap();
        assert_eq!(names(root.path()), ["theirs"]);
        std::fs::create_dir_all(at("empty/_data")).unwrap();
        std::fs::write(at(DOCKERS_RECORDS), "").unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        assert_eq!(names(root.path()), ["empty", "metadata.db", "theirs"]);
        assert_eq!(std::fs::read_to_string(at("theirs/_data/f")).unwrap(), "precious");
        assert!(volumes.all().unwrap().is_empty());
        std::fs::create_dir(at("theirs/volume.json")).unwrap();
        volumes.create(&Wish { name: "theirs", ..Wish::default() }).unwrap_err();
        assert_eq!(std::fs::read_to_string(at("theirs/_data/f")).unwrap(), "precious");
    }

    #[test]
    fn subpaths_stay_inside() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("data/a/b")).unwrap();
        std::fs::create_dir(at("outside")).unwrap();
        for (link, target) in [("in", "a"), ("out", "../outside"), ("absolute", "/a"), ("root", "/")] {
            std::os::unix::fs::symlink(target, at("data").join(link)).unwrap();
        }
        let found = |subpath: &str| {
            let place = beneath(&at("data"), subpath).map(|place| sys::fs::path_of(&place).unwrap());
            place.map_err(|error| error.to_string())
        };
        for (subpath, place) in [("a", "data/a"), ("a/..", "data"), ("in/b", "data/a/b"), (".", "data")] {
            assert_eq!(found(subpath), Ok(at(place)), "{subpath}");
        }
        let data = at("data").display().to_string();
        for subpath in ["..", "../..", "/a", "a/../..", "out", "absolute", "root"] {
            let words =
                format!("path concatenation escapes the base directory, base: {data}, subpath: {subpath}");
            assert_eq!(found(subpath), Err(words));
        }
        let words = format!("cannot access path {data}/x: lstat {data}/x: no such file or directory");
        assert_eq!(found("x"), Err(words));
    }

    #[test]
    fn a_name_is_free_again_at_once() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        for _ in 0..2 {
            assert!(volumes.create(&named("data")).unwrap().1);
            let data = volumes.data("data");
            assert_eq!(volumes.mountpoint("data").unwrap(), data);
            assert!(names(&data).is_empty());
            std::fs::write(data.join("f"), "").unwrap();
            volumes.delete("data", Vec::new).unwrap();
            assert_eq!(volumes.mountpoint("data").unwrap_err().to_string(), "get data: no such volume");
        }
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_volume_is_held_for_a_container_that_is_being_made() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        let (one, other) = (ContainerId::random().unwrap(), ContainerId::random().unwrap());
        let holds = [volumes.hold(&one), volumes.hold(&other)];
        assert_eq!(holds.each_ref().map(|hold| hold.ensure(&named("data")).unwrap()), [true, false]);
        let refused = |users: &[&str]| {
            let error = volumes.delete("data", || users.iter().map(ToString::to_string).collect());
            error.unwrap_err().to_string()
        };
        assert_eq!(refused(&[]), format!("volume is in use - [{one}, {other}]"));
        let [kept, dropped] = holds;
        drop(dropped);
        assert_eq!(refused(&["c"]), format!("volume is in use - [c, {one}]"));
        drop(kept);
        volumes.delete("data", Vec::new).unwrap();
        assert_eq!(volumes.delete("data", Vec::new).unwrap_err().to_string(), "get data: no such volume");
    }

    /// What `mount` shows at the volume's place; runs in a mount namespace of its own.
    fn with_device(test: impl FnOnce(&Path, &Path) + Send) {
        let run = || {
            sys::namespace::unshare(sys::namespace::Kinds::MOUNT).unwrap();
            let here = sys::mount::current_folder();
            sys::mount::set_propagation(here, Path::new("/"), sys::mount::Propagation::Private, true)
                .unwrap();
            let root = tempfile::tempdir_in("/dev/shm").unwrap();
            let options = [("type", "tmpfs"), ("device", "x")].map(|(key, word)| (key.into(), word.into()));
            let wish = Wish { options: options.into(), ..named("data") };
            Volumes::open(root.path()).unwrap().create(&wish).unwrap();
            test(root.path(), &root.path().join("data/_data"));
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    }

    #[test]
    fn a_device_stays_mounted_for_those_who_live_on_after_a_restart() {
        with_device(|root, data| {
            let volumes = Volumes::open(root).unwrap();
            volumes.enter("data", "lives").unwrap();
            volumes.enter("data", "dies").unwrap();
            let volumes = Volumes::open(root).unwrap();
            volumes.converge(&[("data".into(), "lives".into())]).unwrap();
            assert_eq!(volumes.enter("data", "new").unwrap(), data);
            volumes.leave("data", "lives").unwrap();
            assert!(device::is_mounted(data).unwrap());
            let error = volumes.delete("data", Vec::new).unwrap_err().to_string();
            assert_eq!(error, "volume is in use - [new]");
            volumes.leave("data", "new").unwrap();
            assert!(!device::is_mounted(data).unwrap());
            volumes.enter("data", "dies").unwrap();
            let volumes = Volumes::open(root).unwrap();
            volumes.converge(&[]).unwrap();
            assert!(!device::is_mounted(data).unwrap());
        });
    }

    #[test]
    fn nothing_on_a_device_is_removed_with_its_volume() {
        with_device(|root, data| {
            let volumes = Volumes::open(root).unwrap();
            volumes.enter("data", "dies").unwrap();
            std::fs::write(data.join("kept"), "").unwrap();
            let kept = sys::fs::open_dir(data).unwrap();
            // Both as after a crash: the use is not known, and a removal is under way.
            std::fs::rename(root.join("data"), root.join(".removing-data.1")).unwrap();
            Volumes::open(root).unwrap();
            assert!(names(root).is_empty());
            assert!(sys::fs::stat_at_if_exists(&kept, "kept").unwrap().is_some());
        });
    }
}
