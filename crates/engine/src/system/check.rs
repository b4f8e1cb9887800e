//! Checking store and containers against each other, and repairing what is found.
//!
//! The store knows what it lacks by itself; here is added what only the engine knows: which snapshot is whose.

use std::path::PathBuf;

use api::system::{Check, Problem};
use fault::Result;
use store::{ImageId, Outcome, Owners, Repaired};

use crate::container::View;
use crate::{ContainerId, Engine, Status};

/// How to repair.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    /// Also removes files that containers wrote, where nobody knows any more whose they are.
    pub force: bool,
}

/// Reads the whole store and tells what is wrong with it, each problem once for each image that has it.
pub async fn check(engine: &Engine) -> Result<Check> {
    engine
        .blocking(|engine| {
            let mut problems: Vec<Problem> =
                engine.store().verify()?.into_iter().flat_map(|problem| rows(&problem)).collect();
            problems.extend(between(engine)?.iter().map(Between::row));
            Ok(Check { problems })
        })
        .await
}

/// The same, and mends what can be mended. Nothing that a user wrote is removed unless forced.
pub async fn repair(engine: &Engine, how: Repair) -> Result<Check> {
    let check = engine.blocking(move |engine| repair_now(engine, how)).await?;
    engine.sweep_soon();
    Ok(check)
}

fn repair_now(engine: &Engine, how: Repair) -> Result<Check> {
    let image_of =
        |key: &str| -> Option<ImageId> { engine.containers().get(key)?.view().record.image_id.parse().ok() };
    let is_mounted = |key: &str| is_running(engine, key);
    let owners = Owners { image_of: &image_of, is_mounted: &is_mounted };
    let mut problems = Vec::new();
    for Repaired { problem, outcome } in engine.store().repair(&owners)? {
        problems.extend(rows(&problem).into_iter().map(|row| with_outcome(row, &outcome)));
    }
    for problem in between(engine)? {
        let outcome = problem.mend(engine, how).unwrap_or_else(|error| Outcome::Left(error.to_string()));
        problems.push(with_outcome(problem.row(), &outcome));
    }
    Ok(Check { problems })
}

/// Or about to, or not yet settled: from its intent to its end a run has a folder. A look into a container's files, and
/// the root that is kept for a restart, are mounts of this process, of which the store knows.
fn is_running(engine: &Engine, key: &str) -> bool {
    let Ok(id) = key.parse::<ContainerId>() else { return false };
    let is_up = engine.containers().get(key).is_some_and(|one| one.view().record.state.status.is_up());
    is_up || sys::fs::exists(engine.config().run_folder(&id)).unwrap_or(true)
}

fn with_outcome(row: Problem, outcome: &Outcome) -> Problem {
    let (mended, words) = match outcome {
        Outcome::Mended(how) => (true, (*how).to_owned()),
        Outcome::Left(why) => (false, why.clone()),
    };
    Problem { mended, outcome: words, ..row }
}

fn rows(problem: &store::Problem) -> Vec<Problem> {
    let of = |kind: &str, digest: String, image: Option<&ImageId>| Problem {
        kind: kind.into(),
        digest,
        image: image.map(ToString::to_string).unwrap_or_default(),
        ..Problem::default()
    };
    let of_images = |kind: &str, digest: &oci::Digest, images: &[ImageId]| match images {
        [] => vec![of(kind, digest.to_string(), None)],
        images => images.iter().map(|image| of(kind, digest.to_string(), Some(image))).collect(),
    };
    let with = |row: Problem, object: String| vec![Problem { object, ..row }];
    match problem {
        store::Problem::Damaged(blob, images) => of_images("damaged blob", blob, images),
        store::Problem::MissingBlob(image, blob) => vec![of("missing blob", blob.to_string(), Some(image))],
        store::Problem::MissingLayer(image, layer) => {
            vec![of("missing layer", layer.to_string(), Some(image))]
        }
        store::Problem::DamagedLayer(layer, images) => of_images("damaged layer", layer, images),
        store::Problem::DanglingName(name, image) => {
            with(of("dangling name", String::new(), Some(image)), name.familiar())
        }
        store::Problem::DamagedSnapshot(key) => {
            with(of("damaged snapshot", String::new(), None), key.clone())
        }
        store::Problem::MissingLower(key, layer) => {
            with(of("snapshot without layer", layer.to_string(), None), key.clone())
        }
        store::Problem::StaleIndex => {
            with(of("stale index", String::new(), None), "content/index.json".into())
        }
        store::Problem::StrayFile(path) => {
            with(of("stray file", String::new(), None), path.display().to_string())
        }
    }
}

