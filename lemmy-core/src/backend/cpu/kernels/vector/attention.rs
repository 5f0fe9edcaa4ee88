//! Attention over one KV head.
//!
//! Keys are visited in blocks of [`KEY_BLOCK`] positions. Within a block, neighbouring queries that see the same part of
//! it form a tile of 8, 4, 2 or 1: each loaded key and value serves the whole tile. Per query and block:
//!
//! 1. scores of the seen keys: 16 partial sums each (lane = index in the query mod 16), added in the fixed tree;
//! 2. online softmax: with the new maximum `m'`, `c = e^(m - m')`, `p = e^(score - m')`, `sum = sum * c + total of p`;
//! 3. `out = out * c`, then `out = fma(p, value, out)` key by key.
//!
//! The tile's shape changes none of these sums, so a query's result depends on the query and its span alone.

#![allow(clippy::indexing_slicing)] // `check` compares all lengths before any kernel runs.

mod odd;

use std::collections::TryReserveError;
use std::ops::Range;

use super::isa::{Element, Isa, Kernel, LANES};
use super::{AttentionJob, KvRows, math};
use crate::kv::KEY_BLOCK;
use crate::quant::blocks::{Block, BlockQ8_0};

/// Buffers that are kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    queries: Vec<Aligned>,
    states: Vec<State>,
    odd: odd::Scratch,
}

impl Scratch {
    pub(super) fn reserve(&mut self, queries: usize, query_dim: usize) -> Result<(), TryReserveError> {
        self.queries.clear();
        self.queries.try_reserve_exact(queries.saturating_mul(query_dim.div_ceil(LANES)))?;
        self.states.clear();
        self.states.try_reserve_exact(queries)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Aligned>() * self.queries.capacity() + size_of::<State>() * self.states.capacity() + self.odd.bytes()
    }
}

/// 16 numbers of a query, on a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Aligned([f32; LANES]);

/// Progress of one query.
#[derive(Debug, Clone, Copy)]
struct State {
    max: f32,
    sum: f32,
}

/// One query's scores, later weights, in a block.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Scores([f32; KEY_BLOCK]);

/// Most queries of a tile.
const TILE: usize = 8;

/// Runs a job of any size.
pub(super) fn run<I: Isa>(isa: I, job: &AttentionJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
    check(job, out);
    match job.kv {
        KvRows::F32(keys, values) => run_numbers(isa, job, keys, values, out, scratch),
        KvRows::F16(keys, values) => run_numbers(isa, job, keys, values, out, scratch),
        KvRows::Q8_0(keys, values) => run_rows(isa, job, keys, values, out, scratch),
    }
}

fn check(job: &AttentionJob<'_>, out: &[f32]) {
    let &AttentionJob { rows, key_dim, value_dim, query_dim, .. } = job;
    let (keys, values) = match job.kv {
        KvRows::F32(keys, values) => (keys.len(), values.len()),
        KvRows::F16(keys, values) => (keys.len(), values.len()),
        KvRows::Q8_0(keys, values) => {
            let whole = |n: usize| n.is_multiple_of(BlockQ8_0::LEN);
            assert!(whole(key_dim) && whole(value_dim), "rows of {key_dim} and {value_dim} numbers in blocks");
            (keys.len() * BlockQ8_0::LEN, values.len() * BlockQ8_0::LEN)
        }
    };
    assert!(value_dim > 0 && rows > 0 && rows.is_multiple_of(KEY_BLOCK), "{rows} rows");
    assert!(query_dim == key_dim || (query_dim == value_dim && key_dim < value_dim), "{query_dim} numbers in a query");
    // A cache that has not wrapped yet may end after the last block in use.
    let last = job.spans.iter().map(|span| span.end).max().unwrap_or(0);
    let present = rows.min(last.next_multiple_of(KEY_BLOCK));
    assert!(keys >= present * key_dim && values >= present * value_dim, "{keys} and {values} numbers in the cache");
    assert_eq!(job.queries.len(), job.spans.len() * query_dim, "numbers in the queries");
    assert_eq!(out.len(), job.spans.len() * value_dim, "numbers in the result");
}

fn run_numbers<I: Isa, T: Copy + Into<f32>>(
    isa: I,
    job: &AttentionJob<'_>,
    keys: &[T],
    values: &[T],
    out: &mut [f32],
    scratch: &mut Scratch,
) where
    [T; LANES]: Element,
{
    if [job.key_dim, job.value_dim, job.query_dim].iter().all(|n| n.is_multiple_of(LANES)) {
        run_rows(isa, job, keys.as_chunks().0, values.as_chunks().0, out, scratch);
    } else {
        odd::run(isa, job, keys, values, out, scratch);
    }
}

