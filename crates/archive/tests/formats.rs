//! The tar format both ways: our writer to our reader, and each against the `tar` crate.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use archive::tar::{EntryKind, Header, Reader, Writer};
use proptest::prelude::*;
use sys::time::Timestamp;

type Listing = Vec<(Header, Vec<u8>)>;

fn written(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, content) in entries {
        writer.append_bytes(header, content).unwrap();
    }
    writer.finish().unwrap()
}

fn listed(stream: &[u8]) -> fault::Result<Listing> {
    let mut reader = Reader::new(stream);
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next()? {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| fault::Error::io("content", error))?;
        entries.push((entry.header.clone(), content));
    }
    Ok(entries)
}

fn file(name: &str) -> Header {
    Header { name: name.into(), mode: 0o644, ..Header::default() }
}

fn any_name() -> impl Strategy<Value = PathBuf> {
    let component = prop_oneof![
        "[a-zA-Z0-9._-]{1,40}".prop_filter("no dots", |name| name != "." && name != ".."),
        "[a-z]{100,200}",
        "[äöü漢字 ]{1,20}",
    ];
    prop::collection::vec(component, 1..6).prop_map(|components| components.iter().collect())
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![0..2_000_000_000_i64, -1000..0_i64, 0..1_i64 << 40];
    (seconds, prop_oneof![Just(0), 1..1_000_000_000_u32]).prop_map(|(s, n)| Timestamp::new(s, n))
}

fn any_header() -> impl Strategy<Value = Header> {
    let kind = prop_oneof![
        4 => Just(EntryKind::Regular),
        1 => Just(EntryKind::Directory),
        1 => Just(EntryKind::Symlink),
        1 => Just(EntryKind::HardLink),
        1 => Just(EntryKind::CharDevice),
        1 => Just(EntryKind::Fifo),
    ];
    let id = prop_oneof![0..100_i64, 0..5_000_000_000_i64, -2..0_i64];
    let xattrs =
        prop::collection::btree_map("(user|security|trusted)\\.[a-z.=%\\PC]{1,20}", ".{1,200}", 0..3);
    (
        any_name(),
        kind,
        any_name(),
        0..0o10000_u32,
        id.clone(),
        id,
        any_time(),
        xattrs,
        prop::option::of(any_time()),
    )
        .prop_map(|(name, kind, link, mode, uid, gid, mtime, xattrs, atime)| {
            let is_link = matches!(kind, EntryKind::Symlink | EntryKind::HardLink);
            Header {
                name,
                kind,
                link: if is_link { link } else { PathBuf::new() },
                mode,
                uid,
                gid,
                mtime,
                atime,
                device: if kind == EntryKind::CharDevice { (259, 1_048_575) } else { (0, 0) },
                xattrs: xattrs.into_iter().map(|(name, value)| (name.into(), value.into_bytes())).collect(),
                ..Header::default()
            }
        })
}

fn any_entry() -> impl Strategy<Value = (Header, Vec<u8>)> {
    (any_header(), prop::collection::vec(any::<u8>(), 0..2000)).prop_map(|(header, content)| {
        let content = if header.kind == EntryKind::Regular { content } else { Vec::new() };
        (Header { size: content.len() as u64, ..header }, content)
    })
}

