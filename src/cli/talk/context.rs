//! What is said when a text does not fit.

use lemmy_core::Error;

use crate::cli::failure::Failure;

/// The library's error, with the next step if a text did not fit; `own` is the context that the model was made for.
pub(super) fn name(error: Error, own: usize) -> Failure {
    match error {
        Error::ContextFull { used, requested, capacity } => full(used.saturating_add(requested), capacity, own),
        error => error.into(),
    }
}

/// The error of a text that does not fit.
pub(super) fn full(used: usize, capacity: usize, own: usize) -> Failure {
    let failure = Failure::failed("context_full", format!("context full: {used} tokens (expected at most {capacity})"));
    if capacity < own { failure.hint(format!("-c N makes more room; the model was made for {own}")) } else { failure }
}
