//! Archives of images in and out.

use api::progress::Message;
use fault::{Error, Result};
use store::Loaded;

use super::tell;
use crate::Engine;
use crate::transport::{Body, Lines, Parts, lines, sending};

/// Loads all images of an archive. Errors come as a line of progress, as the client expects.
pub async fn load(engine: &Engine, body: Body, quiet: bool) -> Result<Lines> {
    let _quiet = quiet; // Layers are applied in one pass: there is no progress of parts to leave out.
    Ok(lines(engine, body, |engine, archive, tell_line| {
        let loaded = engine.store().load(archive, &mut |_| {})?;
        for image in loaded {
            let name = image.reference.as_ref().map(oci::Reference::familiar);
            tell(engine, "load", &image.id, name.as_deref().unwrap_or(&image.id.to_string()));
            for text in loaded_lines(&image) {
                tell_line(Message::stream(text));
            }
        }
        Ok(())
    }))
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

/// Saves images as one archive. Unknown names are an error before the first byte.
pub async fn save(engine: &Engine, names: Vec<String>) -> Result<Parts> {
    if names.is_empty() {
        return Err(Error::invalid("no image to save is named"));
    }
    sending(engine, move |engine, writer| engine.store().save(&names, writer)).await
}
