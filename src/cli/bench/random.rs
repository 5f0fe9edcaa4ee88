//! Numbers that look random and repeat with their seed.

use lemmy_core::TokenId;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `n`, or 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Ids of `n` tokens.
    pub(super) fn tokens(&mut self, n: usize, vocabulary: usize) -> Vec<TokenId> {
        (0..n).map(|_| TokenId::try_from(self.below(vocabulary as u64)).unwrap_or_default()).collect()
    }

    /// At most `n` of the items, in no order.
    pub(super) fn some<T>(&mut self, mut items: Vec<T>, n: usize) -> Vec<T> {
        let n = n.min(items.len());
        for i in 0..n {
            let left = (items.len() - i) as u64;
            let other = i + usize::try_from(self.below(left)).unwrap_or_default();
            items.swap(i, other);
        }
        items.truncate(n);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_with_the_seed_and_stay_in_the_vocabulary() {
        let ids = |seed| Random(seed).tokens(1000, 384);
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert!(ids(1).iter().all(|&id| id < 384));
        assert!((0..384).all(|id| ids(3).contains(&id) || ids(4).contains(&id) || ids(5).contains(&id)));
    }

    #[test]
    fn some_items_come_once_each() {
        let mut some = Random(7).some((0..100).collect(), 40);
        assert_eq!(some.len(), 40);
        assert!(some.windows(2).any(|pair| pair.first() > pair.last()));
        some.sort_unstable();
        some.dedup();
        assert_eq!(some.len(), 40);
        assert_eq!(Random(7).some(vec![1, 2], 5).len(), 2);
    }
}
