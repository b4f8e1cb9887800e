//! What the registry knows beside bytes: a redb file. Nobody outside sees redb.
//!
//! One writer at a time. A change sees the state before it in [`Change::before`] and is on disk when it returns. After a
//! write that failed (a full disk, mostly) redb refuses everything: the file is then opened anew before the next use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use fault::{Error, Kind, Result};
use oci::{Descriptor, Digest};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use sys::fs;

use crate::server::failure::Outcome;

#[derive(Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    /// Empty only when opening it anew failed.
    database: RwLock<Option<Database>>,
    /// A write failed, and nothing but opening the file anew helps.
    failed: AtomicBool,
}

/// Keeps the file open while it is used.
type Open<'c> = RwLockReadGuard<'c, Option<Database>>;

/// A blob that a repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// In bytes.
    pub(crate) size: u64,
    /// When it was pushed; seconds since 1970.
    pub(crate) since: u64,
}

/// What is known of a manifest or an index beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    /// Blobs and manifests that it stands on.
    pub(crate) needs: Vec<Digest>,
    /// What it is a referrer of, and how it is listed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Record {
    pub(crate) fn descriptor(&self, digest: Digest) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Descriptor::new(&self.media_type, digest, self.size)
        }
    }
}

impl Catalog {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let database = open(path)?;
        make_tables(path, &database)?;
        Ok(Self { path: path.into(), database: RwLock::new(Some(database)), failed: AtomicBool::new(false) })
    }

    /// The state as it is now. Not to be asked for by whoever holds another one or makes a change.
    pub(crate) fn view(&self) -> Result<View<'_>> {
        let open = self.opened()?;
        let transaction = self.done(|| Ok(whole(&open)?.begin_read()?))?;
        Ok(View { catalog: self, transaction, _open: Some(open) })
    }

    /// Makes a change durably; with an error, none.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&Change<'_>) -> Outcome<T>) -> Outcome<T> {
        let open = self.opened()?;
        let transaction = self.done(|| Ok(whole(&open)?.begin_write()?))?;
        // Begun behind the writer's lock, so nothing comes between what it sees and what we write.
        let before = self.done(|| Ok(whole(&open)?.begin_read()?))?;
        let change_of =
            Change { before: View { catalog: self, transaction: before, _open: None }, transaction };
        let value = change(&change_of)?;
        sys::crash::point("registry.catalog.write");
        self.done(|| Ok(change_of.transaction.commit()?))?;
        sys::crash::point("registry.catalog.written");
        Ok(value)
    }

    fn opened(&self) -> Result<Open<'_>> {
        if self.failed.load(Ordering::Acquire) {
            self.reopen()?;
        }
        Ok(self.database.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody uses the file.
    fn reopen(&self) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Acquire) {
            *database = None;
            *database = Some(open(&self.path)?);
            self.failed.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn done<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T> {
        work().map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_)) {
                self.failed.store(true, Ordering::Release);
            }
            failed(&self.path, error)
        })
    }
}

fn open(path: &Path) -> Result<Database> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.create(path).map_err(|error| failed(path, error))
}

fn whole<'o>(open: &'o Open<'_>) -> Result<&'o Database, redb::Error> {
    open.as_ref().ok_or(redb::Error::PreviousIo)
}

fn make_tables(path: &Path, database: &Database) -> Result<()> {
    let made = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(REPOSITORIES)?;
        transaction.open_table(LINKS)?;
        transaction.open_table(MANIFESTS)?;
        transaction.open_table(TAGS)?;
        transaction.open_table(REFERRERS)?;
        let version = transaction.open_table(META)?.get("version")?.map(|row| row.value());
        if version.is_none() {
            transaction.open_table(META)?.insert("version", VERSION)?;
        }
        transaction.commit()?;
        Ok(version.unwrap_or(VERSION))
    };
    match made().map_err(|error| failed(path, error))? {
        VERSION => Ok(()),
        version => Err(Error::unsupported(format!(
            "{} has version {version}, this program knows {VERSION}",
            path.display()
        ))),
    }
}

