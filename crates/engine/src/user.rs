//! Who a process runs as: `USER` in any of Docker's forms, looked up in the container's own passwd and group files.
//! Pure but for [`Accounts::read`].

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use fault::{Error, Kind, Result};
use sys::fs::OpenHow;

/// A resolved user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, sorted, without repetition; the first group is among them (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: PathBuf,
}

/// The account files of a root file system. Missing ones are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads both files, beneath the root. Blocks.
    pub(crate) fn read(root: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self { passwd: file(root, "etc/passwd")?, group: file(root, "etc/group")? })
    }

    /// `user`, `uid`, `user:group` with names or numbers; empty is root. `extra` are further groups.
    pub(crate) fn resolve(&self, text: &str, extra: &[String]) -> Result<User> {
        let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
        let account = self.account(if name.is_empty() { "0" } else { name })?;
        let gid = match group.filter(|group| !group.is_empty()) {
            Some(group) => self.group(group)?,
            None => account.gid,
        };
        let mut groups: Vec<u32> = match group {
            // A named group replaces the user's own ones.
            Some(group) if !group.is_empty() => Vec::new(),
            _ => self.groups_of(account.name),
        };
        groups.push(gid);
        for name in extra {
            groups.push(self.group(name)?);
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(User { uid: account.uid, gid, groups, home: account.home.into() })
    }

    fn account<'a>(&'a self, text: &str) -> Result<Account<'a>> {
        let mut accounts = self.passwd.lines().filter_map(Account::parse);
        let number = parse_id(text);
        let found = accounts.find(|account| account.name == text || number == Some(account.uid));
        match (found, number) {
            (Some(account), _) => Ok(account),
            (None, Some(uid)) => Ok(Account { name: "", uid, gid: 0, home: "/" }),
            (None, None) if is_number(text) => Err(out_of_range()),
            (None, None) => {
                let words = format!("unable to find user {text}: no matching entries in passwd file");
                Err(Error::invalid(words))
            }
        }
    }

    fn group(&self, text: &str) -> Result<u32> {
        let number = parse_id(text);
        let mut groups = self.group.lines().filter_map(Group::parse);
        let found = groups.find(|group| group.name == text || number == Some(group.gid));
        found.map(|group| group.gid).or(number).ok_or_else(|| match is_number(text) {
            true => out_of_range(),
            false => {
                Error::invalid(format!("unable to find group {text}: no matching entries in group file"))
            }
        })
    }

    fn groups_of(&self, name: &str) -> Vec<u32> {
        let groups = self.group.lines().filter_map(Group::parse);
        let member =
            |group: &Group<'_>| !name.is_empty() && group.members.split(',').any(|user| user == name);
        groups.filter(member).map(|group| group.gid).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    /// `name:password:uid:gid:comment:home:shell`; broken lines are skipped.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = parse_id(fields.nth(1)?)?;
        let gid = parse_id(fields.next()?)?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Self { name, uid, gid, home })
    }
}

#[derive(Clone, Copy, Debug)]
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    /// `name:password:gid:members`
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = parse_id(fields.nth(1)?)?;
        Some(Self { name, gid, members: fields.next().unwrap_or("") })
    }
}

/// Docker allows what fits into 31 bits.
fn parse_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= i32::MAX as u32)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn out_of_range() -> Error {
    Error::invalid("uids and gids must be in range 0-2147483647")
}

/// A file beneath the root; links are followed inside it. What is no regular file counts as missing.
fn file(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    let how = OpenHow { nonblock: true, ..OpenHow::READ };
    let opened = match sys::fs::open_beneath(root, Path::new(path), &how) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    if !sys::fs::fstat(&opened)?.is_file() {
        return Ok(String::new());
    }
    let bytes = sys::fs::read_file_bounded(&opened.into(), FILE_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Far above any real account file.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd:
                "root:x:0:0:root:/root:/bin/sh\nbroken\n\nwww:x:33:34:www:/var/www:/bin/sh\nnohome:x:7:7::\n"
                    .into(),
            group: "root:x:0:root\nbin:x:1:root,www\nwww:x:34:\naudio:x:29:www,x\n".into(),
        }
    }

    #[test]
    fn users_in_all_forms() {
        let check = |text: &str, uid: u32, gid: u32, groups: &[u32], home: &str| {
            let user = accounts().resolve(text, &[]).unwrap();
            let expected = User { uid, gid, groups: groups.into(), home: home.into() };
            assert_eq!(user, expected, "{text}");
        };
        check("", 0, 0, &[0, 1], "/root");
        check("root", 0, 0, &[0, 1], "/root");
        check("www", 33, 34, &[1, 29, 34], "/var/www");
        check("33", 33, 34, &[1, 29, 34], "/var/www");
        check("www:bin", 33, 1, &[1], "/var/www");
        check("www:77", 33, 77, &[77], "/var/www");
        check("1000", 1000, 0, &[0], "/");
        check("1000:1000", 1000, 1000, &[1000], "/");
        check(":34", 0, 34, &[34], "/root");
        check("nohome", 7, 7, &[7], "/");
    }

    #[test]
    fn groups_are_added() {
        let user = accounts().resolve("1000", &["audio".into(), "5".into(), "29".into()]).unwrap();
        assert_eq!(user.groups, [0, 5, 29]);
    }

    #[test]
    fn unknown_ones_get_docker_s_words() {
        let words = |text: &str, extra: &[String]| accounts().resolve(text, extra).unwrap_err().to_string();
        assert_eq!(words("foo", &[]), "unable to find user foo: no matching entries in passwd file");
        assert_eq!(words("www:foo", &[]), "unable to find group foo: no matching entries in group file");
        assert_eq!(
            words("www", &["foo".into()]),
            "unable to find group foo: no matching entries in group file"
        );
        for number in ["4294967295", "-5", "0:-5"] {
            assert_eq!(words(number, &[]), "uids and gids must be in range 0-2147483647");
        }
    }

    #[test]
    fn an_empty_root_has_only_numbers() {
        let nobody = Accounts::default();
        assert_eq!(
            nobody.resolve("", &[]).unwrap(),
            User { groups: vec![0], home: "/".into(), ..User::default() }
        );
        assert!(nobody.resolve("www", &[]).is_err());
    }

    #[test]
    fn links_do_not_lead_out_of_the_root() {
        use std::os::fd::AsFd;
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "www:x:33:33::/www:/bin/sh\n").unwrap();
        let etc = outer.path().join("root/etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::os::unix::fs::symlink("../../secret", etc.join("passwd")).unwrap();
        let root = sys::fs::open_dir(outer.path().join("root")).unwrap();
        assert_eq!(Accounts::read(root.as_fd()).unwrap().passwd, "");
        std::os::unix::fs::symlink("/etc/group", etc.join("group")).unwrap();
        let looped = Accounts::read(root.as_fd()).unwrap_err();
        assert_eq!(looped.errno(), Some(sys::errno::ELOOP));
    }
}
