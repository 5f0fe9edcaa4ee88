//! Queries, keys, values, scores.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::{Exec, ROWS, Seq, Source, all_finite, at_layer, normed, part, part_mut, tap};
use crate::backend::Input;
use crate::backend::cpu::cache::CpuKv;
use crate::backend::cpu::kernels::{AttentionJob, VectorKernels};
use crate::backend::cpu::scratch::{CpuScratch, QUERY_TILE, RopeTables, first, key_dims};
use crate::error::{Error, Result};
use crate::plan::{LayerSpec, Step, ValueSource};
use crate::threads::Window;

impl Exec<'_, '_> {
    /// `h = x + norm(AttnOutput * attention(norm(x)))`.
    pub(super) fn attention(&mut self, l: u16) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let (layer, spec) = at_layer(engine, l)?;
        let weights = &layer.attention;
        let (n, hidden) = (*n, engine.plan.spec.hidden);
        let (q_width, k_width) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let CpuScratch { x, h, z, q, k, v, heads, ropes, z_acts, heads_acts, every_row, workers, .. } = &mut **scratch;

        normed(engine, x, &weights.norm, z, n)?;
        z_acts.renew();
        let mut input = Source { x: z, acts: z_acts, every_row, n };
        input.times(engine, workers, &weights.q, q)?;
        input.times(engine, workers, &weights.k, k)?;
        if let Some(values) = &weights.v {
            input.times(engine, workers, values, v)?;
        }
        tap(seqs, "q_proj", Some(l), q_width, q)?;
        tap(seqs, "k_proj", Some(l), k_width, k)?;

        let heads_of = Heads {
            layer: usize::from(l),
            spec,
            ropes,
            eps: engine.plan.spec.rms_eps,
            vector: &*engine.kernels.vector,
        };
        engine.pool.rows(part_mut(q, &(0..n), q_width)?, q_width, ROWS, &|worker, first_row, rows| {
            workers.with(worker, |own| {
                let tmp = first(&mut own.a, spec.head_dim);
                for (token, row) in (first_row..).zip(rows.chunks_exact_mut(q_width)) {
                    row.chunks_exact_mut(spec.head_dim).for_each(|q| heads_of.query(q, token, weights, tmp));
                }
            });
        })?;
        let raw_keys = part(k, &(0..n), k_width)?;
        engine.pool.rows(part_mut(v, &(0..n), k_width)?, k_width, ROWS, &|worker, first_row, rows| {
            workers.with(worker, |own| {
                let tmp = first(&mut own.a, spec.head_dim);
                let keys = raw_keys.chunks_exact(spec.head_dim).skip(first_row * spec.kv_heads);
                rows.chunks_exact_mut(spec.head_dim).zip(keys).for_each(|(v, k)| heads_of.value(v, k, tmp));
            });
        })?;
        engine.pool.rows(part_mut(k, &(0..n), k_width)?, k_width, ROWS, &|worker, first_row, rows| {
            workers.with(worker, |own| {
                let tmp = first(&mut own.a, spec.head_dim);
                for (token, row) in (first_row..).zip(rows.chunks_exact_mut(k_width)) {
                    row.chunks_exact_mut(spec.head_dim).for_each(|k| heads_of.key(k, token, weights, tmp));
                }
            });
        })?;
        for seq in seqs.iter_mut() {
            store(seq, &*engine.kernels.vector, spec, usize::from(l), k, v)?;
        }

