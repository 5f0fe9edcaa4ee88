//! Answers and thoughts: which spaces are dropped, and a thought's label.
//!
//! Space is U+0020, tab, CR and LF. It is dropped at the start of an answer (of the reply, or after a thought or a call),
//! before a thought or a call, and at the end of a thought that was closed; so it is held back until something follows.

#![forbid(unsafe_code)]

use std::mem;

/// What the field's own template counts as space around parts of a reply.
pub(super) const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What every thought begins with.
const LABEL: &str = "thought\n";

/// Text of an answer between thoughts and calls.
#[derive(Debug, Default)]
pub(super) struct Answer {
    begun: bool,
    held: HeldSpace,
}

impl Answer {
    /// Takes text, gives back what can go out.
    pub(super) fn push(&mut self, text: &str) -> String {
        let text = if self.begun { text } else { text.trim_start_matches(SPACE) };
        self.begun |= !text.is_empty();
        self.held.push(text)
    }

    /// Space at the very end of a reply is kept.
    pub(super) fn finish(self) -> String {
        self.held.0
    }
}

/// A thought in the making.
#[derive(Debug)]
pub(super) struct Thought {
    /// What may still become the label; `None` once that is decided.
    label: Option<String>,
    held: HeldSpace,
}

/// What can go out of a thought.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) text: String,
    /// It turned out now that the thought has another label or none.
    pub(super) unknown_label: bool,
}

impl Thought {
    /// A thought that begins with its label.
    pub(super) fn labelled() -> Self {
        Self { label: Some(String::new()), held: HeldSpace::default() }
    }

    /// A thought whose label stands in the prompt.
    pub(super) fn unlabelled() -> Self {
        Self { label: None, held: HeldSpace::default() }
    }

    /// Takes text, gives back what can go out.
    pub(super) fn push(&mut self, text: &str) -> Spoken {
        let Some(mut label) = self.label.take() else {
            return Spoken { text: self.held.push(text), unknown_label: false };
        };
        // Space alone is no label and no thought either. What is held is space to its end if it begins so.
        let blank = (label.is_empty() || label.starts_with(SPACE)) && is_blank(text);
        label.push_str(text);
        if let Some(thought) = label.strip_prefix(LABEL) {
            Spoken { text: self.held.push(thought), unknown_label: false }
        } else if blank || LABEL.starts_with(&label) {
            self.label = Some(label);
            Spoken::default()
        } else {
            Spoken { text: self.held.push(&label), unknown_label: true }
        }
    }

    /// The thought is closed: space at its end is dropped.
    pub(super) fn close(mut self) -> Spoken {
        self.judge()
    }

    /// The reply was cut off within it: space at its end is kept.
    pub(super) fn finish(mut self) -> Spoken {
        let mut spoken = self.judge();
        spoken.text.push_str(&self.held.0);
        spoken
    }

    /// No more label comes: a bare `thought` is one without a thought.
    fn judge(&mut self) -> Spoken {
        match self.label.take() {
            Some(label) if label != LABEL.trim_end() && !is_blank(&label) => {
                Spoken { text: self.held.push(&label), unknown_label: true }
            }
            _ => Spoken::default(),
        }
    }
}

/// Space at the end of what has come so far.
#[derive(Debug, Default)]
struct HeldSpace(String);

impl HeldSpace {
    /// Takes text, gives back all up to the last character that is no space.
    fn push(&mut self, text: &str) -> String {
        let solid = text.trim_end_matches(SPACE);
        if solid.is_empty() {
            self.0.push_str(text);
            return String::new();
        }
        let mut ready = mem::take(&mut self.0);
        ready.push_str(solid);
        self.0.push_str(text.get(solid.len()..).unwrap_or_default());
        ready
    }
}

fn is_blank(text: &str) -> bool {
    text.trim_matches(SPACE).is_empty()
}
