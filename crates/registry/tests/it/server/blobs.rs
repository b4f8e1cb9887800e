//! Blobs: sent in every way, read in parts, refused when they are not what they are called.

use oci::Digest;

use crate::world::{World, bytes, files};

fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    (folder, world)
}

#[test]
fn chunks_follow_each_other_and_tell_how_far_they_are() {
    let (_folder, world) = world();
    let (content, digest) = (bytes(3000), Digest::sha256(&bytes(3000)));
    let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    assert_eq!(begun.status, 202);
    let place = begun.header("location").to_owned();
    let first = world.ask("PATCH", &place, &[("Content-Range", "0-999")], &content[..1000]);
    assert_eq!((first.status, first.header("range")), (202, "0-999"));
    let gap = world.ask("PATCH", &place, &[("Content-Range", "2000-2999")], &content[2000..]);
    assert_eq!(gap.status, 416, "{}", gap.text());
    let status = world.get(&place);
    assert_eq!((status.status, status.header("range")), (204, "0-999"));
    let last = world.ask(
        "PUT",
        &format!("{place}?digest={digest}"),
        &[("Content-Range", "1000-2999")],
        &content[1000..],
    );
    assert_eq!(last.status, 201, "{}", last.text());
    let blob = world.get(last.header("location"));
    assert_eq!((blob.status, blob.header("docker-content-digest")), (200, digest.as_str()));
    assert_eq!(blob.body, content);
    assert_eq!(world.get(&place).status, 404);
}

#[test]
fn many_requests_share_a_connection_with_files_between() {
    let (_folder, world) = world();
    let content = bytes(3_000_000);
    let digest = world.push_blob("a", &content);
    let path = format!("/v2/a/blobs/{digest}");
    let mut client = world.client();
    for _ in 0..3 {
        assert_eq!(client.ask("GET", &path, &[], b"").body, content);
        assert_eq!(client.ask("HEAD", &path, &[], b"").header("content-length"), "3000000");
        let part = client.ask("GET", &path, &[("Range", "bytes=1000-1999")], b"");
        assert_eq!((part.status, part.header("content-range")), (206, "bytes 1000-1999/3000000"));
        assert_eq!(part.body, content[1000..2000]);
        assert_eq!(client.ask("GET", "/v2/", &[], b"").status, 200);
    }
    // Two requests at once: the second waits behind the file.
    client.send("GET", &path, &[], 0, b"");
    client.send("GET", "/v2/a/tags/list", &[], 0, b"");
    assert_eq!(client.reply("GET").body, content);
    assert_eq!(client.reply("GET").text(), r#"{"name":"a","tags":[]}"#);
    let outside = client.ask("GET", &path, &[("Range", "bytes=3000000-")], b"");
    assert_eq!(outside.status, 416);
    let known = client.ask("GET", &path, &[("If-None-Match", &format!("\"{digest}\""))], b"");
    assert_eq!(known.status, 304);
    assert_eq!(client.ask("GET", &path, &[("Connection", "close")], b"").header("connection"), "close");
}

#[test]
fn what_is_not_what_it_is_called_is_refused_and_leaves_nothing() {
    let (folder, world) = world();
    let wrong = Digest::sha256(b"other");
    let reply = world.ask("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], b"content");
    assert_eq!((reply.status, reply.code().as_str()), (400, "DIGEST_INVALID"));
    let reply = world.ask("POST", "/v2/a/blobs/uploads/?digest=md5:0123", &[], b"content");
    assert_eq!((reply.status, reply.code().as_str()), (400, "DIGEST_INVALID"));
    let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    let place = begun.header("location");
    let lying = world.ask("PATCH", place, &[("Content-Range", "0-99")], b"short");
    assert_eq!((lying.status, lying.code().as_str()), (400, "SIZE_INVALID"));
    assert_eq!(world.ask("DELETE", place, &[], b"").status, 204);
    assert_eq!(world.ask("DELETE", place, &[], b"").status, 404);
    assert_eq!(world.get(&format!("/v2/a/blobs/{wrong}")).code(), "BLOB_UNKNOWN");
    assert_eq!((files(folder.path(), "uploads"), files(folder.path(), "blobs/sha256")), (0, 0));
}

#[test]
fn a_cut_connection_leaves_an_upload_that_goes_on() {
    let (_folder, world) = world();
    let content = bytes(2_500_000);
    let digest = Digest::sha256(&content);
    let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    let place = begun.header("location").to_owned();
    let mut client = world.client();
    client.send("PATCH", &place, &[], content.len(), &content[..1_700_000]);
    drop(client);
    // The server learns of the end in its own time; it answers for the upload when the lost request has let it go.
    let here: usize = loop {
        let range = world.get(&place).header("range").to_owned();
        let here = range.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
        if here > 1 {
            break here;
        }
    };
    assert_eq!(here, 1_700_000, "all that came is kept");
    let rest = world.ask("PUT", &format!("{place}?digest={digest}"), &[], &content[here..]);
    assert_eq!(rest.status, 201, "{}", rest.text());
}

#[test]
fn blobs_are_mounted_from_other_repositories() {
    let (_folder, world) = world();
    let digest = world.push_blob("a", b"content");
    let mounted = world.ask("POST", &format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), &[], b"");
    assert_eq!((mounted.status, mounted.header("location")), (201, format!("/v2/b/blobs/{digest}").as_str()));
    assert_eq!(world.get(&format!("/v2/b/blobs/{digest}")).body, b"content");
    let unknown = Digest::sha256(b"unknown");
    let opened = world.ask("POST", &format!("/v2/b/blobs/uploads/?mount={unknown}&from=a"), &[], b"");
    assert_eq!(opened.status, 202);
}

#[test]
fn sha512_is_a_name_as_well() {
    let (_folder, world) = world();
    // Of the empty text, as FIPS 180-4's examples have it.
    let digest = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                  47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    let pushed = world.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], b"");
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).status, 200);
}

#[test]
fn an_algorithm_is_announced_or_found_out_at_the_end() {
    let (_folder, world) = world();
    let digest = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                  2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    for query in ["?digest-algorithm=sha512", ""] {
        let begun = world.ask("POST", &format!("/v2/a/blobs/uploads/{query}"), &[], b"");
        let done = world.ask("PUT", &format!("{}?digest={digest}", begun.header("location")), &[], b"abc");
        assert_eq!(done.status, 201, "{}", done.text());
    }
    let unknown = world.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], b"");
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "DIGEST_INVALID"));
}

#[test]
fn a_part_of_something_else_is_not_sent() {
    let (_folder, world) = world();
    let digest = world.push_blob("a", b"content");
    let part = |tag: &str| {
        let headers = [("Range", "bytes=0-2"), ("If-Range", tag)];
        world.ask("GET", &format!("/v2/a/blobs/{digest}"), &headers, b"").status
    };
    assert_eq!((part(&format!("\"{digest}\"")), part("\"other\"")), (206, 200));
}

#[test]
fn several_clients_may_push_the_same_blob_at_once() {
    let (folder, world) = world();
    let content = bytes(1_000_000);
    std::thread::scope(|scope| {
        for name in ["a", "b", "a", "c"] {
            let (world, content) = (&world, &content);
            scope.spawn(move || world.push_blob(name, content));
        }
    });
    assert_eq!(files(folder.path(), "blobs/sha256"), 1);
}