        let joined = part_mut(heads, &(0..n), q_width)?;
        let (windows, tiles) = tiles(seqs, spec);
        let caches: Vec<&CpuKv> = seqs.iter().map(|seq| &*seq.kv).collect();
        engine.pool.windows(joined, q_width, &windows, &|worker, item, mut out| {
            let Some((tile, cache)) = tiles.get(item).and_then(|t| Some((t, caches.get(t.seq)?))) else { return };
            let Some((rows, kv)) = cache.head(usize::from(l), tile.kv_head) else { return };
            workers.with(worker, |own| {
                let group = spec.heads / spec.kv_heads;
                let count = tile.spans.len();
                let queries = first(&mut own.a, count * spec.head_dim);
                let cols = out.window().cols.clone();
                let sources = q.chunks_exact(q_width).skip(out.window().rows.start);
                for (to, from) in queries.chunks_exact_mut(cols.len()).zip(sources) {
                    to.copy_from_slice(from.get(cols.clone()).unwrap_or_default());
                }
                let attended = first(&mut own.b, count * spec.head_dim);
                let job = AttentionJob {
                    rows,
                    kv,
                    key_dim: key_dims(spec),
                    value_dim: spec.head_dim,
                    query_dim: spec.head_dim,
                    queries,
                    spans: &tile.spans,
                };
                engine.kernels.vector.attention(&job, attended, &mut own.vector);
                for (i, row) in attended.chunks_exact(group * spec.head_dim).enumerate() {
                    let out = out.row(i).chunks_exact_mut(spec.head_dim);
                    row.chunks_exact(spec.head_dim).zip(out).for_each(|(from, to)| heads_of.undo_cache_order(from, to));
                }
            });
        })?;
        tap(seqs, "attn_heads", Some(l), q_width, joined)?;

        heads_acts.renew();
        let mut joined = Source { x: joined, acts: heads_acts, every_row, n };
        joined.times(engine, workers, &weights.output, z)?;
        tap(seqs, "attn_o", Some(l), hidden, z)?;
        normed(engine, z, &weights.post_norm, h, n)?;
        let h = part_mut(h, &(0..n), hidden)?;
        h.iter_mut().zip(x.iter()).for_each(|(h, x)| *h += x);
        if !all_finite(h) {
            return Err(Error::Numeric { step: Step::Attention(l).name(), layer: Some(l) });
        }
        tap(seqs, "attn_residual", Some(l), hidden, h)
    }
}

/// What happens to single heads of one layer.
///
/// On a layer with [`ValueSource::SharedWithKey`] heads are kept in *cache order*: the dims that RoPE turns first, then
/// the others. The key of a dim that does not turn is `value * AttnKNorm`, so that weight moves into the query.
struct Heads<'a> {
    layer: usize,
    spec: &'a LayerSpec,
    ropes: &'a RopeTables,
    eps: f32,
    vector: &'a dyn VectorKernels,
}

impl Heads<'_> {
    /// Norm, RoPE, score scale; in cache order.
    fn query(&self, q: &mut [f32], token: usize, weights: &crate::backend::cpu::bind::Attention, tmp: &mut [f32]) {
        self.vector.norm(q, Some(&weights.q_norm), self.eps, tmp);
        let (cos, sin) = self.ropes.get(self.layer, token);
        self.vector.rope(tmp, cos, sin);
        if self.is_shared() {
            let pairs = self.spec.rope.frequencies.len();
            let half = self.spec.head_dim / 2;
            for range in [pairs..half, half + pairs..2 * half] {
                let still = tmp.get_mut(range.clone()).unwrap_or_default();
                let norm = weights.k_norm.get(range).unwrap_or_default();
                still.iter_mut().zip(norm).for_each(|(q, w)| *q *= w);
            }
        }
        tmp.iter_mut().for_each(|x| *x *= self.spec.score_scale);
        self.to_cache_order(tmp, q);
    }

    /// Norm and RoPE; a shared key keeps its turned dims alone, at the front.
    fn key(&self, k: &mut [f32], token: usize, weights: &crate::backend::cpu::bind::Attention, tmp: &mut [f32]) {
        self.vector.norm(k, Some(&weights.k_norm), self.eps, tmp);
        let (cos, sin) = self.ropes.get(self.layer, token);
        self.vector.rope(tmp, cos, sin);
        self.to_cache_order(tmp, k);
    }

    /// The value's norm, if it has one; in cache order.
    fn value(&self, v: &mut [f32], raw_key: &[f32], tmp: &mut [f32]) {
        match self.spec.values {
            ValueSource::Own => {}
            ValueSource::OwnNormed => {
                self.vector.norm(v, None, self.eps, tmp);
                v.copy_from_slice(tmp);
            }
            ValueSource::SharedWithKey => {
                self.vector.norm(raw_key, None, self.eps, tmp);
                self.to_cache_order(tmp, v);
            }
        }
    }

    fn is_shared(&self) -> bool {
        self.spec.values == ValueSource::SharedWithKey
    }

    fn to_cache_order(&self, from: &[f32], to: &mut [f32]) {
        self.pieces().into_iter().fold(0, |at, piece| {
            let from = from.get(piece).unwrap_or_default();
            to.get_mut(at..at + from.len()).unwrap_or_default().copy_from_slice(from);
            at + from.len()
        });
    }

    fn undo_cache_order(&self, from: &[f32], to: &mut [f32]) {
        self.pieces().into_iter().fold(0, |at, piece| {
            let to = to.get_mut(piece).unwrap_or_default();
            to.copy_from_slice(from.get(at..at + to.len()).unwrap_or_default());
            at + to.len()
        });
    }

    /// The dims of a head, in cache order.
    fn pieces(&self) -> [Range<usize>; 4] {
        let (half, whole) = (self.spec.head_dim / 2, self.spec.head_dim);
        let pairs = if self.is_shared() { self.spec.rope.frequencies.len() } else { half };
        [0..pairs, half..half + pairs, pairs..half, half + pairs..whole]
    }
}

