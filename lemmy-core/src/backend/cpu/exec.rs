//! Who runs what: the steps of a plan over a batch.
//!
//! Every token of the batch is one row of the buffers in [`CpuScratch`]; slices of several sessions stand one after
//! another. A step reads some buffers, writes others, and shares its rows or columns among the pool's threads.

#![forbid(unsafe_code)]

mod attention;
mod ffn;

use super::bind::Layer;
use super::cache::CpuKv;
use super::kernels::{ActKind, Acts, MatrixView};
use super::scratch::{ActSet, CpuScratch, HEAD_ROWS, Workers, first};
use super::{CpuEngine, KernelSet};
use crate::TokenId;
use crate::backend::{Input, Scratch, SeqSlice, Tap};
use crate::error::{Error, Result};
use crate::plan::{LayerSpec, Matrix, Step};
use crate::quant;
use crate::threads::{CancelToken, ThreadPool};

/// Smallest share of a product's outputs that is worth a thread.
const OUTPUTS: usize = 64;
/// Smallest share of a batch's rows that is worth a thread, for element-wise work.
const ROWS: usize = 4;

/// One forward pass.
pub(super) struct Exec<'a, 's> {
    engine: &'a CpuEngine,
    scratch: &'a mut CpuScratch,
    seqs: Vec<Seq<'a, 's>>,
    /// Rows of the batch.
    n: usize,
}

/// One session's part of the batch.
struct Seq<'a, 's> {
    kv: &'a mut CpuKv,
    input: Input<'a>,
    /// Position of its first token.
    pos: usize,
    /// Its rows in the buffers.
    rows: std::ops::Range<usize>,
    logits: Option<&'a mut [f32]>,
    tap: Option<&'a mut Tap<'s>>,
}

