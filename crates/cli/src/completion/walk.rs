//! From the words in front to what is wanted next. Pure.

use crate::command::{Command, GLOBAL, GROUPS, Group, PLAIN, Section};
use crate::flags::Flag;

/// What may stand where the cursor is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Words(Vec<Proposal>),
    Things(Things),
    /// Or anything else that we do not know.
    Files,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) word: String,
    pub(super) about: &'static str,
}

impl Proposal {
    pub(super) fn bare(word: String) -> Self {
        Self { word, about: "" }
    }
}

/// What has names that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Things {
    Containers,
    /// Those that run.
    Running,
    /// Those that do not.
    Resting,
    Images,
    Volumes,
    Networks,
    Contexts,
}

/// How far the words in front have led.
enum Place {
    Root,
    Group(&'static Group),
    Command { name: &'static str, command: &'static Command, args: usize, flags_over: bool },
}

pub(super) fn wanted(before: &[String], begun: &str) -> Wanted {
    let mut place = Place::Root;
    let mut words = before.iter();
    while let Some(word) = words.next() {
        if !place.takes_flag(word) {
            match place.enter(word) {
                Some(next) => place = next,
                None => return Wanted::Files,
            }
        } else if let Some(flag) = place.flag_that_waits(word)
            && words.next().is_none()
        {
            return value_of(flag);
        }
    }
    match place.wanted(begun) {
        Wanted::Things(Things::Resting) if is_forced(before) => Wanted::Things(Things::Containers),
        wanted => wanted,
    }
}

fn is_forced(words: &[String]) -> bool {
    words.iter().any(|word| matches!(word.as_str(), "-f" | "--force"))
}

impl Place {
    fn flags(&self) -> Vec<&'static Flag> {
        match self {
            Self::Root => GLOBAL.iter().collect(),
            Self::Group(_) => Vec::new(),
            Self::Command { command, .. } => command.flags.iter().flat_map(|part| part.iter()).collect(),
        }
    }

    fn takes_flag(&self, word: &str) -> bool {
        self.may_begin_flag(word) && word.len() > 1 && word != "--"
    }

    fn may_begin_flag(&self, word: &str) -> bool {
        word.starts_with('-') && !matches!(self, Self::Command { flags_over: true, .. })
    }

    /// The flag at the end of a word whose value is the next word.
    fn flag_that_waits(&self, word: &str) -> Option<&'static Flag> {
        let takes_value = |flag: &&Flag| !flag.kind.is_empty();
        if let Some(name) = word.strip_prefix("--") {
            return self.flags().into_iter().find(|flag| flag.long == name).filter(takes_value);
        }
        for (place, letter) in word.char_indices().skip(1) {
            let flag = self.flags().into_iter().find(|flag| flag.short == Some(letter))?;
            if takes_value(&flag) {
                let is_last = place + letter.len_utf8() == word.len();
                return is_last.then_some(flag);
            }
        }
        None
    }

    /// `None` if the word leads nowhere.
    fn enter(self, word: &str) -> Option<Self> {
        let at = |name, command| Self::Command { name, command, args: 0, flags_over: false };
        match self {
            Self::Root => {
                let command = PLAIN.iter().find(|entry| entry.name == word);
                let group = || GROUPS.iter().find(|group| group.name == word).map(Self::Group);
                command.map(|entry| at(entry.name, entry.command)).or_else(group)
            }
            Self::Group(group) => {
                let entry = group.entries.iter().find(|entry| entry.is_called(word))?;
                Some(at(entry.name, entry.command))
            }
            Self::Command { name, command, args, flags_over: false } if word == "--" => {
                Some(Self::Command { name, command, args, flags_over: true })
            }
            Self::Command { name, command, args, flags_over } => {
                let flags_over = flags_over || command.ends_flags();
                Some(Self::Command { name, command, args: args + 1, flags_over })
            }
        }
    }

    fn wanted(&self, begun: &str) -> Wanted {
        if self.may_begin_flag(begun) {
            return match begun.contains('=') {
                true => Wanted::Files,
                false => {
                    Wanted::Words(self.flags().into_iter().filter(|flag| !flag.hidden).map(flag).collect())
                }
            };
        }
        match self {
            Self::Root => {
                let shown = PLAIN.iter().filter(|entry| entry.section != Section::Hidden);
                let plain = shown.map(|entry| named(entry.name, entry.command.about));
                let groups = GROUPS.iter().map(|group| named(group.name, group.about));
                Wanted::Words(plain.chain(groups).collect())
            }
            Self::Group(group) => {
                let entries = group.entries.iter();
                Wanted::Words(entries.map(|entry| named(entry.name, entry.command.about)).collect())
            }
            Self::Command { name, command, args, .. } => argument(name, command.usage, *args),
        }
    }
}

fn named(word: &str, about: &'static str) -> Proposal {
    Proposal { word: word.to_owned(), about: about.lines().next().unwrap_or_default() }
}

fn flag(flag: &'static Flag) -> Proposal {
    named(&format!("--{}", flag.long), flag.help)
}

