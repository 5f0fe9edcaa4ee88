//! The weights of a vision tower by role: their names in a file and their exact shapes.

use std::collections::HashMap;

use super::super::Matrix;
use super::{VisionPlan, VisionSpec};
use crate::error::{GgufError, Result, try_vec};
use crate::gguf::{Gguf, TensorInfo};
use crate::quant::{self, DType};
use crate::vision::{PATCH, PATCH_VALUES};

/// What a weight of the tower is for. Matrices are `[rows = outputs][columns = inputs]`, a row contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // explained at the steps that use them
#[non_exhaustive]
pub enum VisionRole {
    /// `hidden` rows of a patch's numbers, which stand by colour, row, column in a file.
    PatchEmbed,
    /// The table of x, then that of y: `2 * positions` rows of `hidden`.
    PositionEmbed,
    AttnNorm,
    AttnQ,
    AttnK,
    AttnV,
    AttnQNorm,
    AttnKNorm,
    AttnOutput,
    PostAttnNorm,
    FfnNorm,
    FfnGate,
    FfnUp,
    FfnDown,
    PostFfnNorm,
    StdBias,
    StdScale,
    Projection,
}

impl VisionRole {
    /// Those of each layer, in the order of use.
    const LAYER: [Self; 13] = [
        Self::AttnNorm,
        Self::AttnQ,
        Self::AttnK,
        Self::AttnV,
        Self::AttnQNorm,
        Self::AttnKNorm,
        Self::AttnOutput,
        Self::PostAttnNorm,
        Self::FfnNorm,
        Self::FfnGate,
        Self::FfnUp,
        Self::FfnDown,
        Self::PostFfnNorm,
    ];

    /// Shape in a file: the dimension that is contiguous comes first.
    fn shape(self, spec: &VisionSpec) -> [u64; 4] {
        let [hidden, ffn, patch] = [spec.hidden as u64, spec.ffn as u64, PATCH as u64];
        match self {
            Self::PatchEmbed => [patch, patch, 3, hidden],
            Self::PositionEmbed => [hidden, spec.positions as u64, 2, 1],
            Self::AttnQ | Self::AttnK | Self::AttnV | Self::AttnOutput => [hidden, hidden, 1, 1],
            Self::AttnQNorm | Self::AttnKNorm => [spec.head_dim as u64, 1, 1, 1],
            Self::FfnGate | Self::FfnUp => [hidden, ffn, 1, 1],
            Self::FfnDown => [ffn, hidden, 1, 1],
            Self::Projection => [hidden, spec.output as u64, 1, 1],
            Self::AttnNorm | Self::PostAttnNorm | Self::FfnNorm | Self::PostFfnNorm => [hidden, 1, 1, 1],
            Self::StdBias | Self::StdScale => [hidden, 1, 1, 1],
        }
    }

    /// Outputs and inputs; (1, length) of a vector.
    fn sides(self, spec: &VisionSpec) -> (usize, usize) {
        match self {
            Self::PatchEmbed => (spec.hidden, PATCH_VALUES),
            Self::PositionEmbed => (2 * spec.positions, spec.hidden),
            _ => {
                let [columns, rows, ..] = self.shape(spec);
                (rows as usize, columns as usize)
            }
        }
    }

    fn is_matrix(self, spec: &VisionSpec) -> bool {
        let [_, rows, ..] = self.shape(spec);
        rows > 1
    }

    fn name(self, layer: Option<u16>) -> String {
        let name = match self {
            Self::PatchEmbed => "v.patch_embd.weight",
            Self::PositionEmbed => "v.position_embd.weight",
            Self::AttnNorm => "ln1.weight",
            Self::AttnQ => "attn_q.weight",
            Self::AttnK => "attn_k.weight",
            Self::AttnV => "attn_v.weight",
            Self::AttnQNorm => "attn_q_norm.weight",
            Self::AttnKNorm => "attn_k_norm.weight",
            Self::AttnOutput => "attn_out.weight",
            Self::PostAttnNorm => "attn_post_norm.weight",
            Self::FfnNorm => "ln2.weight",
            Self::FfnGate => "ffn_gate.weight",
            Self::FfnUp => "ffn_up.weight",
            Self::FfnDown => "ffn_down.weight",
            Self::PostFfnNorm => "ffn_post_norm.weight",
            Self::StdBias => "v.std_bias",
            Self::StdScale => "v.std_scale",
            Self::Projection => "mm.input_projection.weight",
        };
        layer.map_or_else(|| name.into(), |l| format!("v.blk.{l}.{name}"))
    }
}

