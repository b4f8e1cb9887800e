//! A registry, a double in front of it, and stores that pull and push.

use std::sync::{Arc, Mutex};

use fault::Result;
use oci::Reference;
use registry::client::{
    Backoff, Config, Credentials, Progress, Pull, Pulled, Push, Pushed, Registries, pull, push,
};
use store::{ImageId, Import, Store};

use super::double::{Double, Says, Seen};
use crate::world::{World, bytes};

pub(crate) struct Scene {
    // Goes before the registry behind it.
    pub(crate) double: Double,
    pub(crate) world: World,
    folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(rule: impl FnMut(&Seen) -> Option<Says> + Send + 'static) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let world = World::new(&folder.path().join("registry"));
        Self { double: Double::new(world.address, rule), world, folder }
    }

    pub(crate) fn honest() -> Self {
        Self::new(|_| None)
    }

    pub(crate) fn store(&self, name: &str) -> Store {
        Store::open(&self.folder.path().join(name)).unwrap()
    }

    /// `team/app:1` as the double's clients call it.
    pub(crate) fn name(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.double.address)).unwrap()
    }

    /// The same, straight to the registry.
    pub(crate) fn name_behind(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.world.address)).unwrap()
    }

    /// Puts an image of so many random layers' bytes into the registry, past the double; its id.
    pub(crate) fn publish(&self, name: &str, length: usize) -> ImageId {
        let store = self.store(&format!("publisher-{}", name.replace(['/', ':'], "-")));
        let reference = self.name_behind(name);
        let id = import(&store, &reference, length);
        run(push_with(&registries(), &store, &reference)).unwrap();
        id
    }
}

pub(crate) fn registries() -> Registries {
    with(Config::default())
}

pub(crate) fn with(config: Config) -> Registries {
    let none = std::time::Duration::ZERO;
    Registries::new(Config { backoff: Backoff { first: none, longest: none }, ..config }).unwrap()
}

pub(crate) fn import(store: &Store, name: &Reference, length: usize) -> ImageId {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(length as u64);
    builder.append_data(&mut header, "file", bytes(length).as_slice()).unwrap();
    let import = Import { reference: Some(name.clone()), ..Import::default() };
    store.import(builder.into_inner().unwrap().as_slice(), &import).unwrap()
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

pub(crate) async fn pull_with(
    registries: &Registries,
    store: &Store,
    name: &Reference,
) -> Result<Vec<Pulled>> {
    pull(registries, store, &wanted(name), &|_| ()).await
}

pub(crate) fn wanted(name: &Reference) -> Pull {
    Pull {
        reference: name.clone(),
        platform: None,
        all_tags: false,
        policy: Arc::default(),
        credentials: Credentials::Anonymous,
    }
}

pub(crate) async fn push_with(
    registries: &Registries,
    store: &Store,
    name: &Reference,
) -> Result<Vec<Pushed>> {
    let wanted = Push { reference: name.clone(), platform: None, credentials: Credentials::Anonymous };
    push(registries, store, &wanted, &|_| ()).await
}

/// What was told, as the lines that people see, without the counting ones.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    pub(crate) fn take(&self, progress: &Progress) {
        let text = progress.action.to_string();
        if !["Downloading", "Extracting", "Pushing"].contains(&text.as_str()) {
            self.0.lock().unwrap().push(text);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
