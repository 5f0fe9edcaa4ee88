//! What an instruction set must be able to do, and the sets that exist.
//!
//! Two families: [`matmul`] multiplies quantised weights with activations, [`vector`] does everything on plain floats
//! (norms, GELU, RoPE, attention). Each has a scalar set, which says what a kernel means and is the oracle of the
//! others. Results do not depend on threads, on how a prompt was cut into batches or on the set within a family.

pub mod matmul;
pub mod vector;

use std::sync::Arc;

pub use matmul::{ActKind, Acts, MatmulKernels, MatmulScratch, MatrixView};
pub use vector::{AttentionJob, HeadAttention, KvRows, PANEL, Product, STRIP, VectorKernels, VectorScratch};

/// The kernels that one engine uses.
#[derive(Debug, Clone)]
pub struct KernelSet {
    /// Products of weights and activations.
    pub matmul: Arc<dyn MatmulKernels>,
    /// Everything on plain floats.
    pub vector: Arc<dyn VectorKernels>,
}

impl KernelSet {
    /// The fastest that this CPU has.
    pub fn detect() -> Self {
        Self { matmul: matmul::detect(), vector: vector::detect() }
    }

    /// The oracle: plain Rust, no intrinsics.
    pub fn scalar() -> Self {
        Self { matmul: matmul::scalar(), vector: vector::scalar() }
    }
}