/// What a command wants in a place, as its usage line says.
fn argument(command: &str, usage: &str, place: usize) -> Wanted {
    let words: Vec<&str> = usage.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
    let last = words.last().filter(|word| word.contains("...")).copied();
    let Some(word) = words.get(place).copied().or(last) else { return Wanted::Words(Vec::new()) };
    let word = word.trim_start_matches('[').split(['[', ']', '.', '|']).next().unwrap_or_default();
    match word {
        "CONTAINER" if OF_RUNNING.contains(&command) => Wanted::Things(Things::Running),
        "CONTAINER" if OF_RESTING.contains(&command) => Wanted::Things(Things::Resting),
        "CONTAINER" => Wanted::Things(Things::Containers),
        "IMAGE" | "SOURCE_IMAGE" => Wanted::Things(Things::Images),
        "NAME" if command == "push" => Wanted::Things(Things::Images),
        "VOLUME" => Wanted::Things(Things::Volumes),
        "NETWORK" => Wanted::Things(Things::Networks),
        "CONTEXT" => Wanted::Things(Things::Contexts),
        "SHELL" => Wanted::Words(SHELLS.iter().map(|shell| named(shell, "")).collect()),
        "NAME" | "SERVER" | "TERM" => Wanted::Words(Vec::new()),
        _ => Wanted::Files,
    }
}

/// Commands that are of use for containers that run only.
const OF_RUNNING: &[&str] = &["attach", "exec", "kill", "pause", "stats", "stop", "top", "unpause"];

/// Commands that are of use for those that do not run; `rm -f` is for all.
const OF_RESTING: &[&str] = &["rm", "start"];

pub(crate) const SHELLS: &[&str] = &["bash", "fish", "powershell", "zsh"];

fn value_of(flag: &Flag) -> Wanted {
    match flag.long {
        "network" | "net" => Wanted::Things(Things::Networks),
        "volumes-from" | "link" => Wanted::Things(Things::Containers),
        "context" => Wanted::Things(Things::Contexts),
        long => match VALUES.iter().find(|(name, _)| *name == long) {
            Some((_, values)) => Wanted::Words(values.iter().map(|value| named(value, "")).collect()),
            None => Wanted::Files,
        },
    }
}

/// Flags whose values are few.
const VALUES: &[(&str, &[&str])] = &[
    ("log-level", &["debug", "info", "warn", "error", "fatal"]),
    ("log-driver", &["json-file", "none"]),
    ("pull", &["always", "missing", "never"]),
    ("restart", &["always", "no", "on-failure", "unless-stopped"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The words in front, and behind a bar the one that is begun.
    fn words(line: &str) -> Vec<String> {
        let (before, begun) = line.split_once('|').unwrap();
        let before: Vec<String> = before.split_whitespace().map(Into::into).collect();
        match wanted(&before, begun) {
            Wanted::Words(proposals) => {
                let words = proposals.into_iter().map(|proposal| proposal.word);
                words.filter(|word| word.starts_with(begun)).collect()
            }
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn commands_and_flags_come_from_the_tree() {
        assert_eq!(words("|im"), ["images", "import", "image"]);
        assert_eq!(words("|__"), [""; 0]);
        assert_eq!(words("-D --log-level debug volume|"), ["create", "inspect", "ls", "prune", "rm"]);
        assert_eq!(words("rm -f|--"), ["--force", "--link", "--volumes"]);
        assert_eq!(words("container remove|--v"), ["--volumes"]);
        assert_eq!(words("|--con"), ["--config", "--context"]);
        assert_eq!(words("nope|"), ["Files"]);
    }

    #[test]
    fn arguments_are_what_the_usage_says() {
        assert_eq!(words("rm one|"), ["Things(Resting)"]);
        assert_eq!(words("rm -f one|"), ["Things(Containers)"]);
        assert_eq!(words("stop|"), ["Things(Running)"]);
        assert_eq!(words("run -it --rm -e A=b|"), ["Things(Images)"]);
        assert_eq!(words("run busybox|--x"), ["Files"]);
        assert_eq!(words("network connect|"), ["Things(Networks)"]);
        assert_eq!(words("network connect net|"), ["Things(Containers)"]);
        assert_eq!(words("volume rm -- -x|"), ["Things(Volumes)"]);
        assert_eq!(words("tag a|"), ["Files"]);
        assert_eq!(words("wait|"), ["Things(Containers)"]);
    }

    #[test]
    fn flags_that_take_a_value_get_one() {
        assert_eq!(words("run --network|"), ["Things(Networks)"]);
        assert_eq!(words("run --restart|o"), ["on-failure"]);
        assert_eq!(words("run -itv|"), ["Files"]);
        assert_eq!(words("run -v/a:/b|"), ["Things(Images)"]);
        assert_eq!(words("run --env=A=b|"), ["Things(Images)"]);
        assert_eq!(words("--context|"), ["Things(Contexts)"]);
        assert_eq!(words("run|--network=x"), ["Files"]);
    }
}
