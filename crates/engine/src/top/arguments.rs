//! The arguments of `ps` that clients of `top` send. Pure.

use fault::{Error, Result};

use super::column::{self, Column};

/// The columns that are asked for. Which processes is not for the arguments to say: those of the container.
pub(super) fn columns(arguments: &str) -> Result<Vec<Column>> {
    let mut wanted = Wanted::default();
    let mut words = arguments.split_whitespace();
    while let Some(word) = words.next() {
        let format = wanted.word(word)?;
        if let Some(attached) = format {
            let list = if attached.is_empty() { words.next().unwrap_or_default() } else { attached };
            wanted.own(list)?;
        }
    }
    let columns = wanted.columns();
    if !columns.iter().any(Column::is_pid) {
        return Err(Error::internal("Couldn't find PID field in ps output"));
    }
    Ok(columns)
}

#[derive(Debug, Default)]
struct Wanted {
    own: Vec<Column>,
    shape: Option<&'static [&'static str]>,
}

impl Wanted {
    /// Takes a word; if it ends with the letter `o`, what is attached to that as the format.
    fn word<'a>(&mut self, word: &'a str) -> Result<Option<&'a str>> {
        let refused = || Error::unsupported(format!("ps arguments {word:?}"));
        if let Some(long) = word.strip_prefix("--") {
            return long
                .strip_prefix("format")
                .map(|list| Some(list.trim_start_matches('=')))
                .ok_or_else(refused);
        }
        let (letters, is_unix) = match word.strip_prefix('-') {
            Some(letters) => (letters, true),
            None => (word, false),
        };
        for (index, letter) in letters.char_indices() {
            match letter {
                'o' => return Ok(Some(&letters[index + 1..])),
                'f' if is_unix => self.shape = Some(column::FULL),
                'u' if !is_unix => self.shape = Some(column::USER),
                // Which processes, and how wide.
                'e' | 'A' | 'a' | 'x' | 'd' | 'w' => {}
                _ => return Err(refused()),
            }
        }
        Ok(None)
    }

    /// `pid,comm`, `pid,user=WHO`: names, the last of them with a title.
    fn own(&mut self, list: &str) -> Result<()> {
        if list.is_empty() {
            return Err(Error::invalid("ps: error: improper list"));
        }
        let (names, title) = match list.split_once('=') {
            Some((names, title)) => (names, Some(title)),
            None => (list, None),
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            self.own.push(Column::named(name)?);
        }
        if let (Some(title), Some(last)) = (title, self.own.last_mut()) {
            if last.is_pid() {
                return Err(Error::invalid(format!("specifying \"{list}\" is not allowed")));
            }
            last.title = title.to_owned();
        }
        Ok(())
    }

    fn columns(self) -> Vec<Column> {
        match (self.own.is_empty(), self.shape) {
            (false, _) => self.own,
            (true, shape) => column::shaped(shape.unwrap_or(column::FULL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> Result<String> {
        let titles = columns(arguments)?.into_iter().map(|column| column.title);
        Ok(titles.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_people_type_is_understood() {
        let table = [
            ("", "UID PID PPID C STIME TTY TIME CMD"),
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,args,%cpu", "PID COMMAND %CPU"),
            ("axo pid,user", "PID USER"),
            ("-opid -o comm=WHAT", "PID WHAT"),
            ("--format=pid,ppid", "PID PPID"),
        ];
        for (arguments, expected) in table {
            assert_eq!(titles(arguments).unwrap(), expected, "{arguments}");
        }
    }

    #[test]
    fn the_rest_is_refused() {
        let table = [
            ("-o pid,foo", "not supported: ps column \"foo\""),
            ("-p 1", "not supported: ps arguments \"-p\""),
            ("--forest", "not supported: ps arguments \"--forest\""),
            ("-o comm", "Couldn't find PID field in ps output"),
            ("-o pid=X", "specifying \"pid=X\" is not allowed"),
            ("-o", "ps: error: improper list"),
        ];
        for (arguments, expected) in table {
            assert_eq!(titles(arguments).unwrap_err().to_string(), expected, "{arguments}");
        }
    }
}
