//! Everything on plain floats: norms, GELU, RoPE, attention.
//!
//! Each operation is written once (`elementwise`, `attention`) over vectors of 16 floats and compiled for each
//! instruction set (`isa`, `x86_64`), so all sets give the same bits: sums run over 16 lanes (lane = index mod 16), in
//! increasing order, by fused multiply-add, and the lanes are added in one fixed tree; `exp` and `tanh` (`math`) are our
//! own.

mod attention;
mod dense;
mod elementwise;
mod isa;
mod math;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ops::Range;
use std::sync::Arc;

use half::f16;

use crate::error::{Error, Result};
use crate::quant::blocks::BlockQ8_0;
pub use dense::{HeadAttention, PANEL, Product, STRIP};
use isa::{Isa, Portable};

/// Cached keys and values of one KV head: `rows * key_dim` and `rows * value_dim` numbers, or fewer while positions up
/// to the end of the last span's block are all there is.
#[derive(Debug, Clone, Copy)]
pub enum KvRows<'a> {
    /// 32-bit floats: keys, values.
    F32(&'a [f32], &'a [f32]),
    /// 16-bit floats: keys, values.
    F16(&'a [f16], &'a [f16]),
    /// Blocks of 32 numbers of 8 bits: keys, values. Rows are whole blocks.
    Q8_0(&'a [BlockQ8_0], &'a [BlockQ8_0]),
}

/// Attention of some queries over one KV head.
///
/// The score of query `q` and cache row `r` is `q[..key_dim] . key[r] + q[key_dim..] . value[r][key_dim..]`. The second
/// term is empty on an ordinary layer (`query_dim == key_dim`). On a layer whose keys are its values the key row holds
/// only the dims that RoPE turns, the value row holds all dims with the turned ones first, and `query_dim ==
/// value_dim`. The caller has scaled and ordered the queries.
///
/// Neighbouring queries with the same span share the work of a key block: put the heads of a token next to each other.
#[derive(Debug)]
pub struct AttentionJob<'a> {
    /// Rows of the cache; position `p` is in row `p % rows`; a multiple of `kv::KEY_BLOCK`.
    pub rows: usize,
    /// Keys and values.
    pub kv: KvRows<'a>,
    /// Numbers in a key row.
    pub key_dim: usize,
    /// Numbers in a value row.
    pub value_dim: usize,
    /// Numbers in a query.
    pub query_dim: usize,
    /// Queries, one after another.
    pub queries: &'a [f32],
    /// Positions that each query sees; not empty, and all spans together lie within `rows` positions.
    pub spans: &'a [Range<usize>],
}

/// Working memory of one worker inside a kernel; grows to what the largest call needs.
#[derive(Debug, Default)]
pub struct VectorScratch {
    attention: attention::Scratch,
}

