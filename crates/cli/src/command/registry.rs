//! `kogge registry …`: becomes `kogged registry …`, which serves images to others and needs no daemon.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use fault::{Error, Result};

use crate::autostart;
use crate::exit::Outcome;

/// Returns only if that cannot be.
pub(super) fn run(words: &[String]) -> Outcome {
    let program = autostart::program()?.into_os_string();
    let args = [program.clone(), "registry".into()].into_iter().chain(words.iter().map(OsString::from));
    let args = args.map(terminated).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os().map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        terminated(pair)
    });
    let env = env.collect::<Result<Vec<_>>>()?;
    let place = program.display().to_string();
    let error = sys::process::execve(&terminated(program)?, &args, &env);
    Err(Error::io(format!("execve {place}"), error).into())
}

fn terminated(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|_| Error::invalid("a word has a zero byte"))
}
