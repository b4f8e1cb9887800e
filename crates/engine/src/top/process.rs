//! A process as /proc shows it, and what is needed of the machine to put it into words.

use std::collections::HashMap;

use fault::{Kind, Result};

/// One process at one moment. Times are in ticks, a hundredth of a second each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) tty: u32,
    pub(super) foreground_group: i32,
    pub(super) state: char,
    pub(super) user_ticks: u64,
    pub(super) kernel_ticks: u64,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Since boot.
    pub(super) start: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_pages: u64,
    pub(super) cpu: u32,
    pub(super) name: String,
    /// Empty for what has no memory of its own any more.
    pub(super) arguments: Vec<String>,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Process {
    /// `None` if it has ended. Blocks.
    pub(super) fn read(pid: i32) -> Result<Option<Self>> {
        let read = |file: &str| sys::fs::read(format!("/proc/{pid}/{file}"));
        let files = read("stat").and_then(|stat| Ok((stat, read("status")?, read("cmdline")?)));
        match files {
            Ok((stat, status, line)) => Ok(Self::parse(
                &String::from_utf8_lossy(&stat),
                &String::from_utf8_lossy(&status),
                &String::from_utf8_lossy(&line),
            )),
            Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(sys::errno::ESRCH) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// From the texts of `stat`, `status` and `cmdline` (proc_pid_stat(5)).
    pub(super) fn parse(stat: &str, status: &str, line: &str) -> Option<Self> {
        // A name may hold blanks and parentheses itself.
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The documentation counts from one, and two fields are taken off already.
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let signed = |number: usize| field(number).parse().unwrap_or(0);
        let natural = |number: usize| field(number).parse().unwrap_or(0);
        let number = |number: usize| field(number).parse().unwrap_or(0_i64);
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: field(3).chars().next()?,
            parent: signed(4),
            group: signed(5),
            session: signed(6),
            tty: u32::try_from(natural(7)).unwrap_or(0),
            foreground_group: signed(8),
            user_ticks: natural(14),
            kernel_ticks: natural(15),
            priority: number(18),
            nice: number(19),
            threads: natural(20),
            start: natural(22),
            virtual_bytes: natural(23),
            resident_pages: natural(24),
            cpu: u32::try_from(natural(39)).unwrap_or(0),
            arguments: line.split_terminator('\0').map(str::to_owned).collect(),
            uid: effective(status, "Uid:"),
            gid: effective(status, "Gid:"),
        })
    }

    pub(super) fn ticks(&self) -> u64 {
        self.user_ticks + self.kernel_ticks
    }
}

/// The second number of a line of `status`.
fn effective(status: &str, key: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// What the processes are shown against.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// Unix seconds.
    pub(super) now: i64,
    pub(super) boot: i64,
    pub(super) zone: Option<jiff::tz::TimeZone>,
    pub(super) memory_bytes: u64,
    pub(super) page_bytes: u64,
    pub(super) users: HashMap<u32, String>,
    pub(super) groups: HashMap<u32, String>,
}

impl Machine {
    /// Blocks.
    pub(super) fn read() -> Result<Self> {
        let now = sys::time::Timestamp::now().seconds;
        let up = i64::try_from(sys::time::boottime().as_secs()).unwrap_or(0);
        let names = |file: &str| -> Result<HashMap<u32, String>> {
            Ok(names(&sys::fs::read_to_string_if_exists(file)?.unwrap_or_default()))
        };
        Ok(Self {
            now,
            boot: now - up,
            zone: Some(jiff::tz::TimeZone::system()),
            memory_bytes: crate::stats::Host::read()?.memory,
            page_bytes: PAGE_BYTES,
            users: names("/etc/passwd")?,
            groups: names("/etc/group")?,
        })
    }
}

/// On both architectures of ours, as their usual kernels are built.
const PAGE_BYTES: u64 = 4096;

/// Number to name, of a file like /etc/passwd or /etc/group.
fn names(text: &str) -> HashMap<u32, String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    let mut names = HashMap::new();
    for (number, name) in text.lines().filter_map(entry) {
        names.entry(number).or_insert(name);
    }
    names
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::top) const STAT: &str = "42 (a) (b) S 1 42 42 34817 42 4194304 100 0 0 0 6100 200 0 0 20 0 3 0 \
         360000 10485760 512 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
    pub(in crate::top) const STATUS: &str = "Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t0\t33\t0\t0\n";

    #[test]
    fn the_fields_stand_where_the_manual_says() {
        let process = Process::parse(STAT, STATUS, "sleep\0a b\0").unwrap();
        insta::assert_debug_snapshot!(process);
    }

    #[test]
    fn garbage_is_no_process() {
        assert_eq!(Process::parse("", "", ""), None);
        assert_eq!(Process::parse("42 (x", "", ""), None);
    }

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = names("root:x:0:0::/:/bin/sh\nfoo:x:5:5::\nbar:x:5:5::\nbroken\n");
        assert_eq!((names[&0].as_str(), names[&5].as_str(), names.len()), ("root", "foo", 2));
    }
}
