//! Kinds of steps, and how many bytes each of them reads for one token of decode.

use std::collections::BTreeMap;

use lemmy_core::KvType;
use lemmy_core::plan::{LayerSpec, Plan, Role, Shape, ValueSource, WeightSource};

/// Kinds of steps, in the order in which a token meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Embedding,
    /// Queries, keys, values: the products.
    Projections,
    /// Norms and rotation of heads, the cache, scores, sums of values.
    Attention,
    AttentionOutput,
    Mlp,
    Router,
    /// Where gate, up and down have the same shape, all of them.
    ExpertsUp,
    ExpertsDown,
    /// Norms of the residual stream and sums with it.
    Norms,
    Head,
    /// All that stands between the steps.
    Other,
}

impl Kind {
    /// In words, and for programs.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Embedding => ("embedding", "embedding"),
            Self::Projections => ("attention: q, k, v", "attention_qkv"),
            Self::Attention => ("attention: scores", "attention_scores"),
            Self::AttentionOutput => ("attention: output", "attention_output"),
            Self::Mlp => ("shared MLP", "mlp"),
            Self::Router => ("router", "router"),
            Self::ExpertsUp => ("experts: gate, up", "experts_gate_up"),
            Self::ExpertsDown => ("experts: down", "experts_down"),
            Self::Norms => ("norms and sums", "norms"),
            Self::Head => ("head", "head"),
            Self::Other => ("other", "other"),
        }
    }

    /// The step that ends with this tap.
    pub(super) fn of_tap(tap: &str) -> Self {
        match tap {
            "embed" => Self::Embedding,
            "q_proj" | "k_proj" => Self::Projections,
            "attn_heads" => Self::Attention,
            "attn_o" => Self::AttentionOutput,
            "dense_ffn" => Self::Mlp,
            "router_logits" | "router_experts" | "router_weights" => Self::Router,
            "experts_out" => Self::ExpertsUp,
            "attn_residual" | "ffn_out" | "layer_out" | "final_norm" => Self::Norms,
            "logits" => Self::Head,
            _ => Self::Other,
        }
    }

    fn of_role(role: Role) -> Self {
        match role {
            Role::TokenEmbd => Self::Embedding,
            Role::AttnQ | Role::AttnK | Role::AttnV => Self::Projections,
            Role::AttnQNorm | Role::AttnKNorm => Self::Attention,
            Role::AttnOutput => Self::AttentionOutput,
            Role::FfnGate | Role::FfnUp | Role::FfnDown => Self::Mlp,
            Role::Router | Role::RouterScale | Role::ExpertScale => Self::Router,
            Role::ExpertGate | Role::ExpertUp => Self::ExpertsUp,
            Role::ExpertDown => Self::ExpertsDown,
            Role::Output => Self::Head,
            _ => Self::Norms,
        }
    }
}

/// Bytes that one token of decode reads behind so many others: every matrix once, of the experts those that a token
/// uses, one row of the embedding, and what its queries see of the cache.
pub(super) fn traffic(
    plan: &Plan,
    weights: &dyn WeightSource,
    kv: KvType,
    before: usize,
) -> lemmy_core::Result<BTreeMap<Kind, u64>> {
    let mut bytes = BTreeMap::new();
    let mut add = |kind, n: usize| *bytes.entry(kind).or_insert(0) += n as u64;
    for (role, layer, shape) in plan.roles() {
        let kind = Kind::of_role(role);
        let len = match shape {
            Shape::Vector { len, .. } => len * size_of::<f32>(),
            Shape::Matrix { .. } => {
                let matrix = weights.matrix(role, layer)?;
                let rows = if role == Role::TokenEmbd { 1 } else { matrix.rows };
                rows * matrix.row_bytes() * used(plan, layer, matrix.count)
            }
        };
        add(kind, len);
    }
    for layer in &plan.spec.layers {
        let seen = (before + 1).min(layer.window.unwrap_or(usize::MAX));
        add(Kind::Attention, seen * layer.kv_heads * (kv.row_bytes(key_dims(layer)) + kv.row_bytes(layer.head_dim)));
    }
    Ok(bytes)
}

/// Matrices of `count` that one token uses.
fn used(plan: &Plan, layer: Option<u16>, count: usize) -> usize {
    let layer = layer.and_then(|l| plan.spec.layers.get(usize::from(l)));
    match layer.and_then(|layer| layer.moe.as_ref()) {
        Some(moe) if count == moe.experts => moe.used,
        _ => count,
    }
}

/// Numbers of a key in the cache: where keys are values too, only those that turn.
fn key_dims(layer: &LayerSpec) -> usize {
    if layer.values == ValueSource::SharedWithKey { 2 * layer.rope.frequencies.len() } else { layer.head_dim }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::cli::locate::Place;
    use lemmy_core::plan::{Spec, Weights};

    #[test]
    fn a_token_reads_its_experts_and_its_window_alone() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/tiny-q4_k_m.gguf");
        let gguf = Place::File(file.into()).open_header().unwrap();
        let plan = Plan::new(Spec::from_gguf(&gguf).unwrap());
        let weights = Weights::new(&gguf, &plan).unwrap();
        let at = |before| traffic(&plan, &weights, KvType::F16, before).unwrap();
        let bytes = |part: &str| -> u64 {
            gguf.tensors().iter().filter(|tensor| tensor.name.contains(part)).map(|tensor| tensor.bytes).sum()
        };
        let first = at(0);
        // 3 of 10 experts.
        assert_eq!(first[&Kind::ExpertsDown], bytes("ffn_down_exps.weight") * 3 / 10);
        assert_eq!(first[&Kind::Mlp], bytes("ffn_gate.weight") + bytes("ffn_up.weight") + bytes("ffn_down.weight"));
        assert_eq!(first[&Kind::Embedding], bytes("token_embd.weight") / 512);
        assert_eq!(first[&Kind::Head], bytes("token_embd.weight"));
        // Five layers see 16 positions, the sixth all: from there on the cache grows by its rows alone.
        let cache = |before| at(before)[&Kind::Attention] - first[&Kind::Attention];
        let global = &plan.spec.layers[5];
        let row = 2 * (key_dims(global) + global.head_dim) * global.kv_heads;
        assert_eq!(cache(1000) - cache(999), row as u64);
        assert!(cache(8) - cache(7) > 5 * row as u64);
    }
}
