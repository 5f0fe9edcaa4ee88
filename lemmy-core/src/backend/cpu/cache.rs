//! The memory of keys and values of one session.
//!
//! One pair of buffers per layer and KV head, so that a head's rows are contiguous. Memory is reserved when the session
//! is made and touched when positions come.
//!
//! On a layer whose values come from the key projection the key before RoPE is `value * AttnKNorm`, element by element:
//! only the dims that RoPE turns are stored as keys, the score of the others comes from the value row
//! (see [`AttentionJob`](super::kernels::AttentionJob)).

#![forbid(unsafe_code)]

use std::any::Any;
use std::io::{self, Read, Write};
use std::ops::Range;

use half::f16;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::kernels::{KvRows, VectorKernels};
use crate::backend::KvStore;
use crate::error::{Error, Result};
use crate::kv::{KEY_BLOCK, KvSpec, KvType};
use crate::plan::{LayerSpec, Plan, ValueSource};
use crate::quant::blocks::{Block, BlockQ8_0};

/// Numbers in a key row and in a value row of a layer's cache.
pub(super) fn row_dims(layer: &LayerSpec) -> (usize, usize) {
    match layer.values {
        ValueSource::SharedWithKey => (2 * layer.rope.frequencies.len(), layer.head_dim),
        ValueSource::Own | ValueSource::OwnNormed => (layer.head_dim, layer.head_dim),
    }
}

/// Bytes that [`CpuKv`] will reserve; any context may be asked about.
pub(super) fn estimate(plan: &Plan, spec: &KvSpec) -> u64 {
    let bytes = |layer: &LayerSpec| {
        let (key, value) = row_dims(layer);
        let row = spec.kv_type.row_bytes(key) + spec.kv_type.row_bytes(value);
        (spec.rows(layer) as u64).saturating_mul((layer.kv_heads * row) as u64)
    };
    plan.spec.layers.iter().map(bytes).fold(0, u64::saturating_add)
}

#[derive(Debug)]
pub(super) struct CpuKv {
    layers: Vec<LayerCache>,
}

#[derive(Debug)]
struct LayerCache {
    /// Rows of the ring.
    rows: usize,
    heads: Vec<HeadCache>,
}

#[derive(Debug)]
enum HeadCache {
    F16(Rows<f16>),
    F32(Rows<f32>),
    Q8_0(Rows<BlockQ8_0>),
}

/// Keys and values of one head, so far.
#[derive(Debug)]
struct Rows<T> {
    keys: Vec<T>,
    values: Vec<T>,
    /// Pieces in a key row and in a value row.
    key_len: usize,
    value_len: usize,
}

/// Does the same with the rows of any type.
macro_rules! with_rows {
    ($head:expr, $rows:ident => $body:expr) => {
        match $head {
            HeadCache::F16($rows) => $body,
            HeadCache::F32($rows) => $body,
            HeadCache::Q8_0($rows) => $body,
        }
    };
}

impl CpuKv {
    /// [`Error::Argument`] if the layers' rows do not fit the number type, [`Error::OutOfMemory`].
    pub(super) fn new(plan: &Plan, spec: &KvSpec) -> Result<Self> {
        let layers = plan.spec.layers.iter().map(|layer| LayerCache::new(layer, spec)).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// Makes rows for the positions below `end` exist.
    pub(super) fn grow(&mut self, end: usize) {
        self.layers.iter_mut().for_each(|layer| layer.grow(end));
    }

    /// Writes the key and the value of one position.
    pub(super) fn store(
        &mut self,
        kernels: &dyn VectorKernels,
        layer: usize,
        head: usize,
        pos: usize,
        key: &[f32],
        value: &[f32],
    ) -> Result<()> {
        self.layers
            .get_mut(layer)
            .and_then(|layer| {
                let row = pos % layer.rows;
                with_rows!(layer.heads.get_mut(head)?, rows => rows.store(kernels, row, key, value))
            })
            .ok_or_else(|| Error::Internal(format!("no cache row for layer {layer}, head {head}, position {pos}")))
    }

    /// Rows of a layer's ring and the present rows of one of its heads.
    pub(super) fn head(&self, layer: usize, head: usize) -> Option<(usize, KvRows<'_>)> {
        let layer = self.layers.get(layer)?;
        Some((
            layer.rows,
            match layer.heads.get(head)? {
                HeadCache::F16(rows) => KvRows::F16(&rows.keys, &rows.values),
                HeadCache::F32(rows) => KvRows::F32(&rows.keys, &rows.values),
                HeadCache::Q8_0(rows) => KvRows::Q8_0(&rows.keys, &rows.values),
            },
        ))
    }
}

impl KvStore for CpuKv {
    fn bytes(&self) -> u64 {
        let heads = self.layers.iter().flat_map(|layer| &layer.heads);
        heads.map(|head| with_rows!(head, rows => rows.bytes())).sum()
    }

