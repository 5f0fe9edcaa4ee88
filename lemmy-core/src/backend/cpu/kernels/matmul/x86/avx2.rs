//! AVX2 with FMA and F16C.

mod tile;

use std::arch::x86_64::{__m256, __m256i};

use crate::quant::DType;
use crate::threads::WindowMut;

use super::super::scalar::Scalar;
use super::super::{Acts, ActsRow, MatmulKernels, MatmulScratch, MatrixView, acts, check};
use super::floats::{self, Brain, Half, Single, Weight};
use super::formats::{Format, Q4, Q4K, Q5, Q5K, Q6K, Q8};
use super::lanes::Lanes;
use super::panel::{Kernel, Panel};
use super::stream::{self, Stream, Streamed};
use tile::tiles;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// `None` if the CPU lacks an instruction.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"))
            .then_some(Self(()))
    }
}

impl MatmulKernels for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn quantise(&self, x: &[f32], row: ActsRow<'_>) {
        // SAFETY: `self` proves AVX2.
        unsafe { quantise(x, row) }
    }

    fn matmul(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        acts: &Acts,
        tokens: &[u32],
        out: &mut WindowMut<'_, f32>,
        scratch: &mut MatmulScratch,
    ) {
        check(&w, first_row, acts, tokens, out);
        product!(avx2, w, first_row, acts, tokens, out, scratch)
    }
}

/// # Safety
///
/// The CPU must have AVX2, FMA and F16C; as for [`stream::matmul`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn streamed<S: Stream>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: &[u32],
    out: &mut WindowMut<'_, f32>,
) {
    // SAFETY: the caller's word.
    unsafe { stream::matmul::<S>(w, first_row, acts, tokens, out) }
}

const fn kernel<F: Format>() -> Kernel {
    Kernel::new::<F>(unpack::<F>, const { &tiles::<F>() })
}

/// # Safety
///
/// The CPU must have AVX2, FMA and F16C; 16 rows of `blocks` blocks must be readable.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack<F: Format>(src: *const u8, stride: usize, blocks: usize, panel: &mut Panel) {
    for b in 0..blocks {
        for first_row in [0, __m256i::ROWS] {
            let place = panel.place(first_row, b, F::VECTORS);
            // SAFETY: the caller's word.
            unsafe { F::unpack::<__m256i>(src.add(first_row * stride + b * F::BYTES), stride, place) };
        }
    }
}

/// # Safety
///
/// The CPU must have AVX2, FMA and F16C; `w` must be of type `W` and the shapes fit.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn floats<W: Weight>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: &[u32],
    out: &mut WindowMut<'_, f32>,
) {
    // SAFETY: the caller's word. 2 rows by 3 tokens fill 12 of the 16 registers.
    unsafe { floats::matmul::<(__m256, __m256), W, 2>(w, first_row, acts, tokens, out) }
}

#[target_feature(enable = "avx2")]
fn quantise(x: &[f32], row: ActsRow<'_>) {
    acts::quantise(x, row);
}