impl<'a, 's> Exec<'a, 's> {
    /// Checks the batch; changes nothing.
    pub(super) fn new(
        engine: &'a CpuEngine,
        batch: &'a mut [SeqSlice<'s>],
        scratch: &'a mut dyn Scratch,
    ) -> Result<Self> {
        let foreign = |what: &str| Error::Internal(format!("{what} of another engine"));
        let scratch = scratch.as_any_mut().downcast_mut::<CpuScratch>().ok_or_else(|| foreign("scratch"))?;
        let mut seqs = Vec::with_capacity(batch.len());
        let mut n = 0;
        for slice in batch {
            let rows = n..n + input_rows(&slice.input, engine)?;
            n = rows.end;
            let logits = slice.logits.as_deref_mut();
            check_logits(logits.as_deref(), rows.len(), engine.plan.spec.vocab)?;
            seqs.push(Seq {
                kv: slice.kv.as_any_mut().downcast_mut().ok_or_else(|| foreign("cache"))?,
                input: slice.input,
                pos: slice.pos,
                rows,
                logits,
                tap: slice.tap.as_deref_mut(),
            });
        }
        if n > scratch.batch {
            let reason = format!("{n} tokens in one batch, room for {}", scratch.batch);
            return Err(Error::Argument { name: "batch", reason });
        }
        Ok(Self { engine, scratch, seqs, n })
    }

    /// Runs every step; looks at `cancel` before each.
    pub(super) fn run(mut self, cancel: &CancelToken) -> Result<()> {
        for seq in &mut self.seqs {
            seq.kv.grow(seq.pos + seq.rows.len());
        }
        let positions = self.seqs.iter().flat_map(|seq| seq.pos..seq.pos + seq.rows.len());
        self.scratch.ropes.fill(positions);
        for &step in &self.engine.plan.steps {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match step {
                Step::Embed => self.embed()?,
                Step::Attention(l) => self.attention(l)?,
                Step::DenseFfn(l) => self.dense_ffn(l)?,
                Step::Route(l) => self.route(l)?,
                Step::Experts(l) => self.experts(l)?,
                Step::Combine(l) => self.combine(l)?,
                Step::FinalNorm => self.final_norm()?,
                Step::Head => self.head(cancel)?,
            }
        }
        Ok(())
    }

    fn embed(&mut self) -> Result<()> {
        let (spec, matrix) = (&self.engine.plan.spec, &self.engine.bound.token_embd);
        let (hidden, row_bytes) = (spec.hidden, matrix.row_bytes());
        for seq in &self.seqs {
            let rows = part_mut(&mut self.scratch.x, &seq.rows, hidden)?;
            match seq.input {
                Input::Embeddings { rows: soft, .. } => rows.copy_from_slice(soft),
                Input::Tokens(ids) => {
                    for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(hidden)) {
                        let start = id as usize * row_bytes;
                        let bytes = matrix.matrix(0).get(start..start + row_bytes).unwrap_or_default();
                        quant::dequantize(matrix.dtype, bytes, row)?;
                        row.iter_mut().for_each(|x| *x *= spec.embed_scale);
                    }
                }
            }
        }
        let Self { scratch, seqs, .. } = self;
        tap(seqs, "embed", None, hidden, &scratch.x)
    }

    /// `x = (h + norm(d or norms of d and e)) * layer scale`.
    fn combine(&mut self, l: u16) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let (layer, _) = at_layer(engine, l)?;
        let (hidden, eps) = (engine.plan.spec.hidden, engine.plan.spec.rms_eps);
        let vector = &engine.kernels.vector;
        let CpuScratch { x, h, d, e, workers, .. } = &mut **scratch;
        let len = *n * hidden;
        let e = part(e, &(0..*n), hidden)?;
        engine.pool.rows(part_mut(d, &(0..*n), hidden)?, hidden, ROWS, &|worker, first_row, rows| {
            workers.with(worker, |own| {
                for (row, d) in (first_row..).zip(rows.chunks_exact_mut(hidden)) {
                    let sum = first(&mut own.a, hidden);
                    match &layer.experts {
                        None => sum.copy_from_slice(d),
                        Some(experts) => {
                            let e = e.get(row * hidden..(row + 1) * hidden).unwrap_or_default();
                            vector.norm(d, Some(&experts.post_dense_norm), eps, sum);
                            let normed = first(&mut own.b, hidden);
                            vector.norm(e, Some(&experts.post_norm), eps, normed);
                            vector.add_scaled(sum, normed, 1.0);
                        }
                    }
                    vector.norm(sum, Some(&layer.post_ffn_norm), eps, d);
                }
            });
        })?;
        tap(seqs, "ffn_out", Some(l), hidden, d)?;
        let sums = h.iter().zip(d.iter()).take(len);
        for (x, (h, d)) in x.iter_mut().zip(sums) {
            *x = (h + d) * layer.scale;
        }
        let x = part(x, &(0..*n), hidden)?;
        if !all_finite(x) {
            return Err(Error::Numeric { step: Step::Combine(l).name(), layer: Some(l) });
        }
        tap(seqs, "layer_out", Some(l), hidden, x)
    }

    fn final_norm(&mut self) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let CpuScratch { x, z, z_acts, .. } = &mut **scratch;
        normed(engine, x, &engine.bound.output_norm, z, *n)?;
        z_acts.renew();
        tap(seqs, "final_norm", None, engine.plan.spec.hidden, z)
    }

    /// Logits of the rows that somebody wants, some rows at a time.
    fn head(&mut self, cancel: &CancelToken) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let spec = &engine.plan.spec;
        let wanted: Vec<u32> = seqs.iter().flat_map(|seq| wanted_rows(seq, spec.vocab)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let output = &engine.bound.output;
        let CpuScratch { z, z_acts, logits, workers, .. } = &mut **scratch;
        let z = part(z, &(0..*n), spec.hidden)?;
        let acts = z_acts.form(ActKind::of(output.dtype), z, spec.hidden, &engine.pool, &*engine.kernels.matmul)?;
        let mut places =
            seqs.iter_mut().filter_map(|seq| seq.logits.as_deref_mut()).flat_map(|l| l.chunks_exact_mut(spec.vocab));
        for rows in wanted.chunks(HEAD_ROWS) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let logits = part_mut(logits, &(0..rows.len()), spec.vocab)?;
            linear(&engine.pool, &engine.kernels, workers, output, acts, rows, logits)?;
            for (row, place) in logits.chunks_exact_mut(spec.vocab).zip(&mut places) {
                if let Some(cap) = spec.logit_softcap {
                    engine.pool.rows(row, 1, 4096, &|_, _, part| engine.kernels.vector.softcap(part, cap))?;
                }
                if !all_finite(row) {
                    return Err(Error::Numeric { step: Step::Head.name(), layer: None });
                }
                place.copy_from_slice(row);
            }
        }
        for seq in seqs {
            if let (Some(tap), Some(logits)) = (&mut seq.tap, &seq.logits) {
                tap("logits", None, spec.vocab, logits);
            }
        }
        Ok(())
    }
}

/// Rows that a slice feeds, after a check of what it feeds.
fn input_rows(input: &Input<'_>, engine: &CpuEngine) -> Result<usize> {
    let spec = &engine.plan.spec;
    match input {
        Input::Tokens(ids) => {
            let is_outside = |id: &&TokenId| **id as usize >= spec.vocab;
            match ids.iter().find(is_outside) {
                None => Ok(ids.len()),
                Some(id) => Err(Error::Argument {
                    name: "ids",
                    reason: format!("token {id} in a vocabulary of {} tokens", spec.vocab),
                }),
            }
        }
        Input::Embeddings { rows, .. } if rows.len() % spec.hidden == 0 => Ok(rows.len() / spec.hidden),
        Input::Embeddings { rows, .. } => Err(Error::Argument {
            name: "rows",
            reason: format!("{} numbers are no whole rows of {}", rows.len(), spec.hidden),
        }),
    }
}

