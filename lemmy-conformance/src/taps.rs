//! Outputs of steps, by name.

use std::collections::HashMap;
use std::fmt;

use lemmy_core::plan::{Plan, Step};

/// Name of one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TapId {
    /// Name, as in the documentation of [`Step`].
    pub name: &'static str,
    /// Layer, for the outputs of a layer.
    pub layer: Option<u16>,
}

impl fmt::Display for TapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{} of layer {layer}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The outputs that a step shows, in order.
pub fn names(step: Step) -> &'static [&'static str] {
    match step {
        Step::Embed => &["embed"],
        Step::Attention(_) => &["q_proj", "k_proj", "attn_heads", "attn_o", "attn_residual"],
        Step::DenseFfn(_) => &["dense_ffn"],
        Step::Route(_) => &["router_logits", "router_experts", "router_weights"],
        Step::Experts(_) => &["experts_out"],
        Step::Combine(_) => &["ffn_out", "layer_out"],
        Step::FinalNorm => &["final_norm"],
        Step::Head => &["logits"],
    }
}

/// All outputs of a plan with their steps, in order.
pub fn of_plan(plan: &Plan) -> impl Iterator<Item = (Step, TapId)> + '_ {
    plan.steps.iter().flat_map(|&step| names(step).iter().map(move |&name| (step, TapId { name, layer: step.layer() })))
}

/// Rows of numbers, one row a token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Length of a row.
    pub cols: usize,
    /// The rows, one after another.
    pub data: Vec<f64>,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.cols).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..][..self.cols]
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f64> {
        self.data.chunks_exact(self.cols.max(1))
    }

    /// Rows made one by one.
    pub fn from_rows(rows: impl IntoIterator<Item = Vec<f64>>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.cols = row.len();
            all.data.extend(row);
        }
        all
    }

    /// Each row turned into another.
    pub fn map(&self, f: impl FnMut(&[f64]) -> Vec<f64>) -> Self {
        Self::from_rows(self.iter().map(f))
    }

    /// The elements of both, joined one by one.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self { cols: self.cols, data: self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect() }
    }
}

/// Outputs of a forward pass, as far as it has come.
#[derive(Debug, Clone, Default)]
pub struct Taps(HashMap<TapId, Rows>);

impl Taps {
    /// The output of this name, if it was shown.
    pub fn get(&self, id: TapId) -> Option<&Rows> {
        self.0.get(&id)
    }

    /// Adds the rows of one call of a tap behind those that are there.
    pub fn push(&mut self, id: TapId, cols: usize, values: impl IntoIterator<Item = f64>) {
        let rows = self.0.entry(id).or_default();
        rows.cols = cols;
        rows.data.extend(values);
    }

    /// Names of all outputs.
    pub fn ids(&self) -> impl Iterator<Item = TapId> + '_ {
        self.0.keys().copied()
    }
}
