//! Queries, keys and values of each head: norms, the turn by position, and the order that attention wants.

use super::super::kernels::{PANEL, STRIP, VectorKernels};
use super::bind::Layer;
use super::pack::{put_row, put_strip_row};
use crate::error::{Result, try_vec};
use crate::plan::VisionSpec;
use crate::threads::ThreadPool;
use crate::vision::Layout;

/// Cosines and sines of every coordinate: `[coordinate][pair]`.
#[derive(Debug)]
pub(super) struct Turns {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
    columns: usize,
}

impl Turns {
    /// Pair `i` of half a head turns by `coordinate * base^(-2i / half)`.
    pub(super) fn new(spec: &VisionSpec, layout: Layout) -> Self {
        let (half, pairs) = (spec.head_dim / 2, spec.head_dim / 4);
        let coordinates = 0..layout.columns().max(layout.rows());
        let frequency = |i: usize| spec.rope_base.powf(-2.0 * i as f64 / half as f64);
        let angles = coordinates.flat_map(|c| (0..pairs).map(move |i| c as f64 * frequency(i)));
        let (cos, sin) = angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip();
        Self { cos, sin, pairs, columns: layout.columns() }
    }

    pub(super) fn bytes(spec: &VisionSpec, coordinates: usize) -> usize {
        2 * coordinates * (spec.head_dim / 4) * size_of::<f32>()
    }

    /// Turns the first half of a head by the patch's x, the second by its y.
    fn turn(&self, vector: &dyn VectorKernels, patch: usize, head: &mut [f32]) {
        let half = 2 * self.pairs;
        for (axis, part) in [patch % self.columns, patch / self.columns].into_iter().zip(head.chunks_exact_mut(half)) {
            let range = axis * self.pairs..(axis + 1) * self.pairs;
            let (cos, sin) = (self.cos.get(range.clone()), self.sin.get(range));
            vector.rope(part, cos.unwrap_or_default(), sin.unwrap_or_default());
        }
    }
}

/// Every head's queries, keys and values, packed.
#[derive(Debug)]
pub(super) struct Heads {
    /// `[head][panel][head_dim][PANEL]`.
    pub(super) queries: Vec<f32>,
    /// `[head][strip][head_dim][STRIP]`.
    pub(super) keys: Vec<f32>,
    /// `[head][strip of dims][patch][STRIP]`.
    pub(super) values: Vec<f32>,
    pub(super) query_len: usize,
    pub(super) key_len: usize,
    pub(super) value_len: usize,
}

/// Numbers of one head's queries, keys, values.
fn lens(spec: &VisionSpec, n: usize) -> [usize; 3] {
    let dims = spec.head_dim.next_multiple_of(STRIP);
    [n.next_multiple_of(PANEL) * spec.head_dim, n.next_multiple_of(STRIP) * spec.head_dim, dims * n]
}

impl Heads {
    pub(super) fn new(spec: &VisionSpec, n: usize) -> Result<Self> {
        const WHAT: &str = "the heads of a picture (a smaller budget needs less)";
        let [query_len, key_len, value_len] = lens(spec, n);
        let room = |len: usize| try_vec(spec.heads * len, 0.0, WHAT);
        Ok(Self {
            queries: room(query_len)?,
            keys: room(key_len)?,
            values: room(value_len)?,
            query_len,
            key_len,
            value_len,
        })
    }

    pub(super) fn bytes(spec: &VisionSpec, n: usize) -> usize {
        spec.heads * lens(spec, n).iter().sum::<usize>() * size_of::<f32>()
    }

    /// From `qkv`, rows of all queries, all keys, all values of a patch.
    pub(super) fn fill(
        &mut self,
        pool: &ThreadPool,
        vector: &dyn VectorKernels,
        spec: &VisionSpec,
        layer: &Layer,
        turns: &Turns,
        qkv: &[f32],
    ) -> Result<()> {
        let (dim, hidden, eps) = (spec.head_dim, spec.hidden, spec.rms_eps);
        let rows = qkv.chunks_exact(3 * hidden);
        let n = rows.len();
        // `which` is 0 for queries, 1 for keys, 2 for values.
        let of_head = |which: usize, head: usize| {
            let start = which * hidden + head * dim;
            qkv.chunks_exact(3 * hidden).map(move |row| row.get(start..start + dim).unwrap_or_default())
        };
        pool.rows(&mut self.queries, self.query_len, 1, &|_, first, heads| {
            let mut own = vec![0.0; dim];
            for (head, panels) in (first..).zip(heads.chunks_exact_mut(self.query_len)) {
                for (patch, query) in of_head(0, head).enumerate() {
                    vector.norm(query, Some(&layer.q_norm), eps, &mut own);
                    turns.turn(vector, patch, &mut own);
                    put_row(panels, dim, patch, own.iter().copied());
                }
            }
        })?;
        pool.rows(&mut self.keys, self.key_len, 1, &|_, first, heads| {
            let mut own = vec![0.0; dim];
            for (head, strips) in (first..).zip(heads.chunks_exact_mut(self.key_len)) {
                for (patch, key) in of_head(1, head).enumerate() {
                    vector.norm(key, Some(&layer.k_norm), eps, &mut own);
                    turns.turn(vector, patch, &mut own);
                    put_strip_row(strips, dim, patch, &own);
                }
            }
        })?;
        pool.rows(&mut self.values, self.value_len, 1, &|_, first, heads| {
            let mut own = vec![0.0; dim];
            for (head, strips) in (first..).zip(heads.chunks_exact_mut(self.value_len)) {
                for (patch, value) in of_head(2, head).enumerate() {
                    vector.norm(value, None, eps, &mut own);
                    for (strip, dims) in strips.chunks_exact_mut(n * STRIP).zip(own.chunks(STRIP)) {
                        let place = strip.get_mut(patch * STRIP..patch * STRIP + dims.len()).unwrap_or_default();
                        place.copy_from_slice(dims);
                    }
                }
            }
        })
    }
}
