//! The catalog's home on disk: a redb file. Nobody outside sees redb.
//!
//! A change is computed on a copy of the catalog; the rows that differ go down in one durable transaction, and only then
//! does the copy become what readers see. A failed transaction therefore leaves both disk and memory as they were.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use fault::{Error, Kind, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::fs;

use crate::catalog::{Catalog, Entry};
use crate::reserve::{Reserve, is_full};
use crate::scratch::Scratch;

#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    reserve: Reserve,
    /// One writer at a time. Empty after a failed write, when redb refuses everything until it is opened anew.
    database: Mutex<Option<Database>>,
    catalog: RwLock<Arc<Catalog>>,
}

impl Db {
    /// Opens the file, or makes it in `ingest` and moves it here whole.
    pub(crate) fn open(path: &Path, ingest: &Path) -> Result<Self> {
        if !fs::exists(path)? {
            make(path, ingest)?;
        }
        let database = open(path)?;
        let catalog = load(&database).map_err(|error| damaged(path, error))?;
        Ok(Self {
            path: path.into(),
            reserve: Reserve::at(path.with_file_name("reserve")),
            database: Mutex::new(Some(database)),
            catalog: RwLock::new(Arc::new(catalog)),
        })
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies a change durably, or not at all.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Catalog) -> Result<T>) -> Result<T> {
        let mut database = self.writer();
        let old = self.catalog();
        let mut new = Catalog::clone(&old);
        let value = change(&mut new)?;
        if new != *old {
            let shrinks = new.images.len() + new.names.len() < old.images.len() + old.names.len();
            match self.store(&mut database, &old, &new) {
                Err(error) if shrinks && is_full(&error) && self.reserve.spend() => {
                    self.store(&mut database, &old, &new)?;
                }
                stored => stored?,
            }
            *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        }
        Ok(value)
    }

    /// Runs what makes room, and once more with the room that is kept back if it finds none itself.
    pub(crate) fn making_room<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if is_full(&error) && self.reserve.spend() => work(),
            done => done,
        }
    }

    /// Room is kept back again, as soon as there is some.
    pub(crate) fn keep_reserve(&self) {
        self.reserve.keep();
    }

    fn store(&self, slot: &mut Option<Database>, old: &Catalog, new: &Catalog) -> Result<()> {
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        sys::crash::point("store.db.write");
        write(&database, old, new).map_err(|error| failed(&self.path, error))?;
        sys::crash::point("store.db.written");
        *slot = Some(database);
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(path: &Path, ingest: &Path) -> Result<()> {
    let scratch = Scratch::new(ingest.join("meta.redb"));
    let database = open(scratch.path())?;
    let version = |database: &Database| -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert("version", VERSION)?;
        transaction.open_table(IMAGES)?;
        transaction.open_table(NAMES)?;
        Ok(transaction.commit()?)
    };
    version(&database).map_err(|error| failed(path, error))?;
    drop(database);
    sys::crash::point("store.db.made");
    scratch.move_to(path)?;
    fs::fsync_dir(path.parent().unwrap_or(path))
}

fn open(path: &Path) -> Result<Database> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.create(path).map_err(|error| failed(path, error.into()))
}

fn load(database: &Database) -> Result<Catalog, redb::Error> {
    let transaction = database.begin_read()?;
    let version = transaction.open_table(META)?.get("version")?.map(|row| row.value());
    if version != Some(VERSION) {
        return Err(corrupted(format!("it has version {version:?}, this program knows {VERSION}")));
    }
    let mut catalog = Catalog::default();
    for row in transaction.open_table(IMAGES)?.iter()? {
        let (id, entry) = row?;
        catalog.images.insert(parsed(id.value())?, json::<Entry>(entry.value())?);
    }
    for row in transaction.open_table(NAMES)?.iter()? {
        let (name, id) = row?;
        catalog.names.insert(parsed(name.value())?, parsed(id.value())?);
    }
    Ok(catalog)
}

fn write(database: &Database, old: &Catalog, new: &Catalog) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut images = transaction.open_table(IMAGES)?;
        for (id, entry) in changed(&old.images, &new.images) {
            match entry {
                Some(entry) => drop(images.insert(id.to_string().as_str(), encoded(entry).as_slice())?),
                None => drop(images.remove(id.to_string().as_str())?),
            }
        }
        let mut names = transaction.open_table(NAMES)?;
        for (name, id) in changed(&old.names, &new.names) {
            match id {
                Some(id) => drop(names.insert(name.canonical().as_str(), id.to_string().as_str())?),
                None => drop(names.remove(name.canonical().as_str())?),
            }
        }
    }
    Ok(transaction.commit()?)
}

/// What differs: the new value, or `None` for a key that went.
fn changed<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>)> {
    let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (key, None));
    let put =
        new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, value)| (key, Some(value)));
    gone.chain(put)
}

fn encoded(entry: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(entry).expect("catalog rows have string keys only, so they are always JSON")
}

fn parsed<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<T, redb::Error> {
    text.parse().map_err(|error| corrupted(format!("row {text}: {error}")))
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, redb::Error> {
    serde_json::from_slice(bytes).map_err(|error| corrupted(format!("row is not what it should be: {error}")))
}

fn corrupted(why: String) -> redb::Error {
    redb::Error::Corrupted(why)
}

fn damaged(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(error) => Error::io(format!("read {}", path.display()), error),
        error => Error::internal(format!("the image database {} is damaged: {error}", path.display())),
    }
}

fn failed(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            let full = error.kind() == std::io::ErrorKind::WriteZero;
            let error = Error::io(format!("write {}", path.display()), error);
            if full { error.with_kind(Kind::Unavailable) } else { error }
        }
        error => Error::internal(format!("the image database {} is damaged: {error}", path.display())),
    }
}

/// Schema of the tables below; docs/formats.md tells it.
const VERSION: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Image id -> `Entry` as JSON.
const IMAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("images");
/// Canonical reference -> image id.
const NAMES: TableDefinition<'_, &str, &str> = TableDefinition::new("names");
/// The catalog is in memory anyway; redb's own default cache would be a gibibyte.
const CACHE_BYTES: usize = 256 * 1024;
