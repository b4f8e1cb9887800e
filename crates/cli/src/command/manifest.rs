//! `kogge manifest …`: lists of manifests, put together on this side and pushed as one.
//!
//! The lists lie where Docker's client has them, in its form, so that both can work on the same. Registries are asked by
//! the daemon: the command line speaks to nobody else (decision 0052).

mod document;
mod local;

use api::registry::{BlobMount, NewManifest, RemoteManifest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Kind};
use oci::{Digest, Index, Reference, media_type};

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

use document::ImageManifest;
use local::Lists;

pub(crate) const CREATE: Command = Command::new(
    "Create a local manifest list for annotating and pushing to a registry",
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    Args::AtLeast(2),
    |cli, matches| Box::pin(create(cli, matches)),
)
.flags(&[&[
    Flag::switch("amend", "Add to a list that is there").short('a'),
    Flag::switch("insecure", "Take registries without a valid certificate"),
]]);

pub(crate) const ANNOTATE: Command = Command::new(
    "Add additional information to a local image manifest",
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    Args::Exactly(2),
    |cli, matches| Box::pin(annotate(cli, matches)),
)
.flags(&[&[
    Flag::string("arch", "Set the architecture"),
    Flag::string("os", "Set the operating system"),
    Flag::strings("os-features", "Add features of the operating system"),
    Flag::string("os-version", "Set the operating system's version"),
    Flag::string("variant", "Set the architecture's variant"),
]]);

pub(crate) const INSPECT: Command = Command::new(
    "Display an image manifest, or manifest list",
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    Args::Between(1, 2),
    |cli, matches| Box::pin(inspect(cli, matches)),
)
.flags(&[&[
    Flag::switch("insecure", "Take registries without a valid certificate"),
    Flag::switch("verbose", "Show layers and platforms, too").short('v'),
]]);

pub(crate) const PUSH: Command = Command::new(
    "Push a manifest list to a repository",
    "[OPTIONS] MANIFEST_LIST",
    Args::Exactly(1),
    |cli, matches| Box::pin(push(cli, matches)),
)
.flags(&[&[
    Flag::switch("insecure", "Take registries without a valid certificate"),
    Flag::switch("purge", "Remove the local list after the push").short('p'),
]]);

pub(crate) const REMOVE: Command = Command::new(
    "Delete one or more manifest lists from local storage",
    "MANIFEST_LIST [MANIFEST_LIST...]",
    Args::AtLeast(1),
    |cli, matches| Box::pin(remove(cli, matches)),
);

fn named(text: &str) -> Outcome<Reference> {
    Ok(Reference::parse(text)?.with_default_tag())
}

async fn create(cli: &Cli, matches: Matches) -> Outcome {
    let target = named(&matches.args[0])?;
    let lists = Lists::of(cli);
    if lists.has(&target) && !matches.is_on("amend") {
        return Err(Exit::failure("refusing to amend an existing manifest list with no --amend flag"));
    }
    for text in &matches.args[1..] {
        let name = named(text)?;
        let manifest = match lists.get(&target, &name)? {
            Some(manifest) => manifest,
            None => single(cli, &name, matches.is_on("insecure")).await?,
        };
        lists.put(&target, &name, &manifest)?;
    }
    terminal::line(format!("Created manifest list {}", target.canonical()))
}

async fn annotate(cli: &Cli, matches: Matches) -> Outcome {
    let (list, text) = (&matches.args[0], &matches.args[1]);
    let parsed = |what: &str, text: &str| {
        named(text).map_err(|exit| {
            Exit::failure(format!("annotate: error parsing name for {what} {text}: {}", exit.message))
        })
    };
    let (target, name) = (parsed("manifest list", list)?, parsed("manifest", text)?);
    let lists = Lists::of(cli);
    let Some(mut manifest) = lists.get(&target, &name)? else {
        return Err(Exit::failure(format!("manifest for image {text} does not exist in {list}")));
    };
    let platform = manifest.descriptor.platform.get_or_insert_default();
    let set = |field: &mut String, flag: &str| {
        if !matches.text(flag).is_empty() {
            matches.text(flag).clone_into(field);
        }
    };
    set(&mut platform.os, "os");
    set(&mut platform.architecture, "arch");
    for (field, flag) in [(&mut platform.variant, "variant"), (&mut platform.os_version, "os-version")] {
        if !matches.text(flag).is_empty() {
            *field = Some(matches.text(flag).to_owned());
        }
    }
    for feature in matches.strings("os-features") {
        if !platform.os_features.contains(&feature) {
            platform.os_features.push(feature);
        }
    }
    if !document::is_known(&platform.os, &platform.architecture) {
        return Err(Exit::failure(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            matches.text("os"),
            matches.text("arch")
        )));
    }
    lists.put(&target, &name, &manifest)
}

