//! The weights of each step: matrices stay in the file's bytes, vectors are small and become f32.

use super::pack;
use crate::error::{Error, Result};
use crate::plan::{Matrix, VisionPlan, VisionRole, VisionWeights};
use crate::quant;
use crate::threads::CancelToken;
use crate::vision::PATCH_VALUES;

/// All weights of a tower.
#[derive(Debug)]
pub(super) struct Bound {
    /// Packed, the columns in the order of a patch's numbers.
    pub(super) patch_embed: Vec<f32>,
    pub(super) position_embed: Matrix,
    pub(super) layers: Vec<Layer>,
    /// Bias and scale.
    pub(super) standard: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) projection: Matrix,
}

/// The weights of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attn_norm: Vec<f32>,
    /// Queries, keys, values.
    pub(super) qkv: [Matrix; 3],
    pub(super) q_norm: Vec<f32>,
    pub(super) k_norm: Vec<f32>,
    pub(super) output: Matrix,
    pub(super) post_attn_norm: Vec<f32>,
    pub(super) ffn_norm: Vec<f32>,
    pub(super) gate_up: [Matrix; 2],
    pub(super) down: Matrix,
    pub(super) post_ffn_norm: Vec<f32>,
}

impl Bound {
    pub(super) fn new(plan: &VisionPlan, weights: &VisionWeights, cancel: &CancelToken) -> Result<Self> {
        let standard = || -> Result<_> {
            Ok((weights.vector(VisionRole::StdBias, None)?, weights.vector(VisionRole::StdScale, None)?))
        };
        let mut layers = Vec::new();
        for l in 0..plan.spec.layers {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            layers.push(Layer::new(weights, l)?);
        }
        Ok(Self {
            patch_embed: patch_embed(weights)?,
            position_embed: weights.matrix(VisionRole::PositionEmbed, None)?,
            layers,
            standard: plan.spec.standardize.then(standard).transpose()?,
            projection: weights.matrix(VisionRole::Projection, None)?,
        })
    }

    /// Bytes held beside the file's.
    pub(super) fn bytes(&self) -> u64 {
        let vectors = |l: &Layer| {
            [&l.attn_norm, &l.q_norm, &l.k_norm, &l.post_attn_norm, &l.ffn_norm, &l.post_ffn_norm].map(|v| v.len())
        };
        let layers: usize = self.layers.iter().flat_map(vectors).sum();
        let standard = self.standard.as_ref().map_or(0, |(bias, scale)| bias.len() + scale.len());
        ((self.patch_embed.len() + layers + standard) * size_of::<f32>()) as u64
    }
}

impl Layer {
    fn new(weights: &VisionWeights, l: u16) -> Result<Self> {
        use VisionRole::*;
        let matrix = |role| weights.matrix(role, Some(l));
        let vector = |role| weights.vector(role, Some(l));
        Ok(Self {
            attn_norm: vector(AttnNorm)?,
            qkv: [matrix(AttnQ)?, matrix(AttnK)?, matrix(AttnV)?],
            q_norm: vector(AttnQNorm)?,
            k_norm: vector(AttnKNorm)?,
            output: matrix(AttnOutput)?,
            post_attn_norm: vector(PostAttnNorm)?,
            ffn_norm: vector(FfnNorm)?,
            gate_up: [matrix(FfnGate)?, matrix(FfnUp)?],
            down: matrix(FfnDown)?,
            post_ffn_norm: vector(PostFfnNorm)?,
        })
    }
}

/// The first product's weights. A file has a patch's numbers by colour, row, column; a picture by row, column, colour.
fn patch_embed(weights: &VisionWeights) -> Result<Vec<f32>> {
    let matrix = weights.matrix(VisionRole::PatchEmbed, None)?;
    let mut panels = pack::room(&[&matrix], "the weights of the patches")?;
    let mut row = [0.0; PATCH_VALUES];
    for (r, bytes) in matrix.matrix(0).chunks_exact(matrix.row_bytes()).enumerate() {
        quant::dequantize(matrix.dtype, bytes, &mut row)?;
        let pixels = PATCH_VALUES / 3;
        let ordered = (0..PATCH_VALUES).map(|i| row.get(i % 3 * pixels + i / 3).copied().unwrap_or_default());
        pack::put_row(&mut panels, PATCH_VALUES, r, ordered);
    }
    Ok(panels)
}
