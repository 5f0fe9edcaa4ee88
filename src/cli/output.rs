//! The only two places that write: stdout, where every error counts, and stderr, where none does.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use clap::ValueEnum;
use serde_json::Value;

use super::closed::stdout_closed;
use super::failure::{Failure, Result};
use super::signals::{Raised, Signals};

/// Stdout. Buffered: whoever streams calls [`flush`](Self::flush).
#[derive(Debug)]
pub(crate) struct Output {
    to: BufWriter<Stdout>,
    terminal: bool,
    writing: Arc<AtomicBool>,
}

impl Output {
    pub(crate) fn stdout(signals: &Signals) -> Self {
        let to = BufWriter::with_capacity(1 << 16, io::stdout());
        Self { to, terminal: io::stdout().is_terminal(), writing: signals.writing() }
    }

    /// Whether a person is looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes text. On a terminal control characters are left out, so that no file and no answer can reprogram it.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        if self.terminal { self.bytes(printable(text).as_bytes()) } else { self.bytes(text.as_bytes()) }
    }

    /// Writes bytes as [`text`](Self::text) does if they go to a terminal, and as they are else.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        if self.terminal { self.text(&String::from_utf8_lossy(bytes)) } else { self.bytes(bytes) }
    }

    /// Writes a line of JSON.
    pub(crate) fn json(&mut self, value: &Value) -> Result<()> {
        self.text(&format!("{value}\n"))
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let _raised = Raised::new(&self.writing);
        self.to.flush().map_err(|e| Failure::stdout(&e))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if stdout_closed() {
            return Err(Failure::no_stdout("it is closed"));
        }
        let _raised = Raised::new(&self.writing);
        self.to.write_all(bytes).map_err(|e| Failure::stdout(&e))
    }
}

/// Writes a line to stderr. That it cannot be written is no reason to stop.
pub(crate) fn note(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    let line = if io::stderr().is_terminal() { printable(&line) } else { line };
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to stderr in the middle of a line; `before` and `after` may be escape codes.
pub(crate) fn aside(before: &str, text: &str, after: &str) {
    let text = if io::stderr().is_terminal() { &printable(text) } else { text };
    let _ = write!(io::stderr(), "{before}{text}{after}");
}

/// The error object of `--json`, after which the process ends with an error in any case.
pub(crate) fn last_words(value: &Value) {
    let _ = writeln!(io::stdout(), "{value}");
}

/// When escape codes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// What `--color` says: set once, before anything is shown.
static COLOUR: OnceLock<Colour> = OnceLock::new();

/// From now on escape codes are written as this says.
pub(crate) fn set_colour(colour: Colour) {
    // Nobody sets it twice.
    let _ = COLOUR.set(colour);
}

/// Whether stderr may show letters in other ways than plain.
pub(crate) fn stderr_is_coloured() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match COLOUR.get() {
        Some(Colour::Always) => true,
        Some(Colour::Never) => false,
        _ => io::stderr().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Whether stderr may show a bar that redraws itself.
pub(crate) fn stderr_is_animated() -> bool {
    io::stderr().is_terminal() && stderr_is_coloured()
}

/// The text without control characters other than line feed and tab.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminals_see_no_control_characters() {
        assert_eq!(printable("a\u{1b}[31mb\tc\nd\u{9b}0me\u{7f}\u{0}"), "a[31mb\tc\nd0me");
        assert_eq!(printable("héé 日本 🦀"), "héé 日本 🦀");
    }
}
