//! An image of half a gigabyte in six layers, as an archive for `load`: real files of this machine, because how they
//! compress and how many they are is what costs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fault::{Call, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What was made.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) archive: PathBuf,
    /// Of all layers, uncompressed.
    pub(crate) bytes: u64,
}

/// Writes the archive, with the image under this name.
pub(crate) fn make(archive: &Path, name: &str, bytes: u64) -> Result<Layers> {
    let files = files().call(|| "looking through /usr")?;
    let made = write(archive, name, &files, bytes / LAYERS as u64);
    let bytes = made.call(|| format!("write {}", archive.display()))?;
    Ok(Layers { archive: archive.to_owned(), bytes })
}

const LAYERS: usize = 6;
/// One file must not be a layer.
const FILE_BYTES_MAX: u64 = 16_000_000;

/// Enough for all layers, in the order of their names.
fn files() -> io::Result<Vec<PathBuf>> {
    let mut open: Vec<PathBuf> = ["/usr/lib", "/usr/bin", "/usr/share"].map(PathBuf::from).into();
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn write(archive: &Path, name: &str, files: &[PathBuf], layer_bytes: u64) -> io::Result<u64> {
    let mut whole = tar::Builder::new(BufWriter::new(File::create(archive)?));
    let (mut diff_ids, mut names, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut files = files.iter();
    for index in 0..LAYERS {
        let plain = layer(&mut files, index, layer_bytes)?;
        bytes += plain.len() as u64;
        diff_ids.push(format!("sha256:{}", hex(&plain)));
        names.push(format!("{index}/layer.tar"));
        append(&mut whole, &names[index], &plain)?;
    }
    // The time makes an image that no engine has seen.
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": sys::time::now_rfc3339_nano(),
        "config": { "Cmd": ["true"] }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": names.iter().map(|name| json!({ "created_by": name })).collect::<Vec<_>>(),
    })
    .to_string();
    append(&mut whole, "config.json", config.as_bytes())?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": names }]).to_string();
    append(&mut whole, "manifest.json", manifest.as_bytes())?;
    whole.into_inner()?.flush()?;
    Ok(bytes)
}

/// One layer's tar, as large as it is to be.
fn layer<'f>(files: &mut impl Iterator<Item = &'f PathBuf>, index: usize, bytes: u64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, &format!("layer-{index}"), sys::time::now_rfc3339_nano().as_bytes())?;
    while (tar.get_ref().len() as u64) < bytes {
        let Some(path) = files.next() else { return Err(io::Error::other("/usr has too few files")) };
        let inside = path.strip_prefix("/").unwrap_or(path);
        tar.append_path_with_name(path, inside)?;
    }
    tar.into_inner()
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
