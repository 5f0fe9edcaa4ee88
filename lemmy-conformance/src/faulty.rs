//! Deliberately wrong backends: a good one that is handed a plan or weights with one fault each.
//!
//! They judge the judge: every fault must be found, and the message must name the step that is wrong.

use std::ops::ControlFlow;
use std::sync::Arc;

use lemmy_core::backend::{Backend, BackendMemory, Engine};
use lemmy_core::kv::{KvSpec, KvType};
use lemmy_core::plan::{LayerSpec, Matrix, Plan, Role, Spec, ValueSource, WeightSource};
use lemmy_core::quant::DType;
use lemmy_core::{CancelToken, Error, Result};

use crate::judge::{Fault, judge_taps, soft_prompt};
use crate::report::Report;
use crate::taps::TapId;
use crate::tiny::{TinyModel, WINDOW, owned};

/// One fault: what is wrong, in which layer, and the output at which it must be caught.
#[derive(Debug, Clone, Copy)]
pub struct Mistake {
    /// What is wrong.
    pub name: &'static str,
    /// Where.
    pub layer: Option<u16>,
    /// The first output that is off.
    pub caught_at: &'static str,
    edit: Edit,
}

#[derive(Debug, Clone, Copy)]
enum Edit {
    /// A fact of the model.
    Model(fn(&mut Spec)),
    /// A fact of the layer.
    Layer(fn(&mut LayerSpec)),
    /// A matrix with the other sign.
    Negated(Role),
    /// Two matrices in each other's place.
    Swapped(Role, Role),
    /// Every expert has its neighbour's matrix.
    Shifted(Role),
    /// A vector left out.
    Ones(Role),
    /// A norm's weight taken as `1 + w`, as older models have it.
    PlusOne(Role),
}

const fn mistake(name: &'static str, layer: Option<u16>, caught_at: &'static str, edit: Edit) -> Mistake {
    Mistake { name, layer, caught_at, edit }
}

/// Layer 2 of the tiny model is global, the others slide.
const SLIDING: Option<u16> = Some(1);
const GLOBAL: Option<u16> = Some(2);

