//! How far a long job is, on stderr: a bar on a terminal, else a line for each tenth.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{note, stderr_is_animated};

/// Jobs shorter than this show nothing.
const PATIENCE: Duration = Duration::from_millis(400);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Tokens,
}

/// The progress of one job.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    unit: Unit,
    began: Instant,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(Option<ProgressBar>),
    Lines { tenths: u64 },
    Nothing,
}

impl Progress {
    /// A bar on a terminal, nothing else.
    pub(crate) fn bar_only(what: impl Into<String>, unit: Unit) -> Self {
        let shown = if stderr_is_animated() { Shown::Bar(None) } else { Shown::Nothing };
        Self { what: what.into(), unit, began: Instant::now(), shown }
    }

    /// A bar on a terminal, else a line for each tenth.
    pub(crate) fn bar_or_lines(what: impl Into<String>, unit: Unit) -> Self {
        let shown = if stderr_is_animated() { Shown::Bar(None) } else { Shown::Lines { tenths: 0 } };
        Self { what: what.into(), unit, began: Instant::now(), shown }
    }

    /// Shows that `done` of `total` are done.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                if bar.is_none() && self.began.elapsed() > PATIENCE {
                    *bar = Some(new_bar(&self.what, self.unit));
                }
                if let Some(bar) = bar {
                    bar.set_length(total);
                    bar.set_position(done);
                }
            }
            Shown::Lines { tenths } => {
                let now = done.saturating_mul(10).checked_div(total).unwrap_or(10);
                if now > *tenths {
                    *tenths = now;
                    note(format_args!("{}: {} %", self.what, now * 10));
                }
            }
            Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(Some(bar)) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &str, unit: Unit) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = match unit {
        Unit::Bytes => "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        Unit::Tokens => "{msg} [{bar:30}] {pos} of {len} tokens, {per_sec}, {eta} left",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}
