//! Root file systems for base images, made from Debian packages, as tar archives for `import`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where busybox-static installs itself.
const BUSYBOX: &str = "/bin/busybox";

/// A root with busybox and a link for each of its applets: about 2 MB.
///
/// # Errors
/// If busybox-static is not installed.
pub fn busybox_root() -> io::Result<Vec<u8>> {
    let program = std::fs::read(BUSYBOX)?;
    let listed = Command::new(BUSYBOX).arg("--list").output()?;
    let mut tar = tar::Builder::new(Vec::new());
    for folder in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "sbin", "var",
        "var/www",
    ] {
        directory(&mut tar, folder, 0o755)?;
    }
    directory(&mut tar, "tmp", 0o1777)?;
    file(&mut tar, "bin/busybox", &program, 0o755)?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Link, 0o755, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "bin/busybox")?;
    }
    file(&mut tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n", 0o644)?;
    file(&mut tar, "etc/group", b"root:x:0:\nwww:x:33:\nextra:x:500:www\nnogroup:x:65534:\n", 0o644)?;
    tar.into_inner()
}

/// A Debian root by debootstrap, as a tar file that is made once and kept in `cache`.
///
/// # Errors
/// If debootstrap is not installed or fails.
pub fn debian_root(cache: &Path) -> io::Result<PathBuf> {
    let kept = cache.join("debian.tar");
    if kept.exists() {
        return Ok(kept);
    }
    std::fs::create_dir_all(cache)?;
    let made = cache.join("debian.tar.new");
    let status = Command::new("debootstrap")
        .args(["--variant=minbase", "--include=ca-certificates", "bookworm"])
        .arg(&made)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        // debootstrap makes a folder; it is packed and taken away.
        Ok(status) if status.success() => pack(&made, &kept)?,
        Ok(status) => return Err(io::Error::other(format!("debootstrap ended with {status}"))),
        Err(error) => return Err(error),
    }
    Ok(kept)
}

fn pack(folder: &Path, into: &Path) -> io::Result<()> {
    let part = into.with_extension("part");
    let mut tar = tar::Builder::new(io::BufWriter::new(std::fs::File::create(&part)?));
    tar.follow_symlinks(false);
    tar.append_dir_all(".", folder)?;
    tar.into_inner()?.into_inner()?.sync_all()?;
    std::fs::remove_dir_all(folder)?;
    std::fs::rename(part, into)
}

/// Unpacks an archive of ours into a folder, which is made.
///
/// # Errors
/// If the folder cannot be written.
pub fn unpack(archive: &[u8], folder: &Path) -> io::Result<()> {
    tar::Archive::new(archive).unpack(folder)
}

/// A tar with one file, for images from nothing.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn single_file_root(path: &str, content: &[u8], mode: u32) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, path, content, mode)?;
    tar.into_inner()
}

fn directory(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32) -> io::Result<()> {
    let mut header = header(tar::EntryType::Directory, mode, 0);
    tar.append_data(&mut header, format!("{path}/"), io::empty())
}

fn file(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
    tar.append_data(&mut header, path, content)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header
}