/// A state that does not change while it is looked at.
pub(crate) struct View<'c> {
    catalog: &'c Catalog,
    transaction: ReadTransaction,
    // Last, so that the transaction ends before somebody opens the file anew.
    _open: Option<Open<'c>>,
}

impl View<'_> {
    pub(crate) fn link(&self, name: &str, digest: &Digest) -> Result<Option<Link>> {
        self.catalog.done(|| {
            let row = self.transaction.open_table(LINKS)?.get((name, digest.as_str()))?;
            Ok(row.map(|row| Link { size: row.value().0, since: row.value().1 }))
        })
    }

    pub(crate) fn manifest(&self, name: &str, digest: &Digest) -> Result<Option<Record>> {
        self.catalog.done(|| {
            let row = self.transaction.open_table(MANIFESTS)?.get((name, digest.as_str()))?;
            row.map(|row| decoded(row.value())).transpose()
        })
    }

    pub(crate) fn tag(&self, name: &str, tag: &str) -> Result<Option<Digest>> {
        self.catalog.done(|| {
            let row = self.transaction.open_table(TAGS)?.get((name, tag))?;
            row.map(|row| parsed(row.value())).transpose()
        })
    }

    /// In byte order, those behind `after`, at most so many.
    pub(crate) fn tags(&self, name: &str, after: &str, count_max: usize) -> Result<Vec<String>> {
        self.catalog.done(|| {
            let table = self.transaction.open_table(TAGS)?;
            let mut tags = Vec::new();
            for row in table.range((name, after)..)? {
                let (key, _) = row?;
                let (repository, tag) = key.value();
                if repository != name || tags.len() == count_max {
                    break;
                }
                if tag != after {
                    tags.push(tag.to_owned());
                }
            }
            Ok(tags)
        })
    }

    /// In byte order, those behind `after`, at most so many.
    pub(crate) fn repositories(&self, after: &str, count_max: usize) -> Result<Vec<String>> {
        self.catalog.done(|| {
            let table = self.transaction.open_table(REPOSITORIES)?;
            let rows = table.range(after..)?.map(|row| row.map(|(name, _)| name.value().to_owned()));
            let rows = rows.filter(|name| name.as_ref().map_or(true, |name| name != after)).take(count_max);
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    pub(crate) fn has_repository(&self, name: &str) -> Result<bool> {
        self.catalog.done(|| Ok(self.transaction.open_table(REPOSITORIES)?.get(name)?.is_some()))
    }

    /// Bytes of a repository, by name.
    pub(crate) fn sizes(&self) -> Result<Vec<(String, u64)>> {
        self.catalog.done(|| {
            let table = self.transaction.open_table(REPOSITORIES)?;
            let rows =
                table.iter()?.map(|row| row.map(|(name, bytes)| (name.value().to_owned(), bytes.value())));
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Blobs and manifests of all repositories.
    pub(crate) fn counts(&self) -> Result<(u64, u64)> {
        self.catalog.done(|| {
            let links = self.transaction.open_table(LINKS)?.len()?;
            Ok((links, self.transaction.open_table(MANIFESTS)?.len()?))
        })
    }

    /// Those that refer to a manifest, which itself need not be there.
    pub(crate) fn referrers(&self, name: &str, subject: &Digest) -> Result<Vec<Digest>> {
        self.catalog.done(|| {
            let table = self.transaction.open_table(REFERRERS)?;
            let mut found = Vec::new();
            for row in table.range((name, subject.as_str(), "")..)? {
                let (key, ()) = row.map(|(key, value)| (key, value.value()))?;
                let (repository, to, from) = key.value();
                if (repository, to) != (name, subject.as_str()) {
                    break;
                }
                found.push(parsed(from)?);
            }
            Ok(found)
        })
    }

    /// Whether a repository has neither a blob nor a manifest.
    pub(crate) fn is_empty(&self, name: &str) -> Result<bool> {
        self.catalog.done(|| {
            let holds = |first: Option<String>| first.is_some_and(|first| first == name);
            let links = self.transaction.open_table(LINKS)?;
            let link =
                links.range((name, "")..)?.next().transpose()?.map(|(key, _)| key.value().0.to_owned());
            let manifests = self.transaction.open_table(MANIFESTS)?;
            let manifest =
                manifests.range((name, "")..)?.next().transpose()?.map(|(key, _)| key.value().0.to_owned());
            Ok(!holds(link) && !holds(manifest))
        })
    }

    pub(crate) fn empty_repositories(&self) -> Result<Vec<String>> {
        let names = self.sizes()?.into_iter().map(|(name, _)| name);
        names.filter_map(|name| self.is_empty(&name).map(|empty| empty.then_some(name)).transpose()).collect()
    }

    /// All blobs of all repositories.
    pub(crate) fn links(&self) -> Result<Vec<(String, Digest, Link)>> {
        self.catalog.done(|| {
            let mut all = Vec::new();
            for row in self.transaction.open_table(LINKS)?.iter()? {
                let (key, value) = row?;
                let ((name, digest), (size, since)) = (key.value(), value.value());
                all.push((name.to_owned(), parsed(digest)?, Link { size, since }));
            }
            Ok(all)
        })
    }

    /// All manifests of all repositories.
    pub(crate) fn manifests(&self) -> Result<Vec<(String, Digest, Record)>> {
        self.catalog.done(|| {
            let mut all = Vec::new();
            for row in self.transaction.open_table(MANIFESTS)?.iter()? {
                let (key, value) = row?;
                let (name, digest) = key.value();
                all.push((name.to_owned(), parsed(digest)?, decoded(value.value())?));
            }
            Ok(all)
        })
    }

    /// The tags of a manifest.
    fn tags_of(&self, name: &str, digest: &Digest) -> Result<Vec<String>> {
        let tags = self.tags(name, "", usize::MAX)?.into_iter();
        tags.filter_map(|tag| match self.tag(name, &tag) {
            Ok(found) => (found.as_ref() == Some(digest)).then_some(Ok(tag)),
            Err(error) => Some(Err(error)),
        })
        .collect()
    }
}

/// A transaction that is being made.
pub(crate) struct Change<'c> {
    pub(crate) before: View<'c>,
    transaction: WriteTransaction,
}

impl Change<'_> {
    /// A repository has a blob from now on.
    pub(crate) fn link(&self, name: &str, digest: &Digest, link: Link) -> Result<()> {
        self.before.catalog.done(|| {
            let mut links = self.transaction.open_table(LINKS)?;
            let known = links.insert((name, digest.as_str()), (link.size, link.since))?.is_some();
            drop(links);
            self.grow(name, if known { 0 } else { link.size })
        })
    }

    pub(crate) fn unlink(&self, name: &str, digest: &Digest) -> Result<bool> {
        self.before.catalog.done(|| {
            let mut links = self.transaction.open_table(LINKS)?;
            let size = links.remove((name, digest.as_str()))?.map(|row| row.value().0);
            drop(links);
            self.shrink(name, size.unwrap_or(0))?;
            Ok(size.is_some())
        })
    }

    pub(crate) fn put_manifest(&self, name: &str, digest: &Digest, record: &Record) -> Result<()> {
        self.before.catalog.done(|| {
            let text =
                serde_json::to_vec(record).expect("records have string keys only, so they are always JSON");
            let mut manifests = self.transaction.open_table(MANIFESTS)?;
            let known = manifests.insert((name, digest.as_str()), text.as_slice())?.is_some();
            drop(manifests);
            if let Some(subject) = &record.subject {
                let key = (name, subject.as_str(), digest.as_str());
                self.transaction.open_table(REFERRERS)?.insert(key, ())?;
            }
            self.grow(name, if known { 0 } else { record.size })
        })
    }

    pub(crate) fn put_tag(&self, name: &str, tag: &str, digest: &Digest) -> Result<()> {
        self.before.catalog.done(|| {
            self.transaction.open_table(TAGS)?.insert((name, tag), digest.as_str())?;
            Ok(())
        })
    }

    pub(crate) fn remove_tag(&self, name: &str, tag: &str) -> Result<bool> {
        self.before.catalog.done(|| Ok(self.transaction.open_table(TAGS)?.remove((name, tag))?.is_some()))
    }

    /// The manifest and its tags; what it stood on stays until it is collected.
    pub(crate) fn remove_manifest(&self, name: &str, digest: &Digest) -> Result<bool> {
        let Some(record) = self.before.manifest(name, digest)? else { return Ok(false) };
        for tag in self.before.tags_of(name, digest)? {
            self.remove_tag(name, &tag)?;
        }
        self.before.catalog.done(|| {
            self.transaction.open_table(MANIFESTS)?.remove((name, digest.as_str()))?;
            if let Some(subject) = &record.subject {
                let key = (name, subject.as_str(), digest.as_str());
                self.transaction.open_table(REFERRERS)?.remove(key)?;
            }
            self.shrink(name, record.size)
        })?;
        Ok(true)
    }

    /// A repository without anything is none.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        self.before.catalog.done(|| {
            self.transaction.open_table(REPOSITORIES)?.remove(name)?;
            Ok(())
        })
    }

    fn grow(&self, name: &str, bytes: u64) -> Result<(), redb::Error> {
        let mut repositories = self.transaction.open_table(REPOSITORIES)?;
        let before = repositories.get(name)?.map_or(0, |row| row.value());
        repositories.insert(name, before.saturating_add(bytes))?;
        Ok(())
    }

    fn shrink(&self, name: &str, bytes: u64) -> Result<(), redb::Error> {
        let mut repositories = self.transaction.open_table(REPOSITORIES)?;
        let before = repositories.get(name)?.map(|row| row.value());
        if let Some(before) = before {
            repositories.insert(name, before.saturating_sub(bytes))?;
        }
        Ok(())
    }
}

