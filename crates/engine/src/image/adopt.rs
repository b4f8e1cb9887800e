//! Taking over what Docker or podman have: their images, and on request their named volumes.

use std::path::PathBuf;

use api::progress::{Detail, Message};
use bytes::Bytes;
use fault::{Error, Result};
use futures_util::stream::{self, StreamExt};
use oci::Reference;
use store::{Adoptable, Adopting, Loaded};

use super::tell;
use crate::Engine;
use crate::transport::{Lines, lines};
use crate::volume::{self, Adopted};

/// What to take over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopt {
    /// The other engine's data root, an absolute path on the daemon's host.
    pub path: PathBuf,
    /// Only these; all if there are none.
    pub images: Vec<Reference>,
    /// Named volumes, too.
    pub volumes: bool,
    /// Only tells what would be taken.
    pub dry_run: bool,
}

/// Takes images over, bit for bit; the other engine's folders are only read. An error of one image is told, and is the
/// last line once all others are here.
pub async fn adopt(engine: &Engine, wanted: Adopt) -> Result<Lines> {
    if !wanted.path.is_absolute() {
        return Err(Error::invalid(format!("{} is no absolute path", wanted.path.display())));
    }
    let nothing = stream::empty::<Result<Bytes>>().boxed();
    Ok(lines(engine, nothing, move |engine, _, tell_line| {
        let images = match wanted.dry_run {
            true => list_images(engine, &wanted, tell_line),
            false => take_images(engine, &wanted, tell_line),
        };
        let volumes = if wanted.volumes { take_volumes(engine, &wanted, tell_line) } else { Ok(()) };
        engine.sweep_soon();
        images.and(volumes)
    }))
}

fn list_images(engine: &Engine, wanted: &Adopt, tell_line: &mut dyn FnMut(Message)) -> Result<()> {
    for image in engine.store().adoptable(&wanted.path, &wanted.images)? {
        tell_line(Message::stream(listed(&image)));
    }
    Ok(())
}

fn listed(image: &Adoptable) -> String {
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    let names = if names.is_empty() { "<none>".into() } else { names.join(", ") };
    let here = if image.is_here { ", is here already" } else { "" };
    format!("Would adopt: {names} ({}, {} layers{here})\n", image.id.short(), image.layers)
}

fn take_images(engine: &Engine, wanted: &Adopt, tell_line: &mut dyn FnMut(Message)) -> Result<()> {
    let report = &mut |step: Adopting| match step {
        Adopting::Layer(layer) => {
            let size = i64::try_from(layer.size).unwrap_or(i64::MAX);
            tell_line(Message {
                status: "Loading layer".into(),
                id: layer.diff_id.short().to_owned(),
                progress_detail: Some(Detail { current: size, total: size }),
                ..Message::default()
            });
        }
        Adopting::Image(image) => {
            tell(engine, "load", &image.id, &name_of(&image));
            tell_line(Message::stream(format!("Adopted image: {}\n", name_of(&image))));
        }
        Adopting::Left(error) => tell_line(Message::stream(format!("Left: {error}\n"))),
    };
    engine.store().adopt(&wanted.path, &wanted.images, report).map(drop)
}

fn name_of(image: &Loaded) -> String {
    image.reference.as_ref().map_or_else(|| image.id.to_string(), Reference::familiar)
}

fn take_volumes(engine: &Engine, wanted: &Adopt, tell_line: &mut dyn FnMut(Message)) -> Result<()> {
    let mut left = 0;
    volume::adopt(engine, &wanted.path.join("volumes"), wanted.dry_run, &mut |name, adopted| {
        left += usize::from(matches!(adopted, Adopted::Left(_)));
        tell_line(Message::stream(match adopted {
            Adopted::Taken if wanted.dry_run => format!("Would adopt volume: {name}\n"),
            Adopted::Taken => format!("Adopted volume: {name}\n"),
            Adopted::IsHere => format!("Volume {name} is here already\n"),
            Adopted::Left(error) => format!("Left: volume {name}: {error}\n"),
        }));
    })?;
    match left {
        0 => Ok(()),
        1 => Err(Error::invalid("1 volume was not adopted")),
        left => Err(Error::invalid(format!("{left} volumes were not adopted"))),
    }
}
