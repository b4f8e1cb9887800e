//! Making images from trees and from containers.

use api::container::Commit;
use api::progress::Message;
use fault::{Error, Result};
use oci::image::Config;
use oci::{Platform, Reference};
use store::ImageId;

use super::tell;
use crate::container::{self, View};
use crate::transport::{Body, Lines, answered_lines};
use crate::{Engine, changes};

/// What an archive is imported as.
#[derive(Clone, Debug, Default)]
pub struct Import {
    pub reference: Option<Reference>,
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `linux`, `linux/amd64`, `linux/arm/v7`.
    pub platform: Option<String>,
}

/// Makes an image of one layer from a tar; its id is the line of progress. As with Docker a bad tar is an error of the
/// request, not a line.
pub async fn import(engine: &Engine, wanted: Import, body: Body) -> Result<Lines> {
    let mut config = Config::default();
    changes::apply(&mut config, &wanted.changes)?;
    let import = store::Import {
        config,
        message: wanted.message,
        platform: wanted.platform.as_deref().map(platform).transpose()?,
        reference: wanted.reference,
    };
    answered_lines(engine, body, move |engine, archive, tell_line| {
        let id = engine.store().import(archive, &import)?;
        let name = import.reference.as_ref().map(Reference::familiar);
        tell(engine, "import", &id, name.as_deref().unwrap_or(&id.to_string()));
        tell_line(Message::status(id.to_string()));
        engine.sweep_soon();
        Ok(())
    })
    .await
}

fn platform(text: &str) -> Result<Platform> {
    let mut parts = text.split('/').map(str::to_owned);
    let os = parts.next().unwrap_or_default();
    if os != "linux" {
        return Err(Error::unsupported(format!("images for operating system \"{os}\"")));
    }
    let architecture = parts.next().unwrap_or_else(|| Platform::host().architecture);
    Ok(Platform { os, architecture, variant: parts.next(), ..Platform::default() })
}

/// Makes an image from a container's changes; its id.
pub async fn commit(engine: &Engine, wanted: Commit) -> Result<String> {
    let container = engine.containers().find(&wanted.container)?;
    let view = container.view();
    let config = merged(&view, &wanted)?;
    let reference = reference(&wanted)?;
    let commit = store::Commit {
        config,
        author: Some(wanted.author).filter(|author| !author.is_empty()),
        comment: Some(wanted.comment).filter(|comment| !comment.is_empty()),
        created_by: view.record.command().map(String::as_str).collect::<Vec<_>>().join(" "),
        parent: Some(view.record.image_id.parse::<oci::Digest>().map(ImageId)?),
        reference,
    };
    let is_paused = wanted.pause && view.record.state.status == crate::Status::Running;
    let make = move |engine: &Engine| commit_now(engine, &view, &commit);
    let id = match is_paused {
        true => container::while_still(engine, container.id.clone(), make).await?,
        false => engine.blocking(make).await?,
    };
    engine.sweep_soon();
    Ok(id.to_string())
}

/// Events with labels are told here too, because those are read from the disk. Blocks.
fn commit_now(engine: &Engine, view: &View, commit: &store::Commit) -> Result<ImageId> {
    let snapshot = engine.store().snapshot(view.record.id.as_str())?;
    let id = engine.store().commit(&snapshot, commit)?;
    let reference = commit.reference.as_ref().map(Reference::familiar);
    let comment = commit.comment.clone().unwrap_or_default();
    tell(engine, "create", &id, &id.to_string());
    if let Some(reference) = &reference {
        tell(engine, "tag", &id, reference);
    }
    let details =
        [("comment", comment), ("imageID", id.to_string()), ("imageRef", reference.unwrap_or_default())];
    engine.events().publish_container(&view.record, "commit", &details);
    Ok(id)
}

fn reference(wanted: &Commit) -> Result<Option<Reference>> {
    if wanted.repo.is_empty() {
        return Ok(None);
    }
    let name = Reference::parse(&wanted.repo)?;
    Ok(Some(if wanted.tag.is_empty() { name.with_default_tag() } else { name.with_tag(&wanted.tag)? }))
}

/// The container's config, overridden by what the request brings, with the changes applied.
fn merged(view: &View, wanted: &Commit) -> Result<Config> {
    let mut config = image_config(&view.record.config);
    if let Some(given) = &wanted.config {
        overlay(&mut config, &image_config(given));
    }
    changes::apply(&mut config, &wanted.changes)?;
    Ok(config)
}

/// Docker's rule: what is given wins, lists and maps that are given are added to.
fn overlay(config: &mut Config, given: &Config) {
    let Config { user, working_dir, .. } = given;
    if !user.is_empty() {
        config.user.clone_from(user);
    }
    if !working_dir.is_empty() {
        config.working_dir.clone_from(working_dir);
    }
    config.exposed_ports.extend(given.exposed_ports.iter().cloned());
    config.volumes.extend(given.volumes.iter().cloned());
    config.labels.extend(given.labels.clone());
    for entry in &given.env {
        let name = entry.split('=').next().unwrap_or_default();
        config.env.retain(|known| known.split('=').next() != Some(name));
        config.env.push(entry.clone());
    }
    if given.entrypoint.is_some() {
        config.entrypoint.clone_from(&given.entrypoint);
        config.cmd.clone_from(&given.cmd);
    } else if given.cmd.is_some() {
        config.cmd.clone_from(&given.cmd);
    }
    if given.healthcheck.is_some() {
        config.healthcheck.clone_from(&given.healthcheck);
    }
    if given.stop_signal.is_some() {
        config.stop_signal.clone_from(&given.stop_signal);
    }
}

/// The part of a container's config that an image carries.
fn image_config(config: &api::container::Config) -> Config {
    Config {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.keys().map(ToString::to_string).collect(),
        env: config.env.clone().unwrap_or_default(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.iter().flatten().map(|(path, _)| path.clone()).collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: Some(config.stop_signal.clone()).filter(|signal| !signal.is_empty()),
        healthcheck: config.healthcheck.clone(),
        on_build: config.on_build.clone().unwrap_or_default(),
        shell: config.shell.clone().unwrap_or_default(),
        ..Config::default()
    }
}
