//! The way from the words on the command line to the command that is meant, and what is said on the way.

use std::path::PathBuf;

use fault::Error;

use super::tree::{GLOBAL, GROUPS, Group, LATER, LATER_IN_GROUPS, PLAIN};
use super::{Args, Command, registry, version};
use crate::PROGRAM;
use crate::cli::Cli;
use crate::completion;
use crate::exit::{Exit, Outcome};
use crate::flags::{self, Matches};
use crate::plugin;
use crate::terminal;

/// Runs what the words ask for.
pub(crate) fn dispatch(words: &[String]) -> Outcome {
    // With flags that are another program's, or that are not finished.
    match words {
        [first, rest @ ..] if first == "registry" => return registry::run(rest),
        [first, rest @ ..] if first == "__complete" => return completion::answer(rest, true),
        [first, rest @ ..] if first == "__completeNoDesc" => return completion::answer(rest, false),
        _ => {}
    }
    let global = flags::parse(&[GLOBAL], false, words).map_err(|message| misuse(&message, USAGE, PROGRAM))?;
    for remark in &global.remarks {
        terminal::warn(format_args!("{remark}"));
    }
    set_log_level(&global)?;
    if global.is_on("version") && global.args.is_empty() {
        return terminal::line(version::short());
    }
    let asks_help = global.asks_help();
    let cli = Cli::new(global);
    let args = plugin::unaliased(&cli, cli.args(), is_own)?;
    if let Some(program) = plugin_of(&cli, &args) {
        let in_front = words.len() - cli.args().len();
        return plugin::run(&cli, &program, &[&words[..in_front], &args[..]].concat());
    }
    match find(&args, asks_help)? {
        Target::Command(call) => call.call(&cli),
        Target::Page { text, wanted: true } => terminal::print(&text),
        Target::Page { text, wanted: false } => terminal::write_error(text.as_bytes()),
    }
}

fn is_own(name: &str) -> bool {
    PLAIN.iter().any(|entry| entry.name == name) || GROUPS.iter().any(|group| group.name == name)
}

fn plugin_of(cli: &Cli, args: &[String]) -> Option<PathBuf> {
    args.first().filter(|name| !is_own(name)).and_then(|name| plugin::find(cli, name))
}

/// Less than an error is never logged here, so only what silences errors has an effect.
fn set_log_level(global: &Matches) -> Outcome {
    let level = global.text("log-level").to_lowercase();
    let silent = match level.as_str() {
        "panic" | "fatal" => !global.is_on("debug"),
        "error" | "warn" | "warning" | "info" | "debug" | "trace" => false,
        _ => {
            let given = global.text("log-level");
            return Err(Exit::failure(format!("Unable to parse logging level: {given}")));
        }
    };
    terminal::quiet_log(silent);
    Ok(())
}

/// Shows the page of a command, a group, or without words the program's.
pub(super) fn show_topic(topic: &[String]) -> Outcome {
    let unknown = |words: &[String]| Err(Exit::failure(format!("unknown help topic: {}", words.join(" "))));
    match find(topic, false) {
        Ok(Target::Command(call)) if call.words.is_empty() => call.show_help(),
        Ok(Target::Command(call)) => unknown(&call.words),
        Ok(Target::Page { text, .. }) => terminal::print(&text),
        Err(exit) if is_later(topic) => Err(exit),
        Err(_) => unknown(match topic {
            [group, rest @ ..] if GROUPS.iter().any(|known| known.name == group) => rest,
            all => all,
        }),
    }
}

/// What the words stand for.
enum Target {
    Command(Call),
    /// The page of the program or of a group, because it was `wanted` or because nothing else was.
    Page {
        text: String,
        wanted: bool,
    },
}

/// A command as it was called.
struct Call {
    command: &'static Command,
    path: String,
    words: Vec<String>,
}

fn find(words: &[String], asks_help: bool) -> Outcome<Target> {
    let page = |wanted| Target::Page { text: flags::root_help(terminal::width()), wanted };
    let Some((name, rest)) = next(words, asks_help) else { return Ok(page(asks_help)) };
    if let Some(entry) = PLAIN.iter().find(|entry| entry.name == name) {
        let path = format!("{PROGRAM} {name}");
        return Ok(Target::Command(Call { command: entry.command, path, words: rest }));
    }
    if let Some(group) = GROUPS.iter().find(|group| group.name == name) {
        return find_in(group, &rest);
    }
    if LATER.contains(&name) {
        return Err(Error::unsupported(format!("{PROGRAM} {name}")).into());
    }
    let rest = flags::parse(&[GLOBAL], true, &rest).map_err(|message| misuse(&message, USAGE, PROGRAM))?;
    match rest.asks_help() {
        true => Ok(page(true)),
        false => Err(Exit::failure(format!(
            "{PROGRAM}: unknown command: {PROGRAM} {name}\n\nRun '{PROGRAM} --help' for more information"
        ))),
    }
}

