//! `bench-pull-floor ADDRESS REPOSITORY FOLDER DIGEST…`: what a pull costs at least. Each layer goes from the socket through
//! its hash, gunzip, the hash of what comes out, and into files, in one pass; two layers at a time.
//!
//! It speaks no more HTTP than our registry needs, keeps no blob, asks nobody for the manifest, syncs nothing and trusts the
//! archive's names.
#![forbid(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, repository, folder, digests @ ..] = &words[..] else { return ExitCode::FAILURE };
    let open = Mutex::new(digests.iter().enumerate());
    let next = || open.lock().ok()?.next();
    let all_well = std::thread::scope(|scope| {
        let work = || {
            while let Some((index, digest)) = next() {
                let place = Path::new(folder).join(index.to_string());
                if let Err(error) = layer(address, repository, digest, &place) {
                    eprintln!("bench-pull-floor: {digest}: {error}");
                    return false;
                }
            }
            true
        };
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.map(|thread| thread.join().unwrap_or(false)).iter().all(|well| *well)
    });
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn layer(address: &str, repository: &str, digest: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut stream = BufReader::with_capacity(CHUNK_BYTES, TcpStream::connect(address)?);
    let request = format!("GET /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: floor\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let length = length(&mut stream)?;
    let (sender, chunks) = sync_channel(CHUNKS);
    std::thread::scope(|scope| {
        let unpacking = scope.spawn(|| unpack(Chunks { chunks, current: Vec::new(), at: 0 }, folder));
        let mut hash = Sha256::new();
        let mut left = length;
        while left > 0 {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = stream.read(&mut chunk)?;
            chunk.truncate(count);
            hash.update(&chunk);
            left -= count as u64;
            if count == 0 || sender.send(chunk).is_err() {
                break;
            }
        }
        drop(sender);
        if format!("sha256:{}", hex(&hash.finalize())) != *digest {
            return Err(io::Error::other("the blob has another digest"));
        }
        unpacking.join().unwrap_or_else(|_| Err(io::Error::other("unpacking panicked"))).map(drop)
    })
}

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS: usize = 8;

fn length(stream: &mut impl BufRead) -> io::Result<u64> {
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    Ok(length)
}

struct Chunks {
    chunks: Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let Ok(next) = self.chunks.recv() else { return Ok(0) };
            (self.current, self.at) = (next, 0);
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The digest of the plain tar.
fn unpack(blob: impl Read, folder: &Path) -> io::Result<String> {
    let plain = flate2::read::MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, blob));
    let mut hashing = Hashing { stream: plain, hash: Sha256::new() };
    let mut archive = tar::Archive::new(&mut hashing);
    for entry in archive.entries()? {
        file(entry?, folder)?;
    }
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hex(&hashing.hash.finalize()))
}

fn file(mut entry: tar::Entry<'_, impl Read>, folder: &Path) -> io::Result<()> {
    let path = folder.join(entry.path()?);
    let mode = entry.header().mode()?;
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(entry.header().mtime()?);
    let mut file = match File::create(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            File::create(&path)?
        }
        made => made?,
    };
    io::copy(&mut entry, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_times(fs::FileTimes::new().set_modified(modified))
}

struct Hashing<R> {
    stream: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
