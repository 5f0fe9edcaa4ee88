//! The search for the best grid of one group of numbers.
//!
//! Wanted are integers `q` within the format's [`Levels`] and a [`Grid`] that minimise
//! `sum w (x - scale * q - offset)^2`. For a given grid the best `q` are the nearest levels; for given `q` the best grid
//! is a weighted linear regression. Alternating the two (Lloyd's algorithm, 1957) never increases the error but stops in
//! a local minimum, so it is started from several grids, which differ in how far they reach beyond the outermost numbers.

#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing)] // lanes: arrays and loops of the same constant length

use half::f16;

/// The integers that a format offers, both ends included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    pub(super) low: f32,
    pub(super) high: f32,
}

/// The numbers `scale * q + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) offset: f32,
}

/// A grid with the weighted squared error that it leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) grid: Grid,
    pub(super) error: f32,
    sums: Sums,
}

/// Weighted sums over a group: of q, of q^2, of x q.
#[derive(Debug, Clone, Copy)]
struct Sums {
    q: f32,
    qq: f32,
    xq: f32,
}

/// Which grids a format can store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Offset {
    /// None: `scale * q`.
    Zero,
    /// At most zero, as in the K formats' minima.
    NotPositive,
    /// Any.
    Any,
}

/// A group of numbers with their weights.
pub(super) struct Group<'a, const N: usize> {
    x: &'a [f32; N],
    w: [f32; N],
    /// Weighted sums of 1 and of x.
    sum_w: f32,
    sum_wx: f32,
}

/// Steps of Lloyd's algorithm from each start: a grid of one unknown settles sooner than one of two.
const SYMMETRIC_ROUNDS: usize = 2;
const AFFINE_ROUNDS: usize = 4;
/// Further steps from the best end.
const LAST_ROUNDS: usize = 4;
/// Lanes that sums are kept in, so that the compiler can use vector instructions; all groups are whole multiples.
const LANES: usize = 16;

impl<'a, const N: usize> Group<'a, N> {
    pub(super) fn new(x: &'a [f32; N]) -> Self {
        let w = weights(x);
        let (mut sum_w, mut sum_wx) = (0.0, 0.0);
        for (x, w) in x.iter().zip(&w) {
            sum_w += w;
            sum_wx += w * x;
        }
        Self { x, w, sum_w, sum_wx }
    }

    /// The best grid with levels around zero and without offset, of either sign.
    pub(super) fn best_symmetric(&self, levels: Levels, reaches: &[f32]) -> Scored {
        // The low end has one level more than the high end, so the number of greatest magnitude lies there in most good
        // grids; its sign decides that of the scale.
        let peak = self.x.iter().fold(0.0f32, |peak, &x| if x.abs() > peak.abs() { x } else { peak });
        let starts = reaches.iter().map(|reach| peak / (levels.low - reach));
        let starts = starts.chain(reaches.iter().map(|reach| peak / (levels.high + reach)));
        self.best(levels, Offset::Zero, starts.map(|scale| Grid { scale, offset: 0.0 }))
    }

    /// The best grid with an offset.
    pub(super) fn best_affine(&self, levels: Levels, kind: Offset, reaches: &[f32]) -> Scored {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &x in self.x {
            low = low.min(x);
            high = high.max(x);
        }
        if kind == Offset::NotPositive {
            low = low.min(0.0);
            high = high.max(low);
        }
        let steps = levels.high - levels.low;
        let starts = reaches.iter().map(|reach| {
            // `reach` levels more than there are, so that half of the excess is cut at either end.
            let scale = (high - low) / (steps + reach);
            let offset = low + 0.5 * reach * scale;
            Grid { scale, offset: if kind == Offset::NotPositive { offset.min(0.0) } else { offset } }
        });
        self.best(levels, kind, starts)
    }

    fn best(&self, levels: Levels, kind: Offset, starts: impl Iterator<Item = Grid>) -> Scored {
        let rounds = if kind == Offset::Zero { SYMMETRIC_ROUNDS } else { AFFINE_ROUNDS };
        let mut best = self.score(Grid { scale: 0.0, offset: 0.0 }, levels);
        for start in starts {
            let here = self.descend(self.score(start, levels), levels, kind, rounds);
            if here.error < best.error {
                best = here;
            }
        }
        self.descend(best, levels, kind, LAST_ROUNDS)
    }

    /// Lloyd's algorithm from a grid, until the error stops to fall.
    fn descend(&self, mut here: Scored, levels: Levels, kind: Offset, rounds: usize) -> Scored {
        for _ in 0..rounds {
            let Some(next) = self.regression(&here.sums, kind) else { break };
            let next = self.score(next, levels);
            if next.error >= here.error {
                break;
            }
            here = next;
        }
        here
    }

