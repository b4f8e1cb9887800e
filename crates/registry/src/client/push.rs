//! `push`: an image's layers, config and manifest to a registry.

use fault::{Error, Result};
use oci::{Descriptor, Platform, Reference, media_type};
use store::{ImageId, Store};

use crate::client::{Access, Action, Credentials, Progress, Registries, Report, blocking};

mod image;
mod layer;
mod signatures;

/// What to push.
#[derive(Clone, Debug)]
pub struct Push {
    /// With a tag; without one all tags of the repository that are here.
    pub reference: Reference,
    /// Only what runs on it. Without one all platforms are pushed if all are here, else what the name means.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// One name that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub reference: Reference,
    pub id: ImageId,
    pub manifest: Descriptor,
}

/// Pushes an image's blobs as they came, and the signatures that came with it; layers that were made here are compressed
/// once and stay so. The image gets the digest that was pushed as a name. Errors have dockerd's texts.
pub async fn push(
    registries: &Registries,
    store: &Store,
    push: &Push,
    report: Report<'_>,
) -> Result<Vec<Pushed>> {
    let repository = registries.repository(&push.reference, &push.credentials, Access::Push)?;
    let action = Action::PushRefersTo(push.reference.canonical_name());
    report(Progress { id: String::new(), action });
    let pusher = Pusher { repository: &repository, store, credentials: &push.credentials, report };
    let mut pushed = Vec::new();
    for (reference, id) in wanted(store, &push.reference)? {
        pushed.push(pusher.name(&reference, &id, push.platform.as_ref()).await?);
    }
    Ok(pushed)
}

/// The names to push and their images (moby, daemon/internal/distribution/push.go and push_v2.go).
fn wanted(store: &Store, reference: &Reference) -> Result<Vec<(Reference, ImageId)>> {
    let mut names = store.names_in(reference);
    let name = reference.familiar_name();
    if names.is_empty() {
        return Err(Error::not_found(format!("An image does not exist locally with the tag: {name}")));
    }
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let all = reference.is_name_only();
    names.retain(|(known, _)| known.tag().is_some() && (all || known == reference));
    match (names.is_empty(), all) {
        (true, true) => Err(Error::not_found(format!("no tags to push for {name}"))),
        (true, false) => Err(Error::not_found(format!("tag does not exist: {}", reference.familiar()))),
        _ => Ok(names),
    }
}

/// A push to one repository.
struct Pusher<'a> {
    repository: &'a crate::client::Repository,
    store: &'a Store,
    credentials: &'a Credentials,
    report: Report<'a>,
}

impl Pusher<'_> {
    /// What one name stands for (moby, daemon/containerd/image_push.go, `getPushDescriptor`).
    async fn name(&self, reference: &Reference, id: &ImageId, platform: Option<&Platform>) -> Result<Pushed> {
        let (store, name, wanted) = (self.store.clone(), reference.familiar(), platform.cloned());
        if let Some(platform) = wanted {
            let chosen = blocking(move || store.resolve_exactly(&name, &platform)).await?;
            return self.image(reference, &chosen).await;
        }
        let (store, name) = (self.store.clone(), reference.clone());
        let variants = blocking(move || store.variants_of(&name)).await?;
        if !media_type::is_index(&variants.target.media_type) {
            return self.image(reference, id).await;
        }
        if variants.are_whole() {
            return self.index(reference, id, &variants).await;
        }
        let pushed = self.image(reference, id).await?;
        let (index, manifest) = (Box::new(variants.target), Box::new(pushed.manifest.clone()));
        self.tell("", Action::PushedInstead { index, manifest });
        Ok(pushed)
    }

    fn tell(&self, id: &str, action: Action) {
        (self.report)(Progress { id: id.into(), action });
    }
}
