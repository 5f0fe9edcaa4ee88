//! Dense products of floats with floats, and attention without a cache: what a vision tower is made of.
//!
//! Operands are packed so that one register tile serves every product. *Strips* hold rows six by six: the numbers of
//! column `k` of six rows stand together. *Panels* hold columns sixteen by sixteen: the numbers of row `k` of sixteen
//! columns stand together. A tile multiplies some strips with some panels: each number of a strip is broadcast, each
//! panel row is one vector.
//!
//! Every output is a chain of fused multiply-adds in the order of `k`, cut every [`DEPTH`] steps, the pieces added in
//! order. So results depend neither on the tile nor on the instruction set.

#![allow(clippy::indexing_slicing)] // Sizes are checked once, at the start of each kernel.
#![allow(clippy::needless_range_loop)] // Indices name strips, rows and panels, often in several arrays at once.

use super::isa::{Isa, Kernel, LANES};
use super::math;

/// Rows in a strip.
pub const STRIP: usize = 6;
/// Columns in a panel.
pub const PANEL: usize = LANES;
/// Steps of a chain of sums: strips and panels of this depth stay in the first-level cache.
const DEPTH: usize = 128;
/// Keys whose scores are held at once.
const KEYS: usize = 96;

/// A product of packed matrices.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// Inputs of each output.
    pub depth: usize,
    /// `[strip][depth][STRIP]`.
    pub strips: &'a [f32],
    /// `[panel][depth][PANEL]`.
    pub panels: &'a [f32],
}

/// Attention of some queries over all keys of one head, every query seeing every key; scores are not scaled.
#[derive(Debug, Clone, Copy)]
pub struct HeadAttention<'a> {
    /// Numbers in a query, a key and a value.
    pub head_dim: usize,
    /// Keys, and values.
    pub count: usize,
    /// Keys as strips: `[strip][head_dim][STRIP]`; what follows the last key is not looked at.
    pub keys: &'a [f32],
    /// Values, their dims as rows of strips: `[strip of dims][count][STRIP]`.
    pub values: &'a [f32],
    /// Queries as panels: `[panel][head_dim][PANEL]`.
    pub queries: &'a [f32],
}

/// `out[row][column]`, `PANEL * panels` numbers in a row.
pub(super) struct Multiply<'a> {
    pub(super) product: Product<'a>,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { product: Product { depth, strips, panels }, out } = self;
        let (strip_len, panel_len) = (depth * STRIP, depth * PANEL);
        assert!(depth > 0 && strips.len().is_multiple_of(strip_len) && panels.len().is_multiple_of(panel_len));
        let (n_strips, n_panels) = (strips.len() / strip_len, panels.len() / panel_len);
        let stride = n_panels * PANEL;
        assert_eq!(out.len(), n_strips * STRIP * stride);
        let strip = |s: usize, at: usize, n: usize| &strips[s * strip_len + at * STRIP..][..n * STRIP];
        let panel = |p: usize, at: usize, n: usize| &panels[p * panel_len + at * PANEL..][..n * PANEL];
        // Few registers hold one strip times one panel.
        let at_once = if I::MANY_REGISTERS { 2 } else { 1 };
        for p in (0..n_panels).step_by(at_once) {
            let is_pair = at_once == 2 && p + 1 < n_panels;
            for at in (0..depth).step_by(DEPTH) {
                let n = DEPTH.min(depth - at);
                let is_first = at == 0;
                for s in (0..n_strips).step_by(at_once) {
                    let places = Places { row: s * STRIP, column: p * PANEL, stride, is_first };
                    match (at_once == 2 && s + 1 < n_strips, is_pair) {
                        (true, true) => {
                            let strips = [strip(s, at, n), strip(s + 1, at, n)];
                            places.put(isa, out, tile(isa, strips, [panel(p, at, n), panel(p + 1, at, n)]));
                        }
                        (true, false) => {
                            let strips = [strip(s, at, n), strip(s + 1, at, n)];
                            places.put(isa, out, tile(isa, strips, [panel(p, at, n)]));
                        }
                        (false, true) => {
                            let panels = [panel(p, at, n), panel(p + 1, at, n)];
                            places.put(isa, out, tile(isa, [strip(s, at, n)], panels));
                        }
                        (false, false) => places.put(isa, out, tile(isa, [strip(s, at, n)], [panel(p, at, n)])),
                    }
                }
            }
        }
    }
}

