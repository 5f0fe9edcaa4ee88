//! The dense MLP, the router and the routed experts.

#![forbid(unsafe_code)]

use super::{Exec, ROWS, Source, at_layer, normed, part, part_mut, tap, view};
use crate::backend::cpu::kernels::ActKind;
use crate::backend::cpu::scratch::{CpuScratch, DOWN_PIECE, GATE_PIECE, MANY_ROWS, MANY_TOKENS, Routes, first};
use crate::error::{Error, Result};
use crate::plan::{MoeSpec, Step};
use crate::threads::{Window, WindowMut};

impl Exec<'_, '_> {
    /// `d = FfnDown * (gelu(FfnGate * z) * (FfnUp * z))`.
    pub(super) fn dense_ffn(&mut self, l: u16) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let (layer, spec) = at_layer(engine, l)?;
        let (n, ffn) = (*n, spec.ffn);
        let CpuScratch { h, z, d, gate, up, z_acts, gate_acts, every_row, workers, .. } = &mut **scratch;
        normed(engine, h, &layer.dense.norm, z, n)?;
        z_acts.renew();
        let mut input = Source { x: z, acts: z_acts, every_row, n };
        input.times(engine, workers, &layer.dense.gate, gate)?;
        input.times(engine, workers, &layer.dense.up, up)?;
        let up = part(up, &(0..n), ffn)?;
        engine.pool.rows(part_mut(gate, &(0..n), ffn)?, ffn, ROWS, &|_, first_row, rows| {
            let up = up.get(first_row * ffn..first_row * ffn + rows.len()).unwrap_or_default();
            engine.kernels.vector.gelu_mul(rows, up);
        })?;
        gate_acts.renew();
        let mut inner = Source { x: gate, acts: gate_acts, every_row, n };
        inner.times(engine, workers, &layer.dense.down, d)?;
        tap(seqs, "dense_ffn", Some(l), engine.plan.spec.hidden, d)
    }

    /// Which experts each token uses, and how much.
    pub(super) fn route(&mut self, l: u16) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let (layer, spec) = at_layer(engine, l)?;
        let (Some(weights), Some(moe)) = (&layer.experts, &spec.moe) else { return Err(no_experts(l)) };
        let CpuScratch { h, z, z_acts, routes, every_row, workers, .. } = &mut **scratch;
        normed(engine, h, &weights.router_scale, z, *n)?;
        z_acts.renew();
        Source { x: z, acts: z_acts, every_row, n: *n }.times(engine, workers, &weights.router, &mut routes.scores)?;
        tap(seqs, "router_logits", Some(l), moe.experts, &routes.scores)?;
        let scores = part_mut(&mut routes.scores, &(0..*n), moe.experts)?;
        let rows = scores.chunks_exact_mut(moe.experts);
        let chosen = routes.experts.chunks_exact_mut(moe.used).zip(routes.weights.chunks_exact_mut(moe.used));
        for (scores, (experts, shares)) in rows.zip(chosen) {
            engine.kernels.vector.softmax(scores);
            choose(scores, experts, shares).ok_or(Error::Numeric { step: Step::Route(l).name(), layer: Some(l) })?;
            for (share, &expert) in shares.iter_mut().zip(experts.iter()) {
                *share *= weights.scale.get(expert as usize).copied().unwrap_or(1.0);
            }
        }
        routes.sort(moe, *n);
        if seqs.iter().any(|seq| seq.tap.is_some()) {
            let experts: Vec<f32> = routes.experts.iter().map(|&e| e as f32).collect();
            tap(seqs, "router_experts", Some(l), moe.used, &experts)?;
        }
        tap(seqs, "router_weights", Some(l), moe.used, &routes.weights)
    }

    /// `e = sum of weight * ExpertDown * (gelu(ExpertGate * z) * (ExpertUp * z))` over the chosen experts, in the order
    /// of their numbers.
    pub(super) fn experts(&mut self, l: u16) -> Result<()> {
        let Self { engine, scratch, seqs, n } = self;
        let (layer, spec) = at_layer(engine, l)?;
        let (Some(weights), Some(moe)) = (&layer.experts, &spec.moe) else { return Err(no_experts(l)) };
        let (n, hidden) = (*n, engine.plan.spec.hidden);
        let CpuScratch { h, z, e, slots, routes, z_acts, slot_acts, every_row, workers, .. } = &mut **scratch;
        normed(engine, h, &weights.norm, z, n)?;
        z_acts.renew();

        let count = n * moe.used;
        let slots = part_mut(slots, &(0..count), moe.width)?;
        let (windows, owners) = expert_windows(routes, moe, engine.pool.threads());
        let views = |expert: &usize| Ok((view(&weights.gate, *expert)?, view(&weights.up, *expert)?));
        let views: Vec<_> = owners.iter().map(views).collect::<Result<_>>()?;
        let mut input = Source { x: z, acts: z_acts, every_row, n };
        input.form(engine, &weights.gate)?;
        input.form(engine, &weights.up)?;
        let z_gate = input.acts.ready(ActKind::of(weights.gate.dtype))?;
        let z_up = input.acts.ready(ActKind::of(weights.up.dtype))?;
        engine.pool.windows(slots, moe.width, &windows, &|worker, item, mut gate| {
            let Some(&(w_gate, w_up)) = views.get(item) else { return };
            let window = gate.window().clone();
            let tokens = routes.slot_tokens.get(window.rows).unwrap_or_default();
            workers.with(worker, |own| {
                let matmul = &engine.kernels.matmul;
                let width = window.cols.len();
                matmul.matmul(w_gate, window.cols.start, z_gate, tokens, &mut gate, &mut own.matmul);
                let Ok(mut up) = WindowMut::whole(first(&mut own.a, tokens.len() * width), width) else { return };
                matmul.matmul(w_up, window.cols.start, z_up, tokens, &mut up, &mut own.matmul);
                for i in 0..tokens.len() {
                    engine.kernels.vector.gelu_mul(gate.row(i), up.row(i));
                }
            });
        })?;

        slot_acts.renew();
        let mut inner = Source { x: slots, acts: slot_acts, every_row, n: count };
        let acts = inner.form(engine, &weights.down)?;
        let downs: Vec<_> =
            routes.used().map(|(expert, slots)| Ok((view(&weights.down, expert)?, slots))).collect::<Result<_>>()?;
        let e = part_mut(e, &(0..n), hidden)?;
        engine.pool.columns(e, hidden, down_grain(hidden, n, engine.pool.threads()), &|worker, mut out| {
            let cols = out.window().cols.clone();
            (0..n).for_each(|token| out.row(token).fill(0.0));
            let piece = if n < MANY_ROWS { cols.len() } else { DOWN_PIECE };
            workers.with(worker, |own| {
                for (down, slots) in &downs {
                    let rows = every_row.get(slots.clone()).unwrap_or_default();
                    let tokens = routes.slot_tokens.get(slots.clone()).unwrap_or_default();
                    let shares = routes.slot_weights.get(slots.clone()).unwrap_or_default();
                    for start in (0..cols.len()).step_by(piece) {
                        let width = piece.min(cols.len() - start);
                        let products = first(&mut own.a, rows.len() * width);
                        let Ok(mut window) = WindowMut::whole(products, width) else { return };
                        engine.kernels.matmul.matmul(
                            *down,
                            cols.start + start,
                            acts,
                            rows,
                            &mut window,
                            &mut own.matmul,
                        );
                        for (i, (&token, &share)) in tokens.iter().zip(shares).enumerate() {
                            let sums = out.row(token as usize).get_mut(start..start + width).unwrap_or_default();
                            engine.kernels.vector.add_scaled(sums, window.row(i), share);
                        }
                    }
                }
            });
        })?;
        tap(seqs, "experts_out", Some(l), hidden, e)
    }
}

