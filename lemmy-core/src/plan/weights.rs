//! Weights by role: what each step needs, under which names a file may hold it, and its exact shape.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::{LayerSpec, Plan, Spec, ValueSource};
use crate::error::{Error, GgufError, Result, try_vec};
use crate::gguf::{Gguf, SharedBytes, TensorInfo};
use crate::quant::{self, DType};

/// What a weight is for. Matrices are `[rows = outputs][columns = inputs]`, a row contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // explained at the steps that use them
#[non_exhaustive]
pub enum Role {
    TokenEmbd,
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
    PostDenseNorm,
    Router,
    RouterScale,
    ExpertNorm,
    ExpertGate,
    ExpertUp,
    ExpertDown,
    ExpertScale,
    PostExpertNorm,
    PostFfnNorm,
    LayerScale,
    OutputNorm,
    Output,
}

/// A weight matrix, or one matrix per expert, in a file's own bytes.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Number type.
    pub dtype: DType,
    /// Outputs.
    pub rows: usize,
    /// Inputs; the length of a row.
    pub cols: usize,
    /// Matrices (experts); 1 for a plain matrix.
    pub count: usize,
    /// Distance in bytes between two matrices.
    pub stride: usize,
    /// The bytes, from the first matrix's first row to the last one's last.
    pub bytes: SharedBytes,
}

impl Matrix {
    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.dtype.block_len() * self.dtype.block_bytes()
    }

    /// The bytes of matrix `i` (empty if there is none).
    pub fn matrix(&self, i: usize) -> &[u8] {
        let start = i * self.stride;
        self.bytes.as_slice().get(start..start + self.rows * self.row_bytes()).unwrap_or_default()
    }

    /// Bytes that one pass over all matrices reads.
    pub fn total_bytes(&self) -> u64 {
        (self.count * self.rows * self.row_bytes()) as u64
    }
}

/// Where a backend gets weights from.
pub trait WeightSource: Send + Sync {
    /// The matrix of this role.
    fn matrix(&self, role: Role, layer: Option<u16>) -> Result<Matrix>;
    /// The vector of this role as f32 (norms, scales); ones where the role is optional and absent.
    fn vector(&self, role: Role, layer: Option<u16>) -> Result<Vec<f32>>;
}

/// What a role must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `count` matrices of `rows` x `cols`.
    Matrix {
        /// Outputs.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// Experts, or 1.
        count: usize,
    },
    /// A vector; if it may be absent, all ones.
    Vector {
        /// Numbers.
        len: usize,
        /// Whether a file may leave it out.
        optional: bool,
    },
}

impl Plan {
    /// Every weight that the steps name, with its shape, in the order of use.
    pub fn roles(&self) -> Vec<(Role, Option<u16>, Shape)> {
        let spec = &self.spec;
        let mut roles = vec![(Role::TokenEmbd, None, matrix(spec.vocab, spec.hidden))];
        for (l, layer) in (0u16..).zip(&spec.layers) {
            roles.extend(layer_roles(spec, layer).into_iter().map(|(role, shape)| (role, Some(l), shape)));
        }
        roles.push((Role::OutputNorm, None, vector(spec.hidden)));
        roles.push((Role::Output, None, matrix(spec.vocab, spec.hidden)));
        roles
    }
}

fn layer_roles(spec: &Spec, layer: &LayerSpec) -> Vec<(Role, Shape)> {
    let hidden = spec.hidden;
    let (queries, keys) = (layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim);
    let mut roles = vec![
        (Role::AttnNorm, vector(hidden)),
        (Role::AttnQ, matrix(queries, hidden)),
        (Role::AttnK, matrix(keys, hidden)),
    ];
    if layer.values != ValueSource::SharedWithKey {
        roles.push((Role::AttnV, matrix(keys, hidden)));
    }
    roles.extend([
        (Role::AttnQNorm, vector(layer.head_dim)),
        (Role::AttnKNorm, vector(layer.head_dim)),
        (Role::AttnOutput, matrix(hidden, queries)),
        (Role::PostAttnNorm, vector(hidden)),
        (Role::FfnNorm, vector(hidden)),
        (Role::FfnGate, matrix(layer.ffn, hidden)),
        (Role::FfnUp, matrix(layer.ffn, hidden)),
        (Role::FfnDown, matrix(hidden, layer.ffn)),
    ]);
    if let Some(moe) = &layer.moe {
        let experts = |rows, cols| Shape::Matrix { rows, cols, count: moe.experts };
        roles.extend([
            (Role::PostDenseNorm, vector(hidden)),
            (Role::Router, matrix(moe.experts, hidden)),
            (Role::RouterScale, vector(hidden)),
            (Role::ExpertNorm, vector(hidden)),
            (Role::ExpertGate, experts(moe.width, hidden)),
            (Role::ExpertUp, experts(moe.width, hidden)),
            (Role::ExpertDown, experts(hidden, moe.width)),
            (Role::ExpertScale, Shape::Vector { len: moe.experts, optional: true }),
            (Role::PostExpertNorm, vector(hidden)),
        ]);
    }
    roles.extend([(Role::PostFfnNorm, vector(hidden)), (Role::LayerScale, Shape::Vector { len: 1, optional: true })]);
    roles
}

