//! `pull`: an image's manifest, config and layers into the store, each layer in one pass from the socket to the tree.
//!
//! ```text
//!   name --HEAD--> the digest that is here already? done
//!        --GET---> manifest, or index --best platform--> manifest --policy--> config --> layers, side by side --> image, names
//! ```

use std::sync::Arc;

use ::trust::Policy;
use fault::{Error, Result};
use oci::{Digest, Platform, Reference};
use store::{Document, Image, ImageId, Naming, Signed, Store};

use crate::client::trouble::Trouble;
use crate::client::{
    Access, Action, Credentials, Key, Manifest, Progress, Registries, Report, Repository, blocking,
};

mod choice;
mod image;
mod layer;
mod trust;

pub(crate) use choice::schema_1;

/// What to pull.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Without a tag `latest` is meant, unless all tags are.
    pub reference: Reference,
    /// The host's if not given.
    pub platform: Option<Platform>,
    pub all_tags: bool,
    /// What is asked of images; refusals are `Denied` and leave nothing behind.
    pub policy: Arc<Policy>,
    pub credentials: Credentials,
}

/// One name that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub reference: Reference,
    pub id: ImageId,
    /// Of what the name stands for: an index or a manifest. In `RepoDigests` from now on.
    pub digest: Digest,
    /// The name is new, or stood for another image before.
    pub newer: bool,
}

/// Pulls one name, or all tags of a repository; images whose layers are here cost only requests for manifests.
///
/// Errors have dockerd's texts. Dropping the future ends the network work at once; what was fetched of a blob stays in the
/// store for the next attempt.
pub async fn pull(
    registries: &Registries,
    store: &Store,
    pull: &Pull,
    report: Report<'_>,
) -> Result<Vec<Pulled>> {
    let reference = match pull.all_tags {
        true => pull.reference.repository(),
        false => pull.reference.clone().with_default_tag(),
    };
    if reference.familiar_name() == "scratch" {
        return Err(Error::denied("'scratch' is a reserved name"));
    }
    trust::refuse_names(&pull.policy, &reference)?;
    let pulled = from_any(registries, store, pull, &reference, report).await;
    if let Err(error) = &pulled
        && error.errno() == Some(NO_SPACE)
    {
        make_room(store).await;
    }
    let pulled = pulled?;
    let newer = pulled.iter().any(|one| one.newer);
    let name = reference.familiar();
    let action = if newer { Action::Downloaded(name) } else { Action::UpToDate(name) };
    report(Progress { id: String::new(), action });
    Ok(pulled)
}

/// Mirrors first; what one of them cannot give, the next may.
async fn from_any(
    registries: &Registries,
    store: &Store,
    pull: &Pull,
    reference: &Reference,
    report: Report<'_>,
) -> Result<Vec<Pulled>> {
    let repositories = registries.repositories(reference, &pull.credentials, Access::Pull)?;
    let mut failure = Error::not_found(format!("no endpoints found for {}", reference.familiar()));
    for repository in &repositories {
        let (platform, policy) = (pull.platform.as_ref(), &*pull.policy);
        let puller = Puller { repository, store, platform, policy, report };
        match puller.pull(reference).await {
            Ok(pulled) => return Ok(pulled),
            Err(trouble) if repository.speaker.place.is_mirror && trouble.is_theirs() => {
                tracing::info!(mirror = repository.speaker.place.host, %trouble, "pull goes to the next registry");
                failure = trouble.of_pull(reference);
            }
            Err(trouble) => return Err(trouble.of_pull(reference)),
        }
    }
    Err(failure)
}

/// A pull from one place.
struct Puller<'a> {
    repository: &'a Repository,
    store: &'a Store,
    /// As the user has asked for it.
    platform: Option<&'a Platform>,
    policy: &'a Policy,
    report: Report<'a>,
}

