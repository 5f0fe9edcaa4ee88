//! The formats of 256 numbers: groups whose scales (and minima) are integers times one half for the whole block.
//!
//! First every group finds its best grid freely. The block's halves follow from the largest of them; then every group
//! chooses its integers anew among those near its wish, judged by the error of the grid that they really give.

#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing)] // fixed-size arrays with constant bounds, as in the layouts

use super::search::{Grid, Group, Levels, Offset, half_not_below, inverse, level};
use crate::quant::blocks::*;

/// Largest scale and minimum of a group in Q4_K and Q5_K.
const LARGEST_6_BITS: f32 = 63.0;
/// Largest scale of a group in Q6_K (the format's -128 is left out: symmetry costs nothing).
const LARGEST_SCALE: f32 = 127.0;
/// How far the first grids reach beyond the outermost numbers, in levels.
const REACHES_4: &[f32] = &[-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5];
const REACHES_5: &[f32] = &[-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0];
const REACHES_6: &[f32] = &[-1.5, -1.0, -0.5, 0.0, 0.5, 1.0];

pub(super) fn q4_k(x: &[f32; 256]) -> BlockQ4K {
    let found = affine(x, Levels { low: 0.0, high: 15.0 }, REACHES_4);
    BlockQ4K {
        d: found.d.to_bits().into(),
        dmin: found.dmin.to_bits().into(),
        scales: pack_scales_mins(&found.scales, &found.mins),
        qs: pack_nibbles(&found.q),
    }
}

pub(super) fn q5_k(x: &[f32; 256]) -> BlockQ5K {
    let found = affine(x, Levels { low: 0.0, high: 31.0 }, REACHES_5);
    let mut qh = [0; 32];
    for (i, q) in found.q.iter().enumerate() {
        qh[i % 32] |= (q >> 4) << (i / 32);
    }
    BlockQ5K {
        d: found.d.to_bits().into(),
        dmin: found.dmin.to_bits().into(),
        scales: pack_scales_mins(&found.scales, &found.mins),
        qh,
        qs: pack_nibbles(&found.q),
    }
}

/// Low four bits of 256 integers: byte `32k + l` holds numbers `64k + l` and `64k + l + 32`.
fn pack_nibbles(q: &[u8; 256]) -> [u8; 128] {
    std::array::from_fn(|i| {
        let first = 64 * (i / 32) + i % 32;
        q[first] & 15 | (q[first + 32] & 15) << 4
    })
}

/// What Q4_K and Q5_K store: `(d * scale) * q - (dmin * min)`.
struct Affine {
    d: half::f16,
    dmin: half::f16,
    scales: [u8; 8],
    mins: [u8; 8],
    q: [u8; 256],
}

fn affine(x: &[f32; 256], levels: Levels, reaches: &[f32]) -> Affine {
    let groups: [Group<32>; 8] = std::array::from_fn(|j| Group::new(&x.as_chunks::<32>().0[j]));
    let wishes = groups.each_ref().map(|g| g.best_affine(levels, Offset::NotPositive, reaches).grid);

    let largest = |of: fn(&Grid) -> f32| wishes.iter().map(of).fold(0.0, f32::max);
    let d = half_not_below(largest(|g| g.scale) / LARGEST_6_BITS);
    let dmin = half_not_below(largest(|g| -g.offset) / LARGEST_6_BITS);

    let (mut scales, mut mins, mut q) = ([0; 8], [0; 8], [0; 256]);
    let units = (d.to_f32(), dmin.to_f32());
    for (j, (group, wish)) in groups.iter().zip(&wishes).enumerate() {
        let (scale, min) = nearby_integers(group, wish, units, levels);
        (scales[j], mins[j]) = (scale as u8, min as u8);
        let grid = Grid { scale: units.0 * scale, offset: -(units.1 * min) };
        round(&x[32 * j..32 * j + 32], grid, levels, &mut q[32 * j..32 * j + 32]);
    }
    Affine { d, dmin, scales, mins, q }
}

/// The integers for scale and minimum with the least error among the scales next to the wish.
fn nearby_integers(group: &Group<32>, wish: &Grid, (d, dmin): (f32, f32), levels: Levels) -> (f32, f32) {
    let six_bits = Levels { low: 0.0, high: LARGEST_6_BITS };
    let as_min = |offset: f32| level(-offset * inverse(dmin), six_bits);
    let mut best = ((0.0, 0.0), f32::INFINITY);
    for step in [0.0, -1.0, 1.0] {
        let scale = level(wish.scale * inverse(d) + step, six_bits);
        // The minimum that suited the wished scale rounds the numbers; then the one that suits these integers.
        let first = as_min(wish.offset);
        let scored = group.score(Grid { scale: d * scale, offset: -(dmin * first) }, levels);
        let second = as_min(group.best_offset(&scored));
        let again = group.score(Grid { scale: d * scale, offset: -(dmin * second) }, levels);
        for (min, scored) in [(first, scored), (second, again)] {
            if scored.error < best.1 {
                best = ((scale, min), scored.error);
            }
        }
    }
    best.0
}

pub(super) fn q6_k(x: &[f32; 256]) -> BlockQ6K {
    let levels = Levels { low: -32.0, high: 31.0 };
    let groups: [Group<16>; 16] = std::array::from_fn(|j| Group::new(&x.as_chunks::<16>().0[j]));
    let wishes = groups.each_ref().map(|g| g.best_symmetric(levels, REACHES_6).grid.scale);
    let largest = wishes.iter().fold(0.0f32, |largest, scale| largest.max(scale.abs()));
    let half = half_not_below(largest / LARGEST_SCALE);
    let d = half.to_f32();

    let eight_bits = Levels { low: -LARGEST_SCALE, high: LARGEST_SCALE };
    let (mut scales, mut q) = ([0i8; 16], [0u8; 256]);
    for (j, (group, wish)) in groups.iter().zip(wishes).enumerate() {
        let mut best = (0.0, f32::INFINITY);
        for step in [0.0, -1.0, 1.0] {
            let scale = level(wish * inverse(d) + step, eight_bits);
            let error = group.score(Grid { scale: d * scale, offset: 0.0 }, levels).error;
            if error < best.1 {
                best = (scale, error);
            }
        }
        scales[j] = best.0 as i8;
        let grid = Grid { scale: d * best.0, offset: 0.0 };
        round(&x[16 * j..16 * j + 16], grid, levels, &mut q[16 * j..16 * j + 16]);
    }
    let (mut ql, mut qh) = ([0; 128], [0; 64]);
    for (i, q) in q.iter().enumerate() {
        let (half, group, l) = (i / 128, i % 128 / 32, i % 32);
        ql[64 * half + 32 * (group % 2) + l] |= (q & 15) << (4 * (group / 2));
        qh[32 * half + l] |= (q >> 4) << (2 * group);
    }
    BlockQ6K { ql, qh, scales, d: half.to_bits().into() }
}

/// Rounds numbers to a grid; the integers are counted from the lowest level.
fn round(x: &[f32], grid: Grid, levels: Levels, q: &mut [u8]) {
    let inverse = inverse(grid.scale);
    for (q, x) in q.iter_mut().zip(x) {
        *q = (level((x - grid.offset) * inverse, levels) - levels.low) as u8;
    }
}
