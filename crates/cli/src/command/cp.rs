//! `kogge cp`: files between a container and here, as tar streams.
//!
//! Where a copy lands, and under which name, depends on what is there already; [`landing`] decides it as `cp -a` would
//! and as Docker documents it. The rest moves bytes.

mod local;
mod rename;

use std::fs::File;
use std::io;
use std::path::Path;

use api::container::PathStat;
use archive::Extract;
use client::{Answer, Body, ChunkReader, Client};
use fault::{Call, Error, Result};

use super::{Args, Command};
use crate::cli::Cli;
use crate::create::clean_path;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::human;
use crate::terminal;

use local::Source;

pub(crate) const COMMAND: Command = Command::new(
    "Copy files/folders between a container and the local filesystem\n\n\
     `-` as the source reads a tar archive from STDIN; as the destination it\n\
     writes one to STDOUT.",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tkogge cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    Args::Exactly(2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container cp, kogge cp")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("archive", "Keep owners").short('a'),
    Flag::switch("follow-link", "Follow links in the source").short('L'),
    Flag::switch("quiet", "Say nothing about what was copied").short('q'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (source, destination) = (matches.args[0].as_str(), matches.args[1].as_str());
    if source.is_empty() {
        return Err(Exit::failure("source can not be empty"));
    }
    if destination.is_empty() {
        return Err(Exit::failure("destination can not be empty"));
    }
    let copy = Copy {
        client: cli.client()?,
        follow: matches.is_on("follow-link"),
        keep_owners: matches.is_on("archive"),
        quiet: if matches.is_given("quiet") {
            matches.is_on("quiet")
        } else {
            !terminal::output_is_terminal()
        },
    };
    match (split(source), split(destination)) {
        ((Some(container), from), (None, to)) => copy.out_of(container, from, to).await,
        ((None, from), (Some(container), to)) => copy.put_in(container, from, to).await,
        ((Some(_), _), (Some(_), _)) => Err(Exit::failure("copying between containers is not supported")),
        ((None, _), (None, _)) => Err(Exit::failure("must specify at least one container source")),
    }
}

/// `container:path`; a path with a colon is made plain by `./` or `/` in front.
fn split(argument: &str) -> (Option<&str>, &str) {
    if argument.starts_with('/') {
        return (None, argument);
    }
    match argument.split_once(':') {
        Some((container, path)) if !container.starts_with('.') => (Some(container), path),
        _ => (None, argument),
    }
}

struct Copy<'c> {
    client: &'c Client,
    follow: bool,
    keep_owners: bool,
    quiet: bool,
}

/// What is known of an end of the copy.
#[derive(Clone, Debug, Default)]
struct Place {
    path: String,
    exists: bool,
    is_folder: bool,
}

/// Into which folder a copy goes, and under which name; without a name it keeps its own.
#[derive(Debug, PartialEq, Eq)]
struct Landing {
    folder: String,
    name: Option<String>,
}

fn landing(source_is_folder: bool, target: &Place) -> Result<Landing> {
    let (folder, name) = last_entry(&target.path);
    let renamed = Landing { folder, name: Some(name) };
    match (target.exists, target.is_folder) {
        (true, true) => Ok(Landing { folder: target.path.clone(), name: None }),
        (true, false) if source_is_folder => Err(Error::invalid("cannot copy directory")),
        (true, false) => Ok(renamed),
        (false, _) if source_is_folder => Ok(renamed),
        (false, _) if asserts_folder(&target.path) => Err(Error::invalid("no such directory")),
        (false, _) => Ok(renamed),
    }
}

/// Folder and name; a path that ends in `/.` means the folder's content and has the name `.`.
fn last_entry(path: &str) -> (String, String) {
    let cleaned = clean_path(Path::new(path));
    if path == "." || path.ends_with("/.") {
        return (cleaned, ".".into());
    }
    match cleaned.rsplit_once('/') {
        Some(("", name)) => ("/".into(), name.to_owned()),
        Some((folder, name)) => (folder.to_owned(), name.to_owned()),
        None => ("/".into(), cleaned),
    }
}

fn asserts_folder(path: &str) -> bool {
    path.ends_with('/') || path == "." || path.ends_with("/.")
}

impl Copy<'_> {
    async fn out_of(&self, container: &str, from: &str, to: &str) -> Outcome {
        let target = if to == "-" { None } else { Some(local::target(to)?) };
        let (from, renamed) = self.followed(container, from).await;
        let (stat, mut answer) = client::container::archive_get(self.client, container, &from).await?;
        let Some(target) = target else {
            while let Some(chunk) = answer.chunk().await? {
                terminal::write(&chunk)?;
            }
            return Ok(());
        };
        let own = last_entry(&from).1;
        let landing = landing(is_folder(&stat), &target)?;
        let name = landing.name.or(renamed).filter(|name| *name != own);
        let size = unpack(answer, landing.folder, name.map(|name| (own, name))).await?;
        self.tell(size, &target.path);
        Ok(())
    }

    /// With `-L`, where the last link leads, and the name that the copy keeps.
    async fn followed(&self, container: &str, path: &str) -> (String, Option<String>) {
        if !self.follow {
            return (path.to_owned(), None);
        }
        match client::container::archive_stat(self.client, container, path).await {
            Ok(stat) if is_link(&stat) => (resolved(path, &stat.link_target), Some(last_entry(path).1)),
            _ => (path.to_owned(), None),
        }
    }

    async fn put_in(&self, container: &str, from: &str, to: &str) -> Outcome {
        let source = if from == "-" { None } else { Some(Source::find(from, self.follow)?) };
        let target = self.inside(container, to).await?;
        let Some(source) = source else {
            if !target.is_folder {
                return Err(Exit::failure(format!("destination \"{container}:{to}\" must be a directory")));
            }
            return Ok(self.put(container, &target.path, Body::reader(io::stdin())).await?);
        };
        let landing = landing(source.is_folder, &target)?;
        let (body, size) = source.pack(landing.name)?;
        self.put(container, &landing.folder, body).await?;
        self.tell(size.total(), &format!("{container}:{}", target.path));
        Ok(())
    }

    async fn put(&self, container: &str, folder: &str, body: Body) -> Result<()> {
        client::container::archive_put(self.client, container, folder, self.keep_owners, body).await
    }

    /// What lies at the destination; what cannot be found out the daemon will tell when the copy comes.
    async fn inside(&self, container: &str, path: &str) -> Outcome<Place> {
        let mut place = Place { path: path.to_owned(), ..Place::default() };
        let mut stat = client::container::archive_stat(self.client, container, path).await;
        if let Ok(link) = stat.as_ref()
            && is_link(link)
        {
            place.path = resolved(path, &link.link_target);
            stat = client::container::archive_stat(self.client, container, &place.path).await;
        }
        let Ok(stat) = stat else { return Ok(place) };
        let what = match stat.mode {
            mode if mode & MODE_DEVICE != 0 => Some("a device"),
            mode if mode & MODE_IRREGULAR != 0 => Some("an irregular file"),
            _ => None,
        };
        if let Some(what) = what {
            return Err(Exit::failure(format!(
                "destination \"{container}:{path}\" must be a directory or a regular file: got {what}"
            )));
        }
        place.exists = true;
        place.is_folder = is_folder(&stat);
        Ok(place)
    }

    fn tell(&self, size: u64, place: &str) {
        if !self.quiet {
            let size = human::size(i64::try_from(size).unwrap_or(i64::MAX));
            terminal::warn(format_args!("Successfully copied {size} to {place}"));
        }
    }
}