fn decoded(bytes: &[u8]) -> Result<Record, redb::Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| redb::Error::Corrupted(format!("a manifest's row: {error}")))
}

fn parsed(text: &str) -> Result<Digest, redb::Error> {
    text.parse().map_err(|error| redb::Error::Corrupted(format!("row {text}: {error}")))
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => {
            // What redb says when the file could not grow.
            let full = error.kind() == std::io::ErrorKind::WriteZero;
            let error = Error::io(format!("registry database {}", path.display()), error);
            if full { error.with_kind(Kind::Unavailable) } else { error }
        }
        redb::Error::PreviousIo => {
            Error::unavailable(format!("registry database {} is being opened anew", path.display()))
        }
        redb::Error::DatabaseAlreadyOpen => {
            Error::unavailable(format!("another process has {} open", path.display()))
        }
        error => Error::internal(format!("registry database {}: {error}", path.display())),
    }
}

/// Whether the folder holds a registry already.
pub(crate) fn exists(root: &Path) -> Result<bool> {
    fs::exists(root.join(FILE))
}

pub(crate) const FILE: &str = "registry.redb";
/// Schema of the tables below; docs/formats.md tells it.
const VERSION: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Name -> bytes of its blobs and manifests.
const REPOSITORIES: TableDefinition<'_, &str, u64> = TableDefinition::new("repositories");
/// (name, digest) -> (size, when it was pushed).
const LINKS: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("links");
/// (name, digest) -> `Record` as JSON.
const MANIFESTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("manifests");
/// (name, tag) -> digest.
const TAGS: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("tags");
/// (name, subject, digest of the referrer).
const REFERRERS: TableDefinition<'_, (&str, &str, &str), ()> = TableDefinition::new("referrers");
/// Rows are small; redb's own default would be a gibibyte.
const CACHE_BYTES: usize = 8 << 20;
