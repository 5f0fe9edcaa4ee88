//! Finds stop strings in text that comes in pieces.
//!
//! One automaton for all of them (Aho and Corasick, "Efficient string matching: an aid to bibliographic search", 1975).
//! The depth of its state is the number of bytes at the end of the text that can still become a stop string: exactly
//! those are held back, so no part of a stop string is ever given out and nothing waits without need.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::limits;

/// Looks for several strings at once.
#[derive(Debug)]
pub(super) struct StopSearch {
    /// A trie of the strings. Node 0 is the root.
    nodes: Vec<Node>,
    /// The node for what was read last.
    state: usize,
    /// Text that is not decided: it begins like one of the strings.
    held: String,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<u8, usize>,
    /// The node for the longest proper end of this node's text that is in the trie.
    fallback: usize,
    /// Length of this node's text in bytes.
    depth: usize,
    /// The longest string that this node's text ends with: which one, and its length.
    found: Option<(usize, usize)>,
}

impl StopSearch {
    /// For these strings.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an empty string, a string that is too long, or too many of them.
    pub(super) fn new(strings: &[String]) -> Result<Self> {
        let refuse = |found: String, expected: String| {
            Err(Error::Argument { name: "stop", reason: format!("found {found}, expected {expected}") })
        };
        if strings.len() > limits::STOP_STRINGS {
            return refuse(format!("{} strings", strings.len()), format!("at most {}", limits::STOP_STRINGS));
        }
        if let Some(len) = strings.iter().map(String::len).find(|len| !(1..=limits::STOP_BYTES).contains(len)) {
            return refuse(format!("a string of {len} bytes"), format!("1 to {}", limits::STOP_BYTES));
        }
        let mut search = Self { nodes: vec![Node::default()], state: 0, held: String::new() };
        for (which, string) in strings.iter().enumerate() {
            search.insert(which, string.as_bytes());
        }
        search.link();
        Ok(search)
    }

