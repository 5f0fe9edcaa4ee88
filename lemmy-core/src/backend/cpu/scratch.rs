//! The working memory of a forward pass: reserved once per session, reused by every step.

#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::{Mutex, PoisonError};

use super::cache::row_dims;
use super::kernels::{ActKind, Acts, MatmulKernels, MatmulScratch, VectorScratch};
use crate::backend::Scratch;
use crate::error::{Error, Result, try_vec};
use crate::plan::{LayerSpec, Plan, Role, RopeSpec, Shape, WeightSource};
use crate::threads::ThreadPool;

/// Rows that meet the head at once: logits are large, and few are ever wanted.
pub(super) const HEAD_ROWS: usize = 16;
/// Tokens of one expert from which on its products are arithmetic and not a stream from memory.
pub(super) const MANY_TOKENS: usize = 8;
/// Outputs of gate and up that a worker takes at once when many tokens meet an expert.
pub(super) const GATE_PIECE: usize = 64;
/// Batch from which on a down projection is cut into pieces of [`DOWN_PIECE`] outputs; below, it is one long stream.
pub(super) const MANY_ROWS: usize = 64;
/// See [`MANY_ROWS`].
pub(super) const DOWN_PIECE: usize = 128;
/// Queries that attention takes at once: tokens times the heads of one KV head.
pub(super) const QUERY_TILE: usize = 64;

/// Row-major buffers, one row per token of the batch unless told otherwise.
#[derive(Debug)]
pub(super) struct CpuScratch {
    /// Largest batch.
    pub(super) batch: usize,
    /// Residual stream; `Combine` makes it anew from `h`.
    pub(super) x: Vec<f32>,
    /// Residual stream after attention.
    pub(super) h: Vec<f32>,
    /// Normed input of a product.
    pub(super) z: Vec<f32>,
    /// Output of the dense branch.
    pub(super) d: Vec<f32>,
    /// Output of the expert branch.
    pub(super) e: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    /// Attention's output, heads joined.
    pub(super) heads: Vec<f32>,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
    /// One row per (token, chosen expert), sorted by expert.
    pub(super) slots: Vec<f32>,
    pub(super) routes: Routes,
    pub(super) logits: Vec<f32>,
    pub(super) ropes: RopeTables,
    /// Quantised `z`, `heads`, `gate` and `slots`.
    pub(super) z_acts: ActSet,
    pub(super) heads_acts: ActSet,
    pub(super) gate_acts: ActSet,
    pub(super) slot_acts: ActSet,
    /// 0, 1, 2, ...: all rows of a buffer, as the kernels want to be told.
    pub(super) every_row: Vec<u32>,
    pub(super) workers: Workers,
}

/// The largest sizes that a plan asks for.
struct Sizes {
    hidden: usize,
    queries: usize,
    keys: usize,
    ffn: usize,
    experts: usize,
    used: usize,
    width: usize,
    vocab: usize,
}

impl Sizes {
    fn of(plan: &Plan) -> Self {
        let most = |f: &dyn Fn(&LayerSpec) -> usize| plan.spec.layers.iter().map(f).max().unwrap_or(0);
        Self {
            hidden: plan.spec.hidden,
            queries: most(&|l| l.heads * l.head_dim),
            keys: most(&|l| l.kv_heads * l.head_dim),
            ffn: most(&|l| l.ffn),
            experts: most(&|l| l.moe.as_ref().map_or(0, |m| m.experts)),
            used: most(&|l| l.moe.as_ref().map_or(0, |m| m.used)),
            width: most(&|l| l.moe.as_ref().map_or(0, |m| m.width)),
            vocab: plan.spec.vocab,
        }
    }

    /// Floats in the plain buffers of a batch of `n`.
    fn floats(&self, n: usize) -> usize {
        let row = 5 * self.hidden + 2 * self.queries + 2 * self.keys + 2 * self.ffn + self.used * self.width;
        n.saturating_mul(row).saturating_add(HEAD_ROWS * self.vocab)
    }
}

