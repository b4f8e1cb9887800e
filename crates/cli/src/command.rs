//! The commands: their table, and the way from the words on the command line to the one that is meant.

mod archive_file;
mod attach;
mod commit;
mod context;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod history;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod many;
mod moment;
mod network;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod transfer;
mod unpause;
mod update;
mod version;
mod volume;
mod wait;

use std::future::Future;
use std::pin::Pin;

use api::filters::Filters;
use fault::Error;
use oci::Reference;

use crate::PROGRAM;
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{self, Flag, Matches, Parsed};
use crate::format::human;
use crate::terminal;

/// One command, wherever it stands in the tree.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) about: &'static str,
    /// What follows the command's name in its usage line.
    pub(crate) usage: &'static str,
    /// All ways to call it.
    pub(crate) also: &'static str,
    pub(crate) flags: &'static [&'static [Flag]],
    args: Args,
    /// Flags may follow other words.
    interspersed: bool,
    run: Run,
}

type Run = for<'c> fn(&'c Cli, Matches) -> Pin<Box<dyn Future<Output = Outcome> + 'c>>;

impl Command {
    const fn new(about: &'static str, usage: &'static str, args: Args, run: Run) -> Self {
        Self { about, usage, also: "", flags: &[], args, interspersed: true, run }
    }

    const fn also(self, also: &'static str) -> Self {
        Self { also, ..self }
    }

    const fn flags(self, flags: &'static [&'static [Flag]]) -> Self {
        Self { flags, ..self }
    }

    /// The first word that is no flag ends the flags: what follows belongs to another program.
    const fn flags_first(self) -> Self {
        Self { interspersed: false, ..self }
    }
}

/// How many words a command takes.
#[derive(Clone, Copy, Debug)]
enum Args {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// A command's place in a list.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    aliases: &'static [&'static str],
    pub(crate) section: Section,
    pub(crate) command: &'static Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Common,
    Other,
}

const fn entry(name: &'static str, command: &'static Command) -> Entry {
    Entry { name, aliases: &[], section: Section::Other, command }
}

