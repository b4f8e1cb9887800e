//! What everything takes on disk, to the block: images, containers, volumes, and the rest that belongs to none of them.
//!
//! Docker's client shows the first three; the rest is ours alone, so that all rows together are what `du` tells of the
//! data root. Kinds are counted at the same time, and nothing is locked meanwhile.

use api::container::{ListOptions, Summary};
use api::system::{DiskUsage, DiskUsageOptions, OtherUsage};
use fault::Result;

use crate::{Engine, container, image, volume};

/// What the wanted kinds of things take on disk.
pub async fn disk_usage(engine: &Engine, wanted: DiskUsageOptions) -> Result<DiskUsage> {
    let all = wanted == DiskUsageOptions::default();
    let (store, volumes) = tokio::try_join!(
        async {
            let is_wanted = all || wanted.images || wanted.containers;
            if is_wanted {
                engine.blocking(|engine| engine.store().disk_usage().map(Some)).await
            } else {
                Ok(None)
            }
        },
        async { if all || wanted.volumes { volume::usage(engine).await.map(Some) } else { Ok(None) } },
    )?;
    let mut usage = DiskUsage::default();
    if let Some(store) = store.as_ref().filter(|_| all || wanted.images) {
        usage.layers_size = signed(store.images_total);
        usage.images = Some(image::usage(engine, store.images.clone()).await?);
    }
    if let Some(store) = store.as_ref().filter(|_| all || wanted.containers) {
        usage.containers = Some(containers(engine, store).await?);
    }
    if all || wanted.build_cache {
        usage.build_cache = Some(Vec::new());
    }
    if let Some(store) = store.filter(|_| all) {
        usage.other = engine.blocking(move |engine| other(engine, &store)).await?;
    }
    usage.volumes = volumes;
    Ok(usage)
}

async fn containers(engine: &Engine, store: &store::DiskUsage) -> Result<Vec<Summary>> {
    let options = ListOptions { all: true, ..ListOptions::default() };
    let mut rows = container::list(engine, options).await?;
    for row in &mut rows {
        let snapshot = store.snapshots.get(&row.id).copied().unwrap_or_default();
        row.size_rw = signed(snapshot.changes);
        row.size_root_fs = signed(snapshot.changes + snapshot.layers);
    }
    Ok(rows)
}

/// What is left of the data root. Blocks.
fn other(engine: &Engine, store: &store::DiskUsage) -> Result<Vec<OtherUsage>> {
    let root = &engine.config().data_root;
    let known: Vec<String> = engine.containers().all().iter().map(|one| one.id.to_string()).collect();
    // A snapshot of no container has no row of its own.
    let strays: u64 = store
        .snapshots
        .iter()
        .filter(|(key, _)| !known.contains(key))
        .map(|(_, snapshot)| snapshot.changes)
        .sum();
    let row = |kind: &str, size: u64, reclaimable: bool| OtherUsage {
        kind: kind.into(),
        size: signed(size),
        reclaimable,
    };
    let around = sys::fs::allocated_around(root, &["store", "volumes", "containers"])?;
    Ok(vec![
        row("container logs", sys::fs::allocated_around(root.join("containers"), &[])?, false),
        row("unfinished", store.unfinished, true),
        row("trash", store.trash, true),
        row("bookkeeping", store.rest + strays + around + volume::bookkeeping(engine)?, false),
    ])
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
