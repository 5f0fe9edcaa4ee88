//! The forward pass as a list of steps, like the paper.

#![forbid(unsafe_code)]

use super::Spec;

/// One step of the forward pass. `x` is the residual stream, one row a token; names of weights are [`Role`](super::Role)s.
///
/// `norm(x; w) = x / sqrt(mean(x^2) + eps) * w`, `rms(x)` the same without `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `x = TokenEmbd[token] * embed_scale`; soft tokens enter as they are. Tap `embed`.
    Embed,
    /// `a = norm(x; AttnNorm)`; q, k, v; norms; RoPE; attention; `h = x + norm(AttnOutput * heads; PostAttnNorm)`.
    /// Taps `q_proj`, `k_proj`, `attn_heads`, `attn_o`, `attn_residual`.
    Attention(u16),
    /// `d = FfnDown * (gelu(FfnGate * z) * (FfnUp * z))` with `z = norm(h; FfnNorm)`. Tap `dense_ffn`.
    DenseFfn(u16),
    /// `r = rms(h) * RouterScale / sqrt(hidden)`, softmax of `Router * r`, the best `used` experts, their probabilities
    /// made to sum to 1, times `ExpertScale`. Taps `router_logits`, `router_experts`, `router_weights`.
    Route(u16),
    /// `e = sum of weight * ExpertDown * (gelu(ExpertGate * z) * (ExpertUp * z))` with `z = norm(h; ExpertNorm)`.
    /// Tap `experts_out`.
    Experts(u16),
    /// `x = (h + norm(f; PostFfnNorm)) * layer scale`, where `f` is `d`, or `norm(d; PostDenseNorm) +
    /// norm(e; PostExpertNorm)` on a layer with experts. Taps `ffn_out`, `layer_out`.
    Combine(u16),
    /// `z = norm(x; OutputNorm)`. Tap `final_norm`.
    FinalNorm,
    /// `logits = softcap(Output * z)`. Tap `logits`.
    Head,
}

impl Step {
    /// Name without the layer, for messages and profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Attention(_) => "attention",
            Self::DenseFfn(_) => "dense_ffn",
            Self::Route(_) => "route",
            Self::Experts(_) => "experts",
            Self::Combine(_) => "combine",
            Self::FinalNorm => "final_norm",
            Self::Head => "head",
        }
    }

    /// Layer, for the steps that have one.
    pub fn layer(self) -> Option<u16> {
        match self {
            Self::Attention(l) | Self::DenseFfn(l) | Self::Route(l) | Self::Experts(l) | Self::Combine(l) => Some(l),
            Self::Embed | Self::FinalNorm | Self::Head => None,
        }
    }
}

/// Facts and steps: the whole description of a forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Facts.
    pub spec: Spec,
    /// Steps in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of a decoder with these facts.
    pub fn new(spec: Spec) -> Self {
        let mut steps = vec![Step::Embed];
        for (l, layer) in (0u16..).zip(&spec.layers) {
            steps.extend([Step::Attention(l), Step::DenseFfn(l)]);
            if layer.moe.is_some() {
                steps.extend([Step::Route(l), Step::Experts(l)]);
            }
            steps.push(Step::Combine(l));
        }
        steps.extend([Step::FinalNorm, Step::Head]);
        Self { spec, steps }
    }
}
