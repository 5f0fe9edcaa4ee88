//! How much room a session gets when the person does not say.

use lemmy_core::{Error, KvType, Model};

use crate::cli::failure::Failure;
use crate::cli::output::note;
use crate::cli::system::available_memory;

/// Room that is taken at most without being asked for.
const MOST: usize = 32_768;
/// Less than this is not offered: better an error that says what is missing.
const LEAST: usize = 512;

/// Positions of each of so many sessions: as asked, or the model's own, cut to what is usual and to what fits in memory.
pub(crate) fn size(model: &Model, asked: Option<u32>, kv: KvType, sessions: usize) -> usize {
    if let Some(asked) = asked {
        return usize::try_from(asked).unwrap_or(usize::MAX);
    }
    let own = model.info().context;
    let mut size = own.min(MOST);
    let free = available_memory().unwrap_or(u64::MAX);
    while size > LEAST && session_bytes(model, size, kv).saturating_mul(sessions as u64) > free {
        size = (size / 2).max(LEAST);
    }
    if size < own {
        note(format_args!("note: room for {size} tokens of the model's {own} (-c sets it)"));
    }
    size
}

fn session_bytes(model: &Model, size: usize, kv: KvType) -> u64 {
    model.estimate_with(size, kv).map_or(u64::MAX, |e| e.kv_per_session.saturating_add(e.scratch))
}

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