fn check_logits(logits: Option<&[f32]>, rows: usize, vocab: usize) -> Result<()> {
    match logits {
        Some(l) if l.len() % vocab != 0 || l.len() / vocab > rows => {
            Err(Error::Internal(format!("{} logits wanted of {rows} rows of {vocab}", l.len())))
        }
        _ => Ok(()),
    }
}

/// The last rows of a slice, as many as it wants logits of.
fn wanted_rows(seq: &Seq<'_, '_>, vocab: usize) -> std::ops::Range<u32> {
    let wanted = seq.logits.as_ref().map_or(0, |l| l.len() / vocab);
    (seq.rows.end - wanted) as u32..seq.rows.end as u32
}

/// Shows each slice its rows of a step's output.
fn tap(seqs: &mut [Seq<'_, '_>], name: &'static str, layer: Option<u16>, width: usize, values: &[f32]) -> Result<()> {
    for seq in seqs {
        if let Some(tap) = &mut seq.tap {
            tap(name, layer, width, part(values, &seq.rows, width)?);
        }
    }
    Ok(())
}

/// `z = norm(x; weight)`, row by row.
fn normed(engine: &CpuEngine, x: &[f32], weight: &[f32], z: &mut [f32], n: usize) -> Result<()> {
    let (hidden, eps) = (engine.plan.spec.hidden, engine.plan.spec.rms_eps);
    let x = part(x, &(0..n), hidden)?;
    engine.pool.rows(part_mut(z, &(0..n), hidden)?, hidden, ROWS, &|_, first_row, rows| {
        let x = x.chunks_exact(hidden).skip(first_row);
        for (x, z) in x.zip(rows.chunks_exact_mut(hidden)) {
            engine.kernels.vector.norm(x, Some(weight), eps, z);
        }
    })
}

/// A buffer, its quantised forms, and how many of its rows count.
struct Source<'a> {
    x: &'a [f32],
    acts: &'a mut ActSet,
    every_row: &'a [u32],
    n: usize,
}

impl<'a> Source<'a> {
    /// `out = weights * x` for every row.
    fn times(&mut self, engine: &CpuEngine, workers: &Workers, w: &Matrix, out: &mut [f32]) -> Result<()> {
        let rows: &'a [u32] = self.every_row.get(..self.n).unwrap_or_default();
        let out = part_mut(out, &(0..self.n), w.rows)?;
        let acts = self.form(engine, w)?;
        linear(&engine.pool, &engine.kernels, workers, w, acts, rows, out)
    }

    /// The form that these weights want.
    fn form(&mut self, engine: &CpuEngine, w: &Matrix) -> Result<&Acts> {
        let x = part(self.x, &(0..self.n), w.cols)?;
        self.acts.form(ActKind::of(w.dtype), x, w.cols, &engine.pool, &*engine.kernels.matmul)
    }
}

/// `out[i] = weights * activation row rows[i]`.
fn linear(
    pool: &ThreadPool,
    kernels: &KernelSet,
    workers: &Workers,
    w: &Matrix,
    acts: &Acts,
    rows: &[u32],
    out: &mut [f32],
) -> Result<()> {
    let view = view(w, 0)?;
    pool.columns(out, w.rows, OUTPUTS, &|worker, mut window| {
        let first_row = window.window().cols.start;
        workers.with(worker, |own| kernels.matmul.matmul(view, first_row, acts, rows, &mut window, &mut own.matmul));
    })
}

/// Matrix `i` as the kernels see it.
fn view(w: &Matrix, i: usize) -> Result<MatrixView<'_>> {
    MatrixView::new(w.dtype, w.rows, w.cols, w.matrix(i))
}

fn at_layer(engine: &CpuEngine, l: u16) -> Result<(&Layer, &LayerSpec)> {
    let l = usize::from(l);
    let both = engine.bound.layers.get(l).zip(engine.plan.spec.layers.get(l));
    both.ok_or_else(|| Error::Internal(format!("no layer {l}")))
}

/// Some rows of a row-major buffer.
fn part<'b>(buffer: &'b [f32], rows: &std::ops::Range<usize>, width: usize) -> Result<&'b [f32]> {
    buffer.get(rows.start * width..rows.end * width).ok_or_else(too_small)
}

fn part_mut<'b>(buffer: &'b mut [f32], rows: &std::ops::Range<usize>, width: usize) -> Result<&'b mut [f32]> {
    buffer.get_mut(rows.start * width..rows.end * width).ok_or_else(too_small)
}

fn too_small() -> Error {
    Error::Internal("a buffer is smaller than its rows".into())
}

/// Whether no number is NaN or infinite: `0 * x` is 0 for finite numbers alone.
fn all_finite(x: &[f32]) -> bool {
    x.iter().map(|x| x * 0.0).sum::<f32>() == 0.0
}