/// Unpacks the stream beside the runtime; returns how many bytes came.
async fn unpack(mut answer: Answer, folder: String, rename: Option<(String, String)>) -> Result<u64> {
    let (feeder, reader) = ChunkReader::new();
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(extract(reader, &folder, rename)).ok());
    let mut size = 0;
    while let Some(chunk) = answer.chunk().await? {
        size += chunk.len() as u64;
        // The other side stopped: its error says why.
        if feeder.send(chunk).await.is_err() {
            break;
        }
    }
    drop(feeder);
    result.await.map_err(|_| Error::internal("unpacking stopped early"))??;
    Ok(size)
}

fn extract(stream: ChunkReader, folder: &str, rename: Option<(String, String)>) -> Result<()> {
    use std::os::fd::AsFd;

    let root = File::open(folder).call(|| format!("open {folder}"))?;
    let how = Extract { owner: Some(local::owner()?), keep_kinds: true, ..Extract::default() };
    match rename {
        None => archive::extract(stream, root.as_fd(), &how)?,
        Some((from, to)) => archive::extract(rename::renamed(stream, from, to)?, root.as_fd(), &how)?,
    };
    Ok(())
}

/// A link's target as a path from the root.
fn resolved(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    clean_path(&Path::new(&last_entry(link).0).join(target))
}

fn is_folder(stat: &PathStat) -> bool {
    stat.mode & MODE_FOLDER != 0
}

fn is_link(stat: &PathStat) -> bool {
    stat.mode & MODE_LINK != 0
}

// Go's os.FileMode, as the API carries it.
const MODE_FOLDER: u32 = 1 << 31;
const MODE_LINK: u32 = 1 << 27;
const MODE_DEVICE: u32 = 1 << 26;
const MODE_IRREGULAR: u32 = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_at_the_container() {
        assert_eq!(split("web:/etc"), (Some("web"), "/etc"));
        assert_eq!(split("./a:b"), (None, "./a:b"));
        assert_eq!(split("/a:b"), (None, "/a:b"));
        assert_eq!(split("-"), (None, "-"));
    }

    #[test]
    fn a_copy_lands_as_cp_would_land_it() {
        let check = |source_is_folder, path: &str, exists, is_folder, wanted: &str| {
            let place = Place { path: path.into(), exists, is_folder };
            let got = match landing(source_is_folder, &place) {
                Ok(Landing { folder, name }) => format!("{folder} {}", name.unwrap_or_default()),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, wanted, "{path}");
        };
        check(false, "/dir", true, true, "/dir ");
        check(true, "/file", true, false, "cannot copy directory");
        check(false, "/a/file", true, false, "/a file");
        check(true, "/a/new", false, false, "/a new");
        check(false, "/a/new/", false, false, "no such directory");
        check(false, "/new", false, false, "/ new");
    }

    #[test]
    fn links_lead_from_their_folder() {
        assert_eq!(resolved("/a/link", "../b"), "/b");
        assert_eq!(resolved("/a/link", "/b"), "/b");
        assert_eq!(last_entry("/a/b/."), ("/a/b".into(), ".".into()));
        assert_eq!(last_entry("/a/b/"), ("/a".into(), "b".into()));
    }
}