    /// The grid with the least error for fixed integers; none if they do not determine one.
    fn regression(&self, sums: &Sums, kind: Offset) -> Option<Grid> {
        let through_zero = || Grid { scale: sums.xq / sums.qq, offset: 0.0 };
        let grid = if kind == Offset::Zero {
            through_zero()
        } else {
            let determinant = self.sum_w * sums.qq - sums.q * sums.q;
            let scale = (self.sum_w * sums.xq - self.sum_wx * sums.q) / determinant;
            let offset = self.offset_for(scale, sums.q);
            if kind == Offset::NotPositive && offset > 0.0 { through_zero() } else { Grid { scale, offset } }
        };
        (grid.scale.is_finite() && grid.offset.is_finite()).then_some(grid)
    }

    /// The best offset for a fixed scale and fixed integers, whose weighted sum is given.
    fn offset_for(&self, scale: f32, sum_q: f32) -> f32 {
        (self.sum_wx - scale * sum_q) / self.sum_w
    }

    /// The best offset for the scale and the integers of a scored grid.
    pub(super) fn best_offset(&self, scored: &Scored) -> f32 {
        self.offset_for(scored.grid.scale, scored.sums.q)
    }

    /// Rounds the group to a grid and adds up what comes of it.
    pub(super) fn score(&self, grid: Grid, levels: Levels) -> Scored {
        let inverse = inverse(grid.scale);
        let (mut error, mut q_sum, mut qq_sum, mut xq_sum) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (x, w) in self.x.as_chunks::<LANES>().0.iter().zip(self.w.as_chunks::<LANES>().0) {
            for l in 0..LANES {
                let q = level((x[l] - grid.offset) * inverse, levels);
                let rest = x[l] - (grid.scale * q + grid.offset);
                let wq = w[l] * q;
                error[l] += w[l] * rest * rest;
                q_sum[l] += wq;
                qq_sum[l] += wq * q;
                xq_sum[l] += wq * x[l];
            }
        }
        let [error, q, qq, xq] = [error, q_sum, qq_sum, xq_sum].map(|lanes| lanes.iter().sum());
        Scored { grid, error, sums: Sums { q, qq, xq } }
    }
}

/// Weights of the squared errors: 1 for a number near zero, 1.5 for one of average size, and so on.
///
/// What a weight will be multiplied with is unknown here, which speaks for counting all errors alike; but large weights
/// are more often those that a result hangs on. This middle way costs about half a percent of plain error and brings
/// about half of what weighting by `x^2` would bring for the large ones.
fn weights<const N: usize>(x: &[f32; N]) -> [f32; N] {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / N as f32;
    let inverse = inverse(mean_square.sqrt());
    x.map(|x| 1.0 + 0.5 * x.abs() * inverse)
}

/// The level that is nearest to `t`.
pub(super) fn level(t: f32, levels: Levels) -> f32 {
    // Comparisons in this form become vector minimum and maximum.
    let t = if t < levels.low { levels.low } else { t };
    let t = if t > levels.high { levels.high } else { t };
    // Adding 1.5 * 2^23 leaves no bits for fractions: round to nearest, ties to even, without a function call.
    const NO_FRACTION: f32 = 12_582_912.0;
    (t + NO_FRACTION) - NO_FRACTION
}

/// `1 / x`, or 0 where that would be infinite: a grid of scale 0 then takes every number to level 0.
pub(super) fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The finite half nearest to a finite number.
pub(super) fn nearest_half(x: f32) -> f16 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(x.clamp(-largest, largest))
}

/// The least half that is not below `x`, for `x` from 0; the largest half for what is above it.
///
/// Scales are rounded up by this: then no integer leaves its range, and a small scale does not become 0.
pub(super) fn half_not_below(x: f32) -> f16 {
    let nearest = nearest_half(x);
    let is_below = nearest.to_f32() < x && nearest < f16::MAX;
    f16::from_bits(nearest.to_bits() + u16::from(is_below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_nearest() {
        let levels = Levels { low: -4.0, high: 3.0 };
        for (t, expected) in [(-9.0, -4.0), (-0.6, -1.0), (0.5, 0.0), (1.5, 2.0), (2.4, 2.0), (3.6, 3.0), (1e30, 3.0)] {
            assert_eq!(level(t, levels), expected, "{t}");
        }
    }

    #[test]
    fn halves_round_up() {
        for x in [0.0, 1.0, 1.0001, 1e-9, 6e-8, 3.3e-5, 65_504.0] {
            let half = half_not_below(x);
            assert!(half.to_f32() >= x && f16::from_bits(half.to_bits().saturating_sub(1)).to_f32() <= x, "{x}");
        }
    }

    #[test]
    fn numbers_on_a_grid_are_found_again() {
        let x: [f32; 32] = std::array::from_fn(|i| 0.37 * ((i * 7 % 16) as f32) - 1.9);
        let group = Group::new(&x);
        let best = group.best_affine(Levels { low: 0.0, high: 15.0 }, Offset::NotPositive, &[0.0]);
        assert!(best.error < 1e-10, "{best:?}");
        assert!((best.grid.scale - 0.37).abs() < 1e-5 && (best.grid.offset + 1.9).abs() < 1e-5, "{best:?}");
    }
}
