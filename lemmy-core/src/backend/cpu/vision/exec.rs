//! Who runs what: the steps of a tower over one picture.
//!
//! Every patch is one row of the buffers. A product takes some rows at a time: a thread packs them as strips, multiplies
//! them with all of the step's weights, and goes on with what it has while that is near.

use std::sync::{Mutex, PoisonError};

use super::super::kernels::{HeadAttention, PANEL, Product, STRIP};
use super::CpuVision;
use super::bind::Layer;
use super::heads::{Heads, Turns};
use super::pack::{self, panels_len, put_strip_row, too_small};
use crate::backend::Tap;
use crate::error::{Error, Result, try_vec};
use crate::plan::{Matrix, VisionSpec, VisionStep};
use crate::quant;
use crate::threads::{CancelToken, ThreadPool, Window};
use crate::vision::{Layout, PATCH_VALUES, POOL, Patches, SoftTokens};

/// Most rows that a thread takes at once: as strips they stay in the second-level cache.
const ROWS: usize = 96;
/// Smallest share of rows that is worth a thread, for element-wise work.
const FEW_ROWS: usize = 8;
/// Queries that a thread takes at once: two panels.
const QUERIES: usize = 2 * PANEL;

/// One picture on its way through the tower.
pub(super) struct Exec<'a, 't> {
    tower: &'a CpuVision,
    picture: &'a Patches,
    tap: Option<&'a mut Tap<'t>>,
    cancel: &'a CancelToken,
    layout: Layout,
    turns: Turns,
    /// Residual stream.
    h: Vec<f32>,
    /// Queries, keys and values of a patch, as the projections gave them.
    qkv: Vec<f32>,
    heads: Heads,
    /// Attention's output, heads joined.
    joined: Vec<f32>,
    /// What a branch adds, before its norm.
    branch: Vec<f32>,
    /// Packed weights of a product, and of one that follows it at once.
    panels: Vec<f32>,
    more_panels: Vec<f32>,
    workers: Workers,
}

/// Bytes that [`Exec::new`] reserves.
pub(super) fn scratch_bytes(spec: &VisionSpec, n: usize, threads: usize) -> u64 {
    let s = Sizes::of(spec);
    let rows = n * (spec.hidden * 6) + s.panels + s.more_panels;
    let workers = threads * (s.strips + s.products);
    let floats = (rows + workers) * size_of::<f32>();
    (floats + Heads::bytes(spec, n) + Turns::bytes(spec, n)) as u64
}

/// Numbers in the buffers that do not grow with the picture.
struct Sizes {
    panels: usize,
    more_panels: usize,
    /// Of each thread: packed rows, and their products.
    strips: usize,
    products: usize,
}

impl Sizes {
    fn of(spec: &VisionSpec) -> Self {
        let (hidden, ffn, output) = (spec.hidden, spec.ffn, spec.output);
        let of = |rows: &[usize], cols| panels_len(rows.iter().copied(), cols);
        let panels = [of(&[hidden; 3], hidden), of(&[ffn; 2], hidden), of(&[output], hidden)];
        let wide = [3 * padded(hidden), 2 * padded(ffn), padded(output)];
        Self {
            panels: panels.into_iter().max().unwrap_or(0),
            more_panels: of(&[hidden], ffn),
            strips: ROWS * hidden.max(ffn).max(PATCH_VALUES),
            products: ROWS * wide.into_iter().max().unwrap_or(0),
        }
    }
}