/// All mistakes.
#[rustfmt::skip] // a table
pub const MISTAKES: &[Mistake] = &[
    mistake("embeddings not scaled", None, "embed", Edit::Model(|s| s.embed_scale = 1.0)),
    mistake("sign of the query projection", SLIDING, "q_proj", Edit::Negated(Role::AttnQ)),
    mistake("sign of the key projection", SLIDING, "k_proj", Edit::Negated(Role::AttnK)),
    mistake("sign of the key projection, K = V", GLOBAL, "k_proj", Edit::Negated(Role::AttnK)),
    mistake("sign of the value projection", SLIDING, "attn_heads", Edit::Negated(Role::AttnV)),
    mistake("sign of the attention output", SLIDING, "attn_o", Edit::Negated(Role::AttnOutput)),
    mistake("sign of the MLP's down projection", SLIDING, "dense_ffn", Edit::Negated(Role::FfnDown)),
    mistake("sign of the router", SLIDING, "router_logits", Edit::Negated(Role::Router)),
    mistake("sign of the experts' down projection", SLIDING, "experts_out", Edit::Negated(Role::ExpertDown)),
    mistake("sign of the head", None, "logits", Edit::Negated(Role::Output)),
    mistake("attention norm forgotten", SLIDING, "q_proj", Edit::Ones(Role::AttnNorm)),
    mistake("attention norm plus one", SLIDING, "q_proj", Edit::PlusOne(Role::AttnNorm)),
    mistake("query norm forgotten", SLIDING, "attn_heads", Edit::Ones(Role::AttnQNorm)),
    mistake("key norm forgotten", SLIDING, "attn_heads", Edit::Ones(Role::AttnKNorm)),
    mistake("query norm forgotten, K = V", GLOBAL, "attn_heads", Edit::Ones(Role::AttnQNorm)),
    mistake("key norm forgotten, K = V", GLOBAL, "attn_heads", Edit::Ones(Role::AttnKNorm)),
    mistake("norm after attention forgotten", SLIDING, "attn_residual", Edit::Ones(Role::PostAttnNorm)),
    mistake("MLP norm forgotten", SLIDING, "dense_ffn", Edit::Ones(Role::FfnNorm)),
    mistake("norm after the MLP forgotten", SLIDING, "ffn_out", Edit::Ones(Role::PostDenseNorm)),
    mistake("experts' norm forgotten", SLIDING, "experts_out", Edit::Ones(Role::ExpertNorm)),
    mistake("norm after the experts forgotten", SLIDING, "ffn_out", Edit::Ones(Role::PostExpertNorm)),
    mistake("norms of dense and experts swapped", SLIDING, "ffn_out", Edit::Swapped(Role::PostDenseNorm, Role::PostExpertNorm)),
    mistake("norm after both forgotten", SLIDING, "ffn_out", Edit::Ones(Role::PostFfnNorm)),
    mistake("layer scale forgotten", GLOBAL, "layer_out", Edit::Ones(Role::LayerScale)),
    mistake("last norm forgotten", None, "final_norm", Edit::Ones(Role::OutputNorm)),
    mistake("router scale forgotten", SLIDING, "router_logits", Edit::Ones(Role::RouterScale)),
    mistake("expert scale forgotten", SLIDING, "router_weights", Edit::Ones(Role::ExpertScale)),
    mistake("gate and up of the MLP swapped", SLIDING, "dense_ffn", Edit::Swapped(Role::FfnGate, Role::FfnUp)),
    mistake("gate and up of the experts swapped", SLIDING, "experts_out", Edit::Swapped(Role::ExpertGate, Role::ExpertUp)),
    mistake("another expert's weights", SLIDING, "experts_out", Edit::Shifted(Role::ExpertDown)),
    mistake("one expert too few", SLIDING, "router_experts", Edit::Layer(|l| l.moe.iter_mut().for_each(|m| m.used -= 1))),
    mistake("RoPE: halves swapped", SLIDING, "attn_heads", Edit::Layer(|l| l.rope.frequencies.iter_mut().for_each(|f| *f = -*f))),
    mistake("RoPE: the global base", SLIDING, "attn_heads", Edit::Layer(|l| set_rope(l, 1e6, 256.0))),
    mistake("RoPE: divisor is the turned part", GLOBAL, "attn_heads", Edit::Layer(|l| set_rope(l, 1e6, 128.0))),
    mistake("RoPE: every pair turns", GLOBAL, "attn_heads", Edit::Layer(|l| { l.rope.frequencies = vec![0.0; 256]; set_rope(l, 1e6, 512.0) })),
    mistake("RoPE forgotten", GLOBAL, "attn_heads", Edit::Layer(|l| l.rope.frequencies.clear())),
    mistake("scores scaled by the head size", SLIDING, "attn_heads", Edit::Layer(|l| l.score_scale = 1.0 / 16.0)),
    mistake("window one too wide", SLIDING, "attn_heads", Edit::Layer(|l| l.window = Some(WINDOW + 1))),
    mistake("window one too narrow", SLIDING, "attn_heads", Edit::Layer(|l| l.window = Some(WINDOW - 1))),
    mistake("no window", SLIDING, "attn_heads", Edit::Layer(|l| l.window = None)),
    mistake("values not normed", SLIDING, "attn_heads", Edit::Layer(|l| l.values = ValueSource::Own)),
    mistake("values not normed, K = V", GLOBAL, "attn_heads", Edit::Layer(|l| l.values = ValueSource::Own)),
    mistake("values from the keys", SLIDING, "attn_heads", Edit::Layer(|l| l.values = ValueSource::SharedWithKey)),
    mistake("soft blocks causal", SLIDING, "attn_heads", Edit::Layer(|l| l.bidirectional_blocks = false)),
    mistake("soft blocks bidirectional on a global layer", GLOBAL, "attn_heads", Edit::Layer(|l| l.bidirectional_blocks = true)),
    mistake("epsilon of the norms", None, "q_proj", Edit::Model(|s| s.rms_eps = 1e-6)),
    mistake("softcap forgotten", None, "logits", Edit::Model(|s| s.logit_softcap = None)),
];

/// As many frequencies as before, by another rule.
fn set_rope(layer: &mut LayerSpec, base: f64, divisor: f64) {
    for (i, f) in layer.rope.frequencies.iter_mut().enumerate() {
        *f = base.powf(-2.0 * i as f64 / divisor);
    }
}

/// Makes every mistake on top of a good backend; a check passes if the judge names the right output.
pub fn check_judge(good: &dyn Backend) -> Report {
    let model = TinyModel::moe(3, DType::F32);
    let prompt = soft_prompt(&model.plan);
    let mut report = Report::default();
    let judged = |backend: &dyn Backend| judge_taps(backend, &model.plan, &model.weights, &prompt, KvType::F32);
    report.add("no mistake", judged(good).map_err(|fault| fault.to_string()));
    for &mistake in MISTAKES {
        let outcome = match judged(&FaultyBackend { good, mistake }) {
            Ok(_) => Err("not found".into()),
            Err(fault) if fault.tap().is_some_and(|tap| mistake.is_caught_at(tap)) => Ok(fault.to_string()),
            Err(Fault::Error(e)) => Err(format!("the backend failed: {e}")),
            Err(fault) => Err(format!("found in the wrong place: {fault}")),
        };
        report.add(mistake.name, outcome);
    }
    report
}