fn matrix(rows: usize, cols: usize) -> Shape {
    Shape::Matrix { rows, cols, count: 1 }
}

fn vector(len: usize) -> Shape {
    Shape::Vector { len, optional: false }
}

/// The weights of a GGUF model, checked against a plan: every tensor present, of the right shape and a readable type.
#[derive(Debug)]
pub struct Weights {
    gguf: Gguf,
    found: HashMap<(Role, Option<u16>), Found>,
}

/// Where a role's numbers are. A fused tensor holds several roles one after another.
#[derive(Debug, Clone)]
enum Found {
    /// Rows `first_row..first_row + rows` of each matrix of a tensor.
    Matrix {
        tensor: TensorInfo,
        first_row: usize,
        rows: usize,
    },
    Vector {
        tensor: TensorInfo,
    },
    Ones {
        len: usize,
    },
}

impl Weights {
    /// Finds and checks every weight of the plan; reads none.
    pub fn new(gguf: &Gguf, plan: &Plan) -> Result<Self> {
        let mut weights = Self { gguf: gguf.clone(), found: HashMap::new() };
        for (role, layer, shape) in plan.roles() {
            let found = match shape {
                Shape::Matrix { rows, cols, count } => weights.find_matrix(plan, role, layer, rows, cols, count)?,
                Shape::Vector { len, optional } => weights.find_vector(role, layer, len, optional)?,
            };
            weights.found.insert((role, layer), found);
        }
        Ok(weights)
    }

    fn find_vector(&self, role: Role, layer: Option<u16>, len: usize, optional: bool) -> Result<Found> {
        let name = tensor_name(role, layer);
        let Some(tensor) = self.gguf.tensor(&name) else {
            return if optional { Ok(Found::Ones { len }) } else { Err(self.missing(name)) };
        };
        if !is_float(tensor.dtype) || tensor.shape != [len as u64, 1, 1, 1] {
            return Err(self.wrong(tensor, &format!("F32, F16 or BF16 of [{len}]")));
        }
        Ok(Found::Vector { tensor: tensor.clone() })
    }

    fn find_matrix(
        &self,
        plan: &Plan,
        role: Role,
        layer: Option<u16>,
        rows: usize,
        cols: usize,
        count: usize,
    ) -> Result<Found> {
        let name = tensor_name(role, layer);
        let (tensor, first_row, all_rows) = if let Some(tensor) = self.gguf.tensor(&name) {
            (tensor, 0, rows)
        } else if let Some((fused, first_row, all_rows)) = fused_with(plan, role, layer)
            && let Some(tensor) = self.gguf.tensor(&fused)
        {
            (tensor, first_row, all_rows)
        } else {
            return Err(self.missing(name));
        };
        let readable = match role {
            // Rounding the router would change which experts speak; no file does it.
            Role::Router => is_float(tensor.dtype),
            _ => tensor.dtype.is_readable(),
        };
        let shape = [cols as u64, all_rows as u64, count as u64, 1];
        if !readable || tensor.shape != shape {
            let types = if role == Role::Router { "F32, F16 or BF16" } else { "a readable type" };
            return Err(self.wrong(tensor, &format!("{types} of {shape:?}")));
        }
        Ok(Found::Matrix { tensor: tensor.clone(), first_row, rows })
    }

    fn found(&self, role: Role, layer: Option<u16>) -> Result<&Found> {
        self.found.get(&(role, layer)).ok_or_else(|| self.missing(tensor_name(role, layer)))
    }

    fn missing(&self, name: String) -> Error {
        self.gguf.error(GgufError::MissingTensor(name))
    }

    fn wrong(&self, tensor: &TensorInfo, expected: &str) -> Error {
        self.gguf.error(GgufError::Tensor {
            tensor: tensor.name.clone(),
            found: format!("{} of {:?}", tensor.dtype, tensor.shape),
            expected: expected.into(),
        })
    }
}