impl Entry {
    const fn common(self) -> Self {
        Self { section: Section::Common, ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

/// Commands about one kind of thing: `kogge volume …`.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) entries: &'static [Entry],
}

pub(crate) const PLAIN: &[Entry] = &[
    entry("run", &run::COMMAND).common(),
    entry("exec", &exec::COMMAND).common(),
    entry("ps", &ps::COMMAND).common(),
    entry("pull", &pull::COMMAND).common(),
    entry("push", &push::COMMAND).common(),
    entry("images", &images::COMMAND).common(),
    entry("login", &login::COMMAND).common(),
    entry("logout", &logout::COMMAND).common(),
    entry("search", &search::COMMAND).common(),
    entry("version", &version::COMMAND).common(),
    entry("info", &info::COMMAND).common(),
    entry("attach", &attach::COMMAND),
    entry("commit", &commit::COMMAND),
    entry("cp", &cp::COMMAND),
    entry("create", &create::COMMAND),
    entry("diff", &diff::COMMAND),
    entry("events", &events::COMMAND),
    entry("export", &export::COMMAND),
    entry("history", &history::COMMAND),
    entry("import", &import::COMMAND),
    entry("inspect", &inspect::COMMAND),
    entry("kill", &kill::COMMAND),
    entry("load", &load::COMMAND),
    entry("logs", &logs::COMMAND),
    entry("pause", &pause::COMMAND),
    entry("port", &port::COMMAND),
    entry("rename", &rename::COMMAND),
    entry("restart", &restart::COMMAND),
    entry("rm", &rm::COMMAND),
    entry("rmi", &rmi::COMMAND),
    entry("save", &save::COMMAND),
    entry("start", &start::COMMAND),
    entry("stats", &stats::COMMAND),
    entry("stop", &stop::COMMAND),
    entry("tag", &tag::COMMAND),
    entry("top", &top::COMMAND),
    entry("unpause", &unpause::COMMAND),
    entry("update", &update::COMMAND),
    entry("wait", &wait::COMMAND),
];

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "container",
        about: "Manage containers",
        entries: &[
            entry("attach", &attach::COMMAND),
            entry("commit", &commit::COMMAND),
            entry("cp", &cp::COMMAND),
            entry("create", &create::COMMAND),
            entry("diff", &diff::COMMAND),
            entry("exec", &exec::COMMAND),
            entry("export", &export::COMMAND),
            entry("inspect", &inspect::CONTAINER),
            entry("kill", &kill::COMMAND),
            entry("logs", &logs::COMMAND),
            entry("ls", &ps::COMMAND).aliases(&["ps", "list"]),
            entry("pause", &pause::COMMAND),
            entry("port", &port::COMMAND),
            entry("prune", &prune::COMMAND),
            entry("rename", &rename::COMMAND),
            entry("restart", &restart::COMMAND),
            entry("rm", &rm::COMMAND).aliases(&["remove"]),
            entry("run", &run::COMMAND),
            entry("start", &start::COMMAND),
            entry("stats", &stats::COMMAND),
            entry("stop", &stop::COMMAND),
            entry("top", &top::COMMAND),
            entry("unpause", &unpause::COMMAND),
            entry("update", &update::COMMAND),
            entry("wait", &wait::COMMAND),
        ],
    },
    Group {
        name: "context",
        about: "Manage contexts",
        entries: &[entry("ls", &context::LIST).aliases(&["list"]), entry("show", &context::SHOW)],
    },
    Group {
        name: "image",
        about: "Manage images",
        entries: &[
            entry("history", &history::COMMAND),
            entry("import", &import::COMMAND),
            entry("inspect", &inspect::IMAGE),
            entry("load", &load::COMMAND),
            entry("ls", &images::COMMAND).aliases(&["list"]),
            entry("prune", &image_prune::COMMAND),
            entry("pull", &pull::COMMAND),
            entry("push", &push::COMMAND),
            entry("rm", &rmi::COMMAND).aliases(&["rmi", "remove"]),
            entry("save", &save::COMMAND),
            entry("tag", &tag::COMMAND),
        ],
    },
    Group {
        name: "network",
        about: "Manage networks",
        entries: &[
            entry("connect", &network::CONNECT),
            entry("create", &network::CREATE),
            entry("disconnect", &network::DISCONNECT),
            entry("inspect", &inspect::NETWORK),
            entry("ls", &network::LIST).aliases(&["list"]),
            entry("prune", &network::PRUNE),
            entry("rm", &network::REMOVE).aliases(&["remove"]),
        ],
    },
    Group {
        name: "system",
        about: "Manage the engine",
        entries: &[
            entry("df", &system_df::COMMAND),
            entry("events", &events::COMMAND),
            entry("info", &info::COMMAND),
            entry("prune", &system_prune::COMMAND),
        ],
    },
    Group {
        name: "volume",
        about: "Manage volumes",
        entries: &[
            entry("create", &volume::CREATE),
            entry("inspect", &inspect::VOLUME),
            entry("ls", &volume::LIST).aliases(&["list"]),
            entry("prune", &volume::PRUNE),
            entry("rm", &volume::REMOVE).aliases(&["remove"]),
        ],
    },
];

/// Flags that stand before the command.
pub(crate) const GLOBAL: &[Flag] = &[
    Flag::string("config", "Folder of the client's settings"),
    Flag::string("context", "Context that leads to the daemon; goes before DOCKER_HOST").short('c'),
    Flag::switch("debug", "Say more").short('D'),
    Flag::list("host", "Where the daemon listens").short('H'),
    Flag::string("log-level", "Least level to log").short('l').default("info"),
    Flag::switch("tls", "Use TLS").hidden(),
    Flag::string("tlscacert", "Trust this authority").hidden(),
    Flag::string("tlscert", "Certificate to show").hidden(),
    Flag::string("tlskey", "Key of the certificate").hidden(),
    Flag::switch("tlsverify", "Use TLS and verify the daemon").hidden(),
    Flag::switch("version", "Print the version and quit").short('v'),
];

