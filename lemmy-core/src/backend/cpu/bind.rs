//! The weights of each step: matrices stay in the file's bytes, vectors are small and become f32.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::plan::{LayerSpec, Matrix, Plan, Role, Shape, ValueSource, WeightSource};
use crate::threads::CancelToken;

/// All weights of a plan.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) token_embd: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Vec<f32>,
    pub(super) output: Matrix,
}

/// The weights of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention: Attention,
    pub(super) dense: Dense,
    pub(super) experts: Option<Experts>,
    pub(super) post_ffn_norm: Vec<f32>,
    pub(super) scale: f32,
}

#[derive(Debug)]
pub(super) struct Attention {
    pub(super) norm: Vec<f32>,
    pub(super) q: Matrix,
    pub(super) k: Matrix,
    /// Absent where values come from the key projection.
    pub(super) v: Option<Matrix>,
    pub(super) q_norm: Vec<f32>,
    pub(super) k_norm: Vec<f32>,
    pub(super) output: Matrix,
    pub(super) post_norm: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct Dense {
    pub(super) norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

#[derive(Debug)]
pub(super) struct Experts {
    pub(super) post_dense_norm: Vec<f32>,
    pub(super) router: Matrix,
    /// The file's scale times `hidden^(-1/2)`.
    pub(super) router_scale: Vec<f32>,
    pub(super) norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
    pub(super) scale: Vec<f32>,
    pub(super) post_norm: Vec<f32>,
}

impl Bound {
    pub(super) fn new(
        plan: &Plan,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let total = plan.spec.layers.len() as u64;
        let mut layers = Vec::new();
        for (l, spec) in (0u16..).zip(&plan.spec.layers) {
            if cancel.is_cancelled() || progress(u64::from(l), total).is_break() {
                return Err(Error::Cancelled);
            }
            layers.push(Layer::new(plan, spec, &At { weights, layer: Some(l) })?);
        }
        let whole = At { weights, layer: None };
        let bound = Self {
            token_embd: whole.matrix(Role::TokenEmbd)?,
            layers,
            output_norm: whole.vector(Role::OutputNorm)?,
            output: whole.matrix(Role::Output)?,
        };
        if progress(total, total).is_break() { Err(Error::Cancelled) } else { Ok(bound) }
    }

    /// Bytes held beside the file's.
    pub(super) fn bytes(&self) -> u64 {
        let numbers = self.layers.iter().map(Layer::numbers).sum::<usize>() + self.output_norm.len();
        (numbers * size_of::<f32>()) as u64
    }
}

/// Bytes that [`Bound`] will hold beside the file's.
pub(super) fn estimate(plan: &Plan) -> u64 {
    let numbers: usize = plan
        .roles()
        .iter()
        .map(|&(role, _, shape)| match shape {
            Shape::Vector { len, .. } if role != Role::LayerScale => len,
            _ => 0,
        })
        .sum();
    (numbers * size_of::<f32>()) as u64
}

impl Layer {
    fn new(plan: &Plan, spec: &LayerSpec, at: &At<'_>) -> Result<Self> {
        let values = match spec.values {
            ValueSource::SharedWithKey => None,
            ValueSource::Own | ValueSource::OwnNormed => Some(at.matrix(Role::AttnV)?),
        };
        Ok(Self {
            attention: Attention {
                norm: at.vector(Role::AttnNorm)?,
                q: at.matrix(Role::AttnQ)?,
                k: at.matrix(Role::AttnK)?,
                v: values,
                q_norm: at.vector(Role::AttnQNorm)?,
                k_norm: at.vector(Role::AttnKNorm)?,
                output: at.matrix(Role::AttnOutput)?,
                post_norm: at.vector(Role::PostAttnNorm)?,
            },
            dense: Dense {
                norm: at.vector(Role::FfnNorm)?,
                gate: at.matrix(Role::FfnGate)?,
                up: at.matrix(Role::FfnUp)?,
                down: at.matrix(Role::FfnDown)?,
            },
            experts: spec.moe.as_ref().map(|_| Experts::new(plan, at)).transpose()?,
            post_ffn_norm: at.vector(Role::PostFfnNorm)?,
            scale: at.vector(Role::LayerScale)?.first().copied().unwrap_or(1.0),
        })
    }

    fn numbers(&self) -> usize {
        let attention = &self.attention;
        let experts = self.experts.as_ref().map_or(0, |e| {
            e.post_dense_norm.len() + e.router_scale.len() + e.norm.len() + e.scale.len() + e.post_norm.len()
        });
        attention.norm.len()
            + attention.q_norm.len()
            + attention.k_norm.len()
            + attention.post_norm.len()
            + self.dense.norm.len()
            + experts
            + self.post_ffn_norm.len()
    }
}

impl Experts {
    fn new(plan: &Plan, at: &At<'_>) -> Result<Self> {
        let mut router_scale = at.vector(Role::RouterScale)?;
        let factor = (plan.spec.hidden as f32).sqrt().recip();
        router_scale.iter_mut().for_each(|s| *s *= factor);
        Ok(Self {
            post_dense_norm: at.vector(Role::PostDenseNorm)?,
            router: at.matrix(Role::Router)?,
            router_scale,
            norm: at.vector(Role::ExpertNorm)?,
            gate: at.matrix(Role::ExpertGate)?,
            up: at.matrix(Role::ExpertUp)?,
            down: at.matrix(Role::ExpertDown)?,
            scale: at.vector(Role::ExpertScale)?,
            post_norm: at.vector(Role::PostExpertNorm)?,
        })
    }
}

/// The weights of one layer, or those outside of the layers.
struct At<'a> {
    weights: &'a dyn WeightSource,
    layer: Option<u16>,
}

impl At<'_> {
    fn matrix(&self, role: Role) -> Result<Matrix> {
        self.weights.matrix(role, self.layer)
    }

    fn vector(&self, role: Role) -> Result<Vec<f32>> {
        self.weights.vector(role, self.layer)
    }
}