/// The best `experts.len()` of the probabilities, greatest first, the lower index on ties; their shares sum to 1.
/// `None` if a probability is no number.
fn choose(scores: &[f32], experts: &mut [u32], shares: &mut [f32]) -> Option<()> {
    if !scores.iter().all(|s| s.is_finite()) {
        return None;
    }
    let (mut limit, mut taken) = ((f32::INFINITY, 0), 0);
    for (expert, share) in experts.iter_mut().zip(shares.iter_mut()) {
        // The next in the order (probability down, index up) after the last one taken.
        let after = |&(i, s): &(u32, f32)| s < limit.0 || (s == limit.0 && i > limit.1 && taken > 0);
        let candidates = (0u32..).zip(scores.iter().copied()).filter(after);
        let best = candidates.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        (*expert, *share) = best;
        (limit, taken) = ((best.1, best.0), taken + 1);
    }
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|s| *s /= sum);
    Some(())
}

impl Routes {
    /// Sorts the choices of `n` tokens by expert.
    fn sort(&mut self, moe: &MoeSpec, n: usize) {
        let count = n * moe.used;
        self.starts.fill(0);
        for &expert in self.experts.iter().take(count) {
            if let Some(next) = self.starts.get_mut(expert as usize + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        let mut next = self.starts.clone();
        for (i, (&expert, &weight)) in self.experts.iter().zip(&self.weights).take(count).enumerate() {
            let Some(slot) = next.get_mut(expert as usize) else { continue };
            if let (Some(t), Some(w)) = (self.slot_tokens.get_mut(*slot), self.slot_weights.get_mut(*slot)) {
                (*t, *w) = ((i / moe.used) as u32, weight);
            }
            *slot += 1;
        }
    }

    /// Experts that any token uses, with their slots.
    fn used(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
        let ends = self.starts.iter().skip(1);
        self.starts.iter().zip(ends).map(|(&start, &end)| start..end).enumerate().filter(|(_, slots)| !slots.is_empty())
    }
}

/// Cuts gate and up of every used expert into pieces of outputs: (windows of the slots' buffer, expert of each).
///
/// A piece of few tokens is a stream from memory, so it is long: a whole expert, but for the last ones, which are shared
/// so that all threads end together. A piece of many tokens is arithmetic on a panel.
fn expert_windows(routes: &Routes, moe: &MoeSpec, threads: usize) -> (Vec<Window>, Vec<usize>) {
    let (mut windows, mut owners) = (Vec::new(), Vec::new());
    let used = routes.used().count();
    for (i, (expert, rows)) in routes.used().enumerate() {
        let piece = match rows.len() {
            ..MANY_TOKENS if i + threads < used => moe.width,
            ..MANY_TOKENS => moe.width.div_ceil(threads).next_multiple_of(GATE_PIECE),
            _ => GATE_PIECE,
        };
        for start in (0..moe.width).step_by(piece) {
            windows.push(Window { rows: rows.clone(), cols: start..(start + piece).min(moe.width) });
            owners.push(expert);
        }
    }
    (windows, owners)
}

/// Outputs that a thread takes at once of the down projection: long streams when one token passes, small sums when many do.
fn down_grain(hidden: usize, n: usize, threads: usize) -> usize {
    if n < MANY_ROWS { (hidden / (2 * threads)).next_multiple_of(64).max(64) } else { DOWN_PIECE }
}

fn no_experts(l: u16) -> Error {
    Error::Internal(format!("layer {l} has no experts"))
}
