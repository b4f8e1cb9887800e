//! Files and directories.
//!
//! Guarantees: every error names the call and the path; what ends in `_at` works beside a directory's handle and
//! follows no link in its last name; [`open_beneath`] never leaves its root; [`write_atomic`] leaves the old or the
//! new content after a crash, never a mixture. Modes are less the umask where a file is made.
//!
//! Plain paths are for our own folders. Paths from images, containers and clients go through [`open_beneath`].

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use fault::{Call, Error, Kind, Result};
use rustix::fs::{self as kernel, CWD, Mode};
use rustix::io::Errno;

mod at;
mod lock;
mod open;
mod send;
mod size;
mod stat;
mod tree;

pub(crate) use at::place;
pub use at::{
    chmod_at, chown_at, duplicate, exchange, fchmod, fchown, link_at, mkdir_at, mknod_at, path_of, proc_path,
    read_link_at, rename_new, set_size, set_times, set_times_at, symlink_at, unlink_at,
};
use at::{rename_at, rmdir_at};
pub use lock::Lock;
pub use open::{Access, Create, OpenHow, open, open_at, open_beneath, open_beneath_if_exists, open_dir};
pub use send::sendfile;
pub use size::{TreeUsage, allocated_around, tree_size, tree_usage};
pub use stat::{
    FileKind, Space, Stat, exists, filesystem_magic, fstat, lstat, lstat_if_exists, metadata, space, stat_at,
    stat_at_if_exists,
};
pub use tree::{Entry, read_dir, read_dir_at, remove_tree, remove_tree_at};

/// All of a file, of whatever size: for files of our own. Works for /proc and /sys.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    std::fs::read(path).call(|| format!("read {}", path.display()))
}

/// All of a text file; content that is not UTF-8 is an error.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).call(|| format!("read {}", path.display()))
}

/// [`read_to_string`], with `None` if there is no such file.
pub fn read_to_string_if_exists(path: impl AsRef<Path>) -> Result<Option<String>> {
    match read_to_string(path) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// All of a file that others may have written; more than `bytes_max` bytes are an error.
pub fn read_bounded(path: impl AsRef<Path>, bytes_max: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    read_file_bounded(&open(path, &OpenHow::READ)?, bytes_max)
}

/// The rest of an open file; more than `bytes_max` bytes are an error.
pub fn read_file_bounded(file: &File, bytes_max: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut content)
        .call(|| format!("read {}", place(file, "")))?;
    if content.len() as u64 > bytes_max {
        return Err(Error::invalid(format!("read {}: larger than {bytes_max} bytes", place(file, ""))));
    }
    Ok(content)
}

/// Replaces a file's content in place, not atomically and not durably. Also for /proc and /sys: one write(2).
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    std::fs::write(path, content).call(|| format!("write {}", path.display()))
}

/// Replaces a file's content so that a crash leaves the old or the new one, and returns when the new one is on
/// disk. The new file has mode 0600; see [`write_atomic_mode`].
pub fn write_atomic(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_mode(path, content, 0o600)
}

/// [`write_atomic`] with the mode of the new file.
pub fn write_atomic_mode(path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    let temporary = temporary_beside(path);
    write_synced(&temporary, content.as_ref(), mode)
        .and_then(|()| rename_durable(&temporary, path))
        .inspect_err(|_| discard(&temporary))
}

/// Replaces a file's content atomically for other processes, without waiting for the disk: for state that dies with
/// the boot, below /run.
pub fn write_swapped(path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    let temporary = temporary_beside(path);
    write_new(&temporary, content.as_ref(), mode)
        .and_then(|_| rename(&temporary, path))
        .inspect_err(|_| discard(&temporary))
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    fsync(&write_new(path, content, mode)?)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<File> {
    let mut file = open(path, &OpenHow::NEW.with_mode(mode))?;
    file.write_all(content).call(|| format!("write {}", path.display()))?;
    Ok(file)
}

/// The first error is the one to tell; a left-over temporary is harmless.
fn discard(temporary: &Path) {
    drop(remove_file_if_exists(temporary));
}

/// A name that no other writer, thread or process uses: `.<name>.<pid>-<count>`.
fn temporary_beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{count}", std::process::id()))
}

