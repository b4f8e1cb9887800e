//! Images in folders and files of the user's own, as sources of `pull` and targets of `push`.
//!
//! ```text
//!   oci:/path[:tag]           an OCI image layout; the path begins with `/` or `.`, so it is no image's name
//!   docker-archive:/path      an archive, as `save` writes it and `load` reads it
//! ```
//! The paths are those of this side: what lies there goes through the connection, to wherever the daemon is
//! (decision 0053).

mod layout;

use std::fs::File;
use std::path::PathBuf;

use oci::Reference;

use super::{archive_file, transfer, unopenable};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::progress::{self, Place};
use crate::terminal;

/// A place that is no registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    Layout { path: PathBuf, tag: Option<String> },
    Archive { path: PathBuf },
}

impl Folder {
    /// `None` for the name of an image.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':').filter(|(_, place)| place.starts_with(['/', '.']))?;
        match kind {
            "oci" => {
                let name = place.rfind('/').map_or(0, |slash| slash + 1);
                let (path, tag) = match place[name..].split_once(':') {
                    Some((last, tag)) => (&place[..name + last.len()], Some(tag.to_owned())),
                    None => (place, None),
                };
                Some(Self::Layout { path: path.into(), tag })
            }
            "docker-archive" => Some(Self::Archive { path: place.into() }),
            _ => None,
        }
    }
}

/// Takes an image from there into the daemon.
pub(super) async fn pull(cli: &Cli, matches: &Matches, folder: Folder) -> Outcome {
    if matches.is_on("all-tags") {
        return Err(Exit::failure("--all-tags/-a cannot be used with a folder or an archive"));
    }
    let platforms = transfer::platforms(matches)?;
    let body = match &folder {
        Folder::Layout { path, tag } => layout::read(path, tag.as_deref())?,
        Folder::Archive { path } => {
            let text = path.display().to_string();
            client::Body::reader(File::open(path).map_err(|error| unopenable(&text, &error))?)
        }
    };
    let answer = client::image::load(cli.client()?, true, &platforms, body).await?;
    let place = if matches.is_on("quiet") { Place::Nowhere } else { Place::Stdout };
    Ok(progress::show(answer, place).await?)
}

/// Writes an image of the daemon there.
pub(super) async fn push(cli: &Cli, matches: &Matches, folder: Folder) -> Outcome {
    if matches.is_on("all-tags") {
        return Err(Exit::failure("--all-tags/-a cannot be used with a folder or an archive"));
    }
    let name = Reference::parse(&matches.args[0])?.with_default_tag();
    let platforms = transfer::platforms(matches)?;
    let target = match &folder {
        Folder::Archive { path } => {
            Some(archive_file::Target::open(&path.to_string_lossy(), "failed to push image")?)
        }
        Folder::Layout { .. } => None,
    };
    let answer = client::image::save(cli.client()?, &[name.familiar()], &platforms).await?;
    match (folder, target) {
        (Folder::Layout { path, tag }, _) => {
            let tag = tag.or_else(|| name.tag().map(str::to_owned)).unwrap_or_else(|| "latest".into());
            let digest = layout::write(answer, path, tag).await?;
            if matches.is_on("quiet") { Ok(()) } else { terminal::line(format!("Digest: {digest}")) }
        }
        (Folder::Archive { .. }, Some(target)) => target.fill(answer).await,
        (Folder::Archive { .. }, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_names() {
        let layout = |path: &str, tag: Option<&str>| {
            Some(Folder::Layout { path: path.into(), tag: tag.map(str::to_owned) })
        };
        assert_eq!(Folder::parse("oci:/a/b:1.0"), layout("/a/b", Some("1.0")));
        assert_eq!(Folder::parse("oci:./a"), layout("./a", None));
        assert_eq!(Folder::parse("oci:/a:b/c"), layout("/a:b/c", None));
        assert_eq!(Folder::parse("docker-archive:/a.tar"), Some(Folder::Archive { path: "/a.tar".into() }));
        for name in ["oci:1.0", "oci", "busybox:1", "localhost:5000/oci", "docker-archive:1"] {
            assert_eq!(Folder::parse(name), None, "{name}");
        }
    }
}