impl WeightSource for Weights {
    fn matrix(&self, role: Role, layer: Option<u16>) -> Result<Matrix> {
        let Found::Matrix { tensor, first_row, rows } = self.found(role, layer)? else {
            return Err(Error::Internal(format!("{role:?} is no matrix")));
        };
        let [cols, all_rows, count, _] = tensor.shape.map(|n| n as usize);
        let outside = || self.wrong(tensor, "whole rows inside of the file");
        let row_bytes = tensor.dtype.row_bytes(cols).ok_or_else(outside)?;
        let stride = all_rows * row_bytes;
        let len = (count - 1) * stride + rows * row_bytes;
        let bytes = self.gguf.tensor_bytes(tensor).slice(first_row * row_bytes, len).ok_or_else(outside)?;
        Ok(Matrix { dtype: tensor.dtype, rows: *rows, cols, count, stride, bytes })
    }

    fn vector(&self, role: Role, layer: Option<u16>) -> Result<Vec<f32>> {
        match self.found(role, layer)? {
            Found::Ones { len } => try_vec(*len, 1.0, "a vector of ones"),
            Found::Vector { tensor } => {
                let mut numbers = try_vec(tensor.numbers() as usize, 0.0, &tensor.name)?;
                quant::dequantize(tensor.dtype, self.gguf.tensor_bytes(tensor).as_slice(), &mut numbers)?;
                match numbers.iter().find(|&n| !n.is_finite()) {
                    Some(n) => Err(self.gguf.error(GgufError::Tensor {
                        tensor: tensor.name.clone(),
                        found: n.to_string(),
                        expected: "finite numbers".into(),
                    })),
                    None => Ok(numbers),
                }
            }
            Found::Matrix { .. } => Err(Error::Internal(format!("{role:?} is no vector"))),
        }
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// The usual name of a role's tensor.
fn tensor_name(role: Role, layer: Option<u16>) -> String {
    let name = match role {
        Role::TokenEmbd => "token_embd.weight",
        Role::AttnNorm => "attn_norm.weight",
        Role::AttnQ => "attn_q.weight",
        Role::AttnK => "attn_k.weight",
        Role::AttnV => "attn_v.weight",
        Role::AttnQNorm => "attn_q_norm.weight",
        Role::AttnKNorm => "attn_k_norm.weight",
        Role::AttnOutput => "attn_output.weight",
        Role::PostAttnNorm => "post_attention_norm.weight",
        Role::FfnNorm => "ffn_norm.weight",
        Role::FfnGate => "ffn_gate.weight",
        Role::FfnUp => "ffn_up.weight",
        Role::FfnDown => "ffn_down.weight",
        Role::PostDenseNorm => "post_ffw_norm_1.weight",
        Role::Router => "ffn_gate_inp.weight",
        Role::RouterScale => "ffn_gate_inp.scale",
        Role::ExpertNorm => "pre_ffw_norm_2.weight",
        Role::ExpertGate => "ffn_gate_exps.weight",
        Role::ExpertUp => "ffn_up_exps.weight",
        Role::ExpertDown => "ffn_down_exps.weight",
        Role::ExpertScale => "ffn_down_exps.scale",
        Role::PostExpertNorm => "post_ffw_norm_2.weight",
        Role::PostFfnNorm => "post_ffw_norm.weight",
        Role::LayerScale => "layer_output_scale.weight",
        Role::OutputNorm => "output_norm.weight",
        Role::Output => "output.weight",
    };
    layer.map_or_else(|| name.into(), |l| format!("blk.{l}.{name}"))
}

/// (name, first row of the role, rows of the tensor) of a tensor that holds several roles: converters join q, k, v and
/// gate, up; a tied head is the embedding.
fn fused_with(plan: &Plan, role: Role, layer: Option<u16>) -> Option<(String, usize, usize)> {
    let Some(l) = layer else {
        return (role == Role::Output).then(|| (tensor_name(Role::TokenEmbd, None), 0, plan.spec.vocab));
    };
    let facts = plan.spec.layers.get(usize::from(l))?;
    let (q, kv) = (facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim);
    let shared = facts.values == ValueSource::SharedWithKey;
    let qkv = q + kv + if shared { 0 } else { kv };
    let (name, first_row, rows) = match role {
        Role::AttnQ => ("attn_qkv.weight", 0, qkv),
        Role::AttnK => ("attn_qkv.weight", q, qkv),
        Role::AttnV => ("attn_qkv.weight", q + kv, qkv),
        Role::ExpertGate => ("ffn_gate_up_exps.weight", 0, 2 * facts.moe.as_ref()?.width),
        Role::ExpertUp => {
            let width = facts.moe.as_ref()?.width;
            ("ffn_gate_up_exps.weight", width, 2 * width)
        }
        _ => return None,
    };
    Some((format!("blk.{l}.{name}"), first_row, rows))
}
