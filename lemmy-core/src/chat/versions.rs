//! The versions of Gemma 4's chat template that circulate. Files carry the one of the day on which they were made.

#![forbid(unsafe_code)]

use super::engine::Trust;
use sha2::{Digest as _, Sha256};

/// Day of the canonical template.
pub(super) const CANONICAL: &str = "2026-07-09";

/// SHA-256 of the source, day, and what a stale one does wrong.
const KNOWN: [(&str, &str, &str); 4] = [
    ("2dfbfc7d538912f4ea11d29d85b4e25d7bc26386e53f57529f1d707c28b5828c", "2026-04", "never shows thoughts again"),
    (
        "85a08664d16d8f3be4416c92427b3ac10df1024ac566cc0b4bc3bab409393f98",
        "2026-04-10",
        "shows an answer that stands before a tool call after it",
    ),
    (
        "94899c0f917d93f6fe81c95744d1e8ddab2d21d39228d2e4aec1fb2a25bff413",
        "2026-04-28",
        "shows an answer that stands before a tool call after it",
    ),
    ("ae53464bf3be25802b3a5b37def7fd89667067d7577049b3b2d74c4d8de4c6d4", CANONICAL, ""),
];

fn find(source: &str) -> Option<(&'static str, &'static str)> {
    let hash: String = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect();
    KNOWN.into_iter().find(|(known, ..)| *known == hash).map(|(_, day, fault)| (day, fault))
}

/// Whether a source needs guards.
pub(super) fn trust(source: &str) -> Trust {
    if find(source).is_some() { Trust::Known } else { Trust::Unknown }
}

/// The day of a source if it is known.
pub(super) fn of(source: &str) -> Option<&'static str> {
    find(source).map(|(day, _)| day)
}

/// What to say about a stale source.
pub(super) fn warning(source: &str) -> Option<String> {
    let (day, fault) = find(source).filter(|(day, _)| *day != CANONICAL)?;
    Some(format!(
        "the chat template of {day} is stale: it {fault}. The canonical one of {CANONICAL} can replace it \
         (`chat_template(ChatTemplate::canonical()?.source())`)"
    ))
}