/// All sizes are multiples of 16.
fn run_rows<I: Isa, T: Element>(
    isa: I,
    job: &AttentionJob<'_>,
    keys: &[T],
    values: &[T],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let (queries, _) = job.queries.as_chunks::<LANES>();
    empty_for(&mut scratch.queries, queries.len());
    scratch.queries.extend(queries.iter().map(|&q| Aligned(q)));
    empty_for(&mut scratch.states, job.spans.len());
    scratch.states.resize(job.spans.len(), State { max: f32::NEG_INFINITY, sum: 0.0 });
    let shape =
        Shape { query: job.query_dim / LANES, key: job.key_dim / LANES, value: job.value_dim / LANES, rows: job.rows };
    isa.run(Attention {
        shape,
        keys,
        values,
        queries: &scratch.queries,
        spans: job.spans,
        states: &mut scratch.states,
        out: out.as_chunks_mut().0,
    });
}

/// Empties a buffer and makes room. Without memory it panics, which a thread pool turns into an error; see
/// [`VectorScratch::reserve`](super::VectorScratch::reserve).
fn empty_for<T>(buffer: &mut Vec<T>, n: usize) {
    buffer.clear();
    assert!(buffer.try_reserve_exact(n).is_ok(), "no memory for attention");
}

/// Lengths in vectors of 16 numbers, but `rows` in rows.
#[derive(Clone, Copy)]
struct Shape {
    query: usize,
    key: usize,
    value: usize,
    rows: usize,
}

impl Shape {
    /// Pieces of a key row and of a value row.
    #[inline(always)]
    fn pieces<T: Element>(self) -> (usize, usize) {
        (self.key / T::VECTORS, self.value / T::VECTORS)
    }
}

struct Attention<'a, T> {
    shape: Shape,
    keys: &'a [T],
    values: &'a [T],
    queries: &'a [Aligned],
    spans: &'a [Range<usize>],
    states: &'a mut [State],
    out: &'a mut [[f32; LANES]],
}

impl<T: Element> Kernel for Attention<'_, T> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { shape, keys, values, queries, spans, states, out } = self;
        out.fill([0.0; LANES]);
        let (key_pieces, value_pieces) = shape.pieces::<T>();
        let first = spans.iter().map(|span| span.start).min().unwrap_or(0) / KEY_BLOCK;
        let end = spans.iter().map(|span| span.end).max().unwrap_or(0).div_ceil(KEY_BLOCK);
        for block in first..end {
            let row = block * KEY_BLOCK % shape.rows;
            let base = block * KEY_BLOCK;
            // The first tile of a block fetches it from memory, the others find it in the cache.
            let mut prefetch = true;
            let mut query = 0;
            while query < spans.len() {
                let seen = seen(&spans[query], base);
                let alike = alike(&spans[query..], base);
                if seen.is_empty() {
                    query += alike;
                    continue;
                }
                let count = 1 << alike.ilog2();
                let tile = Tile {
                    shape,
                    keys: &keys[(row + seen.start) * key_pieces..(row + seen.end) * key_pieces],
                    values: &values[(row + seen.start) * value_pieces..(row + seen.end) * value_pieces],
                    queries: &queries[query * shape.query..(query + count) * shape.query],
                    states: &mut states[query..query + count],
                    out: &mut out[query * shape.value..(query + count) * shape.value],
                    prefetch,
                };
                match count {
                    8 => tile.run::<I, 8, 2>(isa),
                    4 => tile.run::<I, 4, 4>(isa),
                    2 => tile.run::<I, 2, 8>(isa),
                    _ => tile.run::<I, 1, 16>(isa),
                }
                prefetch = false;
                query += count;
            }
        }
        for (out, state) in out.chunks_exact_mut(shape.value).zip(states) {
            let scale = isa.splat(1.0 / state.sum);
            for chunk in out {
                isa.store(isa.mul(isa.load(chunk), scale), chunk);
            }
        }
    }
}

/// The part of the block at `base` that a span sees.
#[inline(always)]
fn seen(span: &Range<usize>, base: usize) -> Range<usize> {
    span.start.saturating_sub(base).min(KEY_BLOCK)..span.end.saturating_sub(base).min(KEY_BLOCK)
}

/// How many queries, at most [`TILE`], see the same part of a block as the first one.
fn alike(spans: &[Range<usize>], base: usize) -> usize {
    let first = spans.first().map(|span| seen(span, base));
    spans.iter().take(TILE).take_while(|span| Some(seen(span, base)) == first).count()
}

/// Some queries and the keys of a block that they all see.
struct Tile<'a, T> {
    shape: Shape,
    keys: &'a [T],
    values: &'a [T],
    queries: &'a [Aligned],
    states: &'a mut [State],
    out: &'a mut [[f32; LANES]],
    prefetch: bool,
}