/// A directory comes back with its slash, which `Path` comparison does not see.
fn assert_same(found: &Listing, expected: &Listing) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(any_entry(), 0..8)) {
        let stream = written(&entries);
        prop_assert_eq!(stream.len() % 512, 0);
        assert_same(&listed(&stream).unwrap(), &entries);
    }

    #[test]
    fn the_tar_crate_reads_what_is_written(entries in prop::collection::vec(any_entry(), 0..8)) {
        let stream = written(&entries);
        let mut oracle = tar::Archive::new(&stream[..]);
        let mut count = 0;
        for (entry, (header, content)) in oracle.entries().unwrap().zip(&entries) {
            let mut entry = entry.unwrap();
            prop_assert_eq!(&*entry.path().unwrap(), &*header.name);
            let mut read = Vec::new();
            entry.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, content);
            if !header.link.as_os_str().is_empty() {
                prop_assert_eq!(&*entry.link_name().unwrap().unwrap(), &*header.link);
            }
            if let Ok(uid) = u64::try_from(header.uid) {
                prop_assert_eq!(entry.header().uid().unwrap(), uid);
            }
            count += 1;
        }
        prop_assert_eq!(count, entries.len());
    }

    #[test]
    fn what_the_tar_crate_writes_is_read(
        entries in prop::collection::vec((any_name(), 0..u64::from(u32::MAX), any::<u32>(), ".{0,700}"), 0..6)
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, uid, mtime, content) in &entries {
            let mut header = tar::Header::new_gnu();
            header.set_uid(*uid);
            header.set_mtime((*mtime).into());
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let found = listed(&builder.into_inner().unwrap()).unwrap();
        prop_assert_eq!(found.len(), entries.len());
        for ((header, content), (name, uid, mtime, expected)) in found.iter().zip(&entries) {
            prop_assert_eq!(&header.name, name);
            prop_assert_eq!(header.uid, i64::try_from(*uid).unwrap());
            prop_assert_eq!(header.mtime.seconds, i64::from(*mtime));
            prop_assert_eq!(content, expected.as_bytes());
        }
    }

    #[test]
    fn broken_streams_are_errors_and_nothing_else(
        entries in prop::collection::vec(any_entry(), 1..4),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        length in any::<prop::sample::Index>(),
    ) {
        let mut stream = written(&entries);
        for (index, byte) in hits {
            let index = index.index(stream.len());
            stream[index] = byte;
        }
        stream.truncate(length.index(stream.len()));
        drop(listed(&stream));
    }
}

#[test]
fn entries_that_fit_ustar_have_no_pax_header() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(100));
    let stream = written(&[(Header { mtime: Timestamp::new(1, 0), ..file(&long) }, b"x".to_vec())]);
    assert_eq!(stream.len(), 4 * 512);
    let stream = written(&[(Header { mtime: Timestamp::new(1, 1), ..file("a") }, b"x".to_vec())]);
    assert_eq!(stream.len(), 6 * 512);
    assert!(stream.starts_with(b"PaxHeaders.0/a\0"));
}

#[test]
fn names_that_no_reader_takes_are_refused() {
    let mut writer = Writer::new(Vec::new());
    assert!(writer.append_bytes(&file(""), b"").is_err());
    assert!(writer.append_bytes(&file("a\0b"), b"").is_err());
}

/// A container may call an attribute as it likes; its image must be committed all the same.
#[test]
fn attributes_of_any_name_are_stored() {
    let xattrs =
        ["user.a=b", "user.%3D", "user.ä b"].map(|name| (OsString::from(name), b"\0=\n\xff".to_vec()));
    let header = Header { xattrs: BTreeMap::from(xattrs), ..file("a") };
    assert_same(&listed(&written(&[(header.clone(), Vec::new())])).unwrap(), &vec![(header, Vec::new())]);
}

#[test]
fn short_content_is_an_error() {
    let mut writer = Writer::new(Vec::new());
    let error = writer.append(&Header { size: 10, ..file("a") }, &b"short"[..]).unwrap_err();
    assert_eq!(error.to_string(), "archive/tar: missed writing 5 bytes");
}

/// A block with a right checksum, made from (offset, bytes).
fn block(flag: u8, name: &str, size: u64, more: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut set = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, name.as_bytes());
    set(100, b"0000644\0");
    set(124, format!("{size:011o}\0").as_bytes());
    set(156, &[flag]);
    for (at, bytes) in more {
        set(*at, bytes);
    }
    sealed(block)
}

fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(padded.len().next_multiple_of(512), 0);
    padded
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    [block(b'x', "pax", text.len() as u64, &[(257, b"ustar\x0000")]), padded(&text)].concat()
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

const USTAR: (usize, &[u8]) = (257, b"ustar\x0000");
const GNU: (usize, &[u8]) = (257, b"ustar  \0");

#[test]
fn old_v7_archives_have_directories_by_their_slash() {
    let stream = [block(0, "dir/", 0, &[]), block(0, "dir/file", 2, &[]), padded(b"hi")].concat();
    let found = listed(&stream).unwrap();
    assert_eq!(found[0].0.kind, EntryKind::Directory);
    assert_eq!((found[1].0.kind, &found[1].1[..]), (EntryKind::Regular, &b"hi"[..]));
}

