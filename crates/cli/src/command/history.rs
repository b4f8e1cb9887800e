//! `kogge history`.

use api::image::HistoryRow;
use jiff::Timestamp;

use super::{Args, Command, transfer};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::format::{self, Fields, Row, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Show the history of an image", "[OPTIONS] IMAGE", Args::Exactly(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge image history, kogge history")
    .flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    super::FORMAT,
    Flag::switch("human", "Show sizes and times rounded").short('H').default("true"),
    Flag::switch("no-trunc", "Cut nothing short"),
    Flag::string("platform", "Show this platform's variant"),
    Flag::switch("quiet", "Show ids only").short('q'),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let platform = transfer::platforms(&matches)?.join(",");
    let history = client::image::history(cli.client()?, &matches.args[0], &platform).await?;
    let human = matches.is_on("human");
    let format = match (matches.text("format"), matches.is_on("quiet")) {
        ("" | "table", true) => "{{.ID}}",
        ("" | "table", false) if human => {
            r"table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        }
        ("" | "table", false) => r"table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        (given, _) => given,
    };
    let trunc = !matches.is_on("no-trunc");
    let rows: Vec<Row> = history.iter().map(|step| row(step, trunc, human, Timestamp::now())).collect();
    terminal::print(&format::list(format, &FIELDS, &rows)?)
}

const FIELDS: Fields = Fields {
    kind: "*image.historyContext",
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

fn row(step: &HistoryRow, trunc: bool, human: bool, now: Timestamp) -> Row {
    let created_by = step.created_by.replace('\t', " ");
    let created_at = human::rfc3339(step.created);
    let created_since = match step.created {
        _ if !human => created_at.clone(),
        // Builders that want the same image again write the epoch.
        ..=YEAR_2000 => "N/A".into(),
        created => human::ago(created, now),
    };
    Row::new()
        .field("ID", if trunc { human::short_id(&step.id) } else { &step.id })
        .field("CreatedSince", created_since)
        .field("CreatedAt", created_at)
        .field("CreatedBy", if trunc { human::ellipsis(&created_by, 45) } else { created_by })
        .field("Size", if human { human::size(step.size) } else { step.size.to_string() })
        .field("Comment", &step.comment)
}

const YEAR_2000: i64 = 946_684_800;