async fn inspect(cli: &Cli, matches: Matches) -> Outcome {
    let (insecure, verbose) = (matches.is_on("insecure"), matches.is_on("verbose"));
    let name = named(&matches.args[matches.args.len() - 1])?;
    let lists = Lists::of(cli);
    if matches.args.len() == 2 {
        let manifest = lists.get(&named(&matches.args[0])?, &name)?.ok_or_else(|| local::missing(&name))?;
        return terminal::line(document::shown(&manifest, verbose)?);
    }
    if lists.has(&name) {
        return terminal::line(document::list_shown(&lists.all(&name)?, verbose)?);
    }
    let top = fetch(cli, &name, insecure).await?;
    if !media_type::is_index(&top.descriptor.media_type) {
        return terminal::line(document::shown(&ImageManifest::of(&name, top)?, verbose)?);
    }
    let list = entries(cli, &name, &top, insecure).await?;
    terminal::line(document::list_shown(&list, verbose)?)
}

/// The manifests of a registry's list, with the platforms that the list gives them.
async fn entries(
    cli: &Cli,
    name: &Reference,
    top: &RemoteManifest,
    insecure: bool,
) -> Outcome<Vec<ImageManifest>> {
    let index: Index = serde_json::from_slice(&document::raw(top)?)
        .map_err(|error| Exit::failure(format!("{}: {error}", name.canonical())))?;
    if index.manifests.len() > ENTRIES_MAX {
        return Err(Exit::failure(format!("{} has more than {ENTRIES_MAX} entries", name.canonical())));
    }
    let mut all = Vec::new();
    for entry in index.manifests.into_iter().filter(|entry| !media_type::is_index(&entry.media_type)) {
        let fetched = fetch(cli, &name.with_digest(entry.digest.clone()), insecure).await?;
        let mut manifest = ImageManifest::of(name, fetched)?;
        manifest.reference = format!("{}@{}", name.canonical(), entry.digest);
        manifest.descriptor.platform = entry.platform;
        all.push(manifest);
    }
    Ok(all)
}

/// Every entry is a request of its own.
const ENTRIES_MAX: usize = 200;

async fn push(cli: &Cli, matches: Matches) -> Outcome {
    let target = named(&matches.args[0])?;
    let insecure = matches.is_on("insecure");
    let lists = Lists::of(cli);
    if !lists.has(&target) {
        return Err(local::missing(&target).into());
    }
    let manifests = lists.all(&target)?;
    let list = document::list(&manifests)?;
    for manifest in &manifests {
        let source = Reference::parse(&manifest.reference)?;
        if source.domain() != target.domain() {
            return Err(Exit::failure(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                source.domain(),
                target.domain()
            )));
        }
        if source.repository() != target.repository() {
            let from = path(&source);
            let digest = place(cli, &target, manifest, &from, insecure).await?;
            let stored = target.with_digest(digest.clone()).canonical();
            terminal::line(format!("Pushed ref {stored} with digest: {digest}"))?;
        }
    }
    let raw = STANDARD.encode(&list.bytes);
    let wanted = NewManifest { media_type: list.media_type.into(), raw, mounts: Vec::new() };
    let digest = store(cli, &target, &wanted, insecure).await?;
    terminal::line(digest.to_string())?;
    if matches.is_on("purge") { lists.remove(&target) } else { Ok(()) }
}

/// A manifest of another repository comes to the list's own, after its blobs.
async fn place(
    cli: &Cli,
    target: &Reference,
    manifest: &ImageManifest,
    from: &str,
    insecure: bool,
) -> Outcome<Digest> {
    let mounts = manifest.blobs()?.into_iter().map(|digest| BlobMount { digest, from: from.to_owned() });
    let wanted = NewManifest {
        media_type: manifest.descriptor.media_type.clone(),
        raw: STANDARD.encode(&manifest.raw),
        mounts: mounts.collect(),
    };
    store(cli, &target.with_digest(manifest.descriptor.digest.clone()), &wanted, insecure).await
}

/// A repository without its registry.
fn path(name: &Reference) -> String {
    let whole = name.canonical_name();
    whole.strip_prefix(name.domain()).map_or(whole.as_str(), |path| path.trim_start_matches('/')).to_owned()
}

async fn store(cli: &Cli, name: &Reference, wanted: &NewManifest, insecure: bool) -> Outcome<Digest> {
    let auth = cli.credentials().for_image(name)?;
    Ok(client::registry::push_manifest(cli.client()?, &name.canonical(), wanted, &auth, insecure)
        .await?
        .digest)
}

async fn remove(cli: &Cli, matches: Matches) -> Outcome {
    let lists = Lists::of(cli);
    let mut errors = Vec::new();
    for text in &matches.args {
        let name = named(text)?;
        match lists.has(&name) {
            true => lists.remove(&name)?,
            false => errors.push(local::missing(&name)),
        }
    }
    Exit::join(errors)
}

/// One image, no list.
async fn single(cli: &Cli, name: &Reference, insecure: bool) -> Outcome<ImageManifest> {
    let fetched = fetch(cli, name, insecure).await?;
    if media_type::is_index(&fetched.descriptor.media_type) {
        return Err(Exit::failure(format!("{} is a manifest list", name.canonical())));
    }
    ImageManifest::of(name, fetched)
}

async fn fetch(cli: &Cli, name: &Reference, insecure: bool) -> Outcome<RemoteManifest> {
    // Without credentials the registry may still say yes.
    let auth = cli.credentials().for_image(name).unwrap_or_default();
    let fetched = client::registry::manifest(cli.client()?, &name.canonical(), &auth, insecure).await;
    Ok(fetched.map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!("no such manifest: {}", name.canonical())),
        _ => error,
    })?)
}
