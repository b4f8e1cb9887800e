//! `kogge images --tree`: each image with its platforms, laid out as Docker's client does it.

use api::image::{ManifestSummary, Summary};

use super::is_dangling;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::format::human;
use crate::terminal;

/// Refuses the flags that say how else to lay the list out.
pub(super) fn refuse_others(matches: &Matches) -> Outcome {
    const OTHERS: &[(&str, &str)] =
        &[("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format")];
    let is_on = |flag: &str| match flag {
        "format" => !matches.text(flag).is_empty(),
        flag => matches.is_on(flag),
    };
    match OTHERS.iter().find(|(flag, _)| is_on(flag)) {
        Some((_, name)) => Err(Exit::failure(format!("--{name} is not yet supported with --tree"))),
        None => Ok(()),
    }
}

pub(super) fn show(images: &[Summary], all: bool) -> Outcome {
    terminal::print(&drawn(images, all, columns()))
}

/// Of the terminal, or what Docker's client takes for one.
fn columns() -> usize {
    match terminal::size() {
        (_, 0) => 80,
        (_, columns) => columns.into(),
    }
}

fn drawn(images: &[Summary], all: bool, columns: usize) -> String {
    let mut images: Vec<&Summary> = images.iter().filter(|image| all || !is_dangling(image)).collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    // Docker's client shows who is used only if it knows that of a platform.
    let shows_use = images.iter().flat_map(|image| image.manifests.iter().flatten()).any(is_used);
    let blocks: Vec<Block> = images.into_iter().map(|image| Block::of(image, shows_use)).collect();
    let width = name_width(&blocks, columns);
    let mut text = String::from(WARNING);
    text.push_str(&format!("{:>columns$}\n\n", "Info ->  U In Use "));
    text.push_str(&header(width));
    // Trees are set apart from each other.
    let is_spaced = blocks.iter().any(|block| block.rows.len() > block.names);
    for block in &blocks {
        for row in &block.rows {
            text.push_str(&row.drawn(width));
        }
        text.push_str(if is_spaced { "\n" } else { "" });
    }
    text
}

const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.\n";

/// One image: a row for each name, the last with what is known, and one for each platform.
struct Block {
    rows: Vec<Row>,
    names: usize,
}

struct Row {
    name: String,
    about: Option<About>,
}

struct About {
    id: String,
    usage: String,
    content: String,
    is_used: bool,
}

impl Block {
    fn of(image: &Summary, shows_use: bool) -> Self {
        let platforms: Vec<&ManifestSummary> =
            image.manifests.iter().flatten().filter(|one| one.kind == "image").collect();
        let content = platforms.iter().map(|one| one.size.content).sum();
        let about = About {
            id: human::short_id(&image.id).into(),
            usage: human::size(image.size),
            content: human::size(content),
            is_used: shows_use && (image.containers > 0 || platforms.iter().any(|one| is_used(one))),
        };
        let mut names: Vec<String> = image.repo_tags.clone().unwrap_or_default();
        if names.is_empty() {
            names.push(UNTAGGED.into());
        }
        let count = names.len();
        let mut rows: Vec<Row> = names.into_iter().map(|name| Row { name, about: None }).collect();
        if let Some(last) = rows.last_mut() {
            last.about = Some(about);
        }
        for (number, platform) in platforms.iter().enumerate() {
            let branch = if number + 1 == platforms.len() { "└─" } else { "├─" };
            rows.push(row(platform, branch));
        }
        Self { rows, names: count }
    }
}

fn row(manifest: &ManifestSummary, branch: &str) -> Row {
    let platform = manifest.image_data.as_ref().map(|data| data.platform.to_string()).unwrap_or_default();
    let about = About {
        id: human::short_id(&manifest.id).into(),
        usage: human::size(manifest.size.total),
        content: human::size(manifest.size.content),
        is_used: is_used(manifest),
    };
    Row { name: format!("{branch} {platform}"), about: Some(about) }
}

fn is_used(manifest: &ManifestSummary) -> bool {
    manifest.image_data.as_ref().is_some_and(|data| !data.containers.is_empty())
}

impl Row {
    fn drawn(&self, width: usize) -> String {
        let name = human::ellipsis(&self.name, width);
        let Some(About { id, usage, content, is_used }) = &self.about else { return format!("{name}\n") };
        let used = if *is_used { "U" } else { "" };
        format!("{name:<width$}   {id:<12}   {usage:>10}   {content:>12}   {used:<5}\n")
    }
}

fn header(width: usize) -> String {
    let title = |text: &str, width: usize| {
        format!("\x1b[39m\x1b[1m{text}\x1b[0m{}", " ".repeat(width.saturating_sub(text.len())))
    };
    let titles = [("IMAGE", width), ("ID", 12), ("DISK USAGE", 10), ("CONTENT SIZE", 12), ("EXTRA", 0)];
    titles.map(|(text, width)| title(text, width)).join("   ") + "\n"
}

/// As wide as the names need, and as the terminal has room for.
fn name_width(blocks: &[Block], columns: usize) -> usize {
    let names = blocks.iter().flat_map(|block| &block.rows).filter(|row| row.name != UNTAGGED);
    let widest = names.map(|row| row.name.chars().count()).max().unwrap_or_default();
    widest.min(columns.saturating_sub(OTHER_COLUMNS)).max("IMAGE".len())
}

const UNTAGGED: &str = "<untagged>";
/// What the other columns take, with what is between them.
const OTHER_COLUMNS: usize = 51;
