//! `kogged teardown`, under its other name `dockerd teardown`: takes away what a daemon with these settings has made of
//! the kernel, and its containers.
//!
//! A daemon that still runs is ended first. Images, volumes and the folders themselves stay.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use api::container::{ListOptions, Remove};
use engine::{Engine, container};
use fault::{Call, Doing, Kind, Result};
use runtime::cgroup::Cgroup;
use sys::process::PidFd;
use sys::signal::SIGTERM;
use tracing::info;

use crate::settings::Settings;
use crate::{daemon, log, pid_file};

pub(crate) fn run(settings: &Settings) -> Result<()> {
    log::open(settings.level(), settings.log_format);
    end_daemon(&settings.pid_file)?;
    daemon::make_folders(settings)?;
    daemon::runtime()?.block_on(async {
        let _alone = daemon::lock(&settings.data_root, PATIENCE).await?;
        take_away(settings).await
    })
}

async fn take_away(settings: &Settings) -> Result<()> {
    let engine = Engine::open(daemon::engine_config(settings)?).await?;
    let all = ListOptions { all: true, ..ListOptions::default() };
    for found in container::list(&engine, all).await? {
        remove(&engine, &found.id).await.doing(|| format!("removing container {}", found.id))?;
        info!(container = found.id, "removed");
    }
    let networks = engine.networks().clone();
    tokio::task::spawn_blocking(move || networks.teardown()).await.call(|| "removing the networks")??;
    engine.shutdown().await;
    remove_cgroup(&settings.cgroup_parent)
}

/// A daemon that was told to end finishes what it is doing first.
const PATIENCE: Duration = Duration::from_secs(60);

/// The containers' parent, in every hierarchy where nothing else lives in it.
fn remove_cgroup(parent: &str) -> Result<()> {
    for folder in Cgroup::at(Path::new(parent))?.folders() {
        match std::fs::remove_dir(&folder) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {
                return Err(error).call(|| format!("rmdir {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// One that goes by itself in the meantime is fine.
async fn remove(engine: &Engine, id: &str) -> Result<()> {
    let options = Remove { force: true, volumes: true, link: false };
    match container::remove(engine, id, options).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        done => done,
    }
}

/// It lets go of its lock when it is gone, which is what the caller waits for.
fn end_daemon(path: &Path) -> Result<()> {
    let Some(pid) = pid_file::alive(path)? else { return Ok(()) };
    info!(pid, "ending the daemon");
    let pid = i32::try_from(pid).expect("process numbers are below 2^22");
    match PidFd::open(pid).and_then(|process| process.send_signal(SIGTERM)) {
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}