/// Columns as the panels have them.
fn padded(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

impl<'a, 't> Exec<'a, 't> {
    pub(super) fn new(
        tower: &'a CpuVision,
        picture: &'a Patches,
        tap: Option<&'a mut Tap<'t>>,
        cancel: &'a CancelToken,
    ) -> Result<Self> {
        const WHAT: &str = "working memory of a picture (a smaller budget needs less)";
        let (spec, layout) = (&tower.plan.spec, picture.layout());
        let (n, s) = (layout.patches(), Sizes::of(spec));
        let rows = |width: usize| try_vec(n * width, 0.0, WHAT);
        Ok(Self {
            turns: Turns::new(spec, layout),
            h: rows(spec.hidden)?,
            qkv: rows(3 * spec.hidden)?,
            heads: Heads::new(spec, n)?,
            joined: rows(spec.hidden)?,
            branch: rows(spec.hidden)?,
            panels: try_vec(s.panels, 0.0, WHAT)?,
            more_panels: try_vec(s.more_panels, 0.0, WHAT)?,
            workers: Workers::new(&s, tower.pool.threads())?,
            tower,
            picture,
            tap,
            cancel,
            layout,
        })
    }

    /// Runs every step; looks at `cancel` before each, and within.
    pub(super) fn run(mut self) -> Result<SoftTokens> {
        let mut pooled = Vec::new();
        for &step in &self.tower.plan.steps {
            self.check_cancel()?;
            match step {
                VisionStep::PatchEmbed => self.patch_embed()?,
                VisionStep::Attention(l) => self.attention(l)?,
                VisionStep::Mlp(l) => self.mlp(l)?,
                VisionStep::Pool => pooled = self.pool()?,
                VisionStep::Standardize => self.standardize(&mut pooled)?,
                VisionStep::Project => pooled = self.project(&pooled)?,
            }
            self.check_cancel()?;
            let newest = if pooled.is_empty() { &self.h } else { &pooled };
            if !newest.iter().all(|x| x.is_finite()) {
                return Err(Error::Numeric { step: step.name(), layer: step.layer() });
            }
        }
        Ok(SoftTokens::new(self.layout, pooled))
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn patch_embed(&mut self) -> Result<()> {
        let (tower, hidden) = (self.tower, self.tower.plan.spec.hidden);
        let positions = &tower.bound.position_embed;
        let (columns, values) = (self.layout.columns(), self.picture.values());
        let work = Rows { tower, workers: &self.workers, cancel: self.cancel };
        work.over(&mut self.h, hidden, &|own, first, rows| {
            let patches = values.chunks_exact(PATCH_VALUES).skip(first);
            for (r, patch) in patches.take(rows.len() / hidden).enumerate() {
                let centred = &mut own.row[..];
                let centred = centred.get_mut(..PATCH_VALUES).unwrap_or_default();
                centred.iter_mut().zip(patch).for_each(|(to, x)| *to = 2.0 * (x - 0.5));
                put_strip_row(&mut own.strips, PATCH_VALUES, r, centred);
            }
            own.multiply(tower, PATCH_VALUES, &tower.bound.patch_embed, rows.len() / hidden);
            let sums = own.products.chunks_exact(padded(hidden));
            for ((patch, row), sum) in (first..).zip(rows.chunks_exact_mut(hidden)).zip(sums) {
                row.copy_from_slice(sum.get(..hidden).unwrap_or_default());
                for at in [patch % columns, tower.plan.spec.positions + patch / columns] {
                    let own = own.row.get_mut(..hidden).unwrap_or_default();
                    position(positions, at, own);
                    row.iter_mut().zip(own.iter()).for_each(|(h, t)| *h += t);
                }
            }
        })?;
        show(&mut self.tap, "patch_embed", None, hidden, &self.h);
        Ok(())
    }

    fn attention(&mut self, l: u16) -> Result<()> {
        let (tower, spec, layer) = (self.tower, &self.tower.plan.spec, layer(self.tower, l)?);
        let (hidden, dim, n) = (spec.hidden, spec.head_dim, self.layout.patches());
        let work = Rows { tower, workers: &self.workers, cancel: self.cancel };

        let [q, k, v] = &layer.qkv;
        let panels = packed(&tower.pool, &[q, k, v], &mut self.panels)?;
        let h = &self.h;
        work.over(&mut self.qkv, 3 * hidden, &|own, first, rows| {
            let n = rows.len() / (3 * hidden);
            own.normed(tower, &layer.attn_norm, h, first, n);
            own.multiply(tower, hidden, panels, n);
            let thirds = own.products.chunks_exact(padded(hidden));
            for (row, third) in rows.chunks_exact_mut(hidden).zip(thirds) {
                row.copy_from_slice(third.get(..hidden).unwrap_or_default());
            }
        })?;
        self.check_cancel()?;

        let vector = &*tower.kernels.vector;
        self.heads.fill(&tower.pool, vector, spec, layer, &self.turns, &self.qkv)?;
        let (heads, workers, cancel) = (&self.heads, &self.workers, self.cancel);
        let (windows, places) = query_tiles(n, spec);
        tower.pool.windows(&mut self.joined, hidden, &windows, &|worker, item, mut window| {
            let Some(&(head, panel)) = places.get(item) else { return };
            if cancel.is_cancelled() {
                return;
            }
            let whole = |all: &'_ [f32], len: usize| head * len..((head + 1) * len).min(all.len());
            let rows = window.window().rows.len();
            let queries = heads.queries.get(whole(&heads.queries, heads.query_len)).unwrap_or_default();
            let start = panel * PANEL * dim;
            let len = rows.div_ceil(PANEL) * PANEL * dim;
            let job = HeadAttention {
                head_dim: dim,
                count: n,
                keys: heads.keys.get(whole(&heads.keys, heads.key_len)).unwrap_or_default(),
                values: heads.values.get(whole(&heads.values, heads.value_len)).unwrap_or_default(),
                queries: queries.get(start..start + len).unwrap_or_default(),
            };
            workers.with(worker, |own| {
                let dims = dim.next_multiple_of(STRIP);
                let out = own.products.get_mut(..rows.div_ceil(PANEL) * dims * PANEL).unwrap_or_default();
                vector.attend_all(job, out);
                for i in 0..rows {
                    let lane = out.iter().skip(i / PANEL * dims * PANEL + i % PANEL).step_by(PANEL);
                    window.row(i).iter_mut().zip(lane).for_each(|(to, x)| *to = *x);
                }
            });
        })?;
        self.check_cancel()?;

        let panels = packed(&tower.pool, &[&layer.output], &mut self.panels)?;
        let joined = &self.joined;
        work.over(&mut self.branch, hidden, &|own, first, rows| {
            let n = rows.len() / hidden;
            for (r, row) in joined.chunks_exact(hidden).skip(first).take(n).enumerate() {
                put_strip_row(&mut own.strips, hidden, r, row);
            }
            own.multiply(tower, hidden, panels, n);
            own.take_products(hidden, rows);
        })?;
        show(&mut self.tap, "attn", Some(l), hidden, &self.branch);
        self.add_branch(&layer.post_attn_norm)
    }

    fn mlp(&mut self, l: u16) -> Result<()> {
        let (tower, spec, layer) = (self.tower, &self.tower.plan.spec, layer(self.tower, l)?);
        let (hidden, ffn) = (spec.hidden, spec.ffn);
        let [gate, up] = &layer.gate_up;
        let gate_up = packed(&tower.pool, &[gate, up], &mut self.panels)?;
        let down = packed(&tower.pool, &[&layer.down], &mut self.more_panels)?;
        let h = &self.h;
        let work = Rows { tower, workers: &self.workers, cancel: self.cancel };
        work.over(&mut self.branch, hidden, &|own, first, rows| {
            let n = rows.len() / hidden;
            own.normed(tower, &layer.ffn_norm, h, first, n);
            own.multiply(tower, hidden, gate_up, n);
            let Worker { strips, products, .. } = own;
            for (r, both) in products.chunks_exact_mut(2 * padded(ffn)).take(n).enumerate() {
                let (gate, up) = both.split_at_mut(padded(ffn));
                let gate = gate.get_mut(..ffn).unwrap_or_default();
                tower.kernels.vector.gelu_mul(gate, up.get(..ffn).unwrap_or_default());
                put_strip_row(strips, ffn, r, gate);
            }
            own.multiply(tower, ffn, down, n);
            own.take_products(hidden, rows);
        })?;
        show(&mut self.tap, "mlp", Some(l), hidden, &self.branch);
        self.add_branch(&layer.post_ffn_norm)?;
        show(&mut self.tap, "layer_out", Some(l), hidden, &self.h);
        Ok(())
    }

    /// `h += norm(branch; weight)`.
    fn add_branch(&mut self, weight: &[f32]) -> Result<()> {
        let (hidden, eps) = (self.tower.plan.spec.hidden, self.tower.plan.spec.rms_eps);
        let (branch, workers, vector) = (&self.branch, &self.workers, &self.tower.kernels.vector);
        self.tower.pool.rows(&mut self.h, hidden, FEW_ROWS, &|worker, first, rows| {
            workers.with(worker, |own| {
                let normed = own.row.get_mut(..hidden).unwrap_or_default();
                for (h, row) in rows.chunks_exact_mut(hidden).zip(branch.chunks_exact(hidden).skip(first)) {
                    vector.norm(row, Some(weight), eps, normed);
                    vector.add_scaled(h, normed, 1.0);
                }
            });
        })
    }

    fn pool(&mut self) -> Result<Vec<f32>> {
        let hidden = self.tower.plan.spec.hidden;
        let scale = (hidden as f32).sqrt();
        let (columns, across) = (self.layout.columns(), self.layout.columns() / POOL);
        let mut pooled = try_vec(self.layout.soft_tokens() * hidden, 0.0, "soft tokens")?;
        for (token, row) in pooled.chunks_exact_mut(hidden).enumerate() {
            let (x, y) = (token % across * POOL, token / across * POOL);
            for patch in (0..POOL * POOL).map(|i| (y + i / POOL) * columns + x + i % POOL) {
                let h = self.h.get(patch * hidden..(patch + 1) * hidden).ok_or_else(too_small)?;
                row.iter_mut().zip(h).for_each(|(sum, x)| *sum += x);
            }
            row.iter_mut().for_each(|sum| *sum = *sum / (POOL * POOL) as f32 * scale);
        }
        show(&mut self.tap, "pooled", None, hidden, &pooled);
        Ok(pooled)
    }

    fn standardize(&mut self, pooled: &mut [f32]) -> Result<()> {
        let hidden = self.tower.plan.spec.hidden;
        let Some((bias, scale)) = &self.tower.bound.standard else {
            return Err(Error::Internal("a tower without what standardises".into()));
        };
        for row in pooled.chunks_exact_mut(hidden) {
            for (x, (bias, scale)) in row.iter_mut().zip(bias.iter().zip(scale)) {
                *x = (*x - bias) * scale;
            }
        }
        show(&mut self.tap, "standardized", None, hidden, pooled);
        Ok(())
    }

    fn project(&mut self, pooled: &[f32]) -> Result<Vec<f32>> {
        let tower = self.tower;
        let (hidden, output, eps) = (tower.plan.spec.hidden, tower.plan.spec.output, tower.plan.spec.rms_eps);
        let panels = packed(&tower.pool, &[&tower.bound.projection], &mut self.panels)?;
        let mut soft = try_vec(self.layout.soft_tokens() * output, 0.0, "soft tokens")?;
        let work = Rows { tower, workers: &self.workers, cancel: self.cancel };
        work.over(&mut soft, output, &|own, first, rows| {
            let n = rows.len() / output;
            for (r, row) in pooled.chunks_exact(hidden).skip(first).take(n).enumerate() {
                let normed = own.row.get_mut(..hidden).unwrap_or_default();
                tower.kernels.vector.norm(row, None, eps, normed);
                put_strip_row(&mut own.strips, hidden, r, normed);
            }
            own.multiply(tower, hidden, panels, n);
            own.take_products(output, rows);
        })?;
        show(&mut self.tap, "soft", None, output, &soft);
        Ok(soft)
    }
}

/// Work on rows that stand alone.
#[derive(Clone, Copy)]
struct Rows<'a> {
    tower: &'a CpuVision,
    workers: &'a Workers,
    cancel: &'a CancelToken,
}

impl Rows<'_> {
    /// `f(worker's own, first row, rows)` for a few rows of `out` at a time, until cancelled.
    fn over(self, out: &mut [f32], width: usize, f: &(dyn Fn(&mut Worker, usize, &mut [f32]) + Sync)) -> Result<()> {
        // Fewer rows where many threads share them; whole pairs of strips.
        let shared = (out.len() / width).div_ceil(2 * self.tower.pool.threads());
        let at_once = shared.next_multiple_of(2 * STRIP).min(ROWS);
        self.tower.pool.rows(out, width, at_once, &|worker, first, rows| {
            for (i, rows) in rows.chunks_mut(at_once * width).enumerate() {
                if self.cancel.is_cancelled() {
                    return;
                }
                self.workers.with(worker, |own| f(own, first + i * at_once, rows));
            }
        })
    }
}

