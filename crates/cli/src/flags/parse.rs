//! From words to checked values: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, clusters `-it`.

use super::{Flag, HELP, Matches};

/// Reads `words` by the table. With `interspersed`, flags may follow other words; else the first other word ends them.
/// Every table has `--help`, and `-h` where that is no flag of the table's own.
pub(crate) fn parse(
    table: &[&'static [Flag]],
    interspersed: bool,
    words: &[String],
) -> Result<Matches, String> {
    let flags: Vec<&'static Flag> = table.iter().flat_map(|part| part.iter()).chain([&HELP]).collect();
    let matches = Matches { table: flags, ..Matches::default() };
    let mut reading = Reading { matches, words: words.iter(), interspersed };
    reading.run()?;
    Ok(reading.matches)
}

struct Reading<'w> {
    matches: Matches,
    words: std::slice::Iter<'w, String>,
    interspersed: bool,
}

impl Reading<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(word) = self.words.next() {
            if word == "--" {
                break;
            }
            if let Some(long) = word.strip_prefix("--") {
                self.long(long, word)?;
            } else if word.len() > 1 && word.starts_with('-') {
                self.cluster(&word[1..])?;
            } else {
                self.matches.args.push(word.clone());
                if !self.interspersed {
                    break;
                }
            }
        }
        self.matches.args.extend(self.words.by_ref().cloned());
        Ok(())
    }

    fn long(&mut self, text: &str, word: &str) -> Result<(), String> {
        if text.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let flag = self.find(|flag| flag.long == name).ok_or_else(|| format!("unknown flag: --{name}"))?;
        let value = match value {
            Some(value) => value.to_owned(),
            None => self.value(flag, || format!("--{name}"))?,
        };
        self.keep(flag, &value)
    }

    fn cluster(&mut self, mut text: &str) -> Result<(), String> {
        while let Some(letter) = text.chars().next() {
            let rest = &text[letter.len_utf8()..];
            let flag = self
                .find(|flag| flag.short == Some(letter))
                .ok_or_else(|| format!("unknown shorthand flag: '{letter}' in -{text}"))?;
            if flag.is_help() {
                self.matches.remarks.push("Flag shorthand -h has been deprecated, use --help".into());
            }
            if let Some(value) = rest.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.keep(flag, value);
            }
            if flag.kind.is_empty() {
                self.keep(flag, "true")?;
                text = rest;
                continue;
            }
            let value = match rest {
                "" => self.value(flag, || format!("'{letter}' in -{text}"))?,
                rest => rest.to_owned(),
            };
            return self.keep(flag, &value);
        }
        Ok(())
    }

    /// The value of a flag that stands alone.
    fn value(&mut self, flag: &Flag, name: impl FnOnce() -> String) -> Result<String, String> {
        if flag.kind.is_empty() {
            return Ok("true".into());
        }
        let word = self.words.next().cloned();
        word.ok_or_else(|| format!("flag needs an argument: {}", name()))
    }

    fn keep(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        let checked = flag.check.map_or_else(|| Ok(value.to_owned()), |check| check(value));
        let checked = checked.map_err(|error| refusal(flag, value, &error))?;
        if let Some(instead) = flag.deprecated {
            self.matches.remarks.push(format!("Flag --{} has been deprecated, {instead}", flag.long));
        }
        self.matches.values.push((flag, checked));
        Ok(())
    }

    fn find(&self, wanted: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.matches.table.iter().copied().find(|flag| wanted(flag))
    }
}

fn refusal(flag: &Flag, value: &str, error: &str) -> String {
    let name = match flag.short {
        Some(short) if !flag.is_help() => format!("-{short}, --{}", flag.long),
        _ => format!("--{}", flag.long),
    };
    format!("invalid argument {value:?} for \"{name}\" flag: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Flag] = &[
        Flag::switch("interactive", "").short('i'),
        Flag::switch("tty", "").short('t'),
        Flag::list("env", "").short('e'),
        Flag::int("last", "").short('n').default("-1"),
        Flag::list("network", ""),
        Flag::list("net", "").stands_for("network"),
    ];

    fn read(line: &str, interspersed: bool) -> Result<Matches, String> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        parse(&[TABLE], interspersed, &words)
    }

    fn check(line: &str, wanted: &str) {
        let got = match read(line, true) {
            Ok(matches) => format!(
                "i={} t={} e={:?} n={} net={:?} args={:?}",
                matches.is_on("interactive"),
                matches.is_on("tty"),
                matches.list("env").join(","),
                matches.int("last"),
                matches.text("network"),
                matches.args.join(",")
            ),
            Err(message) => message,
        };
        assert_eq!(got, wanted, "{line}");
    }

    #[test]
    fn values_come_in_all_forms() {
        check("-it -e A=1 -eB=2 --env=C=3 x", r#"i=true t=true e="A=1,B=2,C=3" n=-1 net="" args="x""#);
        check("--tty=false x --last -5 y", r#"i=false t=false e="" n=-5 net="" args="x,y""#);
        check("-ti=false --net host - --", r#"i=false t=true e="" n=-1 net="host" args="-""#);
        check("-e=A -- -i", r#"i=false t=false e="A" n=-1 net="" args="-i""#);
    }

    #[test]
    fn mistakes_have_the_texts_people_know() {
        check("--nope", "unknown flag: --nope");
        check("-itx", "unknown shorthand flag: 'x' in -x");
        check("-ie", "flag needs an argument: 'e' in -e");
        check("--env", "flag needs an argument: --env");
        check("---env", "bad flag syntax: ---env");
        check(
            "-n x",
            r#"invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
        );
        check("--help --nope", "unknown flag: --nope");
        check(
            "--help=x",
            r#"invalid argument "x" for "--help" flag: strconv.ParseBool: parsing "x": invalid syntax"#,
        );
    }

    #[test]
    fn help_is_a_flag_of_every_table() {
        let asks = |line: &str| read(line, true).unwrap().asks_help();
        assert!(asks("--help") && asks("x --help") && asks("-h") && asks("-ith"));
        assert!(!asks("--help=false") && !asks("-- --help") && !asks("x"));
        assert_eq!(read("-h", true).unwrap().remarks, ["Flag shorthand -h has been deprecated, use --help"]);
    }

    #[test]
    fn the_first_other_word_may_end_the_flags() {
        let matches = read("-i image --tty -e", false).unwrap();
        assert_eq!(matches.args, ["image", "--tty", "-e"]);
        assert!(!matches.is_on("tty"));
    }
}
