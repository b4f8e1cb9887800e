//! The mounts that a process sees, as the kernel lists them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use fault::{Call, Doing, Error, Result};

/// One line of /proc/PID/mountinfo, proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    pub id: u64,
    pub parent: u64,
    /// major:minor
    pub device: (u32, u32),
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where, relative to the process's root.
    pub target: PathBuf,
    pub options: String,
    /// `shared:1`, `master:2` and so on.
    pub tags: Vec<String>,
    pub kind: String,
    pub source: OsString,
    pub super_options: String,
}

/// The mounts that a process ("self" or a number) sees.
pub fn mountinfo(pid: &str) -> Result<Vec<MountInfo>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = std::fs::read(&path).call(|| format!("read {path}"))?;
    parse_mountinfo(&text).doing(|| path)
}

/// All lines of such a file.
pub fn parse_mountinfo(text: &[u8]) -> Result<Vec<MountInfo>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse_line(line).ok_or_else(|| Error::internal(String::from_utf8_lossy(line).into_owned()))
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let utf8 = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let number = |field: &[u8]| utf8(field)?.parse().ok();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = utf8(next()?)?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(next()?);
    let target = unescape(next()?);
    let options = utf8(next()?)?;
    let tags =
        std::iter::from_fn(&mut next).take_while(|field| *field != b"-").map(utf8).collect::<Option<_>>()?;
    Some(MountInfo {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: root.into(),
        target: target.into(),
        options,
        tags,
        kind: utf8(next()?)?,
        source: unescape(next()?),
        super_options: utf8(next()?)?,
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        if let Some(digits) = octal {
            bytes.push(
                digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
            );
            rest = &tail[3..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_parsed() {
        let line = br"36 35 98:0 /a\040b /mnt/c\134d rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let info = parse_line(line).unwrap();
        assert_eq!((info.id, info.parent, info.device), (36, 35, (98, 0)));
        assert_eq!((info.root.to_str().unwrap(), info.target.to_str().unwrap()), ("/a b", r"/mnt/c\d"));
        assert_eq!(info.tags, ["shared:1", "master:2"]);
        assert_eq!((info.kind.as_str(), info.super_options.as_str()), ("ext3", "rw,errors=continue"));
        assert!(parse_line(b"36 35 98 /").is_none());
    }
}
