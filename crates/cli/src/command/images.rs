//! `kogge images`.

mod tree;

use std::collections::BTreeMap;

use api::image::{ListOptions, Summary};
use jiff::Timestamp;
use oci::Reference;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("List images", "[OPTIONS] [REPOSITORY[:TAG]]", Args::AtMost(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge image ls, kogge image list, kogge images")
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show intermediate images, too").short('a'),
    Flag::switch("digests", "Show digests"),
    Flag::filter("Show only what fits").short('f'),
    super::FORMAT,
    Flag::switch("no-trunc", "Cut nothing short"),
    Flag::switch("quiet", "Show ids only").short('q'),
    Flag::switch("tree", "Show platforms as a tree"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    if matches.is_on("tree") {
        tree::refuse_others(&matches)?;
    }
    let mut filters = matches.filters();
    if let Some(name) = matches.args.first() {
        filters.insert("reference", name);
    }
    let (quiet, digests) = (matches.is_on("quiet"), matches.is_on("digests"));
    let (all, manifests) = (matches.is_on("all"), matches.is_on("tree"));
    let options = ListOptions { all, filters, manifests, ..ListOptions::default() };
    let images = client::image::list(cli.client()?, &options).await?;
    if manifests {
        return tree::show(&images, all);
    }
    let format = match matches.text("format") {
        "" if !quiet && !cli.config().images_format.is_empty() => &cli.config().images_format,
        "" => "table",
        given => given,
    };
    let format = layout(format, quiet, digests);
    let shape = Shape {
        trunc: !matches.is_on("no-trunc"),
        digests,
        digest_column: digests || format.contains("{{.Digest}}"),
        now: Timestamp::now(),
        trust: format::uses_field(&format, "Trust"),
    };
    let rows: Vec<Row> = images.iter().flat_map(|image| rows(image, &shape)).collect();
    terminal::print(&format::list(&format, &FIELDS, &rows)?)?;
    if images.is_empty() && matches.path.ends_with(" images") {
        hint(&matches);
    }
    Ok(())
}

/// Somebody may have meant a command, not a name.
fn hint(matches: &Matches) {
    const COMMANDS: &[&str] = &[
        "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save",
        "tag",
    ];
    if let Some(name) = matches.args.first().filter(|name| COMMANDS.contains(&name.as_str())) {
        let program = crate::PROGRAM;
        terminal::warn(format_args!(
            "\nNo images found matching {name:?}: did you mean \"{program} image {name}\"?"
        ));
    }
}

pub(super) fn layout(format: &str, quiet: bool, digests: bool) -> String {
    match (format, quiet) {
        ("table", true) => "{{.ID}}".into(),
        ("table", false) if digests => {
            r"table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}".into()
        }
        ("table", false) => {
            r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}".into()
        }
        ("raw", true) => "image_id: {{.ID}}".into(),
        ("raw", false) => {
            let digest = if digests { r"digest: {{.Digest}}\n" } else { "" };
            format!(
                r"repository: {{{{ .Repository }}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\ncreated_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
            )
        }
        (template, _) if template.starts_with("table") && digests && !template.contains("{{.Digest}}") => {
            format!("{template}\t{{{{.Digest}}}}")
        }
        (template, _) => template.into(),
    }
}

pub(super) const FIELDS: Fields = Fields {
    kind: "*formatter.imageContext",
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Trust", "TRUST"),
    ],
};

struct Shape {
    trunc: bool,
    digests: bool,
    digest_column: bool,
    trust: bool,
    now: Timestamp,
}

/// One image is a line for each of its names.
fn rows(image: &Summary, shape: &Shape) -> Vec<Row> {
    let line = |repo: &str, tag: &str, digest: &str| {
        let row = row(image, [repo, tag, digest], shape.trunc, shape.now);
        // Docker has no such field, so `json` must not show it.
        if shape.trust { row.field("Trust", trust(image)) } else { row }
    };
    if is_dangling(image) {
        return vec![line(NONE, NONE, NONE)];
    }
    let tags = by_repository(image.repo_tags.as_deref(), |reference| reference.tag().map(str::to_owned));
    let mut digests =
        by_repository(image.repo_digests.as_deref(), |reference| reference.digest().map(ToString::to_string));
    let mut rows = Vec::new();
    for (repo, tags) in &tags {
        let digests = digests.remove(repo).filter(|_| shape.digest_column).unwrap_or_default();
        for tag in tags {
            if digests.is_empty() {
                rows.push(line(repo, tag, NONE));
            }
            rows.extend(digests.iter().map(|digest| line(repo, tag, digest)));
        }
    }
    for (repo, digests) in &digests {
        match shape.digests {
            true => rows.extend(digests.iter().map(|digest| line(repo, NONE, digest))),
            false => rows.push(line(repo, NONE, "")),
        }
    }
    rows
}

fn trust(image: &Summary) -> &str {
    if image.trust.is_empty() { "unasked" } else { &image.trust }
}

fn by_repository(
    names: Option<&[String]>,
    part: impl Fn(&Reference) -> Option<String>,
) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reference in names.unwrap_or_default().iter().filter_map(|name| Reference::parse(name).ok()) {
        if let Some(part) = part(&reference) {
            found.entry(reference.familiar_name()).or_default().push(part);
        }
    }
    found
}

/// Without a name, said in either of two ways.
pub(super) fn is_dangling(image: &Summary) -> bool {
    let (tags, digests) =
        (image.repo_tags.as_deref().unwrap_or_default(), image.repo_digests.as_deref().unwrap_or_default());
    (tags.is_empty() && digests.is_empty()) || (tags == ["<none>:<none>"] && digests == ["<none>@<none>"])
}

pub(super) fn row(image: &Summary, [repo, tag, digest]: [&str; 3], trunc: bool, now: Timestamp) -> Row {
    let id = if trunc { human::short_id(&image.id) } else { &image.id };
    let counted = |number: i64| if number == -1 { "N/A".into() } else { number.to_string() };
    let shared = match image.shared_size {
        -1 => ["N/A".to_owned(), "N/A".to_owned()],
        shared => [human::size_exact(shared), human::size_exact(image.size - shared)],
    };
    let [shared_size, unique_size] = shared;
    Row::new()
        .field("ID", id)
        .field("Repository", repo)
        .field("Tag", tag)
        .field("Digest", digest)
        .field("CreatedSince", human::ago(image.created, now))
        .field("CreatedAt", human::moment(image.created))
        .field("Size", human::size(image.size))
        .field("Containers", counted(image.containers))
        .field("VirtualSize", human::size_exact(image.size))
        .field("SharedSize", shared_size)
        .field("UniqueSize", unique_size)
}

pub(super) const NONE: &str = "<none>";
