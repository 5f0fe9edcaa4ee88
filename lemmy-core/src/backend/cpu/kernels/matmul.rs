//! Products of a weight matrix in its file's layout with quantised activations.
//!
//! One order of sums for every kernel, so that decode and prefill, any batch cut, any number of threads and any
//! instruction set give the same bits:
//!
//! * Block types: per output, the blocks of the row in increasing order; per block the exact integer sum, then
//!   `acc = fma(d_w * d_x, isum, acc)` and, for types with a minimum, `acc = fma(m_w * d_x, imin, acc)`, where `m_w` is
//!   `-dmin` of a K-quant or `m` of Q4_1 and Q5_1.
//! * Float types: 16 partial sums, number `c` of a row goes by `fma` to sum `c % 16`, in increasing order; then sums
//!   `i` and `i + 8` are added, then `i` and `i + 4`, `i + 2`, `i + 1`.
//!
//! Start with `scalar.rs`, which says what is computed; `docs/adding-a-kernel.md` explains how the fast sets do it.

#![allow(clippy::indexing_slicing)] // sizes are checked once, at the door of `matmul`

mod acts;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::quant::DType;
use crate::threads::WindowMut;

pub use acts::{ActKind, Acts, ActsRow};
pub use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// A weight matrix in its file's layout.
#[derive(Clone, Copy)]
pub struct MatrixView<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> MatrixView<'a> {
    /// `rows` outputs of `cols` inputs, one row after another in `bytes`; no alignment is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a type without a kernel, [`Error::Internal`] if `bytes` is not exactly the matrix.
    pub fn new(dtype: DType, rows: usize, cols: usize, bytes: &'a [u8]) -> Result<Self> {
        if !dtype.is_readable() {
            return Err(Error::Unsupported(format!("no kernel multiplies {dtype} weights")));
        }
        let row_bytes = dtype.row_bytes(cols);
        match row_bytes.and_then(|b| b.checked_mul(rows)) {
            Some(size) if size == bytes.len() => {
                Ok(Self { dtype, rows, cols, row_bytes: row_bytes.unwrap_or_default(), bytes })
            }
            _ => Err(Error::Internal(format!("{rows} x {cols} {dtype} weights in {} bytes", bytes.len()))),
        }
    }
    /// Number type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// All rows.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// One row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.row_bytes..][..self.row_bytes]
    }
}

impl std::fmt::Debug for MatrixView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} {}", self.rows, self.cols, self.dtype)
    }
}

/// One instruction set. Holding a value proves that the CPU has the instructions.
pub trait MatmulKernels: Send + Sync + std::fmt::Debug {
    /// `scalar`, `avx2`, `avx512`.
    fn name(&self) -> &'static str;

    /// Quantises one activation vector. Every set gives the same bits.
    fn quantise(&self, x: &[f32], row: ActsRow<'_>) {
        acts::quantise(x, row);
    }

    /// For each row `i` of the window and each of its columns `c` (counted from the window's first):
    /// `out.row(i)[c] = weight row (first_row + c) . activation row tokens[i]`.
    ///
    /// Windows are cheapest when `first_row` and their width are multiples of [`ROWS`].
    ///
    /// # Panics
    ///
    /// If the shapes do not fit: the kind of the activations must be the partner of the weight type, `cols` be equal,
    /// the window have a row per token and no more columns than the weights have rows from `first_row`.
    fn matmul(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        acts: &Acts,
        tokens: &[u32],
        out: &mut WindowMut<'_, f32>,
        scratch: &mut MatmulScratch,
    );
}

/// Weight rows that the fast kernels take at once.
pub const ROWS: usize = 16;

/// Working memory of one worker inside a kernel: small and of fixed size.
#[derive(Debug, Default)]
pub struct MatmulScratch {
    #[cfg(target_arch = "x86_64")]
    x86: Box<x86::Scratch>,
}

/// The fastest set that this CPU has.
pub fn detect() -> Arc<dyn MatmulKernels> {
    all().into_iter().next().unwrap_or_else(scalar)
}

/// The oracle.
pub fn scalar() -> Arc<dyn MatmulKernels> {
    Arc::new(Scalar)
}

/// Every set that this CPU has, fastest first; the oracle is the last.
pub fn all() -> Vec<Arc<dyn MatmulKernels>> {
    let mut sets: Vec<Arc<dyn MatmulKernels>> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    sets.extend(Avx512::new().map(|set| Arc::new(set) as Arc<dyn MatmulKernels>));
    #[cfg(target_arch = "x86_64")]
    sets.extend(Avx2::new().map(|set| Arc::new(set) as Arc<dyn MatmulKernels>));
    sets.push(scalar());
    sets
}

/// The door of every set: panics unless the shapes fit, so that what lies behind may trust them.
fn check(w: &MatrixView<'_>, first_row: usize, acts: &Acts, tokens: &[u32], out: &WindowMut<'_, f32>) {
    let window = out.window();
    assert_eq!(acts.kind(), ActKind::of(w.dtype), "activations do not suit {w:?} weights");
    assert_eq!(acts.cols(), w.cols, "activations are not as long as a row of {w:?} weights");
    assert!(tokens.iter().all(|&t| (t as usize) < acts.rows()), "no such activation row");
    assert_eq!(window.rows.len(), tokens.len(), "the window needs a row per token");
    assert!(
        first_row.checked_add(window.cols.len()).is_some_and(|end| end <= w.rows),
        "{} outputs from {first_row} are not in {w:?} weights",
        window.cols.len()
    );
}