#[test]
fn gnu_long_names_and_big_numbers_are_read() {
    let (name, link) = ("n".repeat(300), "l".repeat(300));
    let uid: &[u8] = b"\x80\0\0\0\xff\xff\xff\xfe";
    let stream = [
        block(b'L', "././@LongLink", 301, &[GNU]),
        padded(format!("{name}\0").as_bytes()),
        block(b'K', "././@LongLink", 301, &[GNU]),
        padded(format!("{link}\0").as_bytes()),
        block(
            b'2',
            "short",
            0,
            &[GNU, (108, uid), (136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")],
        ),
    ];
    let found = listed(&stream.concat()).unwrap();
    let header = &found[0].0;
    assert_eq!((&header.name, &header.link), (&PathBuf::from(name), &PathBuf::from(link)));
    assert_eq!((header.uid, header.mtime), (4_294_967_294, Timestamp::new(-1, 0)));
}

/// The difference between readers that smuggles entries (CVE-2025-62518): the record decides, not the block.
#[test]
fn the_pax_size_always_wins() {
    let inner = block(b'0', "smuggled", 0, &[USTAR]);
    let stream = [pax(&[("size", "512")]), block(b'0', "outer", 0, &[USTAR]), inner].concat();
    let found = listed(&stream).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0.name.as_path(), found[0].1.len()), (Path::new("outer"), 512));
}

#[test]
fn pax_records_override_one_entry_only() {
    let stream = [
        pax(&[
            ("path", "long"),
            ("uid", "7"),
            ("mtime", "1.25"),
            ("SCHILY.xattr.user.a", "v"),
            ("uname", "me"),
        ]),
        block(b'0', "a", 0, &[USTAR]),
        block(b'0', "b", 0, &[USTAR]),
    ];
    let found = listed(&stream.concat()).unwrap();
    let first = &found[0].0;
    assert_eq!((first.name.as_path(), first.uid), (Path::new("long"), 7));
    assert_eq!((first.mtime, &first.user), (Timestamp::new(1, 250_000_000), &OsString::from("me")));
    assert_eq!(first.xattrs[&OsString::from("user.a")], b"v");
    assert_eq!(found[1].0.name, Path::new("b"));
}

#[test]
fn global_headers_change_nothing() {
    let text = record("comment", "abc");
    let stream = [
        block(b'g', "pax_global_header", text.len() as u64, &[USTAR]),
        padded(&text),
        block(b'0', "a", 0, &[USTAR]),
    ];
    assert_eq!(listed(&stream.concat()).unwrap()[0].0.name, Path::new("a"));
}

const SPARSE: &[u8] = b"\0\0\0\0AA\0\0\0\0BBB\0";

#[test]
fn all_four_sparse_formats_are_read() {
    let old = {
        let pairs = b"00000000004 00000000002 00000000012 00000000003 ";
        let mut head = block(b'S', "f", 5, &[GNU, (386, pairs), (483, b"00000000016\0")]);
        head = sealed(std::mem::take(&mut head));
        [head, padded(b"AABBB")].concat()
    };
    let zero_zero = {
        let mut text: Vec<u8> = Vec::new();
        let pairs =
            [("size", "14"), ("numblocks", "2"), ("offset", "4"), ("numbytes", "2"), ("offset", "10")];
        for (key, value) in pairs.iter().chain(&[("numbytes", "3")]) {
            text.extend(record(&format!("GNU.sparse.{key}"), value));
        }
        let head = block(b'x', "pax", text.len() as u64, &[USTAR]);
        [head, padded(&text), block(b'0', "f", 5, &[USTAR]), padded(b"AABBB")].concat()
    };
    let zero_one = [
        pax(&[
            ("GNU.sparse.size", "14"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.map", "4,2,10,3"),
            ("GNU.sparse.name", "f"),
        ]),
        block(b'0', "GNUSparseFile.1/f", 5, &[USTAR]),
        padded(b"AABBB"),
    ]
    .concat();
    let one_zero = [
        pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "14"),
            ("GNU.sparse.name", "f"),
        ]),
        block(b'0', "GNUSparseFile.1/f", 517, &[USTAR]),
        padded(b"2\n4\n2\n10\n3\n"),
        padded(b"AABBB"),
    ]
    .concat();
    for (format, stream) in [("old", old), ("0.0", zero_zero), ("0.1", zero_one), ("1.0", one_zero)] {
        let stream = [stream, written(&[(file("after"), b"ok".to_vec())])].concat();
        let found = listed(&stream).unwrap();
        assert_eq!(found[0].0.name, Path::new("f"), "{format}");
        assert_eq!(found[0].1, SPARSE, "{format}");
        assert_eq!(found[1].1, b"ok", "{format}");
        let mut reader = Reader::new(&stream[..]);
        let mut entry = reader.next().unwrap().unwrap();
        let mut chunks = Vec::new();
        while let Some((offset, bytes)) = entry.next_chunk().unwrap() {
            chunks.push((offset, bytes.to_vec()));
        }
        assert_eq!(chunks, [(4, b"AA".to_vec()), (10, b"BBB".to_vec())], "{format}");
        assert!(reader.next().unwrap().is_some(), "{format}");
    }
}

