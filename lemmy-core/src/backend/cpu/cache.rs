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

use half::f16;

use super::kernels::{KvRows, VectorKernels};
use crate::backend::KvStore;
use crate::error::{Error, Result};
use crate::kv::{KEY_BLOCK, KvSpec, KvType};
use crate::plan::{LayerSpec, Plan, ValueSource};

/// Numbers in a key row and in a value row of a layer's cache.
pub(super) fn row_dims(layer: &LayerSpec) -> (usize, usize) {
    match layer.values {
        ValueSource::SharedWithKey => (2 * layer.rope.frequencies.len(), layer.head_dim),
        ValueSource::Own | ValueSource::OwnNormed => (layer.head_dim, layer.head_dim),
    }
}

/// Bytes that [`CpuKv`] will reserve; any context may be asked about.
pub(super) fn estimate(plan: &Plan, spec: &KvSpec) -> u64 {
    let numbers = |layer: &LayerSpec| {
        let (key, value) = row_dims(layer);
        (spec.rows(layer) as u64).saturating_mul((layer.kv_heads * (key + value)) as u64)
    };
    let numbers = plan.spec.layers.iter().map(numbers).fold(0, u64::saturating_add);
    numbers.saturating_mul(spec.kv_type.bytes() as u64)
}

#[derive(Debug)]
pub(super) struct CpuKv {
    layers: Vec<LayerCache>,
}

#[derive(Debug)]
struct LayerCache {
    rows: usize,
    key_dim: usize,
    value_dim: usize,
    heads: Vec<HeadCache>,
}

/// Rows so far of one head: keys, values.
#[derive(Debug, Clone)]
enum HeadCache {
    F16(Vec<f16>, Vec<f16>),
    F32(Vec<f32>, Vec<f32>),
}

impl CpuKv {
    pub(super) fn new(plan: &Plan, spec: &KvSpec) -> Result<Self> {
        let layers = plan.spec.layers.iter().map(|layer| LayerCache::new(layer, spec)).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// Makes rows for the positions below `end` exist.
    pub(super) fn grow(&mut self, end: usize) {
        for layer in &mut self.layers {
            let rows = end.next_multiple_of(KEY_BLOCK).min(layer.rows);
            for head in &mut layer.heads {
                head.resize(rows * layer.key_dim, rows * layer.value_dim);
            }
        }
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
                layer.heads.get_mut(head)?.store(kernels, row, key, value)
            })
            .ok_or_else(|| Error::Internal(format!("no cache row for layer {layer}, head {head}, position {pos}")))
    }

    /// Rows of a layer's ring and the present rows of one of its heads.
    pub(super) fn head(&self, layer: usize, head: usize) -> Option<(usize, KvRows<'_>)> {
        let layer = self.layers.get(layer)?;
        Some((
            layer.rows,
            match layer.heads.get(head)? {
                HeadCache::F16(keys, values) => KvRows::F16(keys, values),
                HeadCache::F32(keys, values) => KvRows::F32(keys, values),
            },
        ))
    }
}

impl KvStore for CpuKv {
    fn bytes(&self) -> u64 {
        let head_bytes = |head: &HeadCache| match head {
            HeadCache::F16(k, v) => (k.capacity() + v.capacity()) * size_of::<f16>(),
            HeadCache::F32(k, v) => (k.capacity() + v.capacity()) * size_of::<f32>(),
        };
        self.layers.iter().flat_map(|layer| &layer.heads).map(|head| head_bytes(head) as u64).sum()
    }

    fn fork(&self) -> Result<Box<dyn KvStore>> {
        let layers = self.layers.iter().map(LayerCache::fork).collect::<Result<_>>()?;
        Ok(Box::new(Self { layers }))
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl LayerCache {
    fn new(spec: &LayerSpec, kv: &KvSpec) -> Result<Self> {
        let rows = kv.rows(spec);
        let (key_dim, value_dim) = row_dims(spec);
        let heads = (0..spec.kv_heads)
            .map(|_| {
                let (keys, values) = (rows * key_dim, rows * value_dim);
                Ok(match kv.kv_type {
                    KvType::F16 => HeadCache::F16(reserved(keys)?, reserved(values)?),
                    KvType::F32 => HeadCache::F32(reserved(keys)?, reserved(values)?),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { rows, key_dim, value_dim, heads })
    }

    fn fork(&self) -> Result<Self> {
        let heads = self
            .heads
            .iter()
            .map(|head| {
                Ok(match head {
                    HeadCache::F16(k, v) => HeadCache::F16(copy(k)?, copy(v)?),
                    HeadCache::F32(k, v) => HeadCache::F32(copy(k)?, copy(v)?),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { heads, ..*self })
    }
}

impl HeadCache {
    /// Never beyond what was reserved, so it does not allocate.
    fn resize(&mut self, keys: usize, values: usize) {
        match self {
            Self::F16(k, v) => {
                k.resize(k.len().max(keys), f16::ZERO);
                v.resize(v.len().max(values), f16::ZERO);
            }
            Self::F32(k, v) => {
                k.resize(k.len().max(keys), 0.0);
                v.resize(v.len().max(values), 0.0);
            }
        }
    }

    fn store(&mut self, kernels: &dyn VectorKernels, row: usize, key: &[f32], value: &[f32]) -> Option<()> {
        let (k, v) = (row * key.len()..(row + 1) * key.len(), row * value.len()..(row + 1) * value.len());
        match self {
            Self::F16(keys, values) => {
                kernels.store_f16(key, keys.get_mut(k)?);
                kernels.store_f16(value, values.get_mut(v)?);
            }
            Self::F32(keys, values) => {
                keys.get_mut(k)?.copy_from_slice(key);
                values.get_mut(v)?.copy_from_slice(value);
            }
        }
        Some(())
    }
}

fn reserved<T>(numbers: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(numbers).map_err(|_| Error::OutOfMemory {
        what: "the session's cache (a smaller context needs less)".into(),
        needed: (numbers * size_of::<T>()) as u64,
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
