//! The formats of 32 numbers: one grid, stored as one or two halves.

#![forbid(unsafe_code)]

use half::f16;

use super::search::{Grid, Group, Levels, Offset, Scored, half_not_below, inverse, level, nearest_half};
use crate::quant::blocks::*;

/// How far the first grids reach beyond the outermost numbers, in levels.
const REACHES: &[f32] = &[-1.5, -1.0, -0.5, 0.0, 0.5, 1.0];

/// `d` is the smallest half that reaches the largest number with 127 steps: at 8 bits a search gains next to nothing.
pub(super) fn q8_0(x: &[f32; 32]) -> BlockQ8_0 {
    let peak = x.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    let d = half_not_below(peak / 127.0);
    let inverse = inverse(d.to_f32());
    let levels = Levels { low: -127.0, high: 127.0 };
    BlockQ8_0 { d: d.to_bits().into(), qs: x.map(|x| level(x * inverse, levels) as i8) }
}

pub(super) fn q5_0(x: &[f32; 32]) -> BlockQ5_0 {
    let levels = Levels { low: -16.0, high: 15.0 };
    let group = Group::new(x);
    let best = group.best_symmetric(levels, REACHES);
    let d = best_of(around(best.grid.scale).map(|d| (d, group.score(Grid { scale: d.to_f32(), offset: 0.0 }, levels))));
    let (qs, qh) = pack_five_bits(x, Grid { scale: d.to_f32(), offset: 0.0 }, levels);
    BlockQ5_0 { d: d.to_bits().into(), qh: qh.into(), qs }
}

pub(super) fn q5_1(x: &[f32; 32]) -> BlockQ5_1 {
    let levels = Levels { low: 0.0, high: 31.0 };
    let group = Group::new(x);
    let best = group.best_affine(levels, Offset::Any, REACHES);
    let grid = |d: f16, m: f16| Grid { scale: d.to_f32(), offset: m.to_f32() };
    let (d, m) = best_of(around(best.grid.scale).map(|d| {
        let m = nearest_half(best.grid.offset);
        let m = nearest_half(group.best_offset(&group.score(grid(d, m), levels)));
        ((d, m), group.score(grid(d, m), levels))
    }));
    let (qs, qh) = pack_five_bits(x, grid(d, m), levels);
    BlockQ5_1 { d: d.to_bits().into(), m: m.to_bits().into(), qh: qh.into(), qs }
}

/// The half nearest to a scale and its two neighbours, as far as they are finite.
fn around(scale: f32) -> [f16; 3] {
    let bits = nearest_half(scale).to_bits();
    [0, -1, 1].map(|step| {
        let half = f16::from_bits(bits.wrapping_add_signed(step));
        if half.is_finite() { half } else { f16::from_bits(bits) }
    })
}

/// What came with the least error.
fn best_of<T: Copy + Default, const N: usize>(candidates: [(T, Scored); N]) -> T {
    let mut best = (T::default(), f32::INFINITY);
    for (candidate, scored) in candidates {
        if scored.error < best.1 {
            best = (candidate, scored.error);
        }
    }
    best.0
}

/// Low nibbles and fifth bits of the 32 numbers on a grid.
fn pack_five_bits(x: &[f32; 32], grid: Grid, levels: Levels) -> ([u8; 16], u32) {
    let inverse = inverse(grid.scale);
    let mut qs = [0; 16];
    let mut qh = 0;
    let (first, second) = x.split_at(16);
    for (j, ((byte, first), second)) in qs.iter_mut().zip(first).zip(second).enumerate() {
        let q = |x: f32| (level((x - grid.offset) * inverse, levels) - levels.low) as u32;
        let (a, b) = (q(*first), q(*second));
        *byte = (a & 15 | (b & 15) << 4) as u8;
        qh |= (a >> 4) << j | (b >> 4) << (j + 16);
    }
    (qs, qh)
}
