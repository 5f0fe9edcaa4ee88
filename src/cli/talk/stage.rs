//! Shows an answer while it comes.

use lemmy_core::Event;
use serde_json::{Value, json};

use super::answer::{call_json, finish_json};
use super::thoughts::{Thoughts, Visibility};
use crate::cli::failure::Result;
use crate::cli::output::{Output, note};
use crate::cli::progress::{Progress, Unit};

/// What goes to stdout while an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Its text, and calls as JSON Lines.
    Text,
    /// Every event, as JSON Lines.
    Events,
    /// Nothing: the whole comes at the end.
    Whole,
}

/// Where one answer after the other is shown.
#[derive(Debug)]
pub(crate) struct Stage {
    form: Form,
    thoughts: Thoughts,
    progress: Option<Progress>,
    /// Whether stdout is in the middle of a line.
    is_mid_line: bool,
    /// Whether thoughts go to stdout, and whether one is open there.
    thoughts_on_stdout: bool,
    in_thought: bool,
    /// Warnings that were shown: each reply to a conversation repeats those about its template.
    warned: Vec<String>,
    load: std::time::Duration,
}

impl Stage {
    /// `load`: how long the model took to load, for the timings of `Form::Events`.
    pub(crate) fn new(form: Form, visibility: Visibility, load: std::time::Duration) -> Self {
        let thoughts = Thoughts::new(visibility);
        let thoughts_on_stdout = visibility == Visibility::Stdout;
        let warned = Vec::new();
        Self { form, thoughts, progress: None, is_mid_line: false, thoughts_on_stdout, in_thought: false, warned, load }
    }

    /// Shows the next event.
    pub(super) fn show(&mut self, event: &Event, out: &mut Output) -> Result<()> {
        match event {
            Event::Prefill { done, total } if done < total => {
                let bar = || Progress::bar_only("reading the prompt", Unit::Tokens);
                self.progress.get_or_insert_with(bar).set(*done as u64, *total as u64);
            }
            _ => self.progress = None,
        }
        match self.form {
            Form::Text => self.show_text(event, out),
            Form::Events => self.show_event(event, out),
            Form::Whole => {
                if let Event::Warning(text) = event {
                    self.warn(text);
                }
                Ok(())
            }
        }
    }

    /// Ends the line that an answer has left open.
    pub(crate) fn end_line(&mut self, out: &mut Output) -> Result<()> {
        self.close_thought(out)?;
        self.progress = None;
        if std::mem::take(&mut self.is_mid_line) {
            out.text("\n")?;
        }
        out.flush()
    }

    fn show_text(&mut self, event: &Event, out: &mut Output) -> Result<()> {
        match event {
            Event::Thinking(text) if self.thoughts_on_stdout => {
                if !std::mem::replace(&mut self.in_thought, true) {
                    out.text(if self.is_mid_line { "\n<think>\n" } else { "<think>\n" })?;
                }
                out.text(text)?;
                out.flush()?;
                self.is_mid_line = !text.ends_with('\n');
            }
            Event::Thinking(text) => {
                self.end_open_line(out)?;
                self.thoughts.push(text);
            }
            Event::Text(text) => {
                self.close_thought(out)?;
                out.text(text)?;
                out.flush()?;
                self.is_mid_line = !text.ends_with('\n');
            }
            Event::ToolCall(call) => {
                self.end_line(out)?;
                out.json(&call_json(call))?;
                out.flush()?;
            }
            Event::Warning(text) => self.warn(text),
            Event::Finished(_) => self.end_line(out)?,
            _ => {}
        }
        Ok(())
    }

    /// Something other than a thought follows.
    fn close_thought(&mut self, out: &mut Output) -> Result<()> {
        self.thoughts.close();
        if std::mem::take(&mut self.in_thought) {
            let is_mid_line = std::mem::take(&mut self.is_mid_line);
            out.text(if is_mid_line { "\n</think>\n" } else { "</think>\n" })?;
        }
        Ok(())
    }

    /// Thoughts between two pieces of text do not begin in the middle of a line of the terminal.
    fn end_open_line(&mut self, out: &mut Output) -> Result<()> {
        if self.is_mid_line && out.is_terminal() { self.end_line(out) } else { Ok(()) }
    }

    fn show_event(&mut self, event: &Event, out: &mut Output) -> Result<()> {
        let line = match event {
            Event::Prefill { done, total } => json!({ "event": "prefill", "done": done, "total": total }),
            Event::Thinking(text) => json!({ "event": "thinking", "text": text }),
            Event::Text(text) => json!({ "event": "text", "text": text }),
            Event::ToolCall(call) => named("tool_call", call_json(call)),
            Event::Warning(text) => json!({ "event": "warning", "message": text }),
            Event::Finished(finish) => named("finished", finish_json(finish, self.load).into()),
            _ => return Ok(()),
        };
        out.json(&line)?;
        out.flush()
    }

    /// Sentences are for people. Names of faults are for programs, but for a call that was lost.
    fn warn(&mut self, text: &str) {
        const LOST: [&str; 4] = ["malformed_call", "oversized_call", "truncated_call", "unterminated_call"];
        let is_lost_call = LOST.contains(&text);
        if !text.contains(' ') && !is_lost_call || self.warned.iter().any(|shown| shown == text) {
            return;
        }
        self.thoughts.close();
        if is_lost_call {
            note(format_args!("note: a tool call could not be read ({text}) and came as text"));
        } else {
            note(format_args!("note: {text}"));
            self.warned.push(text.to_owned());
        }
    }
}

fn named(event: &str, object: Value) -> Value {
    let mut line = json!({ "event": event });
    if let (Value::Object(line), Value::Object(object)) = (&mut line, object) {
        line.extend(object);
    }
    line
}
