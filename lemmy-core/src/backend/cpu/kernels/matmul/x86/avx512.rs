//! AVX-512 with VNNI.

mod tile;

use std::arch::x86_64::{__m512, __m512i};

use crate::quant::DType;
use crate::threads::WindowMut;

use super::super::scalar::Scalar;
use super::super::{Acts, ActsRow, MatmulKernels, MatmulScratch, MatrixView, acts, check};
use super::Avx2;
use super::floats::{self, Brain, Half, Single, Weight};
use super::formats::{Format, Q4, Q4K, Q5, Q5K, Q6K, Q8};
use super::panel::{Kernel, Panel};
use super::stream::{self, Stream, Streamed};
use tile::tiles;

/// Proof that the CPU has AVX-512 F, BW, VL and VNNI besides what [`Avx2`] proves.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// `None` if the CPU lacks an instruction.
    pub fn new() -> Option<Self> {
        Avx2::new()?;
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(Self(()))
    }
}

impl MatmulKernels for Avx512 {
    fn name(&self) -> &'static str {
        "avx512"
    }

    fn quantise(&self, x: &[f32], row: ActsRow<'_>) {
        // SAFETY: `self` proves AVX-512.
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
        product!(avx512, w, first_row, acts, tokens, out, scratch)
    }
}

/// # Safety
///
/// The CPU must have what [`Avx512`] proves; as for [`stream::matmul`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma,f16c")]
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
/// The CPU must have what [`Avx512`] proves; 16 rows of `blocks` blocks must be readable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn unpack<F: Format>(src: *const u8, stride: usize, blocks: usize, panel: &mut Panel) {
    for b in 0..blocks {
        let place = panel.place(0, b, F::VECTORS);
        // SAFETY: the caller's word.
        unsafe { F::unpack::<__m512i>(src.add(b * F::BYTES), stride, place) };
    }
}

/// # Safety
///
/// The CPU must have what [`Avx512`] proves; `w` must be of type `W` and the shapes fit.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn floats<W: Weight>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: &[u32],
    out: &mut WindowMut<'_, f32>,
) {
    // SAFETY: the caller's word.
    unsafe { floats::matmul::<__m512, W, 4>(w, first_row, acts, tokens, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn quantise(x: &[f32], row: ActsRow<'_>) {
    acts::quantise(x, row);
}
