//! A grammar under construction, and its text in llguidance's dialect of Lark.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use crate::TokenId;

/// Part of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Symbol {
    /// This text.
    Text(String),
    /// This token.
    Token(TokenId),
    /// A terminal of the draft.
    Terminal(usize),
    /// JSON of this schema, without blanks.
    Json(Value),
    /// A rule of the draft.
    Rule(usize),
    /// A sequence again and again, `least` to `most` times.
    Repeat { of: Vec<Symbol>, least: u64, most: Option<u64> },
}

/// Rules and terminals. A rule is a list of alternatives, each a sequence.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rules: Vec<Vec<Vec<Symbol>>>,
    terminals: Vec<String>,
    terminal_places: HashMap<String, usize>,
}

impl Draft {
    /// A rule that matches nothing until it is defined.
    pub(super) fn declare(&mut self) -> usize {
        self.rules.push(Vec::new());
        self.rules.len() - 1
    }

    pub(super) fn define(&mut self, rule: usize, alternatives: Vec<Vec<Symbol>>) {
        if let Some(slot) = self.rules.get_mut(rule) {
            *slot = alternatives;
        }
    }

    pub(super) fn rule(&mut self, alternatives: Vec<Vec<Symbol>>) -> Symbol {
        let rule = self.declare();
        self.define(rule, alternatives);
        Symbol::Rule(rule)
    }

    /// A terminal with this definition in Lark's syntax.
    pub(super) fn terminal(&mut self, definition: String) -> Symbol {
        let next = self.terminals.len();
        let place = *self.terminal_places.entry(definition.clone()).or_insert(next);
        if place == next {
            self.terminals.push(definition);
        }
        Symbol::Terminal(place)
    }

    /// Whether no text matches.
    pub(super) fn is_barren(&self, symbol: &Symbol) -> bool {
        !can_end(std::slice::from_ref(symbol), &self.productive())
    }

    /// Which rules match some text.
    fn productive(&self) -> Vec<bool> {
        let mut productive = vec![false; self.rules.len()];
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for (i, alternatives) in self.rules.iter().enumerate() {
                let completes = alternatives.iter().any(|sequence| can_end(sequence, &productive));
                if let Some(known) = productive.get_mut(i).filter(|known| completes && !**known) {
                    *known = true;
                    changed = true;
                }
            }
        }
        productive
    }

    /// The text of the grammar that starts with a rule; `None` if no text matches it.
    pub(super) fn print(mut self, start: usize) -> Option<String> {
        self.prune();
        self.rules.get(start).filter(|alternatives| !alternatives.is_empty())?;
        let mut text = format!("start: r{start}\n");
        for (i, alternatives) in self.rules.iter().enumerate().filter(|(_, alternatives)| !alternatives.is_empty()) {
            let alternatives: Vec<String> = alternatives.iter().map(|sequence| print_sequence(sequence)).collect();
            let _ = writeln!(text, "r{i}: {}", alternatives.join("\n  | "));
        }
        for (i, terminal) in self.terminals.iter().enumerate() {
            let _ = writeln!(text, "T{i}: {terminal}");
        }
        Some(text)
    }

    /// Takes out what can never be completed: the engine looks ahead to the next token only, so a text that entered such
    /// an alternative would be stuck there.
    fn prune(&mut self) {
        let productive = self.productive();
        for alternatives in &mut self.rules {
            alternatives.retain(|sequence| can_end(sequence, &productive));
            for sequence in alternatives {
                sequence.retain(|symbol| match symbol {
                    Symbol::Repeat { of, most, .. } => *most != Some(0) && can_end(of, &productive),
                    _ => true,
                });
            }
        }
    }
}

fn can_end(sequence: &[Symbol], productive: &[bool]) -> bool {
    sequence.iter().all(|symbol| match symbol {
        Symbol::Rule(rule) => productive.get(*rule).copied().unwrap_or(false),
        Symbol::Repeat { of, least, .. } => *least == 0 || can_end(of, productive),
        _ => true,
    })
}

fn print_sequence(sequence: &[Symbol]) -> String {
    match sequence {
        [] => "\"\"".into(),
        _ => sequence.iter().map(print_symbol).collect::<Vec<_>>().join(" "),
    }
}

fn print_symbol(symbol: &Symbol) -> String {
    match symbol {
        Symbol::Text(text) => literal(text),
        Symbol::Token(id) => format!("<[{id}]>"),
        Symbol::Terminal(i) => format!("T{i}"),
        Symbol::Json(schema) => format!("%json {schema}"),
        Symbol::Rule(i) => format!("r{i}"),
        Symbol::Repeat { of, least, most } => {
            let most = most.map(|most| most.to_string()).unwrap_or_default();
            format!("({}){{{least},{most}}}", print_sequence(of))
        }
    }
}

/// A text in quotes, as Lark and JSON write it.
pub(super) fn literal(text: &str) -> String {
    // The one character that JSON leaves bare and Lark does not.
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_can_be_completed() {
        let mut draft = Draft::default();
        let endless = draft.declare();
        draft.define(endless, vec![vec![Symbol::Text("(".into()), Symbol::Rule(endless)]]);
        let word = draft.terminal("/[a-z]+/".into());
        assert_eq!(draft.terminal("/[a-z]+/".into()), word);
        let start = draft.declare();
        let optional = |of| Symbol::Repeat { of, least: 0, most: Some(1) };
        draft.define(
            start,
            vec![
                vec![Symbol::Text("\"\u{7f}\n".into()), optional(vec![word.clone()]), Symbol::Token(7)],
                vec![optional(vec![Symbol::Rule(endless)])],
                vec![Symbol::Rule(endless)],
            ],
        );
        let text = draft.print(start).unwrap();
        assert_eq!(text, "start: r1\nr1: \"\\\"\\u007f\\n\" (T0){0,1} <[7]>\n  | \"\"\nT0: /[a-z]+/\n");
    }

    #[test]
    fn nothing_to_print() {
        let mut draft = Draft::default();
        let start = draft.declare();
        draft.define(start, vec![vec![Symbol::Rule(start)]]);
        assert_eq!(draft.print(start), None);
    }
}
