//! The forward pass in plain f64, written from the documentation of [`Step`](lemmy_core::plan::Step) alone.
//!
//! It is the oracle: short, slow, and without a line of any backend's code. Weights are dequantised exactly;
//! activations are never rounded.

mod attention;

use lemmy_core::plan::{LayerSpec, Matrix, MoeSpec, Plan, Role, WeightSource};
use lemmy_core::quant;
use lemmy_core::{Error, Result};

use crate::prompt::{Prompt, Segment};
use crate::taps::{Rows, TapId, Taps, of_plan};

/// A plan and its weights, ready to be evaluated.
pub struct Reference<'a> {
    plan: &'a Plan,
    weights: &'a dyn WeightSource,
}

impl<'a> Reference<'a> {
    /// A reference for this plan.
    pub fn new(plan: &'a Plan, weights: &'a dyn WeightSource) -> Self {
        Self { plan, weights }
    }

    /// All outputs of a whole prompt.
    pub fn forward(&self, prompt: &Prompt) -> Result<Taps> {
        let mut taps = Taps::default();
        for (_, id) in of_plan(self.plan) {
            let rows = self.tap(id, &taps, prompt)?;
            taps.push(id, rows.cols, rows.data);
        }
        Ok(taps)
    }

    /// One output, computed from the outputs that come before it.
    pub fn tap(&self, id: TapId, seen: &Taps, prompt: &Prompt) -> Result<Rows> {
        let Some(l) = id.layer else {
            return match id.name {
                "embed" => self.embed(prompt),
                "final_norm" => self.norm(self.stream(seen, self.plan.spec.layers.len())?, Role::OutputNorm, None),
                "logits" => self.logits(get(seen, "final_norm", None)?),
                _ => Err(unknown(id)),
            };
        };
        let x = self.stream(seen, usize::from(l))?;
        let of_layer = |name| get(seen, name, Some(l));
        match id.name {
            "q_proj" => self.project(&self.norm(x, Role::AttnNorm, id.layer)?, Role::AttnQ, l),
            "k_proj" => self.project(&self.norm(x, Role::AttnNorm, id.layer)?, Role::AttnK, l),
            "attn_heads" => self.attention(l, x, of_layer("q_proj")?, of_layer("k_proj")?, prompt),
            "attn_o" => self.project(of_layer("attn_heads")?, Role::AttnOutput, l),
            "attn_residual" => Ok(x.zip(&self.norm(of_layer("attn_o")?, Role::PostAttnNorm, id.layer)?, |x, o| x + o)),
            "dense_ffn" => self.dense_ffn(l, of_layer("attn_residual")?),
            "router_logits" => self.router_logits(l, of_layer("attn_residual")?),
            "router_experts" => self.router_experts(l, of_layer("router_logits")?),
            "router_weights" => self.router_weights(l, of_layer("router_logits")?, of_layer("router_experts")?),
            "experts_out" => {
                self.experts(l, of_layer("attn_residual")?, of_layer("router_experts")?, of_layer("router_weights")?)
            }
            "ffn_out" => self.ffn_out(l, seen),
            "layer_out" => {
                let scale = self.weights.vector(Role::LayerScale, id.layer)?;
                let scale = f64::from(scale.first().copied().unwrap_or(1.0));
                Ok(of_layer("attn_residual")?.zip(of_layer("ffn_out")?, |h, y| (h + y) * scale))
            }
            _ => Err(unknown(id)),
        }
    }

