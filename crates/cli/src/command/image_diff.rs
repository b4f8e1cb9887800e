//! `kogge image diff`: what one image has otherwise than another. Ours alone.

use api::image::{Difference, LayerUse, Setting};

use super::{Args, Command, transfer};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::human;
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Show what one image has otherwise than another",
    "[OPTIONS] IMAGE IMAGE",
    Args::Exactly(2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::string("format", "`text`, or `json` for programs"),
    Flag::string("platform", "Compare this platform's variants"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let platform = match matches.text("platform") {
        "" => String::new(),
        text => transfer::platform_json(text)?,
    };
    let format = matches.text("format");
    if !matches!(format, "" | "text" | "json") {
        return Err(Exit::failure(format!("unknown format {format:?}: must be text or json")));
    }
    let (first, second) = (&matches.args[0], &matches.args[1]);
    let json = client::image::difference(cli.client()?, first, second, &platform).await?;
    if format == "json" {
        return terminal::line(String::from_utf8_lossy(&json).trim_end());
    }
    let difference: Difference = api::from_slice(&json)
        .map_err(|error| Exit::failure(format!("the daemon's answer cannot be read: {error}")))?;
    terminal::print(&told(&difference))
}

fn told(difference: &Difference) -> String {
    let mut text = layers(&difference.layers);
    for file in &difference.files {
        let (before, after) = (human::size(file.size_before), human::size(file.size_after));
        text.push_str(&match file.kind.as_str() {
            "added" => format!("A {} {after}\n", file.path),
            "deleted" => format!("D {} {before}\n", file.path),
            _ if before == after => format!("C {} {after}\n", file.path),
            _ => format!("C {} {before} -> {after}\n", file.path),
        });
    }
    for Setting { name, before, after } in &difference.config {
        text.push_str(&match (before, after) {
            (None, Some(after)) => format!("+ {name} {after}\n"),
            (Some(before), None) => format!("- {name} {before}\n"),
            (before, after) => {
                let shown = |value: &Option<serde_json::Value>| {
                    value.as_ref().map(ToString::to_string).unwrap_or_default()
                };
                format!("~ {name} {} -> {}\n", shown(before), shown(after))
            }
        });
    }
    text
}

/// How much the images share.
fn layers(all: &[LayerUse]) -> String {
    let part = |wanted: (bool, bool)| {
        let part: Vec<&LayerUse> =
            all.iter().filter(|layer| (layer.in_first, layer.in_second) == wanted).collect();
        let size = part.iter().fold(0, |sum: i64, layer| sum.saturating_add(layer.size));
        format!("{} ({})", part.len(), human::size(size))
    };
    let (shared, first, second) = (part((true, true)), part((true, false)), part((false, true)));
    format!("Layers: {shared} shared, {first} only in the first, {second} only in the second\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_line_by_line() {
        let json = r#"{
            "Files":[{"Path":"/a","Kind":"added","SizeBefore":0,"SizeAfter":3},
                     {"Path":"/b","Kind":"changed","SizeBefore":2,"SizeAfter":2000},
                     {"Path":"/c","Kind":"deleted","SizeBefore":1,"SizeAfter":0},
                     {"Path":"/d","Kind":"changed","SizeBefore":0,"SizeAfter":0}],
            "Layers":[{"DiffID":"x","Size":7,"InFirst":true,"InSecond":true},
                      {"DiffID":"y","Size":2000,"InFirst":false,"InSecond":true}],
            "Config":[{"Name":"Cmd","Before":null,"After":["sh"]},{"Name":"Env.A","Before":"1","After":"2"},
                      {"Name":"User","Before":"root","After":null}]}"#;
        assert_eq!(
            told(&api::from_slice(json.as_bytes()).unwrap()),
            "Layers: 1 (7B) shared, 0 (0B) only in the first, 1 (2kB) only in the second\n\
             A /a 3B\nC /b 2B -> 2kB\nD /c 1B\nC /d 0B\n\
             + Cmd [\"sh\"]\n~ Env.A \"1\" -> \"2\"\n- User \"root\"\n"
        );
    }
}