impl CpuScratch {
    pub(super) fn new(plan: &Plan, forms: &Forms, n: usize, threads: usize) -> Result<Self> {
        const WHAT: &str = "working memory (a smaller batch needs less)";
        let s = Sizes::of(plan);
        let rows = |width: usize| try_vec(n * width, 0.0, WHAT);
        Ok(Self {
            batch: n,
            x: rows(s.hidden)?,
            h: rows(s.hidden)?,
            z: rows(s.hidden)?,
            d: rows(s.hidden)?,
            e: rows(s.hidden)?,
            q: rows(s.queries)?,
            k: rows(s.keys)?,
            v: rows(s.keys)?,
            heads: rows(s.queries)?,
            gate: rows(s.ffn)?,
            up: rows(s.ffn)?,
            slots: rows(s.used * s.width)?,
            routes: Routes::new(n, s.used, s.experts)?,
            logits: try_vec(HEAD_ROWS * s.vocab, 0.0, WHAT)?,
            ropes: RopeTables::new(plan, n)?,
            z_acts: ActSet::new(&forms.z, n, s.hidden)?,
            heads_acts: ActSet::new(&forms.heads, n, s.queries)?,
            gate_acts: ActSet::new(&forms.gate, n, s.ffn)?,
            slot_acts: ActSet::new(&forms.slots, n * s.used, s.width)?,
            every_row: numbers((n * s.used.max(1)).max(HEAD_ROWS), WHAT)?,
            workers: Workers::new(plan, &s, n, threads)?,
        })
    }
}

