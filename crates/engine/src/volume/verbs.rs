//! What users do with volumes.

use std::collections::BTreeMap;

use api::events::Type;
use api::filters::Filters;
use api::volume::{Create, List, Pruned, Usage, Volume};
use fault::{Doing, Error, Kind, Result};
use sys::fs::TreeUsage;

use super::record::Record;
use super::{DATA, Wish, users};
use crate::Engine;
use crate::filter::Names;

pub async fn create(engine: &Engine, wanted: Create) -> Result<Volume> {
    if wanted.cluster_volume_spec.is_some() {
        return Err(Error::unsupported("cluster volumes"));
    }
    engine
        .blocking(move |engine| {
            let wish = Wish {
                name: &wanted.name,
                driver: &wanted.driver,
                options: wanted.driver_opts.clone(),
                labels: wanted.labels.clone(),
                anonymous: false,
            };
            let (record, new) = engine.volumes().create(&wish)?;
            if new {
                tell(engine, "create", &record.name);
            }
            Ok(show(engine, &record))
        })
        .await
}

pub async fn inspect(engine: &Engine, name: &str) -> Result<Volume> {
    let name = name.to_owned();
    engine.blocking(move |engine| engine.volumes().get(&name).map(|record| show(engine, &record))).await
}

pub async fn list(engine: &Engine, filters: Filters) -> Result<List> {
    filters.allow(&["dangling", "driver", "label", "name"])?;
    let dangling = if filters.contains("dangling") { Some(filters.flag("dangling", false)?) } else { None };
    let names = Names::of(&filters, "name");
    let wanted = move |engine: &Engine, record: &Record| {
        filters.any("driver", |driver| driver == "local")
            && names.hold(&record.name)
            && filters.labels(&record.labels)
            && dangling.is_none_or(|dangling| dangling == users(engine, &record.name).is_empty())
    };
    engine
        .blocking(move |engine| {
            let records = engine.volumes().all()?;
            let volumes = records
                .iter()
                .filter(|record| wanted(engine, record))
                .map(|record| show(engine, record))
                .collect();
            Ok(List { volumes, warnings: None })
        })
        .await
}

/// Removes a volume; with `force` one that is not there is fine.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let name = name.to_owned();
    engine
        .blocking(move |engine| match engine.volumes().get(&name) {
            Err(error) if force && error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(record) => remove_unused(engine, &record.name),
        })
        .await
}

fn remove_unused(engine: &Engine, name: &str) -> Result<()> {
    engine.volumes().delete(name, || users(engine, name)).doing(|| format!("remove {name}"))?;
    tell(engine, "destroy", name);
    Ok(())
}

/// Removes what no container names: anonymous volumes, or all of them.
pub async fn prune(engine: &Engine, filters: Filters) -> Result<Pruned> {
    filters.allow(&["all", "label", "label!"])?;
    let all = filters.flag("all", false)?;
    engine
        .blocking(move |engine| {
            let mut pruned = Pruned::default();
            for record in engine.volumes().all()? {
                // What lies on a device is not ours to take away, as with dockerd.
                let is_ours = record.options.is_empty();
                let wanted = is_ours && (all || record.is_anonymous()) && filters.labels(&record.labels);
                if !wanted || !users(engine, &record.name).is_empty() {
                    continue;
                }
                let size = size_of(engine, &record.name).map(|usage| usage.content);
                match size.and_then(|size| remove_unused(engine, &record.name).map(|()| size)) {
                    Ok(size) => {
                        pruned.space_reclaimed += size;
                        pruned.volumes_deleted.get_or_insert_default().push(record.name);
                    }
                    Err(error) => crate::prune::left("volume", &record.name, &error),
                }
            }
            Ok(pruned)
        })
        .await
}

/// All volumes with the room that they take on disk and their number of containers, for the disk usage.
pub async fn usage(engine: &Engine) -> Result<Vec<Volume>> {
    engine
        .blocking(|engine| {
            let measure = |record: Record| {
                let size = size_of(engine, &record.name)?.allocated;
                let count = users(engine, &record.name).len();
                let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                let usage = Usage { ref_count: signed(count as u64), size: signed(size) };
                Ok(Volume { usage_data: Some(usage), ..show(engine, &record) })
            };
            // A device may be large, far away or the host's own.
            let ours = engine.volumes().all()?.into_iter().filter(|record| record.options.is_empty());
            ours.map(measure).collect()
        })
        .await
}

/// Nothing of one that somebody removes meanwhile.
fn size_of(engine: &Engine, name: &str) -> Result<TreeUsage> {
    match sys::fs::tree_usage(engine.volumes().data(name)) {
        Err(error) if error.kind() == Kind::NotFound => Ok(TreeUsage::default()),
        usage => usage,
    }
}

/// What lies around the volumes' files. Blocks.
pub(crate) fn bookkeeping(engine: &Engine) -> Result<u64> {
    let names: Vec<String> = engine.volumes().all()?.into_iter().map(|record| record.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bytes = sys::fs::allocated_around(&engine.volumes().root, &names)?;
    for name in names {
        bytes += sys::fs::allocated_around(engine.volumes().folder(name), &[DATA])?;
    }
    Ok(bytes)
}

fn show(engine: &Engine, record: &Record) -> Volume {
    record.show(&engine.volumes().data(&record.name))
}

pub(crate) fn tell(engine: &Engine, action: &str, name: &str) {
    let attributes = BTreeMap::from([("driver".into(), "local".into())]);
    engine.events().publish(Type::Volume, action, name, attributes);
}
