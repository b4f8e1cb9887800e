//! What of a help page must be equal: how the command is called, its other names, its flags and their columns. What
//! the command and its flags do is told in words of our own.

/// All commands that stand on our pages, but for those that are ours alone. `page` is what a line of words prints.
pub(crate) fn commands(page: impl Fn(&str) -> String) -> Vec<String> {
    let root = page("--help");
    let mut commands = names(&root, &["Common Commands:", "Commands:"]);
    for group in names(&root, &["Management Commands:"]) {
        let inner = names(&page(&format!("{group} --help")), &["Commands:"]);
        commands.extend(inner.into_iter().map(|name| format!("{group} {name}")));
    }
    commands.retain(|command| !OWN.contains(&command.as_str()));
    assert!(commands.len() > 80, "{commands:?}");
    commands
}

/// Not Docker's.
const OWN: &[&str] = &[
    "image adopt",
    "image convert",
    "image diff",
    "image pin",
    "image unpin",
    "sign",
    "system check",
    "trust key",
    "trust policy",
    "verify",
];

/// What a page lists, in its order, without what is ours alone.
pub(crate) fn listed(page: &str) -> Vec<String> {
    let mut names = names(page, &["Common Commands:", "Management Commands:", "Commands:"]);
    names.retain(|name| !OWN.iter().any(|own| own.rsplit(' ').next() == Some(name)));
    names
}

/// The first words of the lines below one of the titles.
fn names(page: &str, titles: &[&str]) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in page.lines() {
        match line.strip_prefix("  ") {
            Some(row) if inside => names.extend(row.split(' ').next().map(str::to_owned)),
            Some(_) => {}
            None => inside = titles.contains(&line),
        }
    }
    names
}

/// The page without the text that tells what things do.
pub(crate) fn shape(page: &str) -> String {
    let mut kept = Vec::new();
    let mut part = "";
    for line in page.lines() {
        part = match line {
            "Aliases:" | "Options:" => line,
            _ if line.starts_with("Usage:") => "Usage:",
            "" if part == "Usage:" => "",
            _ => part,
        };
        match part {
            "Usage:" | "Aliases:" => kept.push(line.trim_end()),
            "Options:" => kept.extend(flag(line)),
            _ => {}
        }
    }
    kept.join("\n")
}

/// A flag, its letter and its kind, up to where the text begins.
fn flag(line: &str) -> Option<&str> {
    let start = line.find("--").filter(|_| line.starts_with("  -") || line.starts_with("      --"))?;
    let gap = start + line[start..].find("   ")?;
    let text = gap + line[gap..].find(|c| c != ' ')?;
    Some(&line[..text])
}
