//! How an image was made, as `docker history` shows it: newest step first.

use fault::{Error, Result};

use crate::{Image, ImageId, Store};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The image that ended with this step, if it is here: the newest row's own, and those of commits' parents.
    pub id: Option<ImageId>,
    /// RFC 3339.
    pub created: Option<String>,
    pub created_by: String,
    /// Familiar names of that image.
    pub tags: Vec<String>,
    /// What the step added, in bytes.
    pub size: u64,
    pub comment: String,
}

impl Store {
    /// The steps, newest first.
    pub fn history(&self, id: &ImageId) -> Result<Vec<HistoryRow>> {
        let image = self.image(id)?;
        let mut rows = rows(&image)?;
        let mut next = Some(image);
        for row in &mut rows {
            let Some(image) = next else { break };
            row.tags = image.tags.iter().map(oci::Reference::familiar).collect();
            next = image.parent.as_ref().map(|parent| self.image(parent)).transpose()?;
            row.id = Some(image.id);
        }
        Ok(rows)
    }
}

fn rows(image: &Image) -> Result<Vec<HistoryRow>> {
    let mut layers = image.layers.iter();
    let mut rows = Vec::new();
    for step in &image.config.history {
        let size = match step.empty_layer {
            true => 0,
            false => layers.next().ok_or_else(too_many_steps)?.size_unpacked,
        };
        rows.push(HistoryRow {
            id: None,
            created: step.created.clone(),
            created_by: step.created_by.clone().unwrap_or_default(),
            tags: Vec::new(),
            size,
            comment: step.comment.clone().unwrap_or_default(),
        });
    }
    rows.reverse();
    Ok(rows)
}

fn too_many_steps() -> Error {
    Error::internal("too many non-empty layers in History section")
}