    /// The residual stream that enters layer `l`.
    fn stream<'t>(&self, seen: &'t Taps, l: usize) -> Result<&'t Rows> {
        match l.checked_sub(1) {
            None => get(seen, "embed", None),
            Some(below) => get(seen, "layer_out", Some(below as u16)),
        }
    }

    /// `x = TokenEmbd[token] * embed_scale`; soft tokens as they are.
    fn embed(&self, prompt: &Prompt) -> Result<Rows> {
        let table = self.weights.matrix(Role::TokenEmbd, None)?;
        let scale = f64::from(self.plan.spec.embed_scale);
        let mut out = Rows { cols: table.cols, data: Vec::new() };
        for segment in &prompt.segments {
            match segment {
                Segment::Tokens(ids) => {
                    for &id in ids {
                        out.data.extend(dequantised_row(&table, 0, id as usize)?.iter().map(|&v| f64::from(v) * scale));
                    }
                }
                Segment::Soft(rows) => out.data.extend(rows.iter().map(|&v| f64::from(v))),
            }
        }
        Ok(out)
    }

    /// `softcap(Output * z)`.
    fn logits(&self, z: &Rows) -> Result<Rows> {
        let mut out = product(&self.weights.matrix(Role::Output, None)?, 0, z)?;
        if let Some(cap) = self.plan.spec.logit_softcap.map(f64::from) {
            out.data.iter_mut().for_each(|t| *t = cap * (*t / cap).tanh());
        }
        Ok(out)
    }

    /// `FfnDown * (gelu(FfnGate * z) * (FfnUp * z))` with `z = norm(h; FfnNorm)`.
    fn dense_ffn(&self, l: u16, h: &Rows) -> Result<Rows> {
        let z = self.norm(h, Role::FfnNorm, Some(l))?;
        let gate = self.project(&z, Role::FfnGate, l)?;
        let up = self.project(&z, Role::FfnUp, l)?;
        self.project(&gate.zip(&up, |g, u| gelu(g) * u), Role::FfnDown, l)
    }

    /// `Router * r` with `r = rms(h) * RouterScale / sqrt(hidden)`.
    fn router_logits(&self, l: u16, h: &Rows) -> Result<Rows> {
        let scale = self.weights.vector(Role::RouterScale, Some(l))?;
        let eps = f64::from(self.plan.spec.rms_eps);
        let width = (self.plan.spec.hidden as f64).sqrt();
        let r = h.map(|h| rms(h, eps).iter().zip(&scale).map(|(v, &s)| v * f64::from(s) / width).collect());
        self.project(&r, Role::Router, l)
    }

    /// The `used` greatest logits, greatest first; the lower index where two are equal.
    fn router_experts(&self, l: u16, logits: &Rows) -> Result<Rows> {
        let used = self.moe(l)?.used;
        Ok(logits.map(|logits| {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            order.iter().take(used).map(|&e| e as f64).collect()
        }))
    }

    /// Softmax over all experts, the chosen ones' part made to sum to 1, times `ExpertScale`.
    fn router_weights(&self, l: u16, logits: &Rows, experts: &Rows) -> Result<Rows> {
        let scale = self.weights.vector(Role::ExpertScale, Some(l))?;
        Ok(Rows::from_rows(logits.iter().zip(experts.iter()).map(|(logits, experts)| {
            let p = softmax(logits);
            let total: f64 = experts.iter().map(|&e| p[e as usize]).sum();
            experts.iter().map(|&e| p[e as usize] / total * f64::from(scale[e as usize])).collect()
        })))
    }

    /// `sum of weight * ExpertDown * (gelu(ExpertGate * z) * (ExpertUp * z))` with `z = norm(h; ExpertNorm)`.
    fn experts(&self, l: u16, h: &Rows, experts: &Rows, weights: &Rows) -> Result<Rows> {
        let z = self.norm(h, Role::ExpertNorm, Some(l))?;
        let gate = self.weights.matrix(Role::ExpertGate, Some(l))?;
        let up = self.weights.matrix(Role::ExpertUp, Some(l))?;
        let down = self.weights.matrix(Role::ExpertDown, Some(l))?;
        let mut out = Rows { cols: h.cols, data: vec![0.0; h.data.len()] };
        for e in 0..self.moe(l)?.experts {
            let chosen: Vec<(usize, f64)> = (0..h.len())
                .flat_map(|t| experts.row(t).iter().zip(weights.row(t)).map(move |(&chosen, &w)| (t, chosen, w)))
                .filter(|&(_, chosen, _)| chosen == e as f64)
                .map(|(t, _, w)| (t, w))
                .collect();
            let z = Rows::from_rows(chosen.iter().map(|&(t, _)| z.row(t).to_vec()));
            let act = product(&gate, e, &z)?.zip(&product(&up, e, &z)?, |g, u| gelu(g) * u);
            for (&(t, w), row) in chosen.iter().zip(product(&down, e, &act)?.iter()) {
                out.data[t * h.cols..][..h.cols].iter_mut().zip(row).for_each(|(o, v)| *o += w * v);
            }
        }
        Ok(out)
    }

    /// `norm(f; PostFfnNorm)`, where `f` is `d`, or `norm(d; PostDenseNorm) + norm(e; PostExpertNorm)`.
    fn ffn_out(&self, l: u16, seen: &Taps) -> Result<Rows> {
        let d = get(seen, "dense_ffn", Some(l))?;
        if self.layer(l)?.moe.is_none() {
            return self.norm(d, Role::PostFfnNorm, Some(l));
        }
        let d = self.norm(d, Role::PostDenseNorm, Some(l))?;
        let e = self.norm(get(seen, "experts_out", Some(l))?, Role::PostExpertNorm, Some(l))?;
        self.norm(&d.zip(&e, |d, e| d + e), Role::PostFfnNorm, Some(l))
    }

    fn norm(&self, x: &Rows, role: Role, layer: Option<u16>) -> Result<Rows> {
        let weight = self.weights.vector(role, layer)?;
        let eps = f64::from(self.plan.spec.rms_eps);
        Ok(x.map(|x| norm(x, &weight, eps)))
    }

    fn project(&self, x: &Rows, role: Role, l: u16) -> Result<Rows> {
        product(&self.weights.matrix(role, Some(l))?, 0, x)
    }

    fn layer(&self, l: u16) -> Result<&LayerSpec> {
        self.plan.spec.layers.get(usize::from(l)).ok_or_else(|| Error::Internal(format!("no layer {l} in the plan")))
    }

    fn moe(&self, l: u16) -> Result<&MoeSpec> {
        self.layer(l)?.moe.as_ref().ok_or_else(|| Error::Internal(format!("no experts in layer {l}")))
    }
}

