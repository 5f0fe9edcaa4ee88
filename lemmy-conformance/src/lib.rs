//! Judges any implementation of Lemmy's backend seam.
//!
//! A backend's own test is five lines:
//!
//! ```no_run
//! use lemmy_core::{ThreadPool, backend::cpu::CpuBackend};
//! let report = lemmy_conformance::judge(&CpuBackend::new(ThreadPool::new(2)?));
//! assert!(report.passed(), "{report}");
//! # Ok::<(), lemmy_core::Error>(())
//! ```
//!
//! Three kinds of check, on models that [`tiny`] makes from a seed:
//!
//! 1. **Taps** ([`judge`](mod@judge)): every output of every step against [`reference`](mod@reference), a plain f64 reading of the
//!    steps' documentation that shares no code with any backend. Each output is computed from the outputs that the
//!    *backend* showed before it, so errors do not add up, routing cannot drift apart, and the first output that is
//!    off names the faulty step.
//! 2. **Behaviour** ([`behaviour`]): batch cuts, sessions side by side, fork, rewind, cancel, bad tokens, no memory.
//! 3. **End**: 64 greedy tokens are the reference's own, and so are the logits.
//!
//! [`faulty`] turns a good backend into wrong ones, by which the judge itself is tested. Every tolerance stands in
//! [`tolerance`]. [`scripted`] is no judge but an actor: a backend that says what a test of replies wants to hear.

#![forbid(unsafe_code)]
// A test tool over data of its own making: a slip here should stop the test.
#![allow(clippy::indexing_slicing, clippy::expect_used)]

pub mod taps;
pub mod tolerance;
pub mod tiny;
pub mod prompt;
pub mod reference;
pub mod runner;
pub mod judge;
pub mod behaviour;
pub mod faulty;
pub mod scripted;
mod report;

pub use judge::{judge, judge_taps};
pub use report::{Check, Report};