impl VectorScratch {
    /// Reserves what attention of `queries` queries of `query_dim` numbers takes, so that it allocates nothing later
    /// (unless sizes are not multiples of 16). [`Error::OutOfMemory`] instead of a panic then.
    pub fn reserve(&mut self, queries: usize, query_dim: usize) -> Result<()> {
        self.attention.reserve(queries, query_dim).map_err(|_| Error::OutOfMemory {
            what: "attention's working memory".into(),
            needed: (queries as u64).saturating_mul(query_dim as u64).saturating_mul(4),
            limit: u64::MAX,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.attention.bytes() as u64
    }
}

/// One instruction set. Holding a value proves that the CPU has the instructions.
///
/// Slices of lengths that do not fit together are a fault of the caller and panic.
pub trait VectorKernels: Send + Sync + std::fmt::Debug {
    /// `scalar`, `avx2`, ...
    fn name(&self) -> &'static str;
    /// `out = x / sqrt(mean(x^2) + eps) * weight` (no weight: 1).
    fn norm(&self, x: &[f32], weight: Option<&[f32]>, eps: f32, out: &mut [f32]);
    /// `gate = gelu(gate) * up`, the tanh form of GELU to f32 accuracy.
    fn gelu_mul(&self, gate: &mut [f32], up: &[f32]);
    /// `out += scale * x`.
    fn add_scaled(&self, out: &mut [f32], x: &[f32], scale: f32);
    /// `x = cap * tanh(x / cap)`.
    fn softcap(&self, x: &mut [f32], cap: f32);
    /// Softmax in place.
    fn softmax(&self, x: &mut [f32]);
    /// Turns the pairs `(x[i], x[i + x.len() / 2])` for `i < cos.len()`.
    fn rope(&self, x: &mut [f32], cos: &[f32], sin: &[f32]);
    /// Rounds to 16-bit floats, ties to even.
    fn store_f16(&self, x: &[f32], out: &mut [f16]);
    /// Rounds to blocks of 8-bit numbers: `d` is the greatest magnitude / 127, rounded to a half; `q = x / d`, ties to
    /// even. A block with a number that is not finite has NaN for `d`.
    fn store_q8_0(&self, x: &[f32], out: &mut [BlockQ8_0]);
    /// Attention of each query: `out[i * value_dim..][..value_dim]`. Per query: key blocks of `kv::KEY_BLOCK` positions
    /// (cut at multiples of it), in increasing order, merged by the online softmax in that order; so the result depends
    /// on the query and its span alone.
    fn attention(&self, job: &AttentionJob<'_>, out: &mut [f32], scratch: &mut VectorScratch);
    /// A product of packed matrices; `out` has `STRIP` rows for each strip, of `PANEL` numbers for each panel.
    fn multiply(&self, product: Product<'_>, out: &mut [f32]);
    /// Attention without a cache or a mask: `out[panel][dim][query]`, dims rounded up to whole strips.
    fn attend_all(&self, job: HeadAttention<'_>, out: &mut [f32]);
}

/// The fastest set that this CPU has.
pub fn detect() -> Arc<dyn VectorKernels> {
    all().pop().unwrap_or_else(scalar)
}

/// The oracle.
pub fn scalar() -> Arc<dyn VectorKernels> {
    compiled_for(Portable)
}

/// Every set that this CPU has, the oracle first and the fastest last.
pub fn all() -> Vec<Arc<dyn VectorKernels>> {
    let sets = std::iter::once(scalar());
    #[cfg(target_arch = "x86_64")]
    let sets = sets.chain(x86_64::Avx2::detect().map(compiled_for)).chain(x86_64::Avx512::detect().map(compiled_for));
    sets.collect()
}

fn compiled_for<I: Isa>(isa: I) -> Arc<dyn VectorKernels> {
    Arc::new(Kernels(isa))
}

/// All operations, compiled for one instruction set.
#[derive(Debug)]
struct Kernels<I>(I);

impl<I: Isa> VectorKernels for Kernels<I> {
    fn name(&self) -> &'static str {
        I::NAME
    }
    fn norm(&self, x: &[f32], weight: Option<&[f32]>, eps: f32, out: &mut [f32]) {
        self.0.run(elementwise::Norm { x, weight, eps, out });
    }
    fn gelu_mul(&self, gate: &mut [f32], up: &[f32]) {
        self.0.run(elementwise::GeluMul { gate, up });
    }
    fn add_scaled(&self, out: &mut [f32], x: &[f32], scale: f32) {
        self.0.run(elementwise::AddScaled { out, x, scale });
    }
    fn softcap(&self, x: &mut [f32], cap: f32) {
        self.0.run(elementwise::Softcap { x, cap });
    }
    fn softmax(&self, x: &mut [f32]) {
        self.0.run(elementwise::Softmax { x });
    }
    fn rope(&self, x: &mut [f32], cos: &[f32], sin: &[f32]) {
        self.0.run(elementwise::Rope { x, cos, sin });
    }
    fn store_f16(&self, x: &[f32], out: &mut [f16]) {
        self.0.run(elementwise::StoreF16 { x, out });
    }
    fn store_q8_0(&self, x: &[f32], out: &mut [BlockQ8_0]) {
        self.0.run(elementwise::StoreQ8 { x, out });
    }
    fn attention(&self, job: &AttentionJob<'_>, out: &mut [f32], scratch: &mut VectorScratch) {
        attention::run(self.0, job, out, &mut scratch.attention);
    }
    fn multiply(&self, product: Product<'_>, out: &mut [f32]) {
        self.0.run(dense::Multiply { product, out });
    }
    fn attend_all(&self, job: HeadAttention<'_>, out: &mut [f32]) {
        self.0.run(dense::AttendAll { job, out });
    }
}
