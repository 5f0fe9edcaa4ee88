//! Where the text comes from: words, `-p`, and a file or stdin.

use std::io::IsTerminal;

use lemmy_core::Special;

use crate::cli::failure::{Failure, Result};
use crate::cli::input::{file_text, stdin_text};
use crate::cli::signals::Signals;

/// Flags that name the text.
#[derive(Debug, clap::Args)]
pub(crate) struct PromptArgs {
    /// The text, in place of words
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// File with the text, or with what follows the prompt; -: stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Continue the text as it is, without a chat template
    #[arg(long)]
    pub(super) raw: bool,
    /// Let strings such as <|turn> in it be control tokens
    #[arg(long, requires = "raw")]
    special: bool,
}

impl PromptArgs {
    /// What becomes of control strings in the text.
    pub(super) fn special(&self) -> Special {
        if self.special { Special::Parse } else { Special::Text }
    }

    /// The text: the words (or `-p`), then, after a blank line, the file (or stdin, if it is no terminal). `None` if a
    /// person sits there and has not said anything yet. `may_be_empty`: pictures speak for themselves.
    pub(super) fn read(&self, words: &[&str], may_be_empty: bool, signals: &Signals) -> Result<Option<String>> {
        if self.prompt.is_some() && !words.is_empty() {
            return Err(Failure::usage("the prompt is given twice: as words and as --prompt"));
        }
        let prompt = self.prompt.clone().unwrap_or_else(|| words.join(" "));
        let follows = match self.file.as_deref() {
            None if std::io::stdin().is_terminal() && self.prompt.is_none() && words.is_empty() => return Ok(None),
            None if std::io::stdin().is_terminal() => String::new(),
            None | Some("-") => stdin_text(signals)?,
            Some(file) => file_text(file)?,
        };
        // The last line end of a file or of `echo` is the tool's and not the text's.
        let follows = follows.strip_suffix('\n').map_or(follows.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        match (prompt.is_empty(), follows.is_empty()) {
            (true, true) if may_be_empty => Ok(Some(String::new())),
            (true, true) => Err(Failure::usage("PROMPT: found no text (expected words, -p, -f or stdin)")
                .hint("lemmy run model.gguf \"Why is the sky blue?\"")),
            (true, false) => Ok(Some(follows.to_owned())),
            (false, true) => Ok(Some(prompt)),
            (false, false) => Ok(Some(format!("{prompt}\n\n{follows}"))),
        }
    }
}