impl<T: Element> Tile<'_, T> {
    /// `Q` queries, `K` keys at once; `Q * K` is 16.
    #[inline(always)]
    fn run<I: Isa, const Q: usize, const K: usize>(mut self, isa: I) {
        let mut weights = [Scores([f32::NEG_INFINITY; KEY_BLOCK]); Q];
        self.score::<I, Q, K>(isa, &mut weights);
        let corrections = weigh(isa, &mut weights, self.states);
        match (I::MANY_REGISTERS, Q) {
            (true, 8) => self.add_values::<I, Q, 2>(isa, 0, &weights, &corrections),
            (true, 4) => self.add_values::<I, Q, 4>(isa, 0, &weights, &corrections),
            (true, _) => self.add_values::<I, Q, 8>(isa, 0, &weights, &corrections),
            (false, 1) => self.add_values::<I, 1, 4>(isa, 0, &weights, &corrections),
            (false, _) => {
                for first in (0..Q).step_by(2) {
                    self.add_values::<I, 2, 2>(isa, first, &weights, &corrections);
                }
            }
        }
    }

    /// Step 1.
    #[inline(always)]
    fn score<I: Isa, const Q: usize, const K: usize>(&self, isa: I, scores: &mut [Scores; Q]) {
        let keys = self.values.len() / self.shape.pieces::<T>().1;
        for key in (0..keys).step_by(K) {
            if self.prefetch {
                self.fetch(isa, key + PREFETCH_KEYS..key + PREFETCH_KEYS + K);
            }
            let mut sums = [isa.splat(0.0); LANES];
            match (I::MANY_REGISTERS, Q) {
                (true, _) => self.dots::<I, Q, K, K>(isa, 0, key, 0, &mut sums),
                (false, 1) => {
                    for k in (0..K).step_by(4) {
                        self.dots::<I, 1, 4, K>(isa, 0, key, k, &mut sums);
                    }
                }
                (false, _) => {
                    for q in (0..Q).step_by(2) {
                        for k in (0..K).step_by(2) {
                            self.dots::<I, 2, 2, K>(isa, q, key, k, &mut sums);
                        }
                    }
                }
            }
            let sums = isa.to_array(isa.sums(sums));
            for (scores, sums) in scores.iter_mut().zip(sums.as_chunks::<K>().0) {
                match scores.0[key..keys].first_chunk_mut::<K>() {
                    Some(whole) => *whole = *sums,
                    None => scores.0[key..keys].copy_from_slice(&sums[..keys - key]),
                }
            }
        }
    }

    /// The 16 partial sums of `Q` queries from `q` and `K` keys from `key + k`: `sums[query * STRIDE + k]`.
    #[inline(always)]
    fn dots<I: Isa, const Q: usize, const K: usize, const STRIDE: usize>(
        &self,
        isa: I,
        q: usize,
        key: usize,
        k: usize,
        sums: &mut [I::V; LANES],
    ) {
        let shape = self.shape;
        let (key_pieces, value_pieces) = shape.pieces::<T>();
        let last = self.values.len() / value_pieces - 1;
        // Beyond the last key: that one again, its sums are not used.
        let (mut queries, mut keys, mut values) = ([&[][..]; Q], [&[][..]; K], [&[][..]; K]);
        for (i, query) in queries.iter_mut().enumerate() {
            *query = row(self.queries, q + i, shape.query);
        }
        for i in 0..K {
            let index = (key + k + i).min(last);
            keys[i] = row(self.keys, index, key_pieces);
            values[i] = row(self.values, index, value_pieces);
        }
        let mut acc = [[isa.splat(0.0); K]; Q];
        accumulate(isa, &queries, 0..shape.key, &keys, 0, &mut acc);
        if shape.query > shape.key {
            accumulate(isa, &queries, shape.key..shape.query, &values, shape.key, &mut acc);
        }
        for (i, acc) in acc.iter().enumerate() {
            sums[(q + i) * STRIDE + k..][..K].copy_from_slice(acc);
        }
    }

    /// Step 3, for `Q` queries from `first`, `C` chunks of their values at once.
    #[inline(always)]
    fn add_values<I: Isa, const Q: usize, const C: usize>(
        &mut self,
        isa: I,
        first: usize,
        weights: &[Scores],
        corrections: &[f32; LANES],
    ) {
        let mut chunk = 0;
        while chunk + C <= self.shape.value {
            self.add_chunks::<I, Q, C>(isa, first, weights, corrections, chunk);
            chunk += C;
        }
        while chunk < self.shape.value {
            self.add_chunks::<I, Q, 1>(isa, first, weights, corrections, chunk);
            chunk += 1;
        }
    }

    #[inline(always)]
    fn add_chunks<I: Isa, const Q: usize, const C: usize>(
        &mut self,
        isa: I,
        first: usize,
        weights: &[Scores],
        corrections: &[f32; LANES],
        chunk: usize,
    ) {
        let width = self.shape.value;
        let weights = &weights[first..first + Q];
        let mut acc = [[isa.splat(0.0); C]; Q];
        for (q, acc) in acc.iter_mut().enumerate() {
            let correction = isa.splat(corrections[first + q]);
            for (acc, out) in acc.iter_mut().zip(&self.out[(first + q) * width + chunk..][..C]) {
                *acc = isa.mul(isa.load(out), correction);
            }
        }
        for (key, value) in self.values.chunks_exact(width / T::VECTORS).enumerate().take(KEY_BLOCK) {
            let mut loaded = [isa.splat(0.0); C];
            for (i, loaded) in (chunk..).zip(&mut loaded) {
                *loaded = value[i / T::VECTORS].load(isa, i % T::VECTORS);
            }
            for (weights, acc) in weights.iter().zip(&mut acc) {
                let weight = isa.splat(weights.0[key]);
                for (acc, &value) in acc.iter_mut().zip(&loaded) {
                    *acc = isa.fma(weight, value, *acc);
                }
            }
        }
        for (q, acc) in acc.iter().enumerate() {
            for (&acc, out) in acc.iter().zip(&mut self.out[(first + q) * width + chunk..][..C]) {
                isa.store(acc, out);
            }
        }
    }

    /// Asks for keys and values, which may lie beyond this block: then the next one's most likely.
    #[inline(always)]
    fn fetch<I: Isa>(&self, isa: I, keys: Range<usize>) {
        let (key_pieces, value_pieces) = self.shape.pieces::<T>();
        for (rows, pieces) in [(self.keys, key_pieces), (self.values, value_pieces)] {
            let bytes = keys.start * pieces * size_of::<T>()..keys.end * pieces * size_of::<T>();
            for line in bytes.step_by(64) {
                isa.prefetch(rows.as_ptr().cast::<u8>().wrapping_add(line));
            }
        }
    }
}

