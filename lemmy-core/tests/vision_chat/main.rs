//! Pictures in conversations, on the tiny model that sees (`tests/fixtures/vision`): what a session makes of them is what
//! transformers makes of them, each is looked at once, and nothing of one is taken for another.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../support/mmproj.rs"]
mod mmproj;
mod stage;

mod logits;
mod refused;
mod reuse;
mod saved;
mod scheduler;
