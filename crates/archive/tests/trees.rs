//! Trees from archives and back, for real: as root, on tmpfs.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use archive::ignore::Matcher;
use archive::tar::{EntryKind, Header, Reader, Writer};
use archive::{Extract, Extracted, Pack, Times, Whiteouts, extract, pack};
use fault::Kind;
use proptest::prelude::*;
use sys::fs::{self, FileKind, OpenHow};
use sys::time::Timestamp;
use sys::xattr;

struct Tree {
    folder: tempfile::TempDir,
    root: OwnedFd,
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(folder.path().join("root"), 0o755).unwrap();
        let root = fs::open_dir(folder.path().join("root")).unwrap();
        Self { folder, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    fn extract(&self, entries: &[(Header, &str)]) -> fault::Result<Extracted> {
        self.extract_with(&stream(entries), &Extract::default())
    }

    fn layer(&self, whiteouts: Whiteouts, entries: &[(Header, &str)]) {
        self.extract_with(&stream(entries), &Extract { whiteouts, ..Extract::default() }).unwrap();
    }

    fn extract_with(&self, stream: &[u8], how: &Extract<'_>) -> fault::Result<Extracted> {
        extract(stream, self.root.as_fd(), how)
    }

    fn pack(&self, how: &Pack<'_>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        pack(self.root.as_fd(), how, &mut writer).unwrap();
        writer.finish().unwrap()
    }

    fn names(&self, how: &Pack<'_>) -> Vec<String> {
        listed(&self.pack(how)).into_iter().map(|header| header.name.display().to_string()).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        fs::exists(self.path(name)).unwrap()
    }

    fn stat(&self, name: &str) -> fs::Stat {
        fs::lstat(self.path(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let stat = self.stat(name);
        (stat.kind(), stat.device()) == (FileKind::CharDevice, (0, 0))
    }

    fn is_opaque(&self, name: &str) -> bool {
        xattr::get(self.path(name), "trusted.overlay.opaque").unwrap().as_deref() == Some(b"y")
    }

    /// What stands beside the root, where nothing may appear.
    fn outside(&self) -> Vec<OsString> {
        fs::read_dir(self.folder.path()).unwrap()
    }
}

fn stream(entries: &[(Header, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, content) in entries {
        writer.append_bytes(header, content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn listed(stream: &[u8]) -> Vec<Header> {
    let mut reader = Reader::new(stream);
    let mut headers = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        headers.push(entry.header);
    }
    headers
}

fn entry(kind: EntryKind, name: &str, mode: u32) -> Header {
    Header { kind, name: name.into(), mode, mtime: Timestamp::new(1_000_000_000, 0), ..Header::default() }
}

fn file(name: &str) -> (Header, &str) {
    (entry(EntryKind::Regular, name, 0o644), "content")
}

fn dir(name: &str) -> (Header, &str) {
    (entry(EntryKind::Directory, name, 0o755), "")
}

fn link(kind: EntryKind, name: &str, target: &str) -> (Header, &'static str) {
    (Header { link: target.into(), ..entry(kind, name, 0o777) }, "")
}

fn symlink(name: &str, target: &str) -> (Header, &'static str) {
    link(EntryKind::Symlink, name, target)
}

fn hard_link(name: &str, target: &str) -> (Header, &'static str) {
    link(EntryKind::HardLink, name, target)
}

#[test]
fn all_kinds_come_out_with_their_metadata() {
    let tree = Tree::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let special = Header {
        uid: 1000,
        gid: 1001,
        mode: 0o6751,
        mtime: Timestamp::new(1_234_567_890, 123_456_789),
        xattrs: [(OsString::from("security.capability"), capability.clone())].into(),
        ..entry(EntryKind::Regular, "dir/setuid", 0)
    };
    let done = tree
        .extract(&[
            (Header { uid: 5, gid: 6, mode: 0o1777, ..dir("dir").0 }, ""),
            (special.clone(), "binary"),
            (Header { mode: 0o666, ..entry(EntryKind::Regular, "dir/open", 0) }, ""),
            hard_link("dir/again", "dir/setuid"),
            (Header { uid: 7, mtime: Timestamp::new(5, 6), ..symlink("dir/link", "/setuid").0 }, ""),
            (Header { device: (1, 3), ..entry(EntryKind::CharDevice, "dir/null", 0o666) }, ""),
            (Header { device: (7, 99), ..entry(EntryKind::BlockDevice, "dir/loop", 0o660) }, ""),
            (Header { gid: 4, ..entry(EntryKind::Fifo, "dir/fifo", 0o622) }, ""),
        ])
        .unwrap();
    assert_eq!(done, Extracted { entries: 8, size: 6, xattrs_skipped: 0 });

    let stat = tree.stat("dir/setuid");
    assert_eq!((stat.uid, stat.gid, stat.permissions(), stat.nlink), (1000, 1001, 0o6751, 2));
    assert_eq!(stat.mtime, special.mtime);
    assert_eq!(xattr::get(tree.path("dir/again"), "security.capability").unwrap(), Some(capability));
    assert_eq!(tree.stat("dir/open").permissions(), 0o666);
    let stat = tree.stat("dir/link");
    assert_eq!((stat.uid, stat.mtime, stat.is_symlink()), (7, Timestamp::new(5, 6), true));
    let stat = tree.stat("dir/null");
    assert_eq!((stat.kind(), stat.device(), stat.permissions()), (FileKind::CharDevice, (1, 3), 0o666));
    assert_eq!(tree.stat("dir/loop").device(), (7, 99));
    let stat = tree.stat("dir/fifo");
    assert_eq!((stat.kind(), stat.permissions(), stat.gid), (FileKind::Fifo, 0o622, 4));
    let stat = tree.stat("dir");
    assert_eq!((stat.uid, stat.gid, stat.permissions()), (5, 6, 0o1777));
    assert_eq!(stat.mtime, Timestamp::new(1_000_000_000, 0), "set after its files were made");
}

#[test]
fn a_layers_root_is_the_root() {
    for whiteouts in [Whiteouts::Overlay, Whiteouts::Apply] {
        let tree = Tree::new();
        let root = Header {
            uid: 3,
            gid: 4,
            xattrs: [(OsString::from("user.of-the-root"), b"1".to_vec())].into(),
            ..entry(EntryKind::Directory, "./", 0o2711)
        };
        // In the middle, so that what is made before and after it shows what it does to them.
        tree.layer(whiteouts, &[file("./before"), (root, ""), file("./after"), file("./d/deep")]);
        let stat = tree.stat("");
        assert_eq!((stat.uid, stat.gid, stat.permissions()), (3, 4, 0o2711));
        assert_eq!(stat.mtime, Timestamp::new(1_000_000_000, 0));
        assert_eq!(xattr::get(tree.path(""), "user.of-the-root").unwrap().unwrap(), b"1");
        assert_eq!(["before", "after", "d"].map(|name| tree.stat(name).gid), [0; 3]);
    }
}

#[test]
fn a_layers_root_is_no_file_and_its_attributes_are_harmless() {
    let tree = Tree::new();
    let how = Extract { whiteouts: Whiteouts::Overlay, ..Extract::default() };
    let error = tree.extract_with(&stream(&[file("x"), symlink("./", "/etc")]), &how).unwrap_err();
    assert_eq!(error.to_string(), "the archive's root is no directory");
    let xattrs = [(OsString::from("trusted.overlay.redirect"), b"/etc".to_vec())].into();
    tree.layer(Whiteouts::Overlay, &[(Header { xattrs, ..dir(".").0 }, "")]);
    assert_eq!(xattr::list(tree.path("")).unwrap(), [""; 0]);
}

#[test]
fn what_is_copied_leaves_the_root_alone() {
    let tree = Tree::new();
    let before = tree.stat("");
    tree.extract(&[(Header { uid: 3, mode: 0o700, ..dir("./").0 }, "")]).unwrap();
    assert_eq!(tree.stat(""), before);
}

#[test]
fn the_last_entry_of_a_directory_has_its_time() {
    let tree = Tree::new();
    let at = |seconds| (Header { mtime: Timestamp::new(seconds, 0), ..dir("d").0 }, "");
    tree.extract(&[at(10), file("d/f"), at(20)]).unwrap();
    assert_eq!(tree.stat("d").mtime.seconds, 20);
}

#[test]
fn groups_of_setgid_directories_are_not_inherited() {
    let tree = Tree::new();
    let parent = Header { gid: 50, mode: 0o2775, ..dir("d").0 };
    tree.extract(&[(parent, ""), file("d/f"), dir("d/d"), file("d/missing/f")]).unwrap();
    let modes = ["d/f", "d/d", "d/missing", "d/missing/f"]
        .map(|name| (tree.stat(name).gid, tree.stat(name).permissions()));
    assert_eq!(modes, [(0, 0o644), (0, 0o755), (0, 0o755), (0, 0o644)]);
}

#[test]
fn missing_parents_are_made() {
    let tree = Tree::new();
    tree.extract(&[file("a/b/c/f")]).unwrap();
    assert_eq!(tree.read("a/b/c/f"), "content");
    assert_eq!(tree.stat("a/b").permissions(), 0o755);
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    let tree = Tree::new();
    tree.extract(&[
        file("file-then-dir"),
        dir("dir-then-file"),
        file("dir-then-file/inner"),
        symlink("link-then-file", "file"),
        file("file"),
        dir("dir"),
        file("dir/kept"),
    ])
    .unwrap();
    tree.extract(&[
        dir("file-then-dir"),
        file("file-then-dir/inner"),
        file("dir-then-file"),
        (entry(EntryKind::Regular, "link-then-file", 0o600), "new"),
        (entry(EntryKind::Directory, "dir", 0o700), ""),
    ])
    .unwrap();
    assert!(tree.has("file-then-dir/inner") && tree.has("dir/kept"));
    assert!(tree.stat("dir-then-file").is_file());
    assert_eq!((tree.read("file"), tree.read("link-then-file")), ("content".into(), "new".into()));
    assert_eq!(tree.stat("dir").permissions(), 0o700);
}

#[test]
fn times_of_directories_that_went_away_are_passed_over() {
    let tree = Tree::new();
    let folders = ["d", "d/e", "l", "l/e", "m", "m/e"].map(dir);
    let later = [file("d"), symlink("l", "l"), hard_link("m", "d")];
    tree.extract(&[&folders[..], &later].concat()).unwrap();
    assert!(tree.stat("m").is_file() && tree.stat("l").is_symlink());
}

#[test]
fn kinds_are_kept_if_asked() {
    let tree = Tree::new();
    tree.extract(&[dir("srv"), dir("srv/d"), file("srv/f")]).unwrap();
    let how = Extract { into: Path::new("srv"), keep_kinds: true, ..Extract::default() };
    let error = tree.extract_with(&stream(&[file("d")]), &how).unwrap_err().to_string();
    assert_eq!(error, r#"extracting d: cannot overwrite directory "/srv/d" with non-directory "/srv""#);
    let error = tree.extract_with(&stream(&[dir("f")]), &how).unwrap_err().to_string();
    assert_eq!(error, r#"extracting f: cannot overwrite non-directory "/srv/f" with directory "/srv""#);
    tree.extract_with(&stream(&[file("f"), dir("d")]), &how).unwrap();
}

#[test]
fn hostile_names_stay_in_the_root() {
    let tree = Tree::new();
    tree.extract(&[
        file("../../up"),
        file("/absolute"),
        file("a/../../../b"),
        symlink("out", "../../.."),
        file("out/through-relative"),
        symlink("abs", "/dir"),
        dir("dir"),
        file("abs/through-absolute"),
        symlink("self", "self2"),
    ])
    .unwrap();
    assert_eq!(tree.outside(), ["root"]);
    for name in ["up", "absolute", "b", "through-relative", "dir/through-absolute"] {
        assert_eq!(tree.read(name), "content", "{name}");
    }
}

fn hostile_name() -> impl Strategy<Value = String> {
    let names = [
        "a",
        "b",
        "c",
        "..",
        ".",
        "",
        "a/..",
        ".wh.a",
        ".wh.b",
        ".wh..wh..opq",
        ".wh...",
        ".wh..wh.x",
        "canary",
    ];
    prop::collection::vec(prop::sample::select(names.to_vec()), 1..5).prop_map(|names| names.join("/"))
}

fn hostile_entry() -> impl Strategy<Value = Header> {
    let kinds = [
        EntryKind::Regular,
        EntryKind::Directory,
        EntryKind::Symlink,
        EntryKind::HardLink,
        EntryKind::CharDevice,
        EntryKind::Fifo,
    ];
    let target = prop_oneof![hostile_name(), hostile_name().prop_map(|name| format!("/{name}"))];
    (prop::sample::select(kinds.to_vec()), hostile_name(), target, 0..0o10000_u32).prop_map(
        |(kind, name, target, mode)| Header {
            link: target.into(),
            uid: 7,
            ..entry(kind, &format!("{name}/"), mode)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever names and links an archive makes of each other, what stands beside the root stays as it was.
    #[test]
    fn nothing_outside_of_the_root_is_touched(
        entries in prop::collection::vec(hostile_entry(), 1..12),
        whiteouts in prop::sample::select(vec![Whiteouts::Keep, Whiteouts::Overlay, Whiteouts::Apply]),
        into in prop::sample::select(vec!["", "a", "a/b"]),
    ) {
        let tree = Tree::new();
        let canary = tree.folder.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        tree.extract(&[dir("a/b"), symlink("c", "/a"), file("a/b/c")]).unwrap();
        let look = || (tree.outside(), fs::lstat(&canary).unwrap(), fs::lstat(tree.folder.path()).unwrap());
        let before = look();
        let entries: Vec<_> = entries.into_iter().map(|header| (header, "")).collect();
        // One that is refused must not hide what the ones after it would do.
        for entry in entries.chunks(1).chain([&entries[..]]) {
            drop(tree.extract_with(&stream(entry), &Extract { whiteouts, into: Path::new(into), ..Extract::default() }));
        }
        prop_assert_eq!(look(), before);
        prop_assert!(xattr::list(tree.folder.path()).unwrap().is_empty());
    }
}

#[test]
fn links_never_lead_a_file_out() {
    let tree = Tree::new();
    let secret = tree.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let target = secret.to_str().unwrap().to_owned();
    // A file over a link replaces the link; a link's target outside does not exist inside.
    tree.extract(&[symlink("f", &target), file("f")]).unwrap();
    assert!(tree.stat("f").is_file());
    for entries in [
        vec![hard_link("h", &target)],
        vec![symlink("d", tree.folder.path().to_str().unwrap()), file("d/secret")],
        vec![symlink("l", "loop"), symlink("loop", "l"), file("l/f")],
        vec![hard_link("x", "nowhere")],
        vec![hard_link("x", "../root2/f")],
    ] {
        assert!(tree.extract(&entries).is_err());
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(tree.outside(), ["root", "secret"]);
    // A hard link to a link is one to the link itself.
    tree.extract(&[
        symlink("s", &target),
        hard_link("s2", "s"),
        (entry(EntryKind::Regular, "s2", 0o644), "own"),
    ])
    .unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert!(tree.stat("s").is_symlink());
}

#[test]
fn a_directory_is_not_left_by_names_or_links() {
    let tree = Tree::new();
    tree.extract(&[dir("srv"), dir("etc"), file("etc/passwd"), symlink("srv/etc", "/etc")]).unwrap();
    let how = Extract { into: Path::new("srv"), ..Extract::default() };
    for (entries, message) in [
        (file("../etc/passwd"), r#""../etc/passwd" is outside of "/srv""#),
        (hard_link("h", "../etc/passwd"), r#"invalid hardlink "/etc/passwd" -> "../etc/passwd""#),
        (symlink("l", "../../etc"), r#"invalid symlink "/srv/l" -> "../../etc""#),
    ] {
        let error = tree.extract_with(&stream(&[entries]), &how).unwrap_err().to_string();
        assert!(error.ends_with(message), "{error}");
    }
    // Links that are there resolve as the container sees them.
    tree.extract_with(&stream(&[file("etc/new"), file("f")]), &how).unwrap();
    assert!(tree.has("etc/new") && tree.has("srv/f"));
}

#[test]
fn hostile_attributes_and_owners() {
    let tree = Tree::new();
    let with = |name: &str, value: &str| Header {
        xattrs: [(OsString::from(name), value.as_bytes().to_vec())].into(),
        ..dir("d").0
    };
    tree.extract(&[(with("trusted.overlay.redirect", "/etc"), "")]).unwrap();
    assert_eq!(xattr::list(tree.path("d")).unwrap(), [""; 0]);
    let done = tree.extract(&[(with("unknown.name", "x"), "")]).unwrap();
    assert_eq!(done.xattrs_skipped, 1);
    for uid in [-1, 1 << 40, i64::from(u32::MAX)] {
        assert!(tree.extract(&[(Header { uid, ..file("f").0 }, "")]).is_err());
    }
    tree.extract(&[(Header { uid: -2, ..file("f").0 }, "")]).unwrap();
    assert_eq!(tree.stat("f").uid, u32::MAX - 1);
    let error = tree.extract(&[(entry(EntryKind::Other(b'7'), "x", 0), "")]).unwrap_err().to_string();
    assert_eq!(error, "extracting x: unhandled tar header type 55");
    assert!(tree.extract(&[file(&"n".repeat(300))]).is_err());
    assert!(tree.extract(&[file(&"a/".repeat(3000))]).is_err());
}

#[test]
fn truncated_archives_say_so() {
    let tree = Tree::new();
    let whole = stream(&[(entry(EntryKind::Regular, "f", 0o644), &"x".repeat(2000))]);
    for length in [100, 600, 2000] {
        let error = tree.extract_with(&whole[..length], &Extract::default()).unwrap_err();
        assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}

#[test]
fn the_stream_is_read_to_its_end() {
    let mut stream = stream(&[file("f")]);
    stream.extend([0; 20 * 1024]);
    let mut input = &stream[..];
    extract(input.by_ref(), Tree::new().root.as_fd(), &Extract::default()).unwrap();
    assert!(input.is_empty());
}

#[test]
fn holes_stay_holes() {
    let tree = Tree::new();
    let mut builder = tar::Builder::new(Vec::new());
    builder.sparse(true);
    let path = tree.folder.path().join("sparse");
    let source = fs::open(&path, &OpenHow { access: fs::Access::ReadWrite, ..OpenHow::NEW }).unwrap();
    fs::set_size(&source, 8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&source, b"middle", 4 << 20).unwrap();
    builder.append_path_with_name(&path, "sparse").unwrap();
    let done = tree.extract_with(&builder.into_inner().unwrap(), &Extract::default()).unwrap();
    assert_eq!(done.size, 8 << 20);
    let stat = tree.stat("sparse");
    assert_eq!(stat.size, 8 << 20);
    assert!(stat.blocks * 512 <= 64 << 10, "{} blocks", stat.blocks);
    assert_eq!(fs::read(tree.path("sparse")).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn holes_beyond_all_numbers_are_counted_as_far_as_numbers_go() {
    let records: String =
        [("major", "0"), ("minor", "1"), ("numblocks", "0"), ("size", "9223372036854775807")]
            .map(|(key, value)| {
                let rest = format!(" GNU.sparse.{key}={value}\n");
                format!("{}{rest}", rest.len() + 2)
            })
            .concat();
    let description = Header { kind: EntryKind::Other(b'x'), ..file("sparse").0 };
    let entries = ["a", "b", "c"].map(|name| [(description.clone(), &*records), (file(name).0, "")]).concat();
    let tree = Tree::new();
    let done = tree.extract(&entries).unwrap();
    assert_eq!((done.size, tree.stat("c").size, tree.stat("c").blocks), (u64::MAX, i64::MAX as u64, 0));
}

#[test]
fn whiteouts_become_overlays() {
    let tree = Tree::new();
    tree.layer(
        Whiteouts::Overlay,
        &[
            file("a/.wh.gone"),
            dir("opaque"),
            file("opaque/.wh..wh..opq"),
            file("opaque/new"),
            file(".wh..wh.plnk"),
            file(".wh.replaced-by-dir"),
            dir("replaced-by-dir"),
            dir("dir-first"),
            file(".wh.dir-first"),
            file(".wh.replaced-by-file"),
            file("replaced-by-file"),
            file("file-first"),
            file(".wh.file-first"),
        ],
    );
    assert!(tree.is_whiteout("a/gone"));
    assert!(tree.is_opaque("opaque") && tree.has("opaque/new") && !tree.has("opaque/.wh..wh..opq"));
    assert!(tree.is_opaque("replaced-by-dir") && tree.is_opaque("dir-first"));
    assert!(tree.stat("replaced-by-file").is_file() && tree.stat("file-first").is_file());
    assert!(!tree.has(".wh..wh.plnk") && !tree.has("plnk"));
}

#[test]
fn whiteouts_are_applied_to_lower_layers_only() {
    let tree = Tree::new();
    let lower = ["d/old", "d/sub/old", "d/sub/both", "gone/f", "file"];
    tree.extract(&lower.map(file)).unwrap();
    tree.layer(
        Whiteouts::Apply,
        &[
            file("d/sub/both"),
            file("d/new"),
            file("d/.wh..wh..opq"),
            file(".wh.gone"),
            file("file"),
            file(".wh.file"),
            file(".wh.never-was"),
        ],
    );
    let left = ["d/old", "d/sub/old", "gone"].map(|name| tree.has(name));
    assert_eq!(left, [false; 3]);
    assert!(["d/new", "d/sub/both", "file"].iter().all(|name| tree.has(name)));
    let tree = Tree::new();
    tree.layer(Whiteouts::Keep, &[file(".wh.kept")]);
    assert!(tree.has(".wh.kept"));
}

#[test]
fn a_tree_packed_and_extracted_is_the_same() {
    let one = Tree::new();
    let long = format!("{}/{}", "d".repeat(200), "ü".repeat(100));
    one.extract(&[
        (Header { mode: 0o1777, mtime: Timestamp::new(7, 8), ..dir("dir").0 }, ""),
        (Header { uid: 3_000_000, gid: 9, mode: 0o4755, ..file("dir/a").0 }, "aaa"),
        hard_link("dir/b", "dir/a"),
        symlink("link", "dir/a"),
        (Header { device: (5, 1), ..entry(EntryKind::CharDevice, "console", 0o600) }, ""),
        (entry(EntryKind::Fifo, "fifo", 0o600), ""),
        file(&long),
    ])
    .unwrap();
    xattr::set(one.path("dir/a"), "user.test", b"\0\xffbinary").unwrap();
    let exact = Pack { times: Times::Exact, ..Pack::default() };
    let stream = one.pack(&exact);
    let two = Tree::new();
    two.extract_with(&stream, &Extract::default()).unwrap();
    assert_eq!(two.pack(&exact), stream);
    assert_eq!(two.stat("dir/b").nlink, 2);
    assert_eq!(two.stat("dir").mtime, Timestamp::new(7, 8));
    let long = Path::new(&long).parent().unwrap().to_str().unwrap().to_owned() + "/";
    assert_eq!(one.names(&exact)[..3], ["console", &long, &one.names(&exact)[2]]);
}

#[test]
fn what_the_kernel_makes_up_has_the_content_that_it_has_when_read() {
    let root = fs::open_dir("/").unwrap();
    let packed = |path: &str| {
        let mut writer = Writer::new(Vec::new());
        let how = Pack { path: Path::new(path), name: Path::new("it"), ..Pack::default() };
        pack(root.as_fd(), &how, &mut writer)?;
        let bytes = writer.finish()?;
        let mut reader = Reader::new(&bytes[..]);
        let mut text = String::new();
        reader.next()?.unwrap().read_to_string(&mut text).unwrap();
        Ok::<_, fault::Error>(text)
    };
    let status = packed(&format!("proc/{}/status", std::process::id())).unwrap();
    assert!(status.starts_with("Name:\t") && status.ends_with('\n'), "{status}");
    // sysfs says a page.
    let text = packed("sys/kernel/mm/transparent_hugepage/enabled").unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    let error = packed(&format!("proc/{}/mem", std::process::id())).unwrap_err().to_string();
    assert!(error.contains("read"), "{error}");
}

#[test]
fn names_in_the_archive_are_as_docker_gives_them() {
    let tree = Tree::new();
    tree.extract(&[dir("etc/nginx"), file("etc/nginx/a.conf"), file("etc/nginx.conf"), symlink("e", "etc")])
        .unwrap();
    std::os::unix::net::UnixListener::bind(tree.path("etc/nginx/socket")).unwrap();
    let names = |path: &str, name: &str| {
        tree.names(&Pack { path: Path::new(path), name: Path::new(name), ..Pack::default() })
    };
    assert_eq!(names("", ""), ["e", "etc/", "etc/nginx/", "etc/nginx/a.conf", "etc/nginx.conf"]);
    assert_eq!(names("etc/nginx", "renamed"), ["renamed/", "renamed/a.conf"]);
    assert_eq!(names("etc/nginx", "."), ["./", "./a.conf"]);
    assert_eq!(names("etc/nginx", ""), ["a.conf"]);
    assert_eq!(names("e/nginx.conf", "nginx.conf"), ["nginx.conf"]);
    assert_eq!(names("e", "e"), ["e"]);
    let mut writer = Writer::new(Vec::new());
    let missing = Pack { path: Path::new("no/such"), name: Path::new("x"), ..Pack::default() };
    assert_eq!(pack(tree.root.as_fd(), &missing, &mut writer).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn an_overlays_upper_becomes_a_layer_and_back() {
    let tree = Tree::new();
    let entries = [file("a/.wh.gone"), dir("o"), file("o/.wh..wh..opq"), file("o/new")];
    tree.layer(Whiteouts::Overlay, &entries);
    let how = Pack { whiteouts: Whiteouts::Overlay, ..Pack::default() };
    assert_eq!(tree.names(&how), ["a/", "a/.wh.gone", "o/", "o/.wh..wh..opq", "o/new"]);
    let layer = tree.pack(&how);
    let back = Tree::new();
    back.extract_with(&layer, &Extract { whiteouts: Whiteouts::Overlay, ..Extract::default() }).unwrap();
    assert!(back.is_whiteout("a/gone") && back.is_opaque("o"));
    assert!(listed(&layer).iter().all(|header| header.xattrs.is_empty()));
}

#[test]
fn owners_and_rules_of_a_build_context() {
    let tree = Tree::new();
    let other = |name| (Header { uid: 1000, gid: 1000, ..file(name).0 }, "x");
    tree.extract(&[other("src/a.rs"), other("src/a.md"), other("docs/keep.md"), other("docs/drop.md")])
        .unwrap();
    let rules = Matcher::parse("# words\n**/*.md\ndocs\n!docs/keep.md\n").unwrap();
    let how = Pack { owner: Some((0, 0)), ignore: Some(&rules), ..Pack::default() };
    assert_eq!(tree.names(&how), ["docs/keep.md", "src/", "src/a.rs"]);
    assert!(listed(&tree.pack(&how)).iter().all(|header| (header.uid, header.gid) == (0, 0)));
}
