//! Stop strings, found also where tokens cut them in pieces.

use crate::cli::failure::{Failure, Result};

/// Watches a text that comes in pieces; holds back what may yet turn out to be the beginning of a stop string.
#[derive(Debug)]
pub(crate) struct Stops {
    stops: Vec<String>,
    held: String,
    met: bool,
}

impl Stops {
    /// Refuses empty strings.
    pub(crate) fn new(stops: &[String]) -> Result<Self> {
        if stops.iter().any(String::is_empty) {
            return Err(Failure::usage("--stop: found an empty text (expected at least one character)"));
        }
        Ok(Self { stops: stops.to_vec(), held: String::new(), met: false })
    }

    /// Takes the next piece and returns the text that can be shown; nothing any more once a stop string was met.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        if self.met {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.met = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.held.split_off(self.held.len() - self.beginning_at_end());
        std::mem::replace(&mut self.held, keep)
    }

    /// Whether a stop string was met.
    pub(crate) fn met(&self) -> bool {
        self.met
    }

    /// What was held back when the text ended without a stop string.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes of the longest end of the held text with which a stop string begins.
    fn beginning_at_end(&self) -> usize {
        let ends = self.held.char_indices().filter_map(|(at, _)| self.held.get(at..));
        let mut beginnings = ends.filter(|end| self.stops.iter().any(|stop| stop.starts_with(end)));
        beginnings.next().map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use proptest::prelude::*;

    fn stops(words: &[&str]) -> Stops {
        Stops::new(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn feed(stops: &mut Stops, pieces: &[&str]) -> (String, bool) {
        let mut shown: String = pieces.iter().map(|piece| stops.push(piece)).collect();
        shown += &stops.finish();
        (shown, stops.met())
    }

    #[test]
    fn nothing_of_a_stop_string_is_shown() {
        assert_eq!(feed(&mut stops(&["END"]), &["one E", "N", "D two"]), ("one ".into(), true));
        assert_eq!(feed(&mut stops(&["END"]), &["one EN", "OUGH"]), ("one ENOUGH".into(), false));
        assert_eq!(feed(&mut stops(&["aab"]), &["aa", "a", "b"]), ("a".into(), true));
        assert_eq!(feed(&mut stops(&["日本"]), &["x日", "本"]), ("x".into(), true));
        assert_eq!(feed(&mut stops(&[]), &["a", "b"]), ("ab".into(), false));
    }

    #[test]
    fn the_first_of_several_counts() {
        assert_eq!(feed(&mut stops(&["two", "one"]), &["zero one two"]), ("zero ".into(), true));
    }

    #[test]
    fn empty_stop_strings_are_refused() {
        assert!(Stops::new(&[String::new()]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_cut_gives_the_same_text(text in "[ab]{0,24}", stop in "[ab]{1,4}", cuts in prop::collection::vec(0usize..24, 0..8)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let expected = text.find(&stop).map_or((text.clone(), false), |at| (text[..at].to_owned(), true));
            prop_assert_eq!(feed(&mut stops(&[&stop]), &pieces), expected);
        }
    }
}
