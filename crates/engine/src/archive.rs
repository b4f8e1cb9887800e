//! Files in and out of containers: `docker cp`, `export`, `diff`.
//!
//! A path of a container means what its processes would find there, volumes included, whether it runs or not; it never
//! leads out of the container's own trees. Errors have Docker's words.

mod mode;
mod names;
mod pack;
mod place;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::container::{Change, PathStat};
use archive::tar::Writer;
use archive::{Extract, Pack, compression};
use fault::{Doing, Error, Kind, Result};
use std::os::fd::{AsFd, OwnedFd};

use crate::container::{self, Container};
use crate::transport::{self, Body, Parts};
use crate::user::Accounts;
use crate::{Engine, Record};
use names::Wanted;
use place::{Last, Missing};
use view::{Tree, View};

/// How an archive is put into a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Put {
    /// Refuse to replace a folder by something else, or something else by a folder.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user instead of whom the archive names.
    pub copy_uid_gid: bool,
}

/// What a path of a container is; the last link of the path is not followed.
pub async fn stat(engine: &Engine, id: &str, path: &str) -> Result<PathStat> {
    let view = View::open(engine, &container::find(engine, id)?).await?;
    let (id, path) = (id.to_owned(), path.to_owned());
    engine
        .blocking(move |_| stat_now(&view, &Wanted::new(&path)).map_err(|error| lost(error, &path, &id)))
        .await
}

/// A path of a container as a tar whose top entry has the path's last name.
pub async fn get(engine: &Engine, id: &str, path: &str) -> Result<(PathStat, Parts)> {
    let container = container::find(engine, id)?;
    let view = View::open(engine, &container).await?;
    let (id, text) = (id.to_owned(), path.to_owned());
    let looked_up = engine.blocking(move |_| {
        let wanted = Wanted::new(&text);
        let stat = stat_now(&view, &wanted).map_err(|error| lost(error, &text, &id))?;
        Ok((stat, wanted, view))
    });
    let (stat, wanted, view) = looked_up.await?;
    let parts = transport::sending(engine, move |_, writer| {
        let place = view.walk(&wanted.path, wanted.last(), Missing::Refused)?;
        let mut tar = Writer::new(writer);
        pack::pack(&view, &place, &wanted.name, &mut tar)?;
        tar.finish().map(drop)
    });
    let parts = parts.await?;
    tell(engine, &container, "archive-path");
    Ok((stat, parts))
}

/// Extracts a tar, compressed or not, into a folder of a container.
pub async fn put(engine: &Engine, id: &str, path: &str, how: Put, body: Body) -> Result<()> {
    let container = container::find(engine, id)?;
    let view = View::open(engine, &container).await?;
    let record = container.view().record.clone();
    let (id, text) = (id.to_owned(), path.to_owned());
    let extracted = transport::receiving(engine, body, move |_, reader| {
        let target = extraction_point(&view, &record, &text).map_err(|error| lost(error, &text, &id))?;
        let owner = if how.copy_uid_gid { user_of(&view, &record)? } else { None };
        let extract = Extract {
            into: &target.folder,
            owner,
            keep_kinds: how.no_overwrite_dir_non_dir,
            hidden: &target.hidden,
            ..Extract::default()
        };
        archive::extract(compression::reader(reader)?, target.root.as_fd(), &extract).map(drop)
    });
    extracted.await?;
    tell(engine, &container, "extract-to-dir");
    Ok(())
}

/// What differs from the image.
pub async fn changes(engine: &Engine, id: &str) -> Result<Vec<Change>> {
    let key = container::find(engine, id)?.id.to_string();
    let change = |change: store::Change| Change {
        path: Path::new("/").join(change.path).display().to_string(),
        kind: match change.kind {
            store::ChangeKind::Modified => 0,
            store::ChangeKind::Added => 1,
            store::ChangeKind::Deleted => 2,
        },
    };
    engine
        .blocking(move |engine| {
            let changes = engine.store().snapshot(&key)?.changes()?;
            Ok(changes.into_iter().map(change).collect())
        })
        .await
}

/// The container's root file system as a tar, without anything that is mounted into it.
pub async fn export(engine: &Engine, id: &str) -> Result<Parts> {
    let container = container::find(engine, id)?;
    let root = view::bare_root(engine, &container).await?;
    let parts = transport::sending(engine, move |_, writer| {
        let mut tar = Writer::new(writer);
        archive::pack(root.as_fd(), &Pack::default(), &mut tar)?;
        tar.finish().map(drop)
    });
    let parts = parts.await.doing(|| format!("exporting {id}"))?;
    tell(engine, &container, "export");
    Ok(parts)
}

fn stat_now(view: &View, wanted: &Wanted) -> Result<PathStat> {
    let place = view.walk(&wanted.path, wanted.last(), Missing::Refused)?;
    let stat = place.stat()?;
    let link_target = if stat.is_symlink() {
        let target = view.walk(&wanted.path, Last::Followed, Missing::Kept)?;
        target.path.display().to_string()
    } else {
        String::new()
    };
    Ok(PathStat {
        name: wanted.base.clone(),
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: mode::of_go(stat.mode),
        mtime: stat.mtime.to_string(),
        link_target,
    })
}

/// The tree that an archive goes into.
#[derive(Debug)]
struct Target {
    root: OwnedFd,
    folder: PathBuf,
    /// Where other trees are mounted that could not be put in their places: nothing must go beneath them.
    hidden: Vec<PathBuf>,
}

fn extraction_point(view: &View, record: &Record, path: &str) -> Result<Target> {
    let place = view.walk(Path::new(path), Last::Followed, Missing::Refused)?;
    if !place.stat()?.is_dir() {
        return Err(Error::invalid("extraction point is not a directory"));
    }
    check_writable(record, &place.path)?;
    let below = view.trees_below(&place.path);
    if !below.is_empty()
        && let Some(root) = view.assembled()?
    {
        let folder = place.path.strip_prefix("/").unwrap_or(&place.path).to_owned();
        return Ok(Target { root, folder, hidden: Vec::new() });
    }
    let folder = place.inner();
    let inside = |tree: &Tree| Some(folder.join(tree.at.strip_prefix(&place.path).ok()?));
    let hidden = below.into_iter().filter_map(inside).collect();
    Ok(Target { root: sys::fs::duplicate(place.root())?, folder, hidden })
}

/// Refuses what the container's own processes could not write either.
fn check_writable(record: &Record, path: &Path) -> Result<()> {
    let holding = record.mounts.iter().filter(|mount| path.starts_with(&mount.destination));
    match holding.max_by_key(|mount| mount.destination.components().count()) {
        Some(mount) if mount.read_only => Err(Error::invalid("mounted volume is marked read-only")),
        None if record.host_config.readonly_rootfs => {
            Err(Error::invalid("container rootfs is marked read-only"))
        }
        _ => Ok(()),
    }
}

/// Who the container's processes are; nobody is named for root.
fn user_of(view: &View, record: &Record) -> Result<Option<(u32, u32)>> {
    if record.config.user.is_empty() {
        return Ok(None);
    }
    let user = Accounts::read(view.root())?.resolve(&record.config.user, &[])?;
    Ok(Some((user.uid, user.gid)))
}

fn lost(error: Error, path: &str, container: &str) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::not_found(format!("Could not find the file {path} in container {container}"))
}

fn tell(engine: &Engine, container: &Arc<Container>, action: &str) {
    engine.events().publish_container(&container.view().record, action, &[]);
}