/// Where the sums of a tile go.
#[derive(Clone, Copy)]
struct Places {
    row: usize,
    column: usize,
    stride: usize,
    is_first: bool,
}

impl Places {
    #[inline(always)]
    fn put<I: Isa, const S: usize, const P: usize>(self, isa: I, out: &mut [f32], sums: [[[I::V; P]; STRIP]; S]) {
        for s in 0..S {
            for r in 0..STRIP {
                let at = (self.row + s * STRIP + r) * self.stride + self.column;
                let row = out[at..][..P * PANEL].as_chunks_mut::<PANEL>().0;
                for p in 0..P {
                    let sum = sums[s][r][p];
                    let sum = if self.is_first { sum } else { isa.add(isa.load(&row[p]), sum) };
                    isa.store(sum, &mut row[p]);
                }
            }
        }
    }
}

/// `sums[strip][row][panel]`: a chain over all steps.
#[inline(always)]
fn tile<I: Isa, const S: usize, const P: usize>(
    isa: I,
    strips: [&[f32]; S],
    panels: [&[f32]; P],
) -> [[[I::V; P]; STRIP]; S] {
    let strips = strips.map(|strip| strip.as_chunks::<STRIP>().0);
    let panels = panels.map(|panel| panel.as_chunks::<PANEL>().0);
    let n = panels[0].len();
    let (strips, panels) = (strips.map(|strip| &strip[..n]), panels.map(|panel| &panel[..n]));
    let mut sums = [[[isa.splat(0.0); P]; STRIP]; S];
    for k in 0..n {
        let columns: [I::V; P] = std::array::from_fn(|p| isa.load(&panels[p][k]));
        for s in 0..S {
            for r in 0..STRIP {
                let x = isa.splat(strips[s][k][r]);
                for p in 0..P {
                    sums[s][r][p] = isa.fma(x, columns[p], sums[s][r][p]);
                }
            }
        }
    }
    sums
}

/// See [`attend_all`](super::VectorKernels::attend_all).
pub(super) struct AttendAll<'a> {
    pub(super) job: HeadAttention<'a>,
    pub(super) out: &'a mut [f32],
}

impl Kernel for AttendAll<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { job, out } = self;
        let dims = job.head_dim.next_multiple_of(STRIP);
        let query_len = job.head_dim * PANEL;
        let count = job.queries.len() / query_len;
        assert!(job.count > 0 && job.queries.len() == count * query_len && out.len() == count * dims * PANEL);
        assert!(job.keys.len() >= job.count.next_multiple_of(STRIP) * job.head_dim);
        assert!(job.values.len() == dims * job.count);
        let two = if I::MANY_REGISTERS { count / 2 } else { 0 };
        for i in 0..two {
            attend::<I, 2, 2>(isa, &job, &job.queries[2 * i * query_len..], &mut out[2 * i * dims * PANEL..]);
        }
        for i in 2 * two..count {
            attend::<I, 1, 1>(isa, &job, &job.queries[i * query_len..], &mut out[i * dims * PANEL..]);
        }
    }
}