/// Docker's other commands, known by name only.
const LATER: &[&str] = &[
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "manifest",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// Commands of groups that are known by name only.
const LATER_IN_GROUPS: &[(&str, &[&str])] = &[
    ("context", &["create", "export", "import", "inspect", "rm", "update", "use"]),
    ("image", &["build"]),
    ("system", &["dial-stdio"]),
    ("volume", &["update"]),
];

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
        None => terminal::write_error(flags::root_help(GLOBAL, terminal::width()).as_bytes()),
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
    terminal::print(&flags::root_help(GLOBAL, terminal::width()))
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

/// `--format` of lists.
const FORMAT: Flag =
    Flag::string("format", "Lay the output out: `table`, `table TEMPLATE`, `json`, or a Go template");

/// `--format` of what shows one object.
const INSPECT_FORMAT: Flag =
    Flag::string("format", "Lay the output out: `json`, or a Go template").short('f');

/// Flags of all prunes.
const PRUNE: &[Flag] =
    &[Flag::filter("Remove only what fits"), Flag::switch("force", "Do not ask").short('f')];

/// The keys that leave a process: the flag's, or those of the user's settings.
fn detach_keys(cli: &Cli, matches: &Matches) -> String {
    match matches.text("detach-keys") {
        "" => cli.config().detach_keys.clone(),
        keys => keys.to_owned(),
    }
}

/// Seconds, if any were named.
fn stop_timeout(matches: &Matches) -> Outcome<Option<i64>> {
    match (matches.is_given("timeout"), matches.is_given("time")) {
        (true, true) => Err(Exit::failure("conflicting options: cannot specify both --timeout and --time")),
        (true, false) => Ok(Some(matches.int("timeout"))),
        (false, true) => Ok(Some(matches.int("time"))),
        (false, false) => Ok(None),
    }
}

/// Repository and tag of a new image's name, which may be empty. Without a tag the daemon takes `latest`.
fn image_name(text: &str) -> Outcome<(String, String)> {
    if text.is_empty() {
        return Ok((String::new(), String::new()));
    }
    let reference = Reference::parse(text)?;
    if reference.digest().is_some() {
        return Err(Exit::failure("refusing to create a tag with a digest reference"));
    }
    let reference = reference.with_default_tag();
    Ok((reference.canonical_name(), reference.tag().unwrap_or_default().to_owned()))
}

fn refuse_platform(matches: &Matches) -> Outcome {
    match matches.text("platform") {
        "" => Ok(()),
        _ => Err(Error::unsupported("--platform").into()),
    }
}

/// Go's words for a file that does not open.
fn unopenable(path: &str, error: &std::io::Error) -> Exit {
    Exit::failure(crate::create::unreadable(path, error))
}

/// The user's filters, and those of the settings that do not contradict them.
fn prune_filters(cli: &Cli, matches: &Matches) -> Filters {
    let mut filters = matches.filters();
    for (name, value) in cli.config().prune_filters.iter().filter_map(|filter| filter.split_once('=')) {
        let opposite = match name {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !filters.values(opposite).any(|known| known == value) {
            filters.insert(name, value);
        }
    }
    filters
}

/// What a prune removed.
struct Pruned {
    text: String,
    bytes: u64,
}

impl Pruned {
    fn new(title: &str, names: &[String], bytes: u64) -> Self {
        match names {
            [] => Self { text: String::new(), bytes },
            names => Self { text: format!("{title}\n{}\n\n", names.join("\n")), bytes },
        }
    }

    fn show(&self) -> Outcome {
        terminal::print(&self.text)
    }
}

fn reclaimed(pruned: Pruned) -> Outcome {
    pruned.show()?;
    let bytes = i64::try_from(pruned.bytes).unwrap_or(i64::MAX);
    terminal::line(format!("Total reclaimed space: {}", human::size_exact(bytes)))
}

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

    #[test]
    fn every_command_has_a_name_of_its_own() {
        for entries in std::iter::once(PLAIN).chain(GROUPS.iter().map(|group| group.entries)) {
            let mut names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            names.sort_unstable();
            let before = names.len();
            names.dedup();
            assert_eq!(names.len(), before);
        }
    }
}
