//! The vision tower as data: facts ([`VisionSpec`]), steps ([`VisionStep`]), weights by role ([`VisionRole`]).
//!
//! As with the language model, a backend executes this description and knows nothing else of the tower.

mod spec;
mod weights;

pub use spec::VisionSpec;
pub use weights::{VisionRole, VisionWeights};

/// One step of the tower. `h` is the residual stream, one row a patch; names of weights are [`VisionRole`]s.
///
/// `norm(x; w) = x / sqrt(mean(x^2) + eps) * w`, `rms(x)` the same without `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisionStep {
    /// `h = PatchEmbed * (2 (patch - 0.5)) + PositionEmbed[0][x] + PositionEmbed[1][y]`. Tap `patch_embed`.
    PatchEmbed,
    /// `a = norm(h; AttnNorm)`; q, k, v of `a`; per head `q = norm(q; AttnQNorm)`, `k = norm(k; AttnKNorm)`,
    /// `v = rms(v)`; RoPE turns the first half of a head by x and the second by y, pairs `i` and `i + quarter`;
    /// `h += norm(AttnOutput * softmax(q k) v; PostAttnNorm)`, every patch seeing every other. Tap `attn`, before the
    /// norm.
    Attention(u16),
    /// `z = norm(h; FfnNorm)`; `h += norm(FfnDown * (gelu(FfnGate * z) * (FfnUp * z)); PostFfnNorm)`. Taps `mlp`, before
    /// the norm, and `layer_out`.
    Mlp(u16),
    /// The mean of 3 x 3 patches, times `sqrt(hidden)`: one row a soft token. Tap `pooled`.
    Pool,
    /// `p = (p - StdBias) * StdScale`. Tap `standardized`.
    Standardize,
    /// `Projection * rms(p)`: rows of the language model's hidden width. Tap `soft`.
    Project,
}

impl VisionStep {
    /// Name without the layer, for messages and profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::PatchEmbed => "patch_embed",
            Self::Attention(_) => "vision_attention",
            Self::Mlp(_) => "vision_mlp",
            Self::Pool => "pool",
            Self::Standardize => "standardize",
            Self::Project => "project",
        }
    }

    /// Layer, for the steps that have one.
    pub fn layer(self) -> Option<u16> {
        match self {
            Self::Attention(l) | Self::Mlp(l) => Some(l),
            Self::PatchEmbed | Self::Pool | Self::Standardize | Self::Project => None,
        }
    }
}

/// Facts and steps: the whole description of a tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionPlan {
    /// Facts.
    pub spec: VisionSpec,
    /// Steps in order.
    pub steps: Vec<VisionStep>,
}

impl VisionPlan {
    /// The plan of a tower with these facts.
    pub fn new(spec: VisionSpec) -> Self {
        let layers = (0..spec.layers).flat_map(|l| [VisionStep::Attention(l), VisionStep::Mlp(l)]);
        let mut steps = vec![VisionStep::PatchEmbed];
        steps.extend(layers);
        steps.push(VisionStep::Pool);
        steps.extend(spec.standardize.then_some(VisionStep::Standardize));
        steps.push(VisionStep::Project);
        Self { spec, steps }
    }
}