/// What is wrong between containers and store.
#[derive(Debug)]
enum Between {
    /// A container has none.
    NoSnapshot(ContainerId, ImageId),
    /// No container has it.
    StraySnapshot(ContainerId),
    /// Nothing of ours is ever mounted where the host sees it.
    LeftMount(PathBuf),
}

/// A container has its folder before its snapshot and after it, so one that comes or goes meanwhile is no problem.
fn between(engine: &Engine) -> Result<Vec<Between>> {
    let mut found = Vec::new();
    for container in engine.containers().all() {
        if !sys::fs::exists(snapshot(engine, &container.id))? && is_lasting(&container.view()) {
            found.push(Between::NoSnapshot(container.id.clone(), container.view().record.image_id.parse()?));
        }
    }
    let keys = engine.store().snapshot_keys()?;
    for id in keys.iter().filter_map(|key| key.parse::<ContainerId>().ok()) {
        let config = engine.config();
        let has_folder =
            sys::fs::exists(config.folder(&id))? || sys::fs::exists(config.removing_folder(&id))?;
        if !has_folder && sys::fs::exists(snapshot(engine, &id))? {
            found.push(Between::StraySnapshot(id));
        }
    }
    found.extend(left_mounts(engine)?.into_iter().map(Between::LeftMount));
    Ok(found)
}

fn is_lasting(view: &View) -> bool {
    !view.gone && view.record.state.status != Status::Removing
}

fn snapshot(engine: &Engine, id: &ContainerId) -> PathBuf {
    engine.config().store().join("snapshots").join(id.as_str())
}

/// Mounts beneath the store's own folders; the data root itself may well be one.
fn left_mounts(engine: &Engine) -> Result<Vec<PathBuf>> {
    let store = sys::fs::canonicalize(engine.config().store())?;
    let ours = ["layers", "snapshots", "ingest", "trash"].map(|folder| store.join(folder));
    let mounts = sys::mount::mountinfo("self")?.into_iter().map(|mount| mount.target);
    let is_left = |target: &PathBuf| ours.iter().any(|folder| target.starts_with(folder) && target != folder);
    Ok(mounts.filter(is_left).collect())
}

impl Between {
    fn row(&self) -> Problem {
        let (kind, object) = match self {
            Self::NoSnapshot(id, _) => ("missing snapshot", id.to_string()),
            Self::StraySnapshot(id) => ("stray snapshot", id.to_string()),
            Self::LeftMount(path) => ("left mount", path.display().to_string()),
        };
        Problem { kind: kind.into(), object, ..Problem::default() }
    }

    fn mend(&self, engine: &Engine, how: Repair) -> Result<Outcome> {
        match self {
            Self::NoSnapshot(id, image) => {
                engine.store().snapshot_restore(id.as_str(), Some(image))?;
                Ok(Outcome::Mended("made anew; what the container had written is lost"))
            }
            Self::StraySnapshot(id) => {
                if !how.force && holds_files(engine, id)? {
                    return Ok(Outcome::Left(
                        "it holds files of a container that is gone: --force removes them".into(),
                    ));
                }
                engine.store().snapshot_remove(id.as_str())?;
                Ok(Outcome::Mended("removed"))
            }
            Self::LeftMount(path) => {
                sys::mount::unmount(path)?;
                Ok(Outcome::Mended("unmounted"))
            }
        }
    }
}

fn holds_files(engine: &Engine, id: &ContainerId) -> Result<bool> {
    match sys::fs::read_dir(snapshot(engine, id).join("diff")) {
        Err(error) if error.kind() == fault::Kind::NotFound => Ok(false),
        names => Ok(!names?.is_empty()),
    }
}
