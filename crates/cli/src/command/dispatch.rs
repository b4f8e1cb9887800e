//! The way from the words on the command line to the command that is meant, and what is said on the way.

use fault::Error;

use super::tree::{Entry, GLOBAL, GROUPS, Group, LATER, LATER_IN_GROUPS, PLAIN};
use super::{Args, Command, version};
use crate::PROGRAM;
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{self, Matches, Parsed};
use crate::terminal;

/// Runs what the words ask for.
pub(crate) fn dispatch(words: &[String]) -> Outcome {
    let global = match flags::parse(&[GLOBAL], false, words) {
        Ok(Parsed::Matches(matches)) => matches,
        Ok(Parsed::Help { by_short }) => return show_root_help(by_short),
        Err(message) => {
            return Err(misuse(&message, &format!("{PROGRAM} [OPTIONS] COMMAND [ARG...]"), PROGRAM));
        }
    };
    if global.is_on("version") {
        return terminal::line(version::short());
    }
    let words = global.args.clone();
    match words.split_first() {
        None => terminal::write_error(flags::root_help(terminal::width()).as_bytes()),
        Some((help, topic)) if help == "help" => show_topic(topic),
        Some((name, rest)) => find(name, rest)?.call(global),
    }
}

/// A command as it was called.
struct Call {
    command: &'static Command,
    path: String,
    words: Vec<String>,
}

fn find(name: &str, rest: &[String]) -> Outcome<Call> {
    if let Some(entry) = PLAIN.iter().find(|entry| entry.name == name) {
        let path = format!("{PROGRAM} {name}");
        return Ok(Call { command: entry.command, path, words: rest.to_vec() });
    }
    if let Some(group) = GROUPS.iter().find(|group| group.name == name) {
        return find_in(group, rest);
    }
    if LATER.contains(&name) {
        return Err(Error::unsupported(format!("{PROGRAM} {name}")).into());
    }
    if let Some(flag) = rest.iter().find(|word| word.starts_with("--")) {
        let usage = format!("{PROGRAM} [OPTIONS] COMMAND [ARG...]");
        return Err(misuse(&format!("unknown flag: {flag}"), &usage, PROGRAM));
    }
    Err(Exit::failure(format!(
        "{PROGRAM}: unknown command: {PROGRAM} {name}\n\nRun '{PROGRAM} --help' for more information"
    )))
}

fn find_in(group: &'static Group, words: &[String]) -> Outcome<Call> {
    let path = format!("{PROGRAM} {}", group.name);
    let words = match flags::parse(&[], false, words) {
        Ok(Parsed::Matches(matches)) => matches.args,
        Ok(Parsed::Help { .. }) => return terminal::print(&flags::group_help(group)).and(Err(done())),
        Err(message) => return Err(misuse(&message, &path, &path)),
    };
    let Some((name, rest)) = words.split_first() else {
        return terminal::write_error(flags::group_help(group).as_bytes()).and(Err(done()));
    };
    let called = |entry: &&Entry| entry.name == name || entry.aliases.contains(&name.as_str());
    if let Some(entry) = group.entries.iter().find(called) {
        let path = format!("{path} {}", entry.name);
        return Ok(Call { command: entry.command, path, words: rest.to_vec() });
    }
    let later = LATER_IN_GROUPS.iter().any(|(of, names)| *of == group.name && names.contains(&name.as_str()));
    if later {
        return Err(Error::unsupported(format!("{path} {name}")).into());
    }
    // Docker says what follows for this group only.
    let rest = if group.name == "volume" { " COMMAND" } else { "" };
    Err(Exit::failure(format!(
        "{PROGRAM}: unknown command: {path} {name}\n\nUsage:  {path}{rest}\n\nRun '{path} --help' for more information"
    )))
}