/// Puts a slice's new keys and values into its cache.
fn store(
    seq: &mut Seq<'_, '_>,
    vector: &dyn VectorKernels,
    spec: &LayerSpec,
    l: usize,
    k: &[f32],
    v: &[f32],
) -> Result<()> {
    let width = spec.kv_heads * spec.head_dim;
    let keys = part(k, &seq.rows, width)?.chunks_exact(width);
    let values = part(v, &seq.rows, width)?.chunks_exact(width);
    for (pos, (keys, values)) in (seq.pos..).zip(keys.zip(values)) {
        let heads = keys.chunks_exact(spec.head_dim).zip(values.chunks_exact(spec.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let key = key.get(..key_dims(spec)).unwrap_or_default();
            seq.kv.store(vector, l, head, pos, key, value)?;
        }
    }
    Ok(())
}

/// Some tokens of one slice against one KV head.
struct Tile {
    seq: usize,
    kv_head: usize,
    /// Positions that each query sees: tokens in order, the head's queries of a token together.
    spans: Vec<Range<usize>>,
}

/// Cuts the batch into tiles, and says where each one's output goes.
fn tiles(seqs: &[Seq<'_, '_>], spec: &LayerSpec) -> (Vec<Window>, Vec<Tile>) {
    let group = spec.heads / spec.kv_heads;
    let tokens = (QUERY_TILE / group).max(1);
    let (mut windows, mut tiles) = (Vec::new(), Vec::new());
    for (s, seq) in seqs.iter().enumerate() {
        for start in seq.rows.clone().step_by(tokens) {
            let rows = start..(start + tokens).min(seq.rows.end);
            let spans: Vec<_> = rows
                .clone()
                .flat_map(|row| std::iter::repeat_n(span(seq, spec, row - seq.rows.start), group))
                .collect();
            for kv_head in 0..spec.kv_heads {
                let cols = kv_head * group * spec.head_dim..(kv_head + 1) * group * spec.head_dim;
                windows.push(Window { rows: rows.clone(), cols });
                tiles.push(Tile { seq: s, kv_head, spans: spans.clone() });
            }
        }
    }
    (windows, tiles)
}

/// Positions that token `i` of a slice sees in this layer: itself and what is before it, within the window; a soft token
/// may see its whole block.
fn span(seq: &Seq<'_, '_>, spec: &LayerSpec, i: usize) -> Range<usize> {
    let pos = seq.pos + i;
    let start = spec.window.map_or(0, |window| (pos + 1).saturating_sub(window));
    let end = match seq.input {
        Input::Embeddings { bidirectional: true, .. } if spec.bidirectional_blocks => seq.pos + seq.rows.len(),
        _ => pos + 1,
    };
    start..end
}
