//! Archives of images in and out.

use api::progress::{Detail, Message};
use fault::{Error, Result};
use oci::Platform;
use store::Loaded;

use super::tell;
use crate::Engine;
use crate::transport::{Body, Lines, Parts, lines, sending};

/// Loads all images of an archive. Errors come as a line of progress, as the client expects. `quiet` leaves out the
/// layers; with platforms only these are loaded.
pub async fn load(engine: &Engine, body: Body, quiet: bool, platforms: Vec<Platform>) -> Result<Lines> {
    Ok(lines(engine, body, move |engine, archive, tell_line| {
        let loaded = engine.store().load(archive, &platforms, &mut |layer| {
            if !quiet {
                tell_line(layer_line(&layer));
            }
        })?;
        for image in loaded {
            let name = image.reference.as_ref().map(oci::Reference::familiar);
            tell(engine, "load", &image.id, name.as_deref().unwrap_or(&image.id.to_string()));
            for text in loaded_lines(&image) {
                tell_line(Message::stream(text));
            }
        }
        engine.sweep_soon();
        Ok(())
    }))
}

/// Layers are unpacked side by side, so each is told once, when it is there.
fn layer_line(layer: &store::Progress) -> Message {
    let size = i64::try_from(layer.size).unwrap_or(i64::MAX);
    Message {
        status: "Loading layer".into(),
        id: layer.diff_id.short().to_owned(),
        progress_detail: Some(Detail { current: size, total: size }),
        ..Message::default()
    }
}

fn loaded_lines(image: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(name), Some(before)) = (&image.reference, &image.replaced) {
        let name = name.familiar();
        lines.push(format!(
            "The image {name} already exists, renaming the old one with ID {before} to empty string\n"
        ));
    }
    lines.push(match &image.reference {
        Some(name) => format!("Loaded image: {}\n", name.familiar()),
        None => format!("Loaded image ID: {}\n", image.id),
    });
    lines
}

/// Saves images as one archive, for all platforms that are here or for some. Unknown names are an error before the first byte.
pub async fn save(engine: &Engine, names: Vec<String>, platforms: Vec<Platform>) -> Result<Parts> {
    if names.is_empty() {
        return Err(Error::invalid("no image to save is named"));
    }
    sending(engine, move |engine, writer| engine.store().save(&names, &platforms, writer)).await
}