impl Call {
    fn call(self, global: Matches) -> Outcome {
        let Some(matches) = self.matches()? else { return Ok(()) };
        matches.remarks.iter().try_for_each(terminal::line)?;
        self.command.args.check(&self, matches.args.len())?;
        let cli = Cli::new(global);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::failure(format!("starting the runtime: {error}")))?;
        let outcome = runtime.block_on((self.command.run)(&cli, matches));
        // A thread that still reads the terminal must not hold the command back.
        runtime.shutdown_background();
        outcome
    }

    /// The flags; `None` if only the help page was asked for.
    fn matches(&self) -> Outcome<Option<Matches>> {
        match flags::parse(self.command.flags, self.command.interspersed, &self.words) {
            Ok(Parsed::Matches(matches)) => Ok(Some(matches.called_as(&self.path))),
            Ok(Parsed::Help { by_short }) => self.show_help(by_short).map(|()| None),
            Err(message) => Err(misuse(&message, &self.usage(), &self.path)),
        }
    }

    fn usage(&self) -> String {
        flags::usage_line(self.command, &self.path)
    }

    fn show_help(&self, by_short: bool) -> Outcome {
        if by_short {
            terminal::line(SHORT_HELP)?;
        }
        terminal::print(&flags::help_page(self.command, &self.path, terminal::width()))
    }
}

impl Args {
    fn check(self, call: &Call, count: usize) -> Outcome {
        let words =
            |number: usize| if number == 1 { "1 argument".into() } else { format!("{number} arguments") };
        let problem = match self {
            Self::None if count > 0 => "accepts no arguments".to_owned(),
            Self::Exactly(number) if count != number => format!("requires {}", words(number)),
            Self::AtLeast(number) if count < number => format!("requires at least {}", words(number)),
            Self::AtMost(number) if count > number => format!("requires at most {}", words(number)),
            Self::Between(least, most) if count < least || count > most => {
                format!("requires at least {least} and at most {}", words(most))
            }
            _ => return Ok(()),
        };
        // Docker's wording differs here and nowhere else.
        let verb = if matches!(self, Self::AtLeast(_)) { "See" } else { "Run" };
        let (path, usage) = (&call.path, call.usage());
        Err(Exit::failure(format!(
            "{PROGRAM}: '{path}' {problem}\n\nUsage:  {usage}\n\n{verb} '{path} --help' for more information"
        )))
    }
}

/// A mistake in the flags. 125 is Docker's code for that, whatever the command.
fn misuse(message: &str, usage: &str, path: &str) -> Exit {
    Exit::new(125, format!("{message}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"))
}

/// Nothing is left to do, and that is no failure.
fn done() -> Exit {
    Exit::new(0, "")
}

fn show_root_help(by_short: bool) -> Outcome {
    if by_short {
        terminal::line(SHORT_HELP)?;
    }
    terminal::print(&flags::root_help(terminal::width()))
}

fn show_topic(topic: &[String]) -> Outcome {
    let Some((name, rest)) = topic.split_first() else {
        return show_root_help(false);
    };
    if let (Some(group), true) = (GROUPS.iter().find(|group| group.name == name), rest.is_empty()) {
        return terminal::print(&flags::group_help(group));
    }
    match find(name, rest) {
        Ok(call) if call.words.is_empty() => call.show_help(false),
        _ => Err(Exit::failure(format!("unknown help topic: {}", topic.join(" ")))),
    }
}

const SHORT_HELP: &str = "Flag shorthand -h has been deprecated, use --help";

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        dispatch(&words).unwrap_err().message
    }

    #[test]
    fn unknown_words_get_dockers_answers() {
        assert_eq!(
            failure("foo"),
            "kogge: unknown command: kogge foo\n\nRun 'kogge --help' for more information"
        );
        assert_eq!(
            failure("container foo"),
            "kogge: unknown command: kogge container foo\n\nUsage:  kogge container\n\n\
             Run 'kogge container --help' for more information"
        );
        assert_eq!(failure("build ."), "not supported: kogge build");
        assert_eq!(failure("help nope"), "unknown help topic: nope");
    }
}