/// `P` panels of queries, `S` strips at once: softmax over blocks of [`KEYS`] keys, each merged into what came before.
#[inline(always)]
fn attend<I: Isa, const S: usize, const P: usize>(isa: I, job: &HeadAttention<'_>, queries: &[f32], out: &mut [f32]) {
    let (head_dim, dims) = (job.head_dim, job.head_dim.next_multiple_of(STRIP));
    let queries: [&[f32]; P] = std::array::from_fn(|p| &queries[p * head_dim * PANEL..][..head_dim * PANEL]);
    let out = out[..P * dims * PANEL].as_chunks_mut::<PANEL>().0;
    let mut scores = [[[0.0f32; PANEL]; KEYS]; P];
    let mut most = [isa.splat(f32::NEG_INFINITY); P];
    let mut sum = [isa.splat(0.0); P];
    for first in (0..job.count).step_by(KEYS) {
        let n = KEYS.min(job.count - first);
        let key = |k: usize| &job.keys[(first + k) * head_dim..][..STRIP * head_dim];
        let mut k = 0;
        while k < n {
            if k + (S - 1) * STRIP < n {
                let strips: [&[f32]; S] = std::array::from_fn(|s| key(k + s * STRIP));
                keep(isa, &mut scores, k, tile(isa, strips, queries));
                k += S * STRIP;
            } else {
                keep(isa, &mut scores, k, tile(isa, [key(k)], queries));
                k += STRIP;
            }
        }
        let mut fade = [isa.splat(0.0); P];
        for p in 0..P {
            let scores = &mut scores[p][..n];
            let now = scores.iter().fold(most[p], |most, row| isa.max(isa.load(row), most));
            fade[p] = math::exp(isa, isa.sub(most[p], now));
            most[p] = now;
            let mut added = isa.splat(0.0);
            for row in scores.iter_mut() {
                let share = math::exp(isa, isa.sub(isa.load(row), now));
                added = isa.add(added, share);
                isa.store(share, row);
            }
            sum[p] = isa.fma(sum[p], fade[p], added);
        }
        let shares: [&[f32]; P] = std::array::from_fn(|p| scores[p][..n].as_flattened());
        let value = |d: usize| &job.values[d * job.count + first * STRIP..][..n * STRIP];
        let is_first = first == 0;
        let mut d = 0;
        while d < dims {
            if d + S * STRIP <= dims {
                let strips: [&[f32]; S] = std::array::from_fn(|s| value(d + s * STRIP));
                merge(isa, out, dims, d, is_first, &fade, tile(isa, strips, shares));
                d += S * STRIP;
            } else {
                merge(isa, out, dims, d, is_first, &fade, tile(isa, [value(d)], shares));
                d += STRIP;
            }
        }
    }
    for p in 0..P {
        for row in &mut out[p * dims..][..dims] {
            isa.store(isa.div(isa.load(row), sum[p]), row);
        }
    }
}

/// Puts the scores of keys `k` and on aside.
#[inline(always)]
fn keep<I: Isa, const S: usize, const P: usize>(
    isa: I,
    scores: &mut [[[f32; PANEL]; KEYS]; P],
    k: usize,
    sums: [[[I::V; P]; STRIP]; S],
) {
    for p in 0..P {
        let rows = &mut scores[p][k..][..S * STRIP];
        for s in 0..S {
            for r in 0..STRIP {
                isa.store(sums[s][r][p], &mut rows[s * STRIP + r]);
            }
        }
    }
}

/// `out = out * fade + sums`, for dims `d` and on.
#[inline(always)]
fn merge<I: Isa, const S: usize, const P: usize>(
    isa: I,
    out: &mut [[f32; PANEL]],
    dims: usize,
    d: usize,
    is_first: bool,
    fade: &[I::V; P],
    sums: [[[I::V; P]; STRIP]; S],
) {
    for p in 0..P {
        let rows = &mut out[p * dims + d..][..S * STRIP];
        for s in 0..S {
            for r in 0..STRIP {
                let row = &mut rows[s * STRIP + r];
                let sum = sums[s][r][p];
                let sum = if is_first { sum } else { isa.fma(isa.load(row), fade[p], sum) };
                isa.store(sum, row);
            }
        }
    }
}