/// `x / sqrt(mean(x^2) + eps)`.
fn rms(x: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    let factor = 1.0 / (mean + eps).sqrt();
    x.iter().map(|v| v * factor).collect()
}

/// [`rms`], times a weight.
fn norm(x: &[f64], weight: &[f32], eps: f64) -> Vec<f64> {
    rms(x, eps).iter().zip(weight).map(|(v, &w)| v * f64::from(w)).collect()
}

/// The tanh form of GELU.
fn gelu(z: f64) -> f64 {
    0.5 * z * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044715 * z * z * z)).tanh())
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = x.iter().map(|v| (v - max).exp()).collect();
    let total: f64 = e.iter().sum();
    e.iter().map(|v| v / total).collect()
}

/// Each row of `x` times matrix `index`.
fn product(matrix: &Matrix, index: usize, x: &Rows) -> Result<Rows> {
    let n = x.len();
    // Tokens lie next to each other, so that the inner loop runs over them.
    let turned: Vec<f64> =
        (0..matrix.cols).flat_map(|c| (0..n).map(move |t| (t, c))).map(|(t, c)| x.row(t)[c]).collect();
    let mut out = Rows { cols: matrix.rows, data: vec![0.0; n * matrix.rows] };
    for r in 0..matrix.rows {
        let mut sums = vec![0.0f64; n];
        for (&w, xs) in dequantised_row(matrix, index, r)?.iter().zip(turned.chunks_exact(n.max(1))) {
            sums.iter_mut().zip(xs).for_each(|(sum, x)| *sum += f64::from(w) * x);
        }
        sums.iter().enumerate().for_each(|(t, &sum)| out.data[t * matrix.rows + r] = sum);
    }
    Ok(out)
}

fn dequantised_row(matrix: &Matrix, index: usize, row: usize) -> Result<Vec<f32>> {
    let bytes = matrix.row_bytes();
    let row = matrix
        .matrix(index)
        .get(row * bytes..(row + 1) * bytes)
        .ok_or_else(|| Error::Internal(format!("no row {row} in matrix {index} of {}", matrix.count)))?;
    let mut out = vec![0.0; matrix.cols];
    quant::dequantize(matrix.dtype, row, &mut out)?;
    Ok(out)
}

fn get<'t>(seen: &'t Taps, name: &'static str, layer: Option<u16>) -> Result<&'t Rows> {
    let id = TapId { name, layer };
    seen.get(id).ok_or_else(|| Error::Internal(format!("the backend did not show {id}")))
}

fn unknown(id: TapId) -> Error {
    Error::Internal(format!("the reference knows no output {id}"))
}
