//! Our own random numbers, so that a seed gives the same tokens for ever, whatever a crate changes.
//!
//! xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2019), its state filled by
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), as the authors of the
//! former advise.

use std::hash::{BuildHasher, RandomState};

/// A stream of random numbers that is a function of its seed.
#[derive(Debug, Clone)]
pub(super) struct Rng([u64; 4]);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// A number in [0, 1): the upper 53 bits, which is all that an f64 holds.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * f64::EPSILON / 2.0
    }

    fn next(&mut self) -> u64 {
        let [s0, s1, s2, s3] = self.0;
        let result = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let (s2, s3) = (s2 ^ s0, s3 ^ s1);
        self.0 = [s0 ^ s3, s1 ^ s2, s2 ^ (s1 << 17), s3.rotate_left(45)];
        result
    }
}

/// A seed from the operating system, different on every call.
///
/// The standard library keys its hash maps with bytes of the system's random generator; hashing nothing under such a
/// key gives 64 of them, mixed. That is enough for seeds, which are no secrets, and needs no further crate.
pub(super) fn seed_from_os() -> u64 {
    RandomState::new().hash_one(())
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_the_recorded_ones() {
        let text = include_str!("../../../tests/fixtures/sampling/rng.json");
        let seeds: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        assert_eq!(seeds.len(), 5);
        for (seed, expected) in seeds {
            let seed = seed.parse().unwrap();
            let (mut integers, mut fractions) = (Rng::new(seed), Rng::new(seed));
            for n in expected.get("u64").unwrap().as_array().unwrap() {
                assert_eq!(integers.next().to_string(), n.as_str().unwrap(), "seed {seed}");
            }
            for n in expected.get("f64").unwrap().as_array().unwrap() {
                // The JSON reader may be off in the last bit.
                assert!((fractions.unit() - n.as_f64().unwrap()).abs() < 1e-15, "seed {seed}");
            }
        }
    }

    #[test]
    fn largest_fraction_is_below_one() {
        assert!((u64::MAX >> 11) as f64 * f64::EPSILON / 2.0 < 1.0);
    }

    #[test]
    fn system_seeds_differ() {
        let seeds: std::collections::BTreeSet<u64> = (0..100).map(|_| seed_from_os()).collect();
        assert_eq!(seeds.len(), 100);
    }
}