impl Puller<'_> {
    async fn pull(&self, reference: &Reference) -> Result<Vec<Pulled>, Trouble> {
        if !reference.is_name_only() {
            return Ok(vec![self.pull_one(reference).await?]);
        }
        let mut pulled = Vec::new();
        for tag in self.repository.tags_of().await? {
            pulled.push(self.pull_one(&reference.with_tag(&tag)?).await?);
        }
        Ok(pulled)
    }

    async fn pull_one(&self, reference: &Reference) -> Result<Pulled, Trouble> {
        let key = Key::of(reference);
        let before = self.store.named(reference);
        if before.is_some()
            && let Some((image, digest)) = self.unchanged(reference, &key).await?
        {
            self.tell_begin(&key);
            let digests = [digest.clone(), image.manifest.digest];
            let signed = self.vouched(reference, &digests, image.signed).await?;
            let naming = Naming { names: names(reference, &digest), signed, ..Naming::default() };
            return self.named(reference, before, image.id, digest, naming).await;
        }
        let manifest = self.repository.manifest_of(&key).await?;
        self.tell_begin(&key);
        let digest = manifest.descriptor.digest.clone();
        let chosen = self.choose(reference, manifest).await?;
        let signed = self.vouched(reference, &chosen.digests(), Signed::default()).await?;
        let naming = Naming { names: names(reference, &digest), indexes: chosen.indexes.clone(), signed };
        let id = self.image(reference, chosen, naming.clone()).await?;
        self.named(reference, before, id, digest, naming).await
    }

    /// The image is here, whole, if the registry still means the same digest by the name. Asking costs no bytes, and does
    /// not count where pulls are counted.
    async fn unchanged(&self, reference: &Reference, key: &Key) -> Result<Option<(Image, Digest)>, Trouble> {
        // What is wrong will be told by the request for all of it.
        let Ok(Some(head)) = self.repository.manifest_head_of(key).await else { return Ok(None) };
        let Some(id) = self.store.named(&reference.with_digest(head.digest.clone())) else { return Ok(None) };
        let store = self.store.clone();
        let whole = blocking(move || Ok(store.is_whole(&id)?.then_some(store.image(&id)?)));
        let Ok(Some(image)) = whole.await else { return Ok(None) };
        Ok(self.would_choose(&image.config.platform()).then_some((image, head.digest)))
    }

    async fn named(
        &self,
        reference: &Reference,
        before: Option<ImageId>,
        id: ImageId,
        digest: Digest,
        naming: Naming,
    ) -> Result<Pulled, Trouble> {
        let (store, image) = (self.store.clone(), id.clone());
        blocking(move || store.name_as(&store.lease(), &image, &naming)).await?;
        self.tell("", Action::Digest(digest.clone()));
        Ok(Pulled { reference: reference.clone(), newer: before.as_ref() != Some(&id), id, digest })
    }

    fn tell_begin(&self, key: &Key) {
        let id = key.to_string();
        self.tell(&id, Action::PullingFrom(self.repository.speaker.place.path.clone()));
    }

    fn tell(&self, id: &str, action: Action) {
        (self.report)(Progress { id: id.into(), action });
    }
}

/// What other layers have brought so far would only be in the way.
async fn make_room(store: &Store) {
    let store = store.clone();
    let made = blocking(move || {
        store.discard_partials()?;
        store.collect()?;
        store.sweep()
    });
    if let Err(error) = made.await {
        tracing::warn!(%error, "what a pull without room has brought is still there");
    }
}

/// What an image is called after its pull: by tag and by digest, or by digest alone if that was asked for.
fn names(reference: &Reference, digest: &Digest) -> Vec<Reference> {
    let by_digest = reference.with_digest(digest.clone());
    match reference.digest() {
        Some(_) => vec![by_digest],
        None => vec![reference.clone(), by_digest],
    }
}

/// An image's manifest, and what it is for if an index said so.
struct Chosen {
    manifest: Manifest,
    /// On the way to it, the uppermost first. Without any nobody has looked at platforms yet.
    indexes: Vec<Document>,
}

impl Chosen {
    /// Whose signatures speak for it: of what the name stands for at first, of the manifest at last.
    fn digests(&self) -> Vec<Digest> {
        let all = self.indexes.iter().map(|index| &index.descriptor).chain([&self.manifest.descriptor]);
        all.map(|descriptor| descriptor.digest.clone()).collect()
    }
}

/// ENOSPC of Linux.
const NO_SPACE: i32 = 28;
