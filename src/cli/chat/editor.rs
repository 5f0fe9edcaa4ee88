//! Listens to a person, with a line editor on a terminal, or line by line.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, Helper, KeyCode, KeyEvent,
    Modifiers, Movement, RepeatCount,
};

use super::command::{completions, takes_path};
use super::{history, lines};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::aside;
use crate::cli::signals::Signals;
use crate::cli::terminal::Restore;

const PROMPT: &str = "> ";
/// Messages that are kept.
const HISTORY: usize = 10_000;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// A whole message or command.
    Line(String),
    /// Ctrl-C with nothing typed.
    Interrupt,
    /// Nothing more will come.
    End,
}

/// Listens.
pub(super) enum Listener {
    Editor {
        editor: Box<Editor<Keys, FileHistory>>,
        history: Option<PathBuf>,
        restore: Restore,
        /// What stood before Enter where a line was continued.
        continued: Arc<Mutex<Vec<String>>>,
    },
    Lines {
        has_prompt: bool,
    },
}

impl Listener {
    /// A line editor if a person types and the terminal can do that; else lines.
    pub(super) fn new(has_history: bool, is_stdout_terminal: bool) -> Result<Self> {
        let is_person = std::io::stdin().is_terminal();
        let is_simple = std::env::var("TERM").map_or(true, |term| matches!(&*term, "" | "dumb" | "cons25" | "emacs"));
        if !is_person || is_simple {
            return Ok(Self::Lines { has_prompt: is_person });
        }
        let fail = |e: ReadlineError| Failure::failed("terminal", format!("cannot use the terminal: {e}"));
        // The prompt is no part of the answers: if stdout goes elsewhere, it is shown on the terminal itself.
        let behavior = if is_stdout_terminal { Behavior::Stdio } else { Behavior::PreferTerm };
        let config = Config::builder().behavior(behavior).max_history_size(HISTORY).map_err(fail)?;
        let config = config.history_ignore_dups(true).map_err(fail)?.build();
        let past = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, past).map_err(fail)?;
        editor.set_helper(Some(Keys(FilenameCompleter::new())));
        editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), EventHandler::Simple(Cmd::Newline));
        let continued = Arc::new(Mutex::new(Vec::new()));
        // What was typed before the editor listened comes with line feeds.
        for key in [KeyEvent(KeyCode::Enter, Modifiers::NONE), KeyEvent::ctrl('J')] {
            editor.bind_sequence(key, EventHandler::Conditional(Box::new(Enter(continued.clone()))));
        }
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(Interrupt)));
        let history = if has_history { history::file() } else { None };
        if let Some(file) = &history {
            // There is none the first time.
            let _ = editor.load_history(file);
        }
        let restore = Restore::install().map_err(|e| Failure::io("cannot use the terminal", &e))?;
        Ok(Self::Editor { editor: Box::new(editor), history, restore, continued })
    }

    /// Waits for the next message or command.
    pub(super) fn listen(&mut self, signals: &Signals) -> Result<Heard> {
        match self {
            Self::Lines { has_prompt } => listen_to_lines(*has_prompt, signals),
            Self::Editor { editor, history, restore, continued } => {
                let _editing = restore.while_editing();
                let line = editor.readline(PROMPT);
                let continued = std::mem::take(&mut *continued.lock().unwrap_or_else(PoisonError::into_inner));
                match line {
                    Ok(line) => {
                        let line = lines::join(line, &continued);
                        // A history that cannot be written is no reason to be silent.
                        let _ = editor.add_history_entry(line.as_str());
                        if let Some(file) = history {
                            let _ = editor.append_history(file);
                        }
                        Ok(Heard::Line(lines::unquote(&line).to_owned()))
                    }
                    Err(ReadlineError::Eof) => Ok(Heard::End),
                    Err(ReadlineError::Interrupted) => Ok(Heard::Interrupt),
                    Err(e) => Err(Failure::failed("terminal", format!("cannot read from the terminal: {e}"))),
                }
            }
        }
    }
}

fn listen_to_lines(has_prompt: bool, signals: &Signals) -> Result<Heard> {
    let mut text = match next_line(has_prompt, PROMPT, signals)? {
        Some(line) => line,
        None => return Ok(Heard::End),
    };
    while lines::is_open(&text) {
        // What is open when nothing more comes is a message all the same.
        let Some(line) = next_line(has_prompt, "", signals)? else { break };
        lines::extend(&mut text, &line);
    }
    Ok(Heard::Line(lines::unquote(&text).to_owned()))
}

fn next_line(has_prompt: bool, prompt: &str, signals: &Signals) -> Result<Option<String>> {
    if has_prompt {
        aside("", prompt, "");
    }
    let _raised = signals.while_reading();
    let mut bytes = Vec::new();
    let read =
        std::io::stdin().lock().read_until(b'\n', &mut bytes).map_err(|e| Failure::io("cannot read stdin", &e))?;
    if read == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(bytes).map_err(|_| Failure::usage("stdin: found no UTF-8 (expected text)"))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// What the editor asks while a person types.
pub(super) struct Keys(FilenameCompleter);

impl Helper for Keys {}

impl Highlighter for Keys {}

impl Hinter for Keys {
    type Hint = String;
}

/// Tab completes commands, and paths behind those that take one.
impl Completer for Keys {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Self::Candidate>)> {
        let Some(typed) = line.get(..pos).and_then(|typed| typed.strip_prefix('/')) else {
            return Ok((pos, Vec::new()));
        };
        match typed.split_once(' ') {
            Some((word, _)) if takes_path(word) => self.0.complete_path(line, pos),
            Some(_) => Ok((pos, Vec::new())),
            None => {
                let pair = |name: &str| Pair { display: format!("/{name}"), replacement: format!("/{name} ") };
                Ok((0, completions(typed).map(pair).collect()))
            }
        }
    }
}

/// Enter ends a message, unless it is open.
impl Validator for Keys {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_open = lines::is_open(context.input());
        Ok(if is_open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

/// Enter behind `\` makes a new line. What stands before it is remembered: a pasted block keeps its own `\`.
struct Enter(Arc<Mutex<Vec<String>>>);

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let line = context.line();
        if context.pos() != line.len() || !line.ends_with('\\') {
            return None;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        Some(Cmd::Newline)
    }
}

/// Ctrl-C clears what is typed, or interrupts.
struct Interrupt;

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        Some(if context.line().is_empty() { Cmd::Interrupt } else { Cmd::Kill(Movement::WholeBuffer) })
    }
}
