//! A file of `user:hash` lines, the hashes bcrypt's, as Docker's registry takes it. Read anew when it has changed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fault::{Doing, Error, Result};
use oci::Digest;
use sys::fs;
use sys::time::Timestamp;

#[derive(Debug)]
pub(crate) struct Htpasswd {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    read: Option<Timestamp>,
    users: HashMap<String, String>,
    /// Digests of what was right once: bcrypt is slow on purpose, and clients send their password with every request.
    right: HashSet<Digest>,
}

impl Htpasswd {
    /// Reads the file, so that a wrong one stops the start.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let htpasswd = Self { path, state: Mutex::default() };
        htpasswd.refresh(&mut htpasswd.lock())?;
        Ok(htpasswd)
    }

    /// Whether the password was found right before, and the file has not changed since.
    pub(crate) fn is_remembered(&self, user: &str, password: &str) -> Result<bool> {
        let mut state = self.lock();
        self.refresh(&mut state)?;
        Ok(state.right.contains(&mark(user, password)))
    }

    /// Whether the password is the user's. Blocks for as long as bcrypt takes.
    pub(crate) fn is_right(&self, user: &str, password: &str) -> Result<bool> {
        let (hash, read) = {
            let mut state = self.lock();
            self.refresh(&mut state)?;
            (state.users.get(user).cloned(), state.read)
        };
        // A user that does not exist takes as long as a wrong password.
        let right =
            bcrypt::verify(password, hash.as_deref().unwrap_or(NOBODY)).unwrap_or(false) && hash.is_some();
        let mut state = self.lock();
        // Not if the file has changed while bcrypt worked.
        if right && state.read == read {
            state.right.insert(mark(user, password));
        }
        Ok(right)
    }

    fn refresh(&self, state: &mut State) -> Result<()> {
        let reading = || format!("reading the password file {}", self.path.display());
        let changed = fs::metadata(&self.path).doing(reading)?.mtime;
        if state.read == Some(changed) {
            return Ok(());
        }
        let text = String::from_utf8(fs::read_bounded(&self.path, BYTES_MAX).doing(reading)?)
            .map_err(|_| Error::invalid("it is not UTF-8").doing(reading()))?;
        *state = State { read: Some(changed), users: users(&text).doing(reading)?, right: HashSet::new() };
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(user: &str, password: &str) -> Digest {
    Digest::sha256(format!("{user}:{password}").as_bytes())
}

fn users(text: &str) -> Result<HashMap<String, String>> {
    let mut users = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        let (user, hash) = line
            .split_once(':')
            .ok_or_else(|| Error::invalid(format!("line {number} is not of the form user:hash")))?;
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
            return Err(Error::invalid(format!(
                "line {number}: the hash of {user} is not bcrypt's (use `htpasswd -B`)"
            )));
        }
        users.insert(user.to_owned(), hash.to_owned());
    }
    Ok(users)
}

/// A hash that nobody's password has.
const NOBODY: &str = "$2b$10$......................................................";
/// Thousands of users.
const BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_users_and_their_hashes() {
        let read = users("# ours\n\nann:$2y$05$abc\n").unwrap();
        assert_eq!(read["ann"], "$2y$05$abc");
        let refused = users("ann:$apr1$x").unwrap_err().to_string();
        assert_eq!(refused, "line 1: the hash of ann is not bcrypt's (use `htpasswd -B`)");
        assert_eq!(users("x\nann").unwrap_err().to_string(), "line 1 is not of the form user:hash");
    }

    #[test]
    fn a_changed_file_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        let write = |password: &str, seconds: u64| {
            std::fs::write(&path, format!("ann:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        };
        write("one", 1);
        let htpasswd = Htpasswd::open(path.clone()).unwrap();
        assert!(htpasswd.is_right("ann", "one").unwrap());
        assert!(htpasswd.is_right("ann", "one").unwrap());
        assert!(!htpasswd.is_right("ann", "two").unwrap());
        assert!(!htpasswd.is_right("bob", "one").unwrap());
        write("two", 2);
        assert!(htpasswd.is_right("ann", "two").unwrap());
        assert!(!htpasswd.is_right("ann", "one").unwrap());
    }
}
