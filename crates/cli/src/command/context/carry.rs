//! `kogge context export` and `import`: a context as a tar of its description.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use archive::tar::{Entry, EntryKind, Header, Reader, Writer};
use fault::{Call, Error, Result};

use super::{Command, check_name, check_new};
use crate::cli::Cli;
use crate::command::{Args, unopenable};
use crate::config::{DEFAULT_CONTEXT, Document};
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::terminal;

pub(crate) const EXPORT: Command = Command::new(
    "Export a context to a tar archive FILE or a tar stream on STDOUT",
    "[OPTIONS] CONTEXT [FILE|-]",
    Args::Between(1, 2),
    |cli, matches| Box::pin(export(cli, matches)),
);

pub(crate) const IMPORT: Command =
    Command::new("Import a context from a tar file", "CONTEXT FILE|-", Args::Exactly(2), |cli, matches| {
        Box::pin(import(cli, matches))
    });

async fn export(cli: &Cli, matches: Matches) -> Outcome {
    let name = matches.args[0].as_str();
    if name != DEFAULT_CONTEXT {
        check_name(name)?;
    }
    let document = cli.context_document(name)?;
    document.refuse_keys()?;
    let bytes = packed(&document)?;
    let path = matches.args.get(1).cloned().unwrap_or_else(|| format!("{name}.dockercontext"));
    if path == "-" {
        return match terminal::output_is_terminal() {
            true => Err(Exit::failure("cowardly refusing to export to a terminal, specify a file path")),
            false => terminal::write(&bytes),
        };
    }
    // What is there is never overwritten.
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(|error| unopenable(&path, &error))?;
    file.write_all(&bytes).call(|| format!("write {path}"))?;
    terminal::warn(format_args!("Written file {path:?}"));
    Ok(())
}

fn packed(document: &Document) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    let text = document.text();
    let meta = Header { name: META.into(), mode: 0o644, size: text.len() as u64, ..Header::default() };
    writer.append_bytes(&meta, text.as_bytes())?;
    let keys = Header { name: "tls/".into(), kind: EntryKind::Directory, mode: 0o700, ..Header::default() };
    writer.append_bytes(&keys, &[])?;
    writer.finish()
}

async fn import(cli: &Cli, matches: Matches) -> Outcome {
    let (name, path) = (matches.args[0].as_str(), matches.args[1].as_str());
    check_new(cli, name)?;
    let document = match path {
        "-" => unpacked(io::stdin())?,
        path => unpacked(File::open(path).map_err(|error| unopenable(path, &error))?)?,
    };
    cli.save_context(&document.named(name))?;
    terminal::line(name)?;
    terminal::warn(format_args!("Successfully imported context {name:?}"));
    Ok(())
}

fn unpacked(stream: impl Read) -> Result<Document> {
    let mut reader = Reader::new(stream.take(BYTES_MAX));
    let mut found = None;
    while let Some(mut entry) = reader.next()? {
        if entry.header.kind == EntryKind::Directory {
            continue;
        }
        if entry.header.name.starts_with("tls") {
            return Err(Error::unsupported("TLS, which the context has keys for"));
        }
        if entry.header.name.as_os_str() == META {
            found = Some(Document::parse(&content(&mut entry)?)?);
        }
    }
    found.ok_or_else(|| Error::invalid("invalid context: no metadata found"))
}

fn content(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).call(|| "read archive")?;
    Ok(bytes)
}

const META: &str = "meta.json";
/// As Docker's bound for what it imports.
const BYTES_MAX: u64 = 10 << 20;
