//! The lines of a progress stream, as `pull`, `push`, `load` and `import` show them.
//!
//! On a terminal each object keeps its line, which is drawn anew in place; elsewhere bars are left out.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use api::progress::{Message, WIDTH_DEFAULT};
use client::Answer;
use fault::{Error, Result};

use crate::exit::Exit;
use crate::terminal;

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Stdout,
    Stderr,
    Nowhere,
}

/// Shows a stream to its end; an error in it is an error.
pub(crate) async fn show(answer: Answer, place: Place) -> Result<()> {
    let mut lines = answer.lines::<Message>();
    let mut screen = Screen::default();
    let mut notes = Vec::new();
    while let Some(message) = lines.next().await? {
        if let Some(detail) = &message.error_detail {
            return Err(Error::internal(detail.message.clone()));
        }
        if !message.error.is_empty() {
            return Err(Error::internal(message.error));
        }
        // What programs are told beside the words is mostly not for people.
        match &message.aux {
            None => place.write(&screen.text(&message, place.width()))?,
            Some(aux) => notes.extend(note_of(aux)),
        }
    }
    notes.iter().try_for_each(|text| note(text)).map_err(|exit| Error::unavailable(exit.message))
}

/// What a push has to say of several platforms.
fn note_of(aux: &serde_json::Value) -> Option<String> {
    let digest = |name: &str| aux.pointer(&format!("/{name}/digest"))?.as_str();
    let (index, manifest) = (digest("originalIndex")?, digest("selectedManifest")?);
    Some(format!(
        "Not all multiplatform-content is present and only the available single-platform image was pushed\n\
         \x1b[31m{index}\x1b[0m -> \x1b[32m{manifest}\x1b[0m"
    ))
}

/// A remark, set off from what is told of the work.
pub(crate) fn note(text: &str) -> Result<(), Exit> {
    terminal::print(&format!("\n Info -> {}\n", text.replace('\n', "\n         ")))
}

impl Place {
    /// Columns of the terminal, if it is one.
    fn width(self) -> Option<usize> {
        match self {
            Self::Stdout => width(io::stdout()),
            Self::Stderr => width(io::stderr()),
            Self::Nowhere => None,
        }
    }

    fn write(self, text: &str) -> Result<()> {
        let written = match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => terminal::print(text),
            Self::Stderr => terminal::write_error(text.as_bytes()),
        };
        written.map_err(|exit: Exit| Error::unavailable(exit.message))
    }
}

fn width(stream: impl AsFd + IsTerminal) -> Option<usize> {
    let columns = |stream| sys::tty::size(stream).map_or(WIDTH_DEFAULT, |size| size.width.into());
    stream.is_terminal().then(|| columns(stream))
}

/// The objects whose lines stand at the end of what was shown, by id; the first has the highest line.
#[derive(Default)]
struct Screen {
    rows: HashMap<String, usize>,
}

impl Screen {
    /// What to write for a message.
    fn text(&mut self, message: &Message, terminal: Option<usize>) -> String {
        let moves =
            !message.id.is_empty() && (message.progress_detail.is_some() || !message.progress.is_empty());
        if !moves {
            // Whatever comes between would make us count lines wrong.
            self.rows.clear();
        }
        let Some(width) = terminal else { return plain(message) };
        if !moves {
            return drawn(message, width);
        }
        let count = self.rows.len();
        let is_new = !self.rows.contains_key(&message.id);
        let row = *self.rows.entry(message.id.clone()).or_insert(count);
        let up = self.rows.len() - row;
        let begin = if is_new { "\n" } else { "" };
        format!("{begin}\x1b[{up}A{}\x1b[{up}B", drawn(message, width))
    }
}

/// A line for a pipe or a file; a bar that moves gives none.
fn plain(message: &Message) -> String {
    match message.progress_detail {
        Some(detail) if detail.current > 0 || detail.total > 0 => String::new(),
        _ if !message.progress.is_empty() => format!("{} {}", head(message), message.progress),
        _ if !message.stream.is_empty() => head(message) + &message.stream,
        _ => head(message) + "\n",
    }
}

/// On a terminal: what has a bar stays on its line.
fn drawn(message: &Message, width: usize) -> String {
    match message.progress_detail {
        Some(detail) if message.stream.is_empty() => {
            format!("\x1b[2K\r{} {}\r", head(message), detail.drawn(width))
        }
        _ => plain(message),
    }
}

fn head(message: &Message) -> String {
    let status = if message.stream.is_empty() { message.status.as_str() } else { "" };
    match message.id.as_str() {
        "" => status.to_owned(),
        id => format!("{id}: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use api::progress::Detail;

    use super::*;

    fn moving(id: &str, status: &str, current: i64, total: i64) -> Message {
        let progress_detail = Some(Detail { current, total });
        Message { id: id.into(), progress_detail, ..Message::status(status) }
    }

    fn with_id(id: &str, status: &str) -> Message {
        Message { id: id.into(), ..Message::status(status) }
    }

    fn shown(messages: &[Message], terminal: Option<usize>) -> String {
        let mut screen = Screen::default();
        messages.iter().map(|message| screen.text(message, terminal)).collect()
    }

    #[test]
    fn a_pipe_gets_words_and_no_bars() {
        let text = shown(
            &[
                with_id("latest", "Pulling from library/busybox"),
                moving("ab", "Pulling fs layer", 0, 0),
                moving("ab", "Downloading", 1, 2),
                moving("ab", "Pull complete", 0, 0),
                Message::status("Status: Downloaded newer image for busybox:latest"),
                Message::stream("Loaded image: a:latest\n"),
            ],
            None,
        );
        assert_eq!(
            text,
            "latest: Pulling from library/busybox\nab: Pulling fs layer\nab: Pull complete\n\
             Status: Downloaded newer image for busybox:latest\nLoaded image: a:latest\n"
        );
    }

    #[test]
    fn a_terminal_gets_a_line_for_each_object() {
        let text = shown(
            &[
                with_id("latest", "Pulling from library/busybox"),
                moving("ab", "Waiting", 0, 0),
                moving("cd", "Waiting", 0, 0),
                moving("ab", "Downloading", 500, 1000),
                Message::status("Status: done"),
                moving("ab", "Waiting", 0, 0),
            ],
            Some(80),
        );
        assert_eq!(
            text,
            "latest: Pulling from library/busybox\n\
             \n\x1b[1A\x1b[2K\rab: Waiting \r\x1b[1B\
             \n\x1b[1A\x1b[2K\rcd: Waiting \r\x1b[1B\
             \x1b[2A\x1b[2K\rab: Downloading     500B/1kB\r\x1b[2B\
             Status: done\n\
             \n\x1b[1A\x1b[2K\rab: Waiting \r\x1b[1B"
        );
    }
}
