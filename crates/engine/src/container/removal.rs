//! A removal: the folder is renamed first, which is the point of no return, then everything goes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use api::container::Remove;
use fault::Result;

use super::task::{Answer, Task, tell};
use crate::record::MountKind;
use crate::state::Action;
use crate::{Engine, Record, Status};

/// A wish to be removed.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) options: Remove,
    pub(crate) answer: Answer<()>,
}

impl Task {
    pub(super) async fn remove(&mut self, order: Order) {
        let status = self.of_view(|view| view.record.state.status);
        if order.options.force && status.has_process() {
            return self.kill_then_remove(order).await;
        }
        if order.options.force && status == Status::Restarting {
            let cancelled = self.cancel_restart(Action::Kill).await;
            if let Err(error) = cancelled {
                return tell(order.answer, Err(error));
            }
        }
        let removed = self.remove_now(order.options.volumes).await;
        tell(order.answer, removed);
    }

    /// The end of a container that was to be removed after its run.
    pub(super) async fn remove_automatically(&mut self) {
        if let Err(error) = self.remove_now(true).await {
            tracing::warn!(container = %self.id, %error, "not removed after its run");
        }
    }

    async fn remove_now(&mut self, volumes: bool) -> Result<()> {
        let edge = self.step(Action::Remove)?;
        let record = self.record();
        self.edit(|view| view.record.state.status = edge.to);
        let rootfs = self.rootfs.take();
        let removed = self.engine.blocking(move |engine| {
            engine.store().making_room(|| {
                begin(engine, &record, volumes)?;
                finish(engine, &record)
            })?;
            engine.containers().remove(&record.id, &record.name);
            Ok(())
        });
        let removed = removed.await;
        self.unmount_later(rootfs);
        if let Err(error) = removed {
            let status = self.step(Action::RemoveFailed).map_or(Status::Dead, |edge| edge.to);
            self.edit(|view| {
                view.record.state.status = status;
                view.record.state.error = error.to_string();
            });
            return Err(error);
        }
        self.joiners.clear();
        edge.events.iter().for_each(|event| self.tell(event, &[]));
        self.edit(|view| view.gone = true);
        self.engine.sweep_soon();
        Ok(())
    }

    /// Unmounting an overlay syncs the file system of its upper folder (fs/overlayfs/super.c, ovl_sync_fs), for which no client needs to
    /// wait: the folder is in the trash, where the mount does not hinder anybody.
    pub(super) fn unmount_later(&self, rootfs: Option<Arc<OwnedFd>>) {
        let Some(rootfs) = rootfs else { return };
        let engine = self.engine.clone();
        self.engine.tasks().spawn(async move {
            let unmounted = engine.blocking(move |_| {
                drop(rootfs);
                Ok(())
            });
            if let Err(error) = unmounted.await {
                tracing::warn!(%error, "root not unmounted");
            }
        });
    }
}

/// Stores the intent: from here on the container is gone for good. Blocks.
fn begin(engine: &Engine, record: &Record, volumes: bool) -> Result<()> {
    let folder = engine.config().folder(&record.id);
    let removing = engine.config().removing_folder(&record.id);
    if !sys::fs::exists(&folder)? {
        // An earlier removal came to this point and failed later.
        return Ok(());
    }
    if volumes {
        sys::fs::write(folder.join(WITH_VOLUMES), "")?;
    }
    match record.is_volatile() {
        true => sys::fs::rename(folder, removing)?,
        false => sys::fs::rename_durable(folder, removing)?,
    }
    sys::crash::point("container.remove.renamed");
    Ok(())
}

/// Removes all that a container owned; repeatable after a crash. Blocks.
pub(crate) fn finish(engine: &Engine, record: &Record) -> Result<()> {
    let folder = engine.config().removing_folder(&record.id);
    super::exit::let_go(engine, record)?;
    sys::crash::point("container.remove.let_go");
    if let Ok(image) = record.image_id.parse() {
        engine.store().used(&image);
    }
    engine.store().snapshot_remove(record.id.as_str())?;
    sys::crash::point("container.remove.snapshot");
    if sys::fs::exists(folder.join(WITH_VOLUMES))? {
        remove_volumes(engine, record)?;
    }
    sys::crash::point("container.remove.volumes");
    sys::fs::remove_tree(&folder)
}

/// Anonymous ones only. One that does not go is told and left: the container must go.
pub(crate) fn remove_volumes(engine: &Engine, record: &Record) -> Result<()> {
    let anonymous = record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.anonymous);
    for mount in anonymous {
        if let Err(error) = engine.volumes().remove_anonymous(engine, &mount.name) {
            tracing::warn!(container = %record.id, volume = mount.name, %error, "volume not removed");
        }
    }
    Ok(())
}

/// Marks a removal that takes the anonymous volumes along.
const WITH_VOLUMES: &str = "remove-volumes";