impl Mistake {
    fn is_caught_at(&self, tap: TapId) -> bool {
        // A fact of the whole model shows in the first layer that uses it.
        let in_place = self.layer.is_none_or(|l| tap.layer == Some(l));
        tap.name == self.caught_at && in_place
    }
}

/// A good backend that was told something wrong.
pub struct FaultyBackend<'b> {
    /// The good one.
    pub good: &'b dyn Backend,
    /// What is wrong.
    pub mistake: Mistake,
}

impl Backend for FaultyBackend<'_> {
    fn name(&self) -> String {
        format!("{} with a mistake: {}", self.good.name(), self.mistake.name)
    }

    fn check(&self, plan: &Plan) -> Result<()> {
        self.good.check(plan)
    }

    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory> {
        self.good.estimate(plan, weights, kv)
    }

    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        let mut plan = plan.as_ref().clone();
        match self.mistake.edit {
            Edit::Model(edit) => edit(&mut plan.spec),
            Edit::Layer(edit) => {
                let layer = self.mistake.layer.and_then(|l| plan.spec.layers.get_mut(usize::from(l)));
                edit(layer.ok_or_else(|| Error::Internal("a mistake in no layer".into()))?);
            }
            _ => {}
        }
        let weights = FaultyWeights { good: weights, mistake: self.mistake };
        self.good.compile(Arc::new(plan), &weights, cancel, progress)
    }
}

struct FaultyWeights<'w> {
    good: &'w dyn WeightSource,
    mistake: Mistake,
}

impl FaultyWeights<'_> {
    /// The mistake, if it is about this role.
    fn edit(&self, role: Role, layer: Option<u16>) -> Option<Edit> {
        let edit = self.mistake.edit;
        let concerns = match edit {
            Edit::Model(_) | Edit::Layer(_) => false,
            Edit::Negated(r) | Edit::Shifted(r) | Edit::Ones(r) | Edit::PlusOne(r) => r == role,
            Edit::Swapped(a, b) => a == role || b == role,
        };
        (concerns && layer == self.mistake.layer).then_some(edit)
    }

    fn source(&self, role: Role, layer: Option<u16>) -> Role {
        match self.edit(role, layer) {
            Some(Edit::Swapped(a, b)) => {
                if role == a {
                    b
                } else {
                    a
                }
            }
            _ => role,
        }
    }
}

impl WeightSource for FaultyWeights<'_> {
    fn matrix(&self, role: Role, layer: Option<u16>) -> Result<Matrix> {
        let matrix = self.good.matrix(self.source(role, layer), layer).or_else(|e| match role {
            // A layer whose plan wrongly asks for values of its own.
            Role::AttnV => self.good.matrix(Role::AttnK, layer),
            _ => Err(e),
        })?;
        match self.edit(role, layer) {
            Some(Edit::Negated(_)) => Ok(negated(&matrix)),
            Some(Edit::Shifted(_)) => Ok(shifted(&matrix)),
            _ => Ok(matrix),
        }
    }

    fn vector(&self, role: Role, layer: Option<u16>) -> Result<Vec<f32>> {
        let mut numbers = self.good.vector(self.source(role, layer), layer)?;
        match self.edit(role, layer) {
            Some(Edit::Ones(_)) => numbers.fill(1.0),
            Some(Edit::PlusOne(_)) => numbers.iter_mut().for_each(|v| *v += 1.0),
            _ => {}
        }
        Ok(numbers)
    }
}

/// The other sign of every number of an F32 matrix.
fn negated(matrix: &Matrix) -> Matrix {
    let mut bytes = matrix.bytes.as_slice().to_vec();
    bytes.iter_mut().skip(3).step_by(4).for_each(|b| *b ^= 0x80);
    Matrix { bytes: owned(bytes), ..matrix.clone() }
}

/// Matrix `i + 1` in the place of matrix `i`.
fn shifted(matrix: &Matrix) -> Matrix {
    let mut bytes = matrix.bytes.as_slice().to_vec();
    bytes.rotate_left(matrix.stride);
    Matrix { bytes: owned(bytes), ..matrix.clone() }
}