/// rename(2): replaces what has the new name.
pub fn rename(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
    rename_at(CWD, old, CWD, new)
}

/// Renames and returns when the new name is on disk. The file's content is the caller's to fsync, before.
pub fn rename_durable(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
    let new = new.as_ref();
    rename(old, new)?;
    fsync_dir(parent_of(new))
}

/// Makes the names in a directory durable.
pub fn fsync_dir(path: impl AsRef<Path>) -> Result<()> {
    fsync(open(path, &OpenHow::DIRECTORY)?)
}

/// fsync(2): content and metadata are on disk when it returns.
pub fn fsync(file: impl AsFd) -> Result<()> {
    kernel::fsync(file.as_fd()).call(|| format!("fsync {}", place(&file, "")))
}

/// syncfs(2): everything that was written to the file system that holds `file`.
pub fn syncfs(file: impl AsFd) -> Result<()> {
    kernel::syncfs(file.as_fd()).call(|| format!("syncfs {}", place(&file, "")))
}

/// Makes one directory; one that is there already is an error.
pub fn create_dir(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    mkdir_at(CWD, path, mode)
}

/// Makes a directory and those above it that are missing, all with `mode`; one that is there is left as it is.
pub fn create_dir_all(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    match kernel::mkdir(path, Mode::from_raw_mode(mode & 0o7777)) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if metadata(path)?.is_dir() => Ok(()),
        Err(Errno::NOENT) if path.parent().is_some_and(|parent| parent != Path::new("")) => {
            create_dir_all(parent_of(path), mode)?;
            create_dir_all(path, mode)
        }
        Err(error) => Err(error).call(|| format!("mkdir {}", path.display())),
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Removes a file or link.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    unlink_at(CWD, path)
}

/// Removes a file or link if it is there, and says whether it was.
pub fn remove_file_if_exists(path: impl AsRef<Path>) -> Result<bool> {
    present(remove_file(path))
}

/// Removes an empty directory.
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    rmdir_at(CWD, path)
}

/// Removes an empty directory if it is there, and says whether it was.
pub fn remove_dir_if_exists(path: impl AsRef<Path>) -> Result<bool> {
    present(remove_dir(path))
}

fn present(removed: Result<()>) -> Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the symbolic link `path` that says `target`.
pub fn symlink(target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
    symlink_at(target, CWD, path)
}

/// What a symbolic link says.
pub fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    read_link_at(CWD, path)
}

/// Gives a file a second name.
pub fn hard_link(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
    link_at(CWD, old, CWD, new)
}

/// Makes a fifo.
pub fn make_fifo(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    mknod_at(CWD, path, FileKind::Fifo, mode, (0, 0))
}

/// Changes permissions exactly, whatever the umask; follows links.
pub fn chmod(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    kernel::chmod(path, Mode::from_raw_mode(mode & 0o7777)).call(|| format!("chmod {}", path.display()))
}

/// Changes the owner; follows links.
pub fn chown(path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    let path = path.as_ref();
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).call(|| format!("chown {}", path.display()))
}

/// Changes the owner of a file or of a link itself.
pub fn lchown(path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    chown_at(CWD, path, uid, gid)
}

/// The absolute path with no link, `.` or `..` in it; everything on it must exist.
pub fn canonicalize(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    std::fs::canonicalize(path).call(|| format!("realpath {}", path.display()))
}

/// Whether a lookup failed because the path leads nowhere: a name on it is missing, no directory, or links in circles.
pub fn is_nowhere(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

/// This process's umask, read without changing it (umask(2) can only do both, and for all threads).
pub fn umask() -> Result<u32> {
    let status = read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .ok_or_else(|| Error::internal("read /proc/self/status: no Umask line"))
}

#[cfg(test)]
mod tests;
