//! `kogge system df`: who takes the disk.

use api::container::Summary;
use api::system::{DiskUsage, OtherUsage};
use jiff::Timestamp;

use super::{Args, Command, images, ps, volume};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Show disk usage", "[OPTIONS]", Args::None, |cli, matches| Box::pin(run(cli, matches)))
        .flags(&[&[super::FORMAT, Flag::switch("verbose", "Show each object").short('v')]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let format = matches.text("format");
    let is_verbose = matches.is_on("verbose");
    if is_verbose && !matches!(format, "" | "table") {
        return Err(fault::Error::unsupported("--verbose with --format").into());
    }
    let usage = client::system::disk_usage(cli.client()?).await?;
    if is_verbose {
        return terminal::print(&verbose(usage)?);
    }
    let format = match format {
        "" | "table" => r"table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        "raw" => {
            r"type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n"
        }
        given => given,
    };
    terminal::print(&format::list(format, &FIELDS, &summary(&usage))?)
}

const FIELDS: Fields = Fields {
    kind: "*formatter.diskUsageImagesContext",
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

/// The last row is of our own daemon only.
fn summary(usage: &DiskUsage) -> Vec<Row> {
    let images = usage.images.as_deref().unwrap_or_default();
    let in_use: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let volumes: Vec<_> = usage.volumes.iter().flatten().filter_map(|volume| volume.usage_data).collect();
    let of_known = |wanted: &dyn Fn(i64) -> bool| {
        volumes
            .iter()
            .filter(|usage| usage.size != -1 && wanted(usage.ref_count))
            .map(|usage| usage.size)
            .sum()
    };
    let caches = usage.build_cache.as_ref().map_or(0, Vec::len);
    let mut rows = vec![
        Usage {
            kind: "Images",
            total: images.len(),
            active: images.iter().filter(|image| image.containers > 0).count(),
            size: usage.layers_size,
            reclaimable: usage.layers_size - in_use,
        }
        .row(),
        Usage {
            kind: "Containers",
            total: containers.len(),
            active: containers.iter().filter(|container| is_active(container)).count(),
            size: containers.iter().map(|container| container.size_rw).sum(),
            reclaimable: containers.iter().filter(|c| !is_active(c)).map(|c| c.size_rw).sum(),
        }
        .row(),
        Usage {
            kind: "Local Volumes",
            total: usage.volumes.as_ref().map_or(0, Vec::len),
            active: volumes.iter().filter(|usage| usage.ref_count > 0).count(),
            size: of_known(&|_| true),
            reclaimable: of_known(&|references| references == 0),
        }
        .row(),
        Usage { kind: "Build Cache", total: caches, active: 0, size: 0, reclaimable: 0 }.row(),
    ];
    let other = &usage.other;
    if !other.is_empty() {
        let total = Usage {
            kind: "Other",
            total: other.len(),
            active: other.iter().filter(|row| !row.reclaimable).count(),
            size: other.iter().map(|row| row.size).sum(),
            reclaimable: other.iter().filter(|row| row.reclaimable).map(|row| row.size).sum(),
        };
        rows.push(total.row());
    }
    rows
}

struct Usage {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

impl Usage {
    fn row(&self) -> Row {
        let mut reclaimable = human::size_exact(self.reclaimable);
        if self.size > 0 {
            reclaimable.push_str(&format!(" ({}%)", self.reclaimable * 100 / self.size));
        }
        Row::new()
            .field("Type", self.kind)
            .field("TotalCount", self.total.to_string())
            .field("Active", self.active.to_string())
            .field("Size", human::size_exact(self.size))
            .field("Reclaimable", reclaimable)
    }
}

fn is_active(container: &Summary) -> bool {
    matches!(container.state.as_str(), "running" | "paused" | "restarting")
}

fn verbose(mut usage: DiskUsage) -> Outcome<String> {
    let now = Timestamp::now();
    let images: Vec<Row> = usage
        .images
        .iter()
        .flatten()
        .map(|image| {
            let name = image.repo_tags.iter().flatten().next().filter(|_| !images::is_dangling(image));
            let (repo, tag) =
                name.and_then(|name| name.rsplit_once(':')).unwrap_or((images::NONE, images::NONE));
            images::row(image, [repo, tag, ""], true, now)
        })
        .collect();
    let containers: Vec<Row> = usage
        .containers
        .take()
        .into_iter()
        .flatten()
        .map(|container| ps::row(&Summary { size_root_fs: 0, ..container }, true, now))
        .collect();
    let volumes: Vec<Row> = usage.volumes.iter().flatten().map(volume::row).collect();
    let images = format::list(IMAGES, &images::FIELDS, &images)?;
    let containers = format::list(CONTAINERS, &ps::FIELDS, &containers)?;
    let volumes = format::list(VOLUMES, &volume::FIELDS, &volumes)?;
    let cache = format::list(CACHE, &CACHE_FIELDS, &[])?;
    let other = match usage.other.is_empty() {
        true => String::new(),
        false => format!("\nOther space usage:\n\n{}", format::list(OTHER, &OTHER_FIELDS, &others(&usage))?),
    };
    Ok(format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\n\
         Local Volumes space usage:\n\n{volumes}\nBuild cache usage: 0B\n\n{cache}{other}"
    ))
}

fn others(usage: &DiskUsage) -> Vec<Row> {
    let row = |other: &OtherUsage| {
        Row::new()
            .field("Type", &other.kind)
            .field("Size", human::size_exact(other.size))
            .field("Reclaimable", other.reclaimable.to_string())
    };
    usage.other.iter().map(row).collect()
}

const IMAGES: &str = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = r"table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str = r"table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

const OTHER: &str = r"table {{.Type}}\t{{.Size}}\t{{.Reclaimable}}";

const OTHER_FIELDS: Fields = Fields {
    kind: "*system.otherUsageContext",
    headings: &[("Type", "TYPE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")],
};

const CACHE_FIELDS: Fields = Fields {
    kind: "*formatter.buildCacheContext",
    headings: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
};