/// What each worker of the pool needs for itself. A worker locks only its own entry, so nobody waits.
struct Workers(Vec<Mutex<Worker>>);

struct Worker {
    /// Packed rows.
    strips: Vec<f32>,
    /// Rows of a product.
    products: Vec<f32>,
    /// One row of any kind.
    row: Vec<f32>,
}

impl Workers {
    fn new(s: &Sizes, threads: usize) -> Result<Self> {
        const WHAT: &str = "working memory of a thread";
        let worker = || -> Result<_> {
            let (strips, products) = (try_vec(s.strips, 0.0, WHAT)?, try_vec(s.products, 0.0, WHAT)?);
            Ok(Mutex::new(Worker { strips, products, row: try_vec(s.strips / ROWS, 0.0, WHAT)? }))
        };
        Ok(Self((0..threads.max(1)).map(|_| worker()).collect::<Result<_>>()?))
    }

    /// Runs `f` with the worker's own memory; nothing if there is no such worker.
    fn with(&self, worker: usize, f: impl FnOnce(&mut Worker)) {
        if let Some(own) = self.0.get(worker) {
            f(&mut own.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Worker {
    /// Rows `first..first + n` of `h`, normed, as strips.
    fn normed(&mut self, tower: &CpuVision, weight: &[f32], h: &[f32], first: usize, n: usize) {
        let hidden = weight.len();
        for (r, row) in h.chunks_exact(hidden).skip(first).take(n).enumerate() {
            let normed = self.row.get_mut(..hidden).unwrap_or_default();
            tower.kernels.vector.norm(row, Some(weight), tower.plan.spec.rms_eps, normed);
            put_strip_row(&mut self.strips, hidden, r, normed);
        }
    }

    /// The product of the first `n` rows of the strips with these panels.
    fn multiply(&mut self, tower: &CpuVision, depth: usize, panels: &[f32], n: usize) {
        let rows = n.next_multiple_of(STRIP);
        let width = panels.len() / depth;
        let strips = self.strips.get(..rows * depth).unwrap_or_default();
        let out = self.products.get_mut(..rows * width).unwrap_or_default();
        tower.kernels.vector.multiply(Product { depth, strips, panels }, out);
    }

    /// Copies rows of a product of `width` columns.
    fn take_products(&self, width: usize, rows: &mut [f32]) {
        for (row, product) in rows.chunks_exact_mut(width).zip(self.products.chunks_exact(padded(width))) {
            row.copy_from_slice(product.get(..width).unwrap_or_default());
        }
    }
}

/// The weights of one product as panels, in `room`.
fn packed<'p>(pool: &ThreadPool, matrices: &[&Matrix], room: &'p mut [f32]) -> Result<&'p [f32]> {
    let cols = matrices.first().map_or(0, |m| m.cols);
    let len = panels_len(matrices.iter().map(|m| m.rows), cols);
    let panels = room.get_mut(..len).ok_or_else(too_small)?;
    pack::weights(pool, matrices, panels)?;
    Ok(panels)
}

/// Some queries of each head: where their output goes, and (head, first panel of queries).
fn query_tiles(n: usize, spec: &VisionSpec) -> (Vec<Window>, Vec<(usize, usize)>) {
    let tiles = (0..n).step_by(QUERIES).flat_map(|start| (0..spec.heads).map(move |head| (start, head)));
    tiles
        .map(|(start, head)| {
            let cols = head * spec.head_dim..(head + 1) * spec.head_dim;
            (Window { rows: start..(start + QUERIES).min(n), cols }, (head, start / PANEL))
        })
        .unzip()
}

/// Row `at` of the position tables.
fn position(table: &Matrix, at: usize, row: &mut [f32]) {
    let size = table.row_bytes();
    let bytes = table.matrix(0).get(at * size..(at + 1) * size).unwrap_or_default();
    if quant::dequantize(table.dtype, bytes, row).is_err() {
        // Not a number, so that the step fails instead of going on without positions.
        row.fill(f32::NAN);
    }
}

fn layer(tower: &CpuVision, l: u16) -> Result<&Layer> {
    tower.bound.layers.get(usize::from(l)).ok_or_else(|| Error::Internal(format!("no layer {l} in the vision tower")))
}

fn show(tap: &mut Option<&mut Tap<'_>>, name: &'static str, layer: Option<u16>, width: usize, values: &[f32]) {
    if let Some(tap) = tap {
        tap(name, layer, width, values);
    }
}
