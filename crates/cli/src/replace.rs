//! Becoming another program: its signals, terminal and exit code are its own then.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use fault::{Error, Result};

/// Returns only if that cannot be. `variables` are set beside our own.
pub(crate) fn replace(program: &Path, words: &[String], variables: &[(&str, String)]) -> Error {
    match execute(program, words, variables) {
        Ok(error) => Error::io(format!("execve {}", program.display()), error),
        Err(error) => error,
    }
}

/// Why it did not go on as the program.
fn execute(program: &Path, words: &[String], variables: &[(&str, String)]) -> Result<std::io::Error> {
    let words = words.iter().map(OsString::from);
    let args = std::iter::once(program.as_os_str().to_owned()).chain(words);
    let args = args.map(terminated).collect::<Result<Vec<_>>>()?;
    let is_kept = |name: &OsStr| !variables.iter().any(|(set, _)| name == *set);
    let own = std::env::vars_os().filter(|(name, _)| is_kept(name));
    let set = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let env = own.chain(set).map(pair).collect::<Result<Vec<_>>>()?;
    Ok(sys::process::execve(&terminated(program.as_os_str().to_owned())?, &args, &env))
}

fn pair((mut name, value): (OsString, OsString)) -> Result<CString> {
    name.push("=");
    name.push(value);
    terminated(name)
}

fn terminated(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|_| Error::invalid("a word has a zero byte"))
}
