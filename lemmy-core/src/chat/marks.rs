//! How a control token that the template wrote is told from one that a user spelled.
//!
//! Before the template is compiled, each control string in its source becomes one private character that occurs nowhere
//! in the conversation. In the rendered text exactly these characters are control tokens; every other character, however
//! it came there and whatever it spells together with its neighbours, is text. The conversation itself is not touched, so
//! the template trims, sorts and compares what it always does.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::engine::Engine;
use super::versions;
use crate::TokenId;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// From here on characters are private or not assigned: planes 15 and 16 and those below.
const FIRST: char = '\u{40000}';

/// The source of a template with marks for control strings, compiled.
#[derive(Debug)]
pub(super) struct Marked {
    engine: Engine,
    marks: Marks,
    /// The source spells its control strings whole, so that all of them got marks.
    whole: bool,
}

/// Which character stands for which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks(Vec<(char, TokenId)>);

impl Marked {
    /// `trusted`: other texts that will be [spelled](Marks::spell) with these marks.
    pub(super) fn new(source: &str, trusted: &[&str], tokenizer: &Tokenizer, used: &BTreeSet<char>) -> Result<Self> {
        let marks = Marks::new(source, trusted, tokenizer, used)?;
        Ok(Self { engine: Engine::new(&marks.spell(source, tokenizer), versions::trust(source))?, marks, whole: true })
    }

    /// Whether it does for this vocabulary and a conversation with these characters of the marks' range.
    pub(super) fn fits(&self, source: &str, trusted: &[&str], tokenizer: &Tokenizer, used: &BTreeSet<char>) -> bool {
        let same = |marks: Marks| marks.ids().eq(self.marks.ids());
        !self.marks.0.iter().any(|(mark, _)| used.contains(mark))
            && Marks::new(source, trusted, tokenizer, &BTreeSet::new()).is_ok_and(same)
    }

    /// Renders a harmless conversation with and without marks, and looks whether the same control tokens come out.
    pub(super) fn compare(&mut self, plain: &Engine, tokenizer: &Tokenizer) {
        let bos = tokenizer.bos().map(|id| String::from_utf8_lossy(tokenizer.piece(id))).unwrap_or_default();
        let probe = json!({
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "q"},
            ],
            "add_generation_prompt": true,
        });
        let Value::Object(mut probe) = probe else { return };
        probe.insert("bos_token".into(), bos.as_ref().into());
        let Ok(text) = plain.render(&probe) else { return };
        probe.insert("bos_token".into(), self.marks.spell(&bos, tokenizer).into());
        let Ok(marked) = self.engine.render(&probe) else { return };
        let (mut rest, mut ids) = (text.as_str(), Vec::new());
        while let Some((_, id, after)) = tokenizer.cut_control(rest) {
            ids.push(id);
            rest = after;
        }
        let control = |segment| if let Segment::Control(id) = segment { Some(id) } else { None };
        self.whole = self.marks.cut(&marked).into_iter().filter_map(control).eq(ids);
    }

    pub(super) fn warning(&self) -> Option<String> {
        let text = "the chat template puts control strings together from pieces; those became text: write them whole";
        (!self.whole).then(|| text.into())
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    pub(super) fn render(&self, variables: &Map<String, Value>) -> Result<String> {
        self.engine.render(variables)
    }
}

impl Marks {
    fn new(source: &str, trusted: &[&str], tokenizer: &Tokenizer, used: &BTreeSet<char>) -> Result<Self> {
        let mut ids = BTreeSet::new();
        for mut rest in trusted.iter().copied().chain([source]) {
            while let Some((_, id, after)) = tokenizer.cut_control(rest) {
                ids.insert(id);
                rest = after;
            }
        }
        // What the template says literally counts as used too.
        let used = |c: &char| used.contains(c) || (source.contains(*c));
        let mut free = (FIRST..=char::MAX).rev().filter(|c| !used(c));
        let marks = ids.into_iter().map(|id| free.next().map(|mark| (mark, id)));
        marks.collect::<Option<_>>().map(Self).ok_or_else(|| Error::Argument {
            name: "messages",
            reason: "they use every private and unassigned character there is; some must be free".into(),
        })
    }

    fn ids(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.0.iter().map(|&(_, id)| id)
    }

    /// A trusted text with marks for its control strings.
    pub(super) fn spell(&self, text: &str, tokenizer: &Tokenizer) -> String {
        let mut spelled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, id, after)) = tokenizer.cut_control(rest) {
            spelled.push_str(before);
            match self.0.iter().find(|(_, known)| *known == id) {
                Some((mark, _)) => spelled.push(*mark),
                None => spelled.push_str(&String::from_utf8_lossy(tokenizer.piece(id))),
            }
            rest = after;
        }
        spelled + rest
    }

    /// A rendered text as stretches of plain text and control tokens.
    pub(super) fn cut<'t>(&self, text: &'t str) -> Vec<Segment<'t>> {
        let id = |c: char| self.0.iter().find(|&&(mark, _)| mark == c).map(|&(_, id)| id);
        let mut segments = Vec::new();
        for part in text.split_inclusive(|c| c >= FIRST && id(c).is_some()) {
            let control = part.chars().next_back().filter(|c| *c >= FIRST).and_then(|c| Some((c, id(c)?)));
            let plain = control.map_or(part, |(mark, _)| part.strip_suffix(mark).unwrap_or(part));
            if !plain.is_empty() {
                segments.push(Segment::Text(plain));
            }
            segments.extend(control.map(|(_, id)| Segment::Control(id)));
        }
        segments
    }
}

/// Piece of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'t> {
    /// Text and nothing but text, whatever it spells.
    Text(&'t str),
    /// A control token of the template.
    Control(TokenId),
}

/// The characters of a conversation that cannot be marks.
pub(super) fn used(json: &Value, to: &mut BTreeSet<char>) {
    let mut add = |text: &str| to.extend(text.chars().filter(|c| *c >= FIRST));
    match json {
        Value::String(text) => add(text),
        Value::Array(items) => items.iter().for_each(|item| used(item, to)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            to.extend(key.chars().filter(|c| *c >= FIRST));
            used(value, to);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
