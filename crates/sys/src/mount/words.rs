//! File systems by the words of mount(8): flags of mount(2), and what is left for the file system.

use std::path::Path;

use fault::Result;

use super::mount_legacy;

/// Comma-separated options, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// `MS_*`, without those of propagation.
    pub flags: u64,
    /// `MS_*` of propagation; they take a call of their own.
    pub propagation: u64,
    /// For the file system.
    pub data: String,
}

impl Words {
    pub fn parse(options: &str) -> Self {
        let mut words = Self::default();
        let mut data = Vec::new();
        for option in options.split(',').filter(|option| !matches!(*option, "" | "defaults")) {
            if let Some((_, flag)) = SET.iter().find(|(name, _)| *name == option) {
                words.flags |= flag;
            } else if let Some((_, flag)) = CLEAR.iter().find(|(name, _)| *name == option) {
                words.flags &= !flag;
            } else if let Some((_, flag)) = PROPAGATION.iter().find(|(name, _)| *name == option) {
                words.propagation |= flag;
            } else {
                data.push(option);
            }
        }
        words.data = data.join(",");
        words
    }

    /// mount(2), attached at a path of the host. A read-only bind needs a second call, as propagation does.
    pub fn mount(&self, source: &str, target: &Path, kind: &str) -> Result<()> {
        mount_legacy(source, target, kind, self.flags, &self.data)?;
        let finished = self.finish(target);
        if finished.is_err() {
            super::detach(target)?;
        }
        finished
    }

    fn finish(&self, target: &Path) -> Result<()> {
        if self.propagation != 0 {
            mount_legacy("", target, "", self.propagation, "")?;
        }
        let read_only_bind = libc::MS_BIND | libc::MS_RDONLY;
        if self.flags & read_only_bind == read_only_bind {
            mount_legacy("", target, "", self.flags | libc::MS_REMOUNT, "")?;
        }
        Ok(())
    }
}

type Table = &'static [(&'static str, u64)];

const SET: Table = &[
    ("ro", libc::MS_RDONLY),
    ("nosuid", libc::MS_NOSUID),
    ("nodev", libc::MS_NODEV),
    ("noexec", libc::MS_NOEXEC),
    ("sync", libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC),
    ("remount", libc::MS_REMOUNT),
    ("mand", libc::MS_MANDLOCK),
    ("noatime", libc::MS_NOATIME),
    ("nodiratime", libc::MS_NODIRATIME),
    ("relatime", libc::MS_RELATIME),
    ("strictatime", libc::MS_STRICTATIME),
    ("bind", libc::MS_BIND),
    ("rbind", libc::MS_BIND | libc::MS_REC),
];

const CLEAR: Table = &[
    ("rw", libc::MS_RDONLY),
    ("suid", libc::MS_NOSUID),
    ("dev", libc::MS_NODEV),
    ("exec", libc::MS_NOEXEC),
    ("async", libc::MS_SYNCHRONOUS),
    ("nomand", libc::MS_MANDLOCK),
    ("atime", libc::MS_NOATIME),
    ("diratime", libc::MS_NODIRATIME),
    ("norelatime", libc::MS_RELATIME),
    ("nostrictatime", libc::MS_STRICTATIME),
];

const PROPAGATION: Table = &[
    ("unbindable", libc::MS_UNBINDABLE),
    ("runbindable", libc::MS_UNBINDABLE | libc::MS_REC),
    ("private", libc::MS_PRIVATE),
    ("rprivate", libc::MS_PRIVATE | libc::MS_REC),
    ("shared", libc::MS_SHARED),
    ("rshared", libc::MS_SHARED | libc::MS_REC),
    ("slave", libc::MS_SLAVE),
    ("rslave", libc::MS_SLAVE | libc::MS_REC),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flags_or_the_file_system_s() {
        let words = Words::parse("defaults,ro,noexec,exec,rbind,rslave,size=10m,uid=7");
        assert_eq!(words.flags, libc::MS_RDONLY | libc::MS_BIND | libc::MS_REC);
        assert_eq!(words.propagation, libc::MS_SLAVE | libc::MS_REC);
        assert_eq!(words.data, "size=10m,uid=7");
        assert_eq!(Words::parse("ro,rw,"), Words::default());
    }
}
