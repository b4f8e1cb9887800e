//! Being told about changes of files and folders (inotify(7)).
//!
//! The descriptor is non-blocking, so that it fits into a poll of any kind. When the kernel's queue overflows, that is
//! told as an event: the caller must look at everything again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::inotify::{self, ReadFlags, Reader, WatchFlags};

/// What to be told about a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A file's content was written or truncated.
    pub modified: bool,
    /// An entry of the folder was made or moved in.
    pub appeared: bool,
    /// The watched file itself was moved or deleted, or an entry left the folder.
    pub gone: bool,
}

impl Changes {
    pub const ALL: Self = Self { modified: true, appeared: true, gone: true };

    fn flags(self) -> WatchFlags {
        let mut flags = WatchFlags::empty();
        flags.set(WatchFlags::MODIFY, self.modified);
        flags.set(WatchFlags::CREATE | WatchFlags::MOVED_TO, self.appeared);
        let gone =
            WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        flags.set(gone, self.gone);
        flags
    }
}

/// One watched path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch(i32);

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub watch: Watch,
    pub changes: Changes,
    /// The watch is over: its file is deleted or its file system unmounted.
    pub over: bool,
    /// Changes were lost; `watch` means nothing.
    pub overflow: bool,
    /// The entry's name, if a folder is watched.
    pub name: Option<OsString>,
}

/// A set of watched paths.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    pub fn new() -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { fd: inotify::init(flags).call(|| "inotify_init1")? })
    }

    /// Watches a path; a path that is watched already gets the new set of changes.
    pub fn watch(&self, path: &Path, changes: Changes) -> Result<Watch> {
        inotify::add_watch(&self.fd, path, changes.flags())
            .call(|| format!("inotify_add_watch {}", path.display()))
            .map(Watch)
    }

    /// All changes that wait; empty when there are none.
    pub fn read(&self) -> io::Result<Vec<Event>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => events.push(translate(&event)),
                Err(rustix::io::Errno::AGAIN) => return Ok(events),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for a dozen events with the longest names (NAME_MAX is 255).
const BUFFER: usize = 4096;

fn translate(event: &inotify::Event<'_>) -> Event {
    let flags = event.events();
    let gone = ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
    Event {
        watch: Watch(event.wd()),
        changes: Changes {
            modified: flags.contains(ReadFlags::MODIFY),
            appeared: flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO),
            gone: flags.intersects(gone),
        },
        over: flags.contains(ReadFlags::IGNORED),
        overflow: flags.contains(ReadFlags::QUEUE_OVERFLOW),
        name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_what_comes_changes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (inotify, file) = (Inotify::new().unwrap(), folder.path().join("log"));
        assert_eq!(inotify.read().unwrap(), []);
        let watch = inotify.watch(folder.path(), Changes::ALL).unwrap();

        std::fs::write(&file, "x").unwrap();
        std::fs::remove_file(&file).unwrap();
        let events = inotify.read().unwrap();
        let told: Vec<_> =
            events.iter().map(|event| (event.watch, event.name.as_deref(), event.changes)).collect();
        let name = Some(OsStr::new("log"));
        assert_eq!(
            told,
            [
                (watch, name, Changes { appeared: true, ..Changes::default() }),
                (watch, name, Changes { modified: true, ..Changes::default() }),
                (watch, name, Changes { gone: true, ..Changes::default() }),
            ]
        );
    }

    #[test]
    fn a_deleted_file_ends_its_watch() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inotify = Inotify::new().unwrap();
        let watch = inotify.watch(file.path(), Changes { gone: true, ..Changes::default() }).unwrap();
        file.close().unwrap();
        let events = inotify.read().unwrap();
        assert!(events.iter().all(|event| event.watch == watch));
        assert!(events.iter().any(|event| event.over));
    }
}
