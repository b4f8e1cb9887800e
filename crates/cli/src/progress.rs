//! The lines of a progress stream, as `load`, `import` and `pull` show them.

use std::collections::HashMap;

use api::progress::Message;
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
    let mut screen = Screen { place, rows: HashMap::new() };
    while let Some(message) = lines.next().await? {
        if let Some(detail) = &message.error_detail {
            return Err(Error::internal(detail.message.clone()));
        }
        if !message.error.is_empty() {
            return Err(Error::internal(message.error));
        }
        screen.show(&message)?;
    }
    Ok(())
}

/// On a terminal each id keeps its line; elsewhere bars are left out.
struct Screen {
    place: Place,
    rows: HashMap<String, usize>,
}

impl Screen {
    fn show(&mut self, message: &Message) -> Result<()> {
        let on_terminal = self.place == Place::Stdout && terminal::output_is_terminal();
        if !on_terminal {
            return self.write(&plain(message));
        }
        let rows = self.rows.len();
        let text = match message.id.as_str() {
            "" => plain(message),
            id => {
                let is_new = !self.rows.contains_key(id);
                let row = *self.rows.entry(id.to_owned()).or_insert(rows);
                let up = if is_new { 0 } else { rows - row };
                let (before, after) = (up_lines(up), down_lines(up.saturating_sub(1)));
                format!("{before}\x1b[2K\r{}\n{after}", row_text(message))
            }
        };
        self.write(&text)
    }

    fn write(&self, text: &str) -> Result<()> {
        let written = match self.place {
            Place::Nowhere => Ok(()),
            Place::Stdout => terminal::print(text),
            Place::Stderr => terminal::write_error(text.as_bytes()),
        };
        written.map_err(|exit: Exit| Error::unavailable(exit.message))
    }
}

/// A line for a pipe or a file; a bar that moves gives none.
fn plain(message: &Message) -> String {
    if !message.stream.is_empty() {
        return message.stream.clone();
    }
    let moves =
        !message.progress.is_empty() || message.progress_detail.is_some_and(|detail| detail.total > 0);
    if moves || message.status.is_empty() {
        return String::new();
    }
    format!("{}\n", row_text(message))
}

fn row_text(message: &Message) -> String {
    let mut text = match message.id.as_str() {
        "" => message.status.clone(),
        id => format!("{id}: {}", message.status),
    };
    if !message.progress.is_empty() {
        text.push(' ');
        text.push_str(&message.progress);
    }
    text
}

fn up_lines(count: usize) -> String {
    if count == 0 { String::new() } else { format!("\x1b[{count}A") }
}

fn down_lines(count: usize) -> String {
    if count == 0 { String::new() } else { format!("\x1b[{count}B") }
}

#[cfg(test)]
mod tests {
    use api::progress::Detail;

    use super::*;

    #[test]
    fn a_pipe_gets_words_and_no_bars() {
        assert_eq!(plain(&Message::stream("Loaded image: a:latest\n")), "Loaded image: a:latest\n");
        assert_eq!(plain(&Message::status("sha256:12")), "sha256:12\n");
        let moving = Message {
            id: "ab".into(),
            status: "Loading layer".into(),
            progress_detail: Some(Detail { current: 1, total: 2 }),
            ..Message::default()
        };
        assert_eq!(plain(&moving), "");
        let done = Message { progress_detail: None, ..moving };
        assert_eq!(plain(&done), "ab: Loading layer\n");
    }
}