    /// Takes more text and gives out what is decided. If a string is found, what stands before it is given out, the rest
    /// is dropped, and the answer says which string. The one that is whole first is found; of several that end at one
    /// place, the longest.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> Option<usize> {
        let before = self.held.len();
        self.held.push_str(text);
        for (i, byte) in text.bytes().enumerate() {
            self.state = self.next(self.state, byte);
            if let Some((which, len)) = self.node(self.state).and_then(|node| node.found) {
                let start = (before + i + 1).saturating_sub(len);
                out.push_str(self.held.get(..start).unwrap_or_default());
                self.reset();
                return Some(which);
            }
        }
        // A string begins with the first byte of a character, so the cut is between characters.
        let undecided = self.node(self.state).map_or(0, |node| node.depth);
        let decided = self.held.len().saturating_sub(undecided);
        if let Some((decided, rest)) = self.held.split_at_checked(decided) {
            out.push_str(decided);
            self.held = rest.to_owned();
        }
        None
    }

    /// The text is over, or goes on elsewhere: gives out what was held back.
    pub(super) fn flush(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.reset();
    }

    fn reset(&mut self) {
        self.state = 0;
        self.held.clear();
    }

    fn node(&self, i: usize) -> Option<&Node> {
        self.nodes.get(i)
    }

    fn child(&self, i: usize, byte: u8) -> Option<usize> {
        self.node(i)?.children.get(&byte).copied()
    }

    /// The node after one more byte.
    fn next(&self, mut state: usize, byte: u8) -> usize {
        loop {
            match self.child(state, byte) {
                Some(child) => return child,
                None if state == 0 => return 0,
                None => state = self.node(state).map_or(0, |node| node.fallback),
            }
        }
    }

    fn insert(&mut self, which: usize, string: &[u8]) {
        let mut at = 0;
        for (&byte, depth) in string.iter().zip(1..) {
            let new = self.nodes.len();
            let child = self.nodes.get_mut(at).map_or(new, |node| *node.children.entry(byte).or_insert(new));
            if child == new {
                self.nodes.push(Node { depth, ..Node::default() });
            }
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.found.get_or_insert((which, string.len()));
        }
    }

    /// Sets the fallbacks, shallow nodes first, since each follows from one that is less deep.
    fn link(&mut self) {
        let mut order = vec![0];
        let mut at = 0;
        while let Some(&parent) = order.get(at) {
            at += 1;
            let Some(node) = self.node(parent) else { continue };
            let (fallback, children) = (node.fallback, node.children.clone());
            for (byte, child) in children {
                let fallback = if parent == 0 { 0 } else { self.next(fallback, byte) };
                let inherited = self.node(fallback).and_then(|node| node.found);
                if let Some(node) = self.nodes.get_mut(child) {
                    node.fallback = fallback;
                    node.found = node.found.or(inherited);
                }
                order.push(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn search(strings: &[&str]) -> StopSearch {
        StopSearch::new(&strings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_may_become_a_stop_string_is_held_back_and_no_more() {
        let mut search = search(&["</end>", "\n\n"]);
        let mut pieces = Vec::new();
        for piece in ["a</e", "b<", "/", "x\n", "y", "</end", ">z"] {
            let mut out = String::new();
            let found = search.push(piece, &mut out);
            pieces.push((out, found));
        }
        let expected =
            [("a", None), ("</eb", None), ("", None), ("</x", None), ("\ny", None), ("", None), ("", Some(0))];
        assert_eq!(pieces, expected.map(|(text, found)| (text.to_owned(), found)));
    }

    #[test]
    fn what_is_undecided_at_the_end_comes_out() {
        let mut search = search(&["stop"]);
        let mut out = String::new();
        assert_eq!(search.push("non-sto", &mut out), None);
        assert_eq!(out, "non-");
        search.flush(&mut out);
        assert_eq!(out, "non-sto");
        assert_eq!(search.push("p", &mut out), None);
        assert_eq!(out, "non-stop");
    }

    #[test]
    fn strings_that_make_no_sense_are_refused() {
        for strings in [vec![String::new()], vec!["x".repeat(1025)], vec!["x".to_owned(); 257]] {
            let error = StopSearch::new(&strings).unwrap_err();
            assert!(matches!(error, Error::Argument { name: "stop", .. }), "{error}");
        }
        let most: Vec<String> = (0..256).map(|i| format!("{i:x>1024}")).collect();
        StopSearch::new(&most).unwrap();
    }

    /// The first end at which a string is whole; of several there, the longest.
    fn naive(text: &str, strings: &[String]) -> Option<(usize, String)> {
        (1..=text.len()).find_map(|end| {
            let ending = |s: &&String| text.as_bytes()[..end].ends_with(s.as_bytes());
            let longest = strings.iter().filter(ending).max_by_key(|s| s.len())?;
            let which = strings.iter().position(|s| s == longest)?;
            Some((which, text[..end - longest.len()].to_owned()))
        })
    }

    proptest! {
        #[test]
        fn any_cut_of_a_text_gives_what_a_plain_search_gives(
            text in "[ab\u{e4}\u{20ac}]{0,40}",
            strings in prop::collection::vec("[ab\u{e4}\u{20ac}]{1,5}", 0..6),
            cuts in prop::collection::vec(0usize..6, 41),
        ) {
            let mut search = StopSearch::new(&strings).unwrap();
            let mut given = String::new();
            let mut found = None;
            let mut chars = text.chars();
            for len in cuts {
                let piece: String = chars.by_ref().take(len).collect();
                found = search.push(&piece, &mut given);
                if found.is_some() {
                    break;
                }
                // Only a beginning of a stop string may wait.
                prop_assert!(search.held.is_empty() || strings.iter().any(|s| s.starts_with(&search.held)));
            }
            if found.is_none() {
                found = search.push(chars.as_str(), &mut given);
            }
            match naive(&text, &strings) {
                Some((which, before)) => prop_assert_eq!((found, given), (Some(which), before)),
                None => {
                    search.flush(&mut given);
                    prop_assert_eq!((found, given), (None, text));
                }
            }
        }
    }
}