/// How far ahead of the scores keys and values are fetched.
const PREFETCH_KEYS: usize = 8;

/// `acc[q][k] += queries[q][part] * keys[k][from..]`, lane by lane.
#[inline(always)]
fn accumulate<I: Isa, T: Element, const Q: usize, const K: usize>(
    isa: I,
    queries: &[&[Aligned]; Q],
    part: Range<usize>,
    keys: &[&[T]; K],
    from: usize,
    acc: &mut [[I::V; K]; Q],
) {
    let pieces = part.len() / T::VECTORS;
    let (mut queries, mut keys) = (*queries, *keys);
    for query in &mut queries {
        *query = &query[part.start..part.end];
    }
    for key in &mut keys {
        *key = &key[from / T::VECTORS..from / T::VECTORS + pieces];
    }
    for piece in 0..pieces {
        for vector in 0..T::VECTORS {
            let mut loaded = [isa.splat(0.0); K];
            for (loaded, key) in loaded.iter_mut().zip(keys) {
                *loaded = key[piece].load(isa, vector);
            }
            for (query, acc) in queries.iter().zip(&mut *acc) {
                let query = isa.load(&query[piece * T::VECTORS + vector].0);
                for (acc, &key) in acc.iter_mut().zip(&loaded) {
                    *acc = isa.fma(query, key, *acc);
                }
            }
        }
    }
}

/// Step 2: scores become weights, states go on; gives the factors of what was summed before.
#[inline(always)]
fn weigh<I: Isa>(isa: I, scores: &mut [Scores], states: &mut [State]) -> [f32; LANES] {
    let mut steps = [0.0; LANES];
    for ((scores, state), step) in scores.iter().zip(&mut *states).zip(&mut steps) {
        let (chunks, _) = scores.0.as_chunks::<LANES>();
        let mut greatest = isa.splat(state.max);
        for chunk in chunks {
            greatest = isa.max(greatest, isa.load(chunk));
        }
        let greatest = isa.greatest(greatest);
        *step = state.max - greatest;
        state.max = greatest;
    }
    let corrections = isa.to_array(math::exp(isa, isa.load(&steps)));
    for ((scores, state), correction) in scores.iter_mut().zip(states).zip(corrections) {
        let max = isa.splat(state.max);
        let mut total = isa.splat(0.0);
        for chunk in scores.0.as_chunks_mut::<LANES>().0 {
            let weight = math::exp(isa, isa.sub(isa.load(chunk), max));
            total = isa.add(total, weight);
            isa.store(weight, chunk);
        }
        state.sum = state.sum.mul_add(correction, isa.sum(total));
    }
    corrections
}

#[inline(always)]
fn row<T>(rows: &[T], i: usize, len: usize) -> &[T] {
    &rows[i * len..][..len]
}