impl Scratch for CpuScratch {
    fn bytes(&self) -> u64 {
        let floats = [
            &self.x,
            &self.h,
            &self.z,
            &self.d,
            &self.e,
            &self.q,
            &self.k,
            &self.v,
            &self.heads,
            &self.gate,
            &self.up,
            &self.slots,
            &self.logits,
        ];
        let floats: usize = floats.iter().map(|v| v.capacity()).sum();
        let acts = [&self.z_acts, &self.heads_acts, &self.gate_acts, &self.slot_acts];
        (floats * size_of::<f32>()) as u64
            + acts.iter().map(|a| a.bytes()).sum::<u64>()
            + self.routes.bytes()
            + self.ropes.bytes()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Bytes that a scratch for `n` tokens holds, but for the few that its workers take.
pub(super) fn estimate(plan: &Plan, forms: &Forms, n: usize) -> u64 {
    let s = Sizes::of(plan);
    let pairs: usize = rope_kinds(plan).iter().map(|r| r.frequencies.len()).sum();
    let tables = n.saturating_mul(2 * pairs + s.experts + 4 * s.used) + s.experts;
    let plain = s.floats(n).saturating_add(tables).saturating_mul(size_of::<f32>()) as u64;
    let size =
        |kinds: &[ActKind], rows: usize, cols: usize| kinds.iter().map(|&k| Acts::size(k, rows, cols)).sum::<u64>();
    plain
        + size(&forms.z, n, s.hidden)
        + size(&forms.heads, n, s.queries)
        + size(&forms.gate, n, s.ffn)
        + size(&forms.slots, n.saturating_mul(s.used), s.width)
}

/// The forms in which weights want each quantised buffer.
#[derive(Debug, Default)]
pub(super) struct Forms {
    z: Vec<ActKind>,
    heads: Vec<ActKind>,
    gate: Vec<ActKind>,
    slots: Vec<ActKind>,
}

impl Forms {
    pub(super) fn new(plan: &Plan, weights: &dyn WeightSource) -> Result<Self> {
        let mut forms = Self::default();
        for (role, layer, shape) in plan.roles() {
            if !matches!(shape, Shape::Matrix { .. }) || role == Role::TokenEmbd {
                continue;
            }
            let kinds = match role {
                Role::AttnOutput => &mut forms.heads,
                Role::FfnDown => &mut forms.gate,
                Role::ExpertDown => &mut forms.slots,
                _ => &mut forms.z,
            };
            let kind = ActKind::of(weights.matrix(role, layer)?.dtype);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(forms)
    }
}

/// One buffer in the forms that its weights want; each is filled when the first product asks for it.
#[derive(Debug)]
pub(super) struct ActSet {
    /// A form, and whether it holds the buffer's present contents.
    forms: Vec<(Acts, bool)>,
}

impl ActSet {
    fn new(kinds: &[ActKind], rows: usize, cols: usize) -> Result<Self> {
        let forms = kinds.iter().map(|&kind| Ok((Acts::new(kind, rows, cols)?, false))).collect::<Result<_>>()?;
        Ok(Self { forms })
    }

    fn bytes(&self) -> u64 {
        self.forms.iter().map(|(acts, _)| acts.bytes()).sum()
    }

    /// The buffer has new contents.
    pub(super) fn renew(&mut self) {
        self.forms.iter_mut().for_each(|(_, fresh)| *fresh = false);
    }

    /// The rows of `x`, `cols` numbers each, in this form.
    pub(super) fn form(
        &mut self,
        kind: ActKind,
        x: &[f32],
        cols: usize,
        pool: &ThreadPool,
        kernels: &dyn MatmulKernels,
    ) -> Result<&Acts> {
        let found = self.forms.iter_mut().find(|(acts, _)| acts.kind() == kind);
        let (acts, fresh) = found.ok_or_else(|| Error::Internal(format!("no weights want {kind:?} here")))?;
        if !*fresh {
            acts.fill(pool, kernels, x.len() / cols, cols, x)?;
            *fresh = true;
        }
        Ok(acts)
    }

    /// A form that [`form`](Self::form) has filled.
    pub(super) fn ready(&self, kind: ActKind) -> Result<&Acts> {
        let found = self.forms.iter().find(|(acts, fresh)| *fresh && acts.kind() == kind);
        found.map(|(acts, _)| acts).ok_or_else(|| Error::Internal(format!("{kind:?} was not filled")))
    }
}

/// Which experts each token uses.
#[derive(Debug)]
pub(super) struct Routes {
    /// Router logits, then probabilities: `[token][expert]`.
    pub(super) scores: Vec<f32>,
    /// Chosen experts, greatest first, and their weights: `[token][used]`.
    pub(super) experts: Vec<u32>,
    pub(super) weights: Vec<f32>,
    /// The same sorted by expert, tokens in order within: token and weight of each slot.
    pub(super) slot_tokens: Vec<u32>,
    pub(super) slot_weights: Vec<f32>,
    /// First slot of each expert, and the number of slots at the end.
    pub(super) starts: Vec<usize>,
}

impl Routes {
    fn new(n: usize, used: usize, experts: usize) -> Result<Self> {
        const WHAT: &str = "routing tables (a smaller batch needs less)";
        Ok(Self {
            scores: try_vec(n * experts, 0.0, WHAT)?,
            experts: try_vec(n * used, 0, WHAT)?,
            weights: try_vec(n * used, 0.0, WHAT)?,
            slot_tokens: try_vec(n * used, 0, WHAT)?,
            slot_weights: try_vec(n * used, 0.0, WHAT)?,
            starts: try_vec(experts + 1, 0, WHAT)?,
        })
    }

    fn bytes(&self) -> u64 {
        let words =
            self.scores.capacity() + 2 * self.experts.capacity() + 2 * self.weights.capacity() + self.starts.len();
        (words * size_of::<f32>()) as u64
    }
}

/// Cosines and sines of a batch's positions, once for each kind of layer.
#[derive(Debug)]
pub(super) struct RopeTables {
    kinds: Vec<RopeTable>,
    /// Index of each layer's kind.
    of_layer: Vec<usize>,
}

#[derive(Debug)]
struct RopeTable {
    rope: RopeSpec,
    /// `[token][pair]`.
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTables {
    fn new(plan: &Plan, n: usize) -> Result<Self> {
        const WHAT: &str = "position tables (a smaller batch needs less)";
        let table = |rope: &RopeSpec| {
            let numbers = n * rope.frequencies.len();
            Ok(RopeTable { cos: try_vec(numbers, 0.0, WHAT)?, sin: try_vec(numbers, 0.0, WHAT)?, rope: rope.clone() })
        };
        let kinds = rope_kinds(plan);
        let kind = |layer: &LayerSpec| kinds.iter().position(|&rope| *rope == layer.rope).unwrap_or_default();
        let of_layer = plan.spec.layers.iter().map(kind).collect();
        Ok(Self { of_layer, kinds: kinds.into_iter().map(table).collect::<Result<_>>()? })
    }

    fn bytes(&self) -> u64 {
        self.kinds.iter().map(|t| ((t.cos.capacity() + t.sin.capacity()) * size_of::<f32>()) as u64).sum()
    }

    /// Angles in f64: at positions near 256K an f32 product is off by up to 0.01 radians.
    pub(super) fn fill(&mut self, positions: impl Iterator<Item = usize> + Clone) {
        for table in &mut self.kinds {
            let angles = positions.clone().flat_map(|p| table.rope.frequencies.iter().map(move |f| p as f64 * f));
            for ((cos, sin), angle) in table.cos.iter_mut().zip(&mut table.sin).zip(angles) {
                (*sin, *cos) = (angle.sin() as f32, angle.cos() as f32);
            }
        }
    }

    /// Cosines and sines of one token of the batch in a layer.
    pub(super) fn get(&self, layer: usize, token: usize) -> (&[f32], &[f32]) {
        let table = self.of_layer.get(layer).and_then(|&kind| self.kinds.get(kind));
        table
            .and_then(|table| {
                let pairs = table.rope.frequencies.len();
                let range = token * pairs..(token + 1) * pairs;
                Some((table.cos.get(range.clone())?, table.sin.get(range)?))
            })
            .unwrap_or_default()
    }
}

/// The different RoPEs of a plan's layers.
fn rope_kinds(plan: &Plan) -> Vec<&RopeSpec> {
    let mut kinds: Vec<&RopeSpec> = Vec::new();
    for layer in &plan.spec.layers {
        if !kinds.contains(&&layer.rope) {
            kinds.push(&layer.rope);
        }
    }
    kinds
}

/// What each worker of the pool needs for itself. A worker locks only its own entry, so nobody waits.
#[derive(Debug)]
pub(super) struct Workers(Vec<Mutex<Worker>>);

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) matmul: MatmulScratch,
    pub(super) vector: VectorScratch,
    /// Buffers for one item of work, as long as the largest wants.
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
}

impl Workers {
    fn new(plan: &Plan, s: &Sizes, n: usize, threads: usize) -> Result<Self> {
        const WHAT: &str = "working memory of a thread";
        let layers = &plan.spec.layers;
        let group = layers.iter().map(|l| l.heads / l.kv_heads).max().unwrap_or(0);
        let head_dim = layers.iter().map(|l| l.head_dim).max().unwrap_or(0);
        let queries = QUERY_TILE.max(group);
        let both = s.hidden.max(queries * head_dim);
        let gate = (MANY_TOKENS * s.width).max(n * GATE_PIECE);
        let down = (MANY_ROWS.min(n) * s.hidden).max(n * DOWN_PIECE);
        let worker = || -> Result<Mutex<Worker>> {
            let mut vector = VectorScratch::default();
            vector.reserve(queries, head_dim)?;
            let (a, b) = (try_vec(both.max(gate).max(down), 0.0, WHAT)?, try_vec(both, 0.0, WHAT)?);
            Ok(Mutex::new(Worker { matmul: MatmulScratch::default(), vector, a, b }))
        };
        Ok(Self((0..threads.max(1)).map(|_| worker()).collect::<Result<_>>()?))
    }

    /// Runs `f` with the worker's own memory; nothing if there is no such worker.
    pub(super) fn with(&self, worker: usize, f: impl FnOnce(&mut Worker)) {
        if let Some(own) = self.0.get(worker) {
            f(&mut own.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// 0, 1, 2, ... below `n`.
fn numbers(n: usize, what: &str) -> Result<Vec<u32>> {
    let mut numbers = try_vec(n, 0, what)?;
    numbers.iter_mut().zip(0..).for_each(|(place, i)| *place = i);
    Ok(numbers)
}

/// A worker's first `len` numbers. Empty if they are more than was foreseen: then what uses them fails.
pub(super) fn first(buffer: &mut [f32], len: usize) -> &mut [f32] {
    buffer.get_mut(..len).unwrap_or_default()
}

/// Whether a layer's keys come out of its value rows, and how many dims its key rows have.
pub(super) fn key_dims(layer: &LayerSpec) -> usize {
    row_dims(layer).0
}