impl VisionPlan {
    /// Every weight that the steps name.
    fn roles(&self) -> Vec<(VisionRole, Option<u16>)> {
        use VisionRole::{PatchEmbed, PositionEmbed, Projection, StdBias, StdScale};
        let mut roles = vec![(PatchEmbed, None), (PositionEmbed, None)];
        roles.extend((0..self.spec.layers).flat_map(|l| VisionRole::LAYER.map(|role| (role, Some(l)))));
        if self.spec.standardize {
            roles.extend([(StdBias, None), (StdScale, None)]);
        }
        roles.push((Projection, None));
        roles
    }
}

/// The weights of an mmproj file, checked against a plan: every tensor present, of the right shape and a readable type.
#[derive(Debug)]
pub struct VisionWeights {
    gguf: Gguf,
    spec: VisionSpec,
    found: HashMap<(VisionRole, Option<u16>), TensorInfo>,
}

impl VisionWeights {
    /// Finds and checks every weight of the plan; reads none.
    pub fn new(gguf: &Gguf, plan: &VisionPlan) -> Result<Self> {
        let mut found = HashMap::new();
        for (role, layer) in plan.roles() {
            let name = role.name(layer);
            let tensor = gguf.tensor(&name).ok_or_else(|| gguf.error(GgufError::MissingTensor(name)))?;
            // Numbers that are read one by one, and vectors, are floats in every file.
            let floats_only = matches!(role, VisionRole::PatchEmbed | VisionRole::PositionEmbed);
            let is_readable = match floats_only || !role.is_matrix(&plan.spec) {
                true => matches!(tensor.dtype, DType::F32 | DType::F16 | DType::BF16),
                false => tensor.dtype.is_readable(),
            };
            let shape = role.shape(&plan.spec);
            if !is_readable || tensor.shape != shape {
                return Err(gguf.error(GgufError::Tensor {
                    tensor: tensor.name.clone(),
                    found: format!("{} of {:?}", tensor.dtype, tensor.shape),
                    expected: format!("a readable type of {shape:?}"),
                }));
            }
            found.insert((role, layer), tensor.clone());
        }
        Ok(Self { gguf: gguf.clone(), spec: plan.spec.clone(), found })
    }

    /// The matrix of this role, in the file's own bytes.
    pub fn matrix(&self, role: VisionRole, layer: Option<u16>) -> Result<Matrix> {
        let tensor = self.tensor(role, layer)?;
        let (rows, cols) = role.sides(&self.spec);
        let bytes = self.gguf.tensor_bytes(tensor);
        let stride = bytes.as_slice().len();
        Ok(Matrix { dtype: tensor.dtype, rows, cols, count: 1, stride, bytes })
    }

    /// The vector of this role.
    pub fn vector(&self, role: VisionRole, layer: Option<u16>) -> Result<Vec<f32>> {
        let tensor = self.tensor(role, layer)?;
        let mut numbers = try_vec(tensor.numbers() as usize, 0.0, &tensor.name)?;
        quant::dequantize(tensor.dtype, self.gguf.tensor_bytes(tensor).as_slice(), &mut numbers)?;
        match numbers.iter().find(|n| !n.is_finite()) {
            None => Ok(numbers),
            Some(n) => Err(self.gguf.error(GgufError::Tensor {
                tensor: tensor.name.clone(),
                found: n.to_string(),
                expected: "finite numbers".into(),
            })),
        }
    }

    fn tensor(&self, role: VisionRole, layer: Option<u16>) -> Result<&TensorInfo> {
        let found = self.found.get(&(role, layer));
        found.ok_or_else(|| self.gguf.error(GgufError::MissingTensor(role.name(layer))))
    }
}
