//! The same step for many names: side by side or one after the other, told in the order in which they were given.

use fault::{Error, Result};
use futures_util::{StreamExt, stream};

use crate::exit::{Exit, Outcome};
use crate::terminal;

/// Prints each name that succeeded; failures are told together at the end.
pub(super) async fn each<'n, F>(names: &'n [String], step: impl Fn(&'n str) -> F) -> Outcome
where
    F: Future<Output = Result<()>>,
{
    each_unless(names, step, |_| false).await
}

/// The same; a failure that is `mild` is told at once and does not count.
pub(super) async fn each_unless<'n, F>(
    names: &'n [String],
    step: impl Fn(&'n str) -> F,
    mild: impl Fn(&Error) -> bool,
) -> Outcome
where
    F: Future<Output = Result<()>>,
{
    let steps = names.iter().map(|name| {
        let work = step(name);
        async move { (name, work.await) }
    });
    let mut results = stream::iter(steps).buffered(AT_ONCE_MAX);
    let mut errors = Vec::new();
    while let Some((name, result)) = results.next().await {
        match result {
            Ok(()) => terminal::line(name)?,
            Err(error) if mild(&error) => terminal::warn(format_args!("{error}")),
            Err(error) => errors.push(error),
        }
    }
    Exit::join(errors)
}

/// One after the other, as their order may matter; each step says what to print.
pub(super) async fn in_order(names: &[String], step: impl AsyncFn(&String) -> Result<String>) -> Outcome {
    let mut errors = Vec::new();
    for name in names {
        match step(name).await {
            Ok(text) => terminal::line(text)?,
            Err(error) => errors.push(error),
        }
    }
    Exit::join(errors)
}

/// As many as Docker's client works on at once.
const AT_ONCE_MAX: usize = 50;
