//! `kogge registry …`: becomes `kogged registry …`, which serves images to others and needs no daemon.

use crate::autostart;
use crate::exit::Outcome;
use crate::replace::replace;

/// Returns only if that cannot be.
pub(super) fn run(words: &[String]) -> Outcome {
    let words = [&["registry".to_owned()], words].concat();
    Err(replace(&autostart::program()?, &words, &[]).into())
}
