//! Finds containers by id, name or unambiguous start of an id, and keeps their names unique.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Error, Result};
use tokio::sync::{mpsc, oneshot, watch};

use super::Command;
use super::view::View;
use crate::ContainerId;

/// A container as everybody but its own task sees it.
#[derive(Debug)]
pub struct Container {
    pub id: ContainerId,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Container {
    /// How it is now.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Sends a command and waits for the answer; who stops waiting changes nothing.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::not_found(format!("No such container: {}", self.id));
        self.commands.send(command(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// All containers.
#[derive(Debug, Default)]
pub struct Registry {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    containers: BTreeMap<ContainerId, Arc<Container>>,
    names: HashMap<String, ContainerId>,
    execs: HashMap<String, ContainerId>,
}

impl Registry {
    /// By full id, by name with or without the slash, or by an unambiguous start of the id.
    pub fn find(&self, text: &str) -> Result<Arc<Container>> {
        let index = self.lock();
        let by_name = index.names.get(text.strip_prefix('/').unwrap_or(text));
        if let Some(container) = index.containers.get(text).or_else(|| index.containers.get(by_name?)) {
            return Ok(container.clone());
        }
        index.by_prefix(text)
    }

    /// All, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.lock().containers.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.lock().containers.get(id).cloned()
    }

    /// Takes a name; only one container has it.
    pub(crate) fn reserve(&self, name: &str, id: &ContainerId) -> Result<()> {
        let mut index = self.lock();
        if let Some(owner) = index.names.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        index.names.insert(name.to_owned(), id.clone());
        Ok(())
    }

    pub(crate) fn release(&self, name: &str) {
        self.lock().names.remove(name);
    }

    pub(crate) fn insert(&self, container: Arc<Container>) {
        self.lock().containers.insert(container.id.clone(), container);
    }

    /// Forgets a container, its name and its execs.
    pub(crate) fn remove(&self, id: &ContainerId, name: &str) {
        let mut index = self.lock();
        index.containers.remove(id);
        index.names.remove(name);
        index.execs.retain(|_, owner| owner != id);
    }

    pub(crate) fn add_exec(&self, exec: &str, container: &ContainerId) {
        self.lock().execs.insert(exec.to_owned(), container.clone());
    }

    pub(crate) fn drop_exec(&self, exec: &str) {
        self.lock().execs.remove(exec);
    }

    /// The container of an exec.
    pub(crate) fn of_exec(&self, exec: &str) -> Result<Arc<Container>> {
        let index = self.lock();
        let owner = index.execs.get(exec).and_then(|id| index.containers.get(id));
        owner.cloned().ok_or_else(|| Error::not_found(format!("No such exec instance: {exec}")))
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn by_prefix(&self, prefix: &str) -> Result<Arc<Container>> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        let mut matching = self
            .containers
            .range::<str, _>(from)
            .take_while(|(id, _)| !prefix.is_empty() && id.as_str().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (None, _) => Err(Error::not_found(format!("No such container: {prefix}"))),
            (Some((_, container)), None) => Ok(container.clone()),
            _ => Err(Error::invalid(format!("multiple IDs found with provided prefix: {prefix}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use crate::record::NEVER;

    fn registry(containers: &[(&str, &str)]) -> Registry {
        let registry = Registry::default();
        for (start, name) in containers {
            let id: ContainerId = format!("{start:0<64}").parse().unwrap();
            let record = Record::new(id.clone(), (*name).into(), NEVER.into());
            registry.reserve(name, &id).unwrap();
            let (commands, _) = mpsc::channel(1);
            let (_, view) = watch::channel(Arc::new(View::of(record)));
            registry.insert(Arc::new(Container { id, view, commands }));
        }
        registry
    }

    #[test]
    fn containers_are_found_by_id_name_and_prefix() {
        let registry = registry(&[("abc1", "web"), ("abc2", "db"), ("d0", "abc1")]);
        let found = |text: &str| registry.find(text).map(|found| found.view().record.name.clone());
        assert_eq!(found("/web").unwrap(), "web");
        assert_eq!(found("abc2").unwrap(), "db");
        assert_eq!(found("abc1").unwrap(), "abc1", "a name goes before the start of an id");
        assert_eq!(found(&format!("{:0<64}", "abc1")).unwrap(), "web");
        assert_eq!(found("d").unwrap(), "abc1");
        assert_eq!(found("foo").unwrap_err().to_string(), "No such container: foo");
        assert_eq!(found("").unwrap_err().to_string(), "No such container: ");
        assert_eq!(found("ab").unwrap_err().to_string(), "multiple IDs found with provided prefix: ab");
    }

    #[test]
    fn names_are_unique_until_released() {
        let registry = registry(&[("abc1", "web")]);
        let other = ContainerId::random().unwrap();
        let error = registry.reserve("web", &other).unwrap_err();
        assert_eq!(error.kind(), fault::Kind::Conflict);
        assert!(
            error.to_string().starts_with(
                "Conflict. The container name \"/web\" is already in use by container \"abc10000"
            )
        );
        registry.release("web");
        registry.reserve("web", &other).unwrap();
    }
}
