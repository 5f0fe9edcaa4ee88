//! Finding things by name.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

/// The order of things by name: finds one by binary search and shows equal names side by side.
///
/// Unlike a hash table it holds no copies of the names and has no bad case that a file could be built for.
#[derive(Debug)]
pub(super) struct NameIndex(Vec<u32>);

impl NameIndex {
    /// An index over `items`, or the first name (in alphabetical order) that two of them share.
    pub(super) fn new<T>(items: &[T], name: impl Fn(&T) -> &str) -> Result<Self, String> {
        let name_at = |i: &u32| items.get(*i as usize).map_or("", &name);
        let mut order: Vec<u32> = (0..items.len() as u32).collect();
        order.sort_unstable_by(|a, b| name_at(a).cmp(name_at(b)));
        for pair in order.windows(2) {
            if let [a, b] = pair
                && name_at(a) == name_at(b)
            {
                return Err(name_at(a).into());
            }
        }
        Ok(Self(order))
    }

    /// The item of this name among the same `items`.
    pub(super) fn find<'a, T>(&self, items: &'a [T], wanted: &str, name: impl Fn(&T) -> &str) -> Option<&'a T> {
        let compare = |i: &u32| items.get(*i as usize).map_or(Ordering::Less, |item| name(item).cmp(wanted));
        let place = self.0.binary_search_by(compare).ok()?;
        items.get(*self.0.get(place)? as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_each_and_notices_doubles() {
        let items = ["b", "", "c", "a"];
        let index = NameIndex::new(&items, |s| s).unwrap();
        for item in &items {
            assert_eq!(index.find(&items, item, |s| s), Some(item));
        }
        assert_eq!(index.find(&items, "bb", |s| s), None);
        assert_eq!(NameIndex::new(&["x", "y", "x"], |s| s).unwrap_err(), "x");
    }
}
