//! Attention of the reference: every allowed key of every query, no cache, no tricks.

use lemmy_core::Result;
use lemmy_core::plan::{LayerSpec, Role, ValueSource};

use super::{Reference, norm, rms, softmax};
use crate::prompt::Prompt;
use crate::taps::Rows;

impl Reference<'_> {
    /// The heads' outputs, joined, from the raw projections of queries and keys. `x` enters the layer.
    pub(super) fn attention(&self, l: u16, x: &Rows, q: &Rows, k: &Rows, prompt: &Prompt) -> Result<Rows> {
        let layer = self.layer(l)?;
        let size = layer.head_dim;
        let eps = f64::from(self.plan.spec.rms_eps);
        let q_norm = self.weights.vector(Role::AttnQNorm, Some(l))?;
        let k_norm = self.weights.vector(Role::AttnKNorm, Some(l))?;

        let queries = per_head(q, size, |position, head| turn(layer, position, norm(head, &q_norm, eps)));
        let keys = per_head(k, size, |position, head| turn(layer, position, norm(head, &k_norm, eps)));
        let values = match layer.values {
            ValueSource::Own => self.own_values(l, x)?,
            ValueSource::OwnNormed => per_head(&self.own_values(l, x)?, size, |_, head| rms(head, eps)),
            ValueSource::SharedWithKey => per_head(k, size, |_, head| rms(head, eps)),
        };

        let group = layer.heads / layer.kv_heads;
        Ok(Rows::from_rows((0..q.len()).map(|p| {
            let seen: Vec<usize> = (0..q.len()).filter(|&s| sees(layer, prompt, p, s)).collect();
            let mut out = Vec::new();
            for head in 0..layer.heads {
                let part = head / group * size..(head / group + 1) * size;
                let query = &queries.row(p)[head * size..][..size];
                let scores: Vec<f64> = seen
                    .iter()
                    .map(|&s| dot(query, &keys.row(s)[part.clone()]) * f64::from(layer.score_scale))
                    .collect();
                let mut sum = vec![0.0; size];
                for (&s, p) in seen.iter().zip(softmax(&scores)) {
                    sum.iter_mut().zip(&values.row(s)[part.clone()]).for_each(|(sum, v)| *sum += p * v);
                }
                out.extend(sum);
            }
            out
        })))
    }

    fn own_values(&self, l: u16, x: &Rows) -> Result<Rows> {
        self.project(&self.norm(x, Role::AttnNorm, Some(l))?, Role::AttnV, l)
    }
}

/// Whether the query at `p` sees the key at `s`: the past and its own block, as far as the window reaches back.
fn sees(layer: &LayerSpec, prompt: &Prompt, p: usize, s: usize) -> bool {
    let same_block = layer.bidirectional_blocks && prompt.block(p).is_some_and(|block| block.contains(&s));
    (s <= p || same_block) && layer.window.is_none_or(|window| s + window > p)
}

/// Turns pair `i` (dims `i` and `i + size / 2`) by `position * frequencies[i]`.
fn turn(layer: &LayerSpec, position: usize, mut head: Vec<f64>) -> Vec<f64> {
    let half = head.len() / 2;
    for (i, frequency) in layer.rope.frequencies.iter().enumerate() {
        let (sin, cos) = (position as f64 * frequency).sin_cos();
        let (u, w) = (head[i], head[i + half]);
        head[i] = u * cos - w * sin;
        head[i + half] = w * cos + u * sin;
    }
    head
}

/// Each head of each row turned into another; `f` gets the row's position and the head.
fn per_head(x: &Rows, size: usize, f: impl Fn(usize, &[f64]) -> Vec<f64>) -> Rows {
    Rows::from_rows(
        x.iter().enumerate().map(|(position, row)| row.chunks_exact(size).flat_map(|head| f(position, head)).collect()),
    )
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