fn find_in(group: &'static Group, words: &[String]) -> Outcome<Target> {
    let path = format!("{PROGRAM} {}", group.name);
    let read = |interspersed, words: &[String]| {
        flags::parse(&[], interspersed, words).map_err(|message| misuse(&message, &path, &path))
    };
    let page = |matches: &Matches| Target::Page {
        text: matches.remarks.join("\n") + &flags::group_help(group),
        wanted: matches.asks_help(),
    };
    let matches = read(false, words)?;
    let Some((name, rest)) = next(&matches.args, matches.asks_help()) else { return Ok(page(&matches)) };
    if let Some(entry) = group.entries.iter().find(|entry| entry.is_called(name)) {
        let path = format!("{path} {}", entry.name);
        return Ok(Target::Command(Call { command: entry.command, path, words: rest }));
    }
    if is_later(&[group.name.to_owned(), name.to_owned()]) {
        return Err(Error::unsupported(format!("{path} {name}")).into());
    }
    let rest = read(true, &rest)?;
    if rest.asks_help() {
        return Ok(page(&rest));
    }
    // Docker says what follows for this group only.
    let usage = if group.name == "volume" { format!("{path} COMMAND") } else { path.clone() };
    Err(Exit::failure(format!(
        "{PROGRAM}: unknown command: {path} {name}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"
    )))
}

/// The first name, and what is left for it: a wish for help in front of a name is a wish for its help.
fn next(words: &[String], asks_help: bool) -> Option<(&str, Vec<String>)> {
    let (name, rest) = words.split_first()?;
    let help = asks_help.then(|| "--help".to_owned());
    Some((name, help.into_iter().chain(rest.iter().cloned()).collect()))
}

/// One of Docker's commands, known by name only.
fn is_later(words: &[String]) -> bool {
    match words {
        [name] => LATER.contains(&name.as_str()),
        [group, name, ..] => {
            LATER_IN_GROUPS.iter().any(|(of, names)| of == group && names.contains(&name.as_str()))
        }
        [] => false,
    }
}

impl Call {
    fn call(self, cli: &Cli) -> Outcome {
        let matches = self.matches()?;
        matches.remarks.iter().try_for_each(terminal::line)?;
        if matches.asks_help() {
            return self.show_help();
        }
        self.command.args.check(&self, &matches.args)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::failure(format!("starting the runtime: {error}")))?;
        let outcome = runtime.block_on((self.command.run)(cli, matches));
        // A thread that still reads the terminal must not hold the command back.
        runtime.shutdown_background();
        outcome
    }

    fn matches(&self) -> Outcome<Matches> {
        flags::parse(self.command.flags, self.command.interspersed, &self.words)
            .map(|matches| matches.called_as(&self.path))
            .map_err(|message| misuse(&message, &self.usage(), &self.path))
    }

    fn usage(&self) -> String {
        flags::usage_line(self.command, &self.path)
    }

    fn show_help(&self) -> Outcome {
        terminal::print(&flags::help_page(self.command, &self.path, terminal::width()))
    }
}

impl Args {
    fn check(self, call: &Call, given: &[String]) -> Outcome {
        let count = given.len();
        let words =
            |number: usize| if number == 1 { "1 argument".into() } else { format!("{number} arguments") };
        let problem = match self {
            Self::None if count > 0 => "accepts no arguments".to_owned(),
            Self::Exactly(number) if count != number => format!("requires {}", words(number)),
            Self::ExactlyUnless(number, is_own) if count != number && !is_own(given) => {
                format!("requires {}", words(number))
            }
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

/// How the program is called, in its own complaints.
const USAGE: &str = "kogge [OPTIONS] COMMAND [ARG...]";

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
        for line in ["build .", "--help build", "help build"] {
            assert_eq!(failure(line), "not supported: kogge build");
        }
        assert_eq!(failure("image build x"), "not supported: kogge image build");
        assert_eq!(failure("help image build"), "not supported: kogge image build");
    }
}
