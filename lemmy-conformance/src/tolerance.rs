//! Every tolerance, by name.
//!
//! The measure is the same for all: for each token's row, the length of the difference over the length of the
//! reference's row; the worst row counts. Each output is compared on its own (see the crate's documentation), so these
//! are errors of one step, not of a whole model.

use lemmy_core::kv::KvType;
use lemmy_core::plan::{Plan, Role, ValueSource, WeightSource};

use crate::taps::TapId;

/// What an output may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Name, for messages.
    pub name: &'static str,
    /// Relative error of the worst row.
    pub limit: f64,
}

/// Choices that must be equal.
pub const EXACT: Tolerance = Tolerance { name: "exact", limit: 0.0 };
/// Sums of up to a few thousand products in f32, and functions to f32 accuracy.
pub const F32: Tolerance = Tolerance { name: "f32", limit: 2e-5 };
/// Keys and values rounded to f16 (2^-11), where scores are a few units.
pub const F16_KV: Tolerance = Tolerance { name: "f16 KV", limit: 2e-3 };
/// Keys and values rounded to 8 bits, one scale per 32 numbers, whose greatest lies at two to three times their rms: 0.6 %
/// of a value, and as much of a score of a few units.
pub const Q8_KV: Tolerance = Tolerance { name: "q8_0 KV", limit: 2e-2 };
/// One product with activations rounded to 8 bits, one scale per 32 numbers: half a step of 1/127 of the greatest of
/// them, which lies at two to three times their rms.
pub const INT8_32: Tolerance = Tolerance { name: "8-bit activations by 32", limit: 1.5e-2 };
/// The same with one scale per 256 numbers, whose greatest lies at three times their rms or far beyond.
pub const INT8_256: Tolerance = Tolerance { name: "8-bit activations by 256", limit: 3e-2 };
/// An MLP: two such products, whose inner activations `gelu(gate) * up` have long tails.
pub const INT8_MLP: Tolerance = Tolerance { name: "8-bit activations, MLP", limit: 8e-2 };
/// Logits of a whole model with float weights and an f32 cache against the reference's: rounding of all steps together.
pub const END: Tolerance = Tolerance { name: "f32, end to end", limit: 2e-4 };

/// The tolerance of one output.
pub fn of_tap(id: TapId, plan: &Plan, weights: &dyn WeightSource, kv_type: KvType) -> Tolerance {
    let product = |role| of_product(weights, role, id.layer);
    let mlp = |roles: [Role; 3]| if roles.map(product) == [F32; 3] { F32 } else { INT8_MLP };
    match id.name {
        "q_proj" => product(Role::AttnQ),
        "k_proj" => product(Role::AttnK),
        "attn_heads" => {
            let layer = id.layer.and_then(|l| plan.spec.layers.get(usize::from(l)));
            let own_values = layer.is_some_and(|layer| layer.values != ValueSource::SharedWithKey);
            let cache = match kv_type {
                KvType::F32 => F32,
                KvType::F16 => F16_KV,
                _ => Q8_KV,
            };
            let values = if own_values { product(Role::AttnV) } else { F32 };
            if values.limit > cache.limit { values } else { cache }
        }
        "attn_o" => product(Role::AttnOutput),
        "dense_ffn" => mlp([Role::FfnGate, Role::FfnUp, Role::FfnDown]),
        "router_experts" => EXACT,
        "experts_out" => mlp([Role::ExpertGate, Role::ExpertUp, Role::ExpertDown]),
        "logits" => product(Role::Output),
        _ => F32,
    }
}

/// A backend may round the activations that meet quantised weights to 8 bits, with scales as wide as the weight's
/// blocks; never those that meet floats.
fn of_product(weights: &dyn WeightSource, role: Role, layer: Option<u16>) -> Tolerance {
    match weights.matrix(role, layer).map(|matrix| matrix.dtype.block_len()) {
        Ok(32) => INT8_32,
        Ok(256) => INT8_256,
        _ => F32,
    }
}
