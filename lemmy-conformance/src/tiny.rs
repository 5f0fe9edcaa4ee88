//! Small models made from a seed: every branch of the real one, its true head sizes, sizes that fit no tile.

mod blocks;
mod rng;

use std::collections::HashMap;
use std::sync::Arc;

use lemmy_core::gguf::{FileBytes, SharedBytes};
use lemmy_core::plan::{LayerSpec, Matrix, MoeSpec, Plan, Role, RopeSpec, Shape, Spec, ValueSource, WeightSource};
use lemmy_core::quant::DType;
use lemmy_core::{Error, Result};

pub use rng::Rng;

/// Positions that a query of a sliding layer sees. No multiple of a key block, and small enough that short prompts
/// leave it behind.
pub const WINDOW: usize = 40;
/// No multiple of any tile.
const VOCAB: usize = 515;
const HIDDEN: usize = 256;
/// Rows of 96 numbers do not fill a block of 256: as in the real model, K-quants fall back there.
const FFN: usize = 96;

/// A plan with its weights.
pub struct TinyModel {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its weights.
    pub weights: TinyWeights,
}

/// Weights in memory.
#[derive(Debug, Clone, Default)]
pub struct TinyWeights {
    matrices: HashMap<(Role, Option<u16>), Matrix>,
    vectors: HashMap<(Role, Option<u16>), Vec<f32>>,
}

impl TinyModel {
    /// Two sliding layers and a global one whose values are its keys, each with a dense MLP and 4 experts of which 2
    /// are used; all matrices in `format`, where their rows allow it.
    pub fn moe(seed: u64, format: DType) -> Self {
        Self::new(seed, format, vec![sliding(), sliding(), global()])
    }

    /// The same without experts, and with values that are used as they are: a plan as older models have it.
    pub fn dense(seed: u64, format: DType) -> Self {
        let plain = |layer: LayerSpec| LayerSpec { moe: None, values: ValueSource::Own, score_scale: 0.5, ..layer };
        Self::new(seed, format, vec![plain(sliding()), plain(global()), plain(sliding())])
    }

    fn new(seed: u64, format: DType, layers: Vec<LayerSpec>) -> Self {
        let plan = Plan::new(Spec {
            architecture: "tiny".into(),
            hidden: HIDDEN,
            vocab: VOCAB,
            context: 1024,
            // Large enough to show where it is forgotten.
            rms_eps: 0.01,
            embed_scale: 3.0,
            // Small enough to bend the logits.
            logit_softcap: Some(4.0),
            layers,
        });
        let weights = TinyWeights::random(seed, &plan, format);
        Self { plan: Arc::new(plan), weights }
    }
}

fn sliding() -> LayerSpec {
    let frequencies = (0..128).map(|i| 10_000f64.powf(-2.0 * f64::from(i) / 256.0)).collect();
    LayerSpec {
        heads: 4,
        kv_heads: 2,
        head_dim: 256,
        window: Some(WINDOW),
        rope: RopeSpec { frequencies },
        score_scale: 1.0,
        values: ValueSource::OwnNormed,
        bidirectional_blocks: true,
        ffn: FFN,
        moe: Some(MoeSpec { experts: 4, used: 2, width: FFN }),
    }
}

/// A quarter of the pairs turns; the exponent's divisor is the whole head.
fn global() -> LayerSpec {
    let frequencies = (0..64).map(|i| 1_000_000f64.powf(-2.0 * f64::from(i) / 512.0)).collect();
    LayerSpec {
        heads: 2,
        kv_heads: 1,
        head_dim: 512,
        window: None,
        rope: RopeSpec { frequencies },
        values: ValueSource::SharedWithKey,
        bidirectional_blocks: false,
        ..sliding()
    }
}

impl TinyWeights {
    fn random(seed: u64, plan: &Plan, format: DType) -> Self {
        let mut rng = Rng::new(seed);
        let mut weights = Self::default();
        for (role, layer, shape) in plan.roles() {
            match shape {
                Shape::Vector { len, .. } => {
                    weights.vectors.insert((role, layer), random_vector(&mut rng, role, len));
                }
                // The head is tied to the embedding.
                Shape::Matrix { .. } if role == Role::Output => {
                    if let Some(embedding) = weights.matrices.get(&(Role::TokenEmbd, None)).cloned() {
                        weights.matrices.insert((role, layer), embedding);
                    }
                }
                Shape::Matrix { rows, cols, count } => {
                    let dtype = if role == Role::Router { DType::F32 } else { fitting(format, cols) };
                    let rms = matrix_rms(role, cols);
                    weights.matrices.insert((role, layer), random_matrix(&mut rng, dtype, [rows, cols, count], rms));
                }
            }
        }
        weights
    }

    /// The same with another matrix in one role.
    pub fn with_matrix(mut self, role: Role, layer: Option<u16>, matrix: Matrix) -> Self {
        self.matrices.insert((role, layer), matrix);
        self
    }
}

impl WeightSource for TinyWeights {
    fn matrix(&self, role: Role, layer: Option<u16>) -> Result<Matrix> {
        self.matrices.get(&(role, layer)).cloned().ok_or_else(|| absent(role, layer))
    }

    fn vector(&self, role: Role, layer: Option<u16>) -> Result<Vec<f32>> {
        self.vectors.get(&(role, layer)).cloned().ok_or_else(|| absent(role, layer))
    }
}

fn absent(role: Role, layer: Option<u16>) -> Error {
    Error::Internal(format!("the tiny model has no {role:?} in layer {layer:?}"))
}

/// `format`, or what takes its place where a row is no whole number of its blocks (llama-quantize's choice).
fn fitting(format: DType, cols: usize) -> DType {
    if cols.is_multiple_of(format.block_len()) {
        return format;
    }
    match format {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        DType::IQ4_XS => DType::IQ4_NL,
        _ => DType::Q4_0,
    }
}

/// Outputs of about 1 for inputs of about 1, so that no branch drowns another; sharper for the router, so that experts
/// have unlike weights.
fn matrix_rms(role: Role, cols: usize) -> f32 {
    let gain = match role {
        Role::TokenEmbd => return 0.3,
        Role::Router => 20.0,
        _ => 1.0,
    };
    gain / (cols as f32).sqrt()
}

fn random_matrix(rng: &mut Rng, dtype: DType, [rows, cols, count]: [usize; 3], rms: f32) -> Matrix {
    let bytes = blocks::random(rng, dtype, count * rows * cols, rms);
    Matrix { dtype, rows, cols, count, stride: bytes.len() / count, bytes: owned(bytes) }
}

/// Bytes as a weight holds them.
pub(crate) fn owned(bytes: Vec<u8>) -> SharedBytes {
    let len = bytes.len();
    SharedBytes::new(Arc::new(FileBytes::Owned(bytes)), 0, len).expect("the whole is inside of itself")
}

/// Norms and scales that are never 1 and never alike, so that a forgotten one shows.
fn random_vector(rng: &mut Rng, role: Role, len: usize) -> Vec<f32> {
    let (centre, spread) = match role {
        // Scores of a few units: attention picks, but not one key alone.
        Role::AttnQNorm | Role::AttnKNorm => (0.3, 0.08),
        Role::LayerScale => (0.7, 0.0),
        Role::RouterScale | Role::ExpertScale => (1.4, 0.4),
        _ => (1.3, 0.3),
    };
    (0..len).map(|_| centre + spread * rng.normal() as f32).collect()
}