#[test]
fn what_go_refuses_is_refused() {
    let huge = format!("{}", i64::MAX);
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "checksum",
            block(b'0', "a", 0, &[(148, b"0000001\0")]).tap(|b| b[0] = b'z'),
            "archive/tar: invalid tar header",
        ),
        ("noise", vec![b'x'; 512], "archive/tar: invalid tar header"),
        ("short header", block(b'0', "a", 0, &[])[..300].to_vec(), "unexpected EOF"),
        ("short content", [block(b'0', "a", 600, &[]), vec![0; 100]].concat(), "unexpected EOF"),
        ("short pax", block(b'x', "a", 100, &[USTAR]), "unexpected EOF"),
        ("long pax", block(b'x', "a", (1 << 20) + 1, &[USTAR]), "archive/tar: header field too long"),
        ("long name", block(b'L', "a", 1 << 30, &[GNU]), "archive/tar: header field too long"),
        (
            "one zero block",
            [vec![0; 512], block(b'0', "a", 0, &[])].concat(),
            "archive/tar: invalid tar header",
        ),
        ("negative size", block(b'0', "a", 0, &[GNU, (124, &[0xff; 12])]), "archive/tar: invalid tar header"),
        (
            "negative pax size",
            [pax(&[("size", "-1")]), block(b'0', "a", 0, &[USTAR])].concat(),
            "archive/tar: invalid tar header",
        ),
        ("huge size", [pax(&[("size", &huge)]), block(b'0', "a", 0, &[USTAR])].concat(), "unexpected EOF"),
        ("bad uid", block(b'0', "a", 0, &[(108, b"99\0")]), "archive/tar: invalid tar header"),
        (
            "sparse link",
            [pax(&[("GNU.sparse.map", "0,1"), ("GNU.sparse.numblocks", "1")]), block(b'2', "a", 0, &[USTAR])]
                .concat(),
            "archive/tar: invalid tar header",
        ),
        (
            "sparse map beyond the stored",
            [
                pax(&[("GNU.sparse.map", "0,9"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.size", "9")]),
                block(b'0', "a", 1, &[USTAR]),
                padded(b"x"),
            ]
            .concat(),
            "archive/tar: sparse file references non-existent data",
        ),
        (
            "sparse map short of the stored",
            [
                pax(&[("GNU.sparse.map", "0,1"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.size", "9")]),
                block(b'0', "a", 2, &[USTAR]),
                padded(b"xy"),
            ]
            .concat(),
            "archive/tar: sparse file contains unreferenced data",
        ),
    ];
    for (what, stream, message) in table {
        let error = listed(&stream).expect_err(what).to_string();
        assert!(error.ends_with(message), "{what}: {error}");
    }
}

#[test]
fn archives_without_an_end_are_complete() {
    assert!(listed(b"").unwrap().is_empty());
    assert!(listed(&[0; 512]).unwrap().is_empty());
    assert_eq!(listed(&[block(b'0', "a", 3, &[]), b"abc".to_vec()].concat()).unwrap()[0].1, b"abc");
}

trait Tap: Sized {
    fn tap(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl Tap for Vec<u8> {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
