//! What pulls and pushes have in common.

use fault::{Error, Result};
use oci::Reference;

use crate::cli::variable;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches, parse_bool};
use crate::terminal;

pub(super) const QUIET: Flag = Flag::switch("quiet", "Say nothing but the name").short('q');

/// The name that is meant, with `latest` where nothing else is said, or without a tag for all of them.
pub(super) fn reference(matches: &Matches) -> Outcome<Reference> {
    let reference = Reference::parse(&matches.args[0])?;
    match (matches.is_on("all-tags"), reference.is_name_only()) {
        (true, false) => Err(Exit::failure("tag can't be used with --all-tags/-a")),
        (false, true) => {
            if !matches.is_on("quiet") {
                terminal::line("Using default tag: latest")?;
            }
            Ok(reference.with_default_tag())
        }
        _ => Ok(reference),
    }
}

/// Signatures of Docker's content trust are not verified here, so whoever asks for that must not get less.
pub(super) fn refuse_trust(matches: &Matches) -> Result<()> {
    let wanted = match matches.is_given("disable-content-trust") {
        true => !matches.is_on("disable-content-trust"),
        // Docker takes everything that is not a clear no for a yes.
        false => variable("DOCKER_CONTENT_TRUST").is_some_and(|value| parse_bool(&value).unwrap_or(true)),
    };
    if wanted { Err(Error::unsupported("content trust")) } else { Ok(()) }
}

/// The platform that was asked for, or the one that the user always asks for.
pub(super) fn platform(matches: &Matches) -> String {
    match matches.is_given("platform") {
        true => matches.text("platform").to_owned(),
        false => variable("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    }
}
