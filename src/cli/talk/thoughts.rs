//! A model's thoughts, on stderr.

use std::io::IsTerminal;
use std::time::Instant;

use clap::ValueEnum;

use crate::cli::output::{aside, note, stderr_is_animated, stderr_is_coloured};

/// How thoughts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Visibility {
    Auto,
    Hide,
    Fold,
    Show,
    /// Not here: they are part of what goes to stdout.
    #[value(skip)]
    Stdout,
}

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";
/// To the beginning of the line, and empty it.
const REDRAW: &str = "\r\u{1b}[K";

/// Shows thoughts while they come.
#[derive(Debug)]
pub(crate) struct Thoughts {
    visibility: Visibility,
    /// Whether the line may be drawn again.
    is_animated: bool,
    is_coloured: bool,
    /// When the thought that is open began.
    open: Option<Instant>,
    is_mid_line: bool,
}

impl Thoughts {
    pub(super) fn new(visibility: Visibility) -> Self {
        let is_seen = std::io::stderr().is_terminal();
        let visibility = match visibility {
            Visibility::Auto if is_seen => Visibility::Show,
            Visibility::Auto => Visibility::Hide,
            asked => asked,
        };
        Self {
            visibility,
            is_animated: stderr_is_animated(),
            is_coloured: stderr_is_coloured(),
            open: None,
            is_mid_line: false,
        }
    }

    /// More of a thought.
    pub(super) fn push(&mut self, text: &str) {
        let is_new = self.open.is_none();
        self.open.get_or_insert_with(Instant::now);
        match self.visibility {
            Visibility::Show if self.is_coloured => aside(DIM, text, PLAIN),
            Visibility::Show => aside("", text, ""),
            Visibility::Fold if is_new && self.is_animated => aside("", "thinking …", ""),
            _ => return,
        }
        self.is_mid_line = !text.ends_with('\n');
    }

    /// Something else follows.
    pub(super) fn close(&mut self) {
        let Some(began) = self.open.take() else { return };
        match self.visibility {
            Visibility::Show if self.is_mid_line => note(format_args!("")),
            Visibility::Fold => {
                if self.is_animated {
                    aside(REDRAW, "", "");
                }
                note(format_args!("thought for {:.1} s", began.elapsed().as_secs_f64()));
            }
            _ => {}
        }
        self.is_mid_line = false;
    }
}
