//! The commands, one a module, and what a command is made of.

mod archive_file;
mod attach;
mod commit;
mod completion;
mod context;
mod cp;
mod create;
mod diff;
mod dispatch;
mod events;
mod exec;
mod export;
mod folder;
mod help;
mod history;
mod image_adopt;
mod image_convert;
mod image_diff;
mod image_pin;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod keys;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod many;
mod moment;
mod network;
mod pause;
mod port;
mod prune;
mod pruned;
mod ps;
mod pull;
mod push;
mod registry;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod sign;
mod start;
mod stats;
mod stop;
mod system_check;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod transfer;
mod tree;
mod trust;
mod unpause;
mod update;
mod verify;
mod version;
mod volume;
mod wait;

use std::future::Future;
use std::pin::Pin;

use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};

pub(crate) use dispatch::dispatch;
pub(crate) use tree::{GLOBAL, GROUPS, Group, PLAIN, Section};

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

    /// Whether the first word that is no flag ends the flags.
    pub(crate) fn ends_flags(&self) -> bool {
        !self.interspersed
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
    /// So many, unless the words fit a form of our own.
    ExactlyUnless(usize, fn(&[String]) -> bool),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// `--format` of lists.
const FORMAT: Flag =
    Flag::string("format", "Lay the output out: `table`, `table TEMPLATE`, `json`, or a Go template");

/// `--format` of what shows one object.
const INSPECT_FORMAT: Flag =
    Flag::string("format", "Lay the output out: `json`, or a Go template").short('f');

/// The keys that leave a process: the flag's, or those of the user's settings.
fn detach_keys(cli: &Cli, matches: &Matches) -> String {
    match matches.text("detach-keys") {
        "" => cli.config().detach_keys.clone(),
        keys => keys.to_owned(),
    }
}

/// Go's words for a file that does not open.
fn unopenable(path: &str, error: &std::io::Error) -> Exit {
    Exit::failure(crate::create::unreadable(path, error))
}
