//! A question to the person at the terminal.

use std::fmt;
use std::io::{self, BufRead, IsTerminal};

use super::output::aside;

/// Asks; anything but `y` or `yes` is no. `None`: nobody sits there.
pub(crate) fn ask(question: fmt::Arguments<'_>) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    aside("", &format!("{question} [y/N] "), "");
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
    Some(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
