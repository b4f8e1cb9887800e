//! Waiting for an exit or a removal, by watching the published view.

use std::future::Future;

use api::container::{WaitAnswer, WaitCondition, WaitError};

use super::registry::Container;
use super::view::View;

/// Looks now, waits later: what happens between this call and the first poll is not missed.
pub(super) fn wait(
    container: &Container,
    condition: WaitCondition,
) -> impl Future<Output = WaitAnswer> + Send + use<> {
    let mut view = container.view.clone();
    let exits_before = view.borrow().exits;
    async move {
        let met = view.wait_for(|view| holds(view, condition, exits_before)).await;
        match met {
            Ok(view) => answer(&view),
            // The engine ends; the container does not.
            Err(_) => {
                let error = WaitError { message: "the daemon is shutting down".into() };
                WaitAnswer { status_code: -1, error: Some(error) }
            }
        }
    }
}

fn holds(view: &View, condition: WaitCondition, exits_before: u64) -> bool {
    match condition {
        WaitCondition::NotRunning => view.gone || !view.record.state.status.is_up(),
        WaitCondition::NextExit => view.gone || view.exits > exits_before,
        WaitCondition::Removed => view.gone,
    }
}

fn answer(view: &View) -> WaitAnswer {
    let state = &view.record.state;
    // A removal clears the error, so that clients of `run --rm` tell a failed start once.
    let failed = !state.error.is_empty() && view.exits == 0 && !view.gone;
    WaitAnswer {
        status_code: state.exit_code.into(),
        error: failed.then(|| WaitError { message: state.error.clone() }),
    }
}
