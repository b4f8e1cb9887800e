//! Which commands there are, and under which names: alone, and in groups.

use super::{
    Command, attach, commit, completion, context, cp, create, diff, events, exec, export, help, history,
    image_adopt, image_convert, image_diff, image_pin, image_prune, images, import, info, inspect, kill,
    load, login, logout, logs, manifest, network, pause, port, prune, ps, pull, push, rename, restart, rm,
    rmi, run, save, search, sign, start, stats, stop, system_check, system_df, system_prune, tag, top, trust,
    unpause, update, verify, version, volume, wait,
};
use crate::flags::Flag;

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
    /// Known, but not on the program's page.
    Hidden,
}

const fn entry(name: &'static str, command: &'static Command) -> Entry {
    Entry { name, aliases: &[], section: Section::Other, command }
}

impl Entry {
    const fn common(self) -> Self {
        Self { section: Section::Common, ..self }
    }

    const fn hidden(self) -> Self {
        Self { section: Section::Hidden, ..self }
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
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
    entry("completion", &completion::COMMAND).hidden(),
    entry("cp", &cp::COMMAND),
    entry("create", &create::COMMAND),
    entry("diff", &diff::COMMAND),
    entry("events", &events::COMMAND),
    entry("export", &export::COMMAND),
    entry("help", &help::COMMAND).hidden(),
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
    entry("sign", &sign::COMMAND),
    entry("start", &start::COMMAND),
    entry("stats", &stats::COMMAND),
    entry("stop", &stop::COMMAND),
    entry("tag", &tag::COMMAND),
    entry("top", &top::COMMAND),
    entry("unpause", &unpause::COMMAND),
    entry("update", &update::COMMAND),
    entry("verify", &verify::COMMAND),
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
        entries: &[
            entry("create", &context::CREATE),
            entry("export", &context::EXPORT),
            entry("import", &context::IMPORT),
            entry("inspect", &context::INSPECT),
            entry("ls", &context::LIST).aliases(&["list"]),
            entry("rm", &context::REMOVE).aliases(&["remove"]),
            entry("show", &context::SHOW),
            entry("update", &context::UPDATE),
            entry("use", &context::USE),
        ],
    },
    Group {
        name: "image",
        about: "Manage images",
        entries: &[
            entry("adopt", &image_adopt::COMMAND),
            entry("convert", &image_convert::COMMAND),
            entry("diff", &image_diff::COMMAND),
            entry("history", &history::COMMAND),
            entry("import", &import::COMMAND),
            entry("inspect", &inspect::IMAGE),
            entry("load", &load::COMMAND),
            entry("ls", &images::COMMAND).aliases(&["list"]),
            entry("pin", &image_pin::PIN),
            entry("prune", &image_prune::COMMAND),
            entry("pull", &pull::COMMAND),
            entry("push", &push::COMMAND),
            entry("rm", &rmi::COMMAND).aliases(&["rmi", "remove"]),
            entry("save", &save::COMMAND),
            entry("tag", &tag::COMMAND),
            entry("unpin", &image_pin::UNPIN),
        ],
    },
    Group {
        name: "manifest",
        about: "Manage Docker image manifests and manifest lists",
        entries: &[
            entry("annotate", &manifest::ANNOTATE),
            entry("create", &manifest::CREATE),
            entry("inspect", &manifest::INSPECT),
            entry("push", &manifest::PUSH),
            entry("rm", &manifest::REMOVE),
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
            entry("check", &system_check::COMMAND),
            entry("df", &system_df::COMMAND),
            entry("events", &events::COMMAND),
            entry("info", &info::COMMAND),
            entry("prune", &system_prune::COMMAND),
        ],
    },
    Group {
        name: "trust",
        about: "Manage keys and see what is asked of images",
        entries: &[entry("key", &trust::KEY), entry("policy", &trust::POLICY)],
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
pub(super) const LATER: &[&str] = &[
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
];

/// Commands of groups that are known by name only.
pub(super) const LATER_IN_GROUPS: &[(&str, &[&str])] = &[
    ("image", &["build"]),
    ("system", &["dial-stdio"]),
    ("trust", &["inspect", "revoke", "sign", "signer"]),
    ("volume", &["update"]),
];

#[cfg(test)]
mod tests {
    use super::*;

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
