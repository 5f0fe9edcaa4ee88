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
#![allow(clippy::needless_range_loop)] // An index names a row in two arrays.

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
        let stride = panels.len() / panel_len * PANEL;
        assert_eq!(out.len(), strips.len() / depth * stride);
        for (p, panel) in panels.chunks_exact(panel_len).enumerate() {
            for at in (0..depth).step_by(DEPTH) {
                let steps = at..(at + DEPTH).min(depth);
                let panel = &panel[steps.start * PANEL..steps.end * PANEL];
                for (s, strip) in strips.chunks_exact(strip_len).enumerate() {
                    let sums = tile(isa, &strip[steps.start * STRIP..steps.end * STRIP], panel);
                    for (r, sum) in sums.into_iter().enumerate() {
                        let place = &mut out[(s * STRIP + r) * stride + p * PANEL..].as_chunks_mut::<PANEL>().0[0];
                        isa.store(if at == 0 { sum } else { isa.add(isa.load(place), sum) }, place);
                    }
                }
            }
        }
    }
}

/// A strip times a panel: for each row of the strip a chain over all steps.
#[inline(always)]
fn tile<I: Isa>(isa: I, strip: &[f32], panel: &[f32]) -> [I::V; STRIP] {
    let mut sums = [isa.splat(0.0); STRIP];
    for (rows, columns) in strip.as_chunks::<STRIP>().0.iter().zip(panel.as_chunks::<PANEL>().0) {
        let columns = isa.load(columns);
        for r in 0..STRIP {
            sums[r] = isa.fma(isa.splat(rows[r]), columns, sums[r]);
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
        let (dims, query_len) = (job.head_dim.next_multiple_of(STRIP), job.head_dim * PANEL);
        let count = job.queries.len() / query_len;
        assert!(job.count > 0 && job.queries.len() == count * query_len && out.len() == count * dims * PANEL);
        assert!(job.keys.len() >= job.count.next_multiple_of(STRIP) * job.head_dim);
        assert!(job.values.len() == dims * job.count);
        for (queries, out) in job.queries.chunks_exact(query_len).zip(out.chunks_exact_mut(dims * PANEL)) {
            attend(isa, &job, queries, out.as_chunks_mut::<PANEL>().0);
        }
    }
}

/// A panel of queries: softmax over blocks of [`KEYS`] keys, each merged into what came before.
#[inline(always)]
fn attend<I: Isa>(isa: I, job: &HeadAttention<'_>, queries: &[f32], out: &mut [[f32; PANEL]]) {
    let mut scores = [[0.0f32; PANEL]; KEYS];
    let (mut most, mut sum) = (isa.splat(f32::NEG_INFINITY), isa.splat(0.0));
    for first in (0..job.count).step_by(KEYS) {
        let n = KEYS.min(job.count - first);
        for k in (0..n).step_by(STRIP) {
            let keys = &job.keys[(first + k) * job.head_dim..][..STRIP * job.head_dim];
            let rows = scores[k..].iter_mut();
            tile(isa, keys, queries).into_iter().zip(rows).for_each(|(sums, row)| isa.store(sums, row));
        }

        let scores = &mut scores[..n];
        let now = scores.iter().fold(most, |most, row| isa.max(isa.load(row), most));
        let fade = math::exp(isa, isa.sub(most, now));
        most = now;
        let mut added = isa.splat(0.0);
        for row in scores.iter_mut() {
            let share = math::exp(isa, isa.sub(isa.load(row), now));
            added = isa.add(added, share);
            isa.store(share, row);
        }
        sum = isa.fma(sum, fade, added);

        let shares = scores.as_flattened();
        for (d, rows) in out.chunks_exact_mut(STRIP).enumerate() {
            let values = &job.values[(d * job.count + first) * STRIP..][..n * STRIP];
            for (merged, row) in tile(isa, values, shares).into_iter().zip(rows) {
                isa.store(if first == 0 { merged } else { isa.fma(isa.load(row), fade, merged) }, row);
            }
        }
    }
    for row in out {
        isa.store(isa.div(isa.load(row), sum), row);
    }
}
