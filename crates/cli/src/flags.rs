//! Flags as Docker's command line has them: a table for each command, values checked while they are parsed.
//!
//! The grammar and the error texts are those that scripts know (`flag needs an argument: 'e' in -e`), which no general
//! argument parser gives; hence a small one of our own. What was typed becomes [`Matches`]; what it means is each
//! command's affair.

mod check;
mod csv;
mod help;
mod parse;

use api::units;

pub(crate) use check::{bool as parse_bool, duration as parse_duration, unsigned as parse_unsigned};
pub(crate) use csv::fields as csv_fields;
pub(crate) use help::{group as group_help, page as help_page, root as root_help, usage_line};
pub(crate) use parse::parse;

/// Checks one value and returns it as it is to be kept.
pub(crate) type Check = fn(&str) -> Result<String, String>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// The word after the flag in help; empty for a switch, which takes no value of its own.
    pub(crate) kind: &'static str,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
    pub(crate) check: Option<Check>,
    pub(crate) hidden: bool,
    /// What to use instead.
    pub(crate) deprecated: Option<&'static str>,
    /// The flag under whose name values are kept.
    pub(crate) stands_for: Option<&'static str>,
}

impl Flag {
    const fn new(long: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self {
            long,
            short: None,
            kind,
            default: "",
            help,
            check: None,
            hidden: false,
            deprecated: None,
            stands_for: None,
        }
    }

    pub(crate) const fn switch(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "", help).checked(check::switch)
    }

    pub(crate) const fn string(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "string", help)
    }

    /// May be given many times.
    pub(crate) const fn list(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "list", help)
    }

    /// May be given many times, with several values at a time.
    pub(crate) const fn strings(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "strings", help).checked(check::strings)
    }

    pub(crate) const fn int(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "int", help).checked(check::int)
    }

    pub(crate) const fn bytes(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "bytes", help).checked(check::size)
    }

    pub(crate) const fn span(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "duration", help).checked(check::span)
    }

    pub(crate) const fn filter(help: &'static str) -> Self {
        Self::new("filter", "filter", help).checked(check::filter)
    }

    pub(crate) const fn map(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "map", help)
    }

    pub(crate) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(crate) const fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    pub(crate) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(crate) const fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    pub(crate) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    pub(crate) const fn deprecated(self, instead: &'static str) -> Self {
        Self { deprecated: Some(instead), hidden: true, ..self }
    }

    pub(crate) const fn stands_for(self, long: &'static str) -> Self {
        Self { stands_for: Some(long), hidden: true, ..self }
    }

    fn key(&self) -> &'static str {
        self.stands_for.unwrap_or(self.long)
    }

    fn is_help(&self) -> bool {
        self.long == HELP.long
    }
}

/// The flag that every table has. Its letter is deprecated, and free for others.
const HELP: Flag = Flag::switch("help", "Print usage").short('h');

/// What was typed: checked values in their order, and the words that are no flags.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    table: Vec<&'static Flag>,
    values: Vec<(&'static Flag, String)>,
    pub(crate) args: Vec<String>,
    /// What the user should know about the flags used.
    pub(crate) remarks: Vec<String>,
    /// The command as it was called: `kogge container ls`.
    pub(crate) path: String,
}

impl Matches {
    pub(crate) fn called_as(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub(crate) fn is_given(&self, long: &str) -> bool {
        self.values.iter().any(|(flag, _)| flag.key() == long)
    }

    /// The page is wanted that tells how to call the command.
    pub(crate) fn asks_help(&self) -> bool {
        self.is_on(HELP.long)
    }

    /// How many flags were given.
    pub(crate) fn flags_given(&self) -> usize {
        self.values.len()
    }

    /// The last value, or the default.
    pub(crate) fn text(&self, long: &str) -> &str {
        match self.values.iter().rev().find(|(flag, _)| flag.key() == long) {
            Some((_, value)) => value,
            None => self.preset(long),
        }
    }

    pub(crate) fn list(&self, long: &str) -> Vec<String> {
        self.values.iter().filter(|(flag, _)| flag.key() == long).map(|(_, value)| value.clone()).collect()
    }

    /// The values of a flag that takes several at a time.
    pub(crate) fn strings(&self, long: &str) -> Vec<String> {
        self.list(long).iter().filter_map(|line| csv::fields(line).ok()).flatten().collect()
    }

    pub(crate) fn is_on(&self, long: &str) -> bool {
        self.text(long) == "true"
    }

    pub(crate) fn int(&self, long: &str) -> i64 {
        check::integer(self.text(long)).unwrap_or_default()
    }

    pub(crate) fn bytes(&self, long: &str) -> i64 {
        units::bytes(self.text(long)).unwrap_or_default()
    }

    /// Nanoseconds.
    pub(crate) fn span(&self, long: &str) -> i64 {
        check::duration(self.text(long)).unwrap_or_default()
    }

    pub(crate) fn filters(&self) -> api::filters::Filters {
        let mut filters = api::filters::Filters::default();
        for value in self.list("filter") {
            if let Some((name, value)) = value.split_once('=') {
                filters.insert(name.trim().to_lowercase(), value.trim());
            }
        }
        filters
    }

    fn preset(&self, long: &str) -> &str {
        match self.table.iter().find(|flag| flag.long == long) {
            Some(flag) => flag.default,
            None => panic!("the flag --{long} is not in this command's table"),
        }
    }
}
