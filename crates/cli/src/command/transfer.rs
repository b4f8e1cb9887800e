//! What pulls and pushes have in common.

use fault::{Error, Result};
use oci::{Platform, Reference};

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

/// All platforms of `--platform`, as JSON.
pub(super) fn platforms(matches: &Matches) -> Outcome<Vec<String>> {
    let texts = matches.text("platform").split(',').filter(|text| !text.is_empty());
    let json =
        |text| platform_json(text).map_err(|error| Exit::failure(format!("invalid platform: {error}")));
    texts.map(json).collect()
}

/// A platform as Docker's client says it: normalized, but for the variant that is implied.
pub(super) fn platform_json(text: &str) -> Result<String> {
    let mut platform = Platform::parse(text)?;
    let is_spelt_out = text.matches('/').count() == 2;
    match (platform.architecture.as_str(), platform.variant.as_deref()) {
        ("arm64", None) if is_spelt_out => platform.variant = Some("v8".into()),
        ("arm", Some("v7")) if !is_spelt_out => platform.variant = None,
        _ => {}
    }
    Ok(serde_json::to_string(&platform).expect("a platform is JSON"))
}

/// The platform that was asked for, or the one that the user always asks for.
pub(super) fn platform(matches: &Matches) -> String {
    match matches.is_given("platform") {
        true => matches.text("platform").to_owned(),
        false => variable("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    }
}