    fn fork(&self) -> Result<Box<dyn KvStore>> {
        let layers = self.layers.iter().map(LayerCache::fork).collect::<Result<_>>()?;
        Ok(Box::new(Self { layers }))
    }

    fn layout(&self) -> &'static str {
        if cfg!(target_endian = "big") { "cpu, big-endian" } else { "cpu" }
    }

    /// Head by head: the keys of all positions, then the values.
    fn export(&self, layer: usize, positions: Range<usize>, to: &mut dyn Write) -> io::Result<()> {
        let layer = self.layers.get(layer).ok_or_else(absent)?;
        let runs = layer.runs(positions)?;
        layer.heads.iter().try_for_each(|head| with_rows!(head, rows => rows.export(&runs, to)))
    }

    fn import(&mut self, layer: usize, positions: Range<usize>, from: &mut dyn Read) -> io::Result<()> {
        let layer = self.layers.get_mut(layer).ok_or_else(absent)?;
        let runs = layer.runs(positions.clone())?;
        layer.grow(positions.end);
        layer.heads.iter_mut().try_for_each(|head| with_rows!(head, rows => rows.import(&runs, from)))
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl LayerCache {
    fn new(spec: &LayerSpec, kv: &KvSpec) -> Result<Self> {
        let rows = kv.rows(spec);
        let dims = row_dims(spec);
        let head = |_| {
            Ok(match kv.kv_type {
                KvType::F16 => HeadCache::F16(Rows::new(rows, dims)?),
                KvType::F32 => HeadCache::F32(Rows::new(rows, dims)?),
                KvType::Q8_0 => HeadCache::Q8_0(Rows::new(rows, dims)?),
            })
        };
        Ok(Self { rows, heads: (0..spec.kv_heads).map(head).collect::<Result<_>>()? })
    }

    fn fork(&self) -> Result<Self> {
        let fork = |head: &HeadCache| {
            Ok(match head {
                HeadCache::F16(rows) => HeadCache::F16(rows.fork()?),
                HeadCache::F32(rows) => HeadCache::F32(rows.fork()?),
                HeadCache::Q8_0(rows) => HeadCache::Q8_0(rows.fork()?),
            })
        };
        Ok(Self { rows: self.rows, heads: self.heads.iter().map(fork).collect::<Result<_>>()? })
    }

    fn grow(&mut self, end: usize) {
        let rows = end.next_multiple_of(KEY_BLOCK).min(self.rows);
        self.heads.iter_mut().for_each(|head| with_rows!(head, of_head => of_head.grow(rows)));
    }

    /// Where the ring holds these positions: one run of rows, or two.
    fn runs(&self, positions: Range<usize>) -> io::Result<[Range<usize>; 2]> {
        if positions.len() > self.rows {
            return Err(absent());
        }
        let start = positions.start % self.rows;
        let first = positions.len().min(self.rows - start);
        Ok([start..start + first, 0..positions.len() - first])
    }
}

impl<T: Number> Rows<T> {
    /// Memory for so many rows.
    fn new(rows: usize, (key_dim, value_dim): (usize, usize)) -> Result<Self> {
        for (what, dim) in [("key", key_dim), ("value", value_dim)] {
            if dim % T::LEN != 0 {
                let reason = format!("found {what} rows of {dim} numbers, q8_0 takes multiples of {}", T::LEN);
                return Err(Error::Argument { name: "kv_type", reason });
            }
        }
        let (key_len, value_len) = (key_dim / T::LEN, value_dim / T::LEN);
        let (keys, values) = (reserved(rows.saturating_mul(key_len))?, reserved(rows.saturating_mul(value_len))?);
        Ok(Self { keys, values, key_len, value_len })
    }

    fn bytes(&self) -> u64 {
        ((self.keys.capacity() + self.values.capacity()) * size_of::<T>()) as u64
    }

    fn fork(&self) -> Result<Self> {
        Ok(Self { keys: copy(&self.keys)?, values: copy(&self.values)?, ..*self })
    }

    /// Never beyond what was reserved, so it does not allocate.
    fn grow(&mut self, rows: usize) {
        self.keys.resize(self.keys.len().max(rows * self.key_len), T::new_zeroed());
        self.values.resize(self.values.len().max(rows * self.value_len), T::new_zeroed());
    }

    fn store(&mut self, kernels: &dyn VectorKernels, row: usize, key: &[f32], value: &[f32]) -> Option<()> {
        let (k, v) = (self.key_len, self.value_len);
        if (key.len(), value.len()) != (k * T::LEN, v * T::LEN) {
            return None;
        }
        T::store(kernels, key, self.keys.get_mut(row * k..(row + 1) * k)?);
        T::store(kernels, value, self.values.get_mut(row * v..(row + 1) * v)?);
        Some(())
    }

    fn export(&self, runs: &[Range<usize>], to: &mut dyn Write) -> io::Result<()> {
        for (numbers, len) in [(&self.keys, self.key_len), (&self.values, self.value_len)] {
            for run in runs {
                to.write_all(numbers.get(run.start * len..run.end * len).ok_or_else(absent)?.as_bytes())?;
            }
        }
        Ok(())
    }

    fn import(&mut self, runs: &[Range<usize>], from: &mut dyn Read) -> io::Result<()> {
        for (numbers, len) in [(&mut self.keys, self.key_len), (&mut self.values, self.value_len)] {
            for run in runs {
                from.read_exact(numbers.get_mut(run.start * len..run.end * len).ok_or_else(absent)?.as_mut_bytes())?;
            }
        }
        Ok(())
    }
}

/// What a cache is made of.
trait Number: FromBytes + IntoBytes + Immutable + Copy {
    /// How many numbers a piece holds.
    const LEN: usize = 1;
    fn store(kernels: &dyn VectorKernels, numbers: &[f32], out: &mut [Self]);
}

impl Number for f16 {
    fn store(kernels: &dyn VectorKernels, numbers: &[f32], out: &mut [Self]) {
        kernels.store_f16(numbers, out);
    }
}

impl Number for f32 {
    fn store(_kernels: &dyn VectorKernels, numbers: &[f32], out: &mut [Self]) {
        out.copy_from_slice(numbers);
    }
}

impl Number for BlockQ8_0 {
    const LEN: usize = <Self as Block>::LEN;
    fn store(kernels: &dyn VectorKernels, numbers: &[f32], out: &mut [Self]) {
        kernels.store_q8_0(numbers, out);
    }
}

fn absent() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no such rows in the cache")
}

fn reserved<T>(numbers: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(numbers).map_err(|_| Error::OutOfMemory {
        what: "the session's cache (a smaller context needs less)".into(),
        needed: (numbers as u64).saturating_mul(size_of::<T>() as u64),
        limit: u64::MAX,
    })?;
    Ok(v)
}

/// A copy with the same room to grow.
fn copy<T: Clone>(from: &Vec<T>) -> Result<Vec<T>> {
    let mut to = reserved(from.capacity())?;
    to.extend_from_slice(from);
    Ok(to)
}
