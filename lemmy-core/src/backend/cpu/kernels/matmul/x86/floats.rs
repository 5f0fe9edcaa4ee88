//! F32, F16 and BF16: plain fused multiply-adds in 16 partial sums.

use std::arch::x86_64::*;

use crate::threads::WindowMut;

use super::super::{Acts, MatrixView};

/// 16 partial sums.
///
/// # Safety
///
/// Every method needs the instruction set of the implementing type, and is inlined into a function that has it.
pub(super) trait Sixteen: Copy {
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_bf16(from: *const u16) -> Self;
    unsafe fn load_f16(from: *const u16) -> Self;
    unsafe fn store(self, at: *mut f32);
    unsafe fn fma(self, x: Self, acc: Self) -> Self;
    /// Sums `i` and `i + 8`, then `i` and `i + 4`, `i + 2`, `i + 1`.
    unsafe fn sum(self) -> f32;
}

/// A weight type.
pub(super) trait Weight {
    const BYTES: usize;
    /// 16 weights.
    ///
    /// # Safety
    ///
    /// `V`'s instruction set; the weights must be readable.
    unsafe fn load<V: Sixteen>(from: *const u8) -> V;
}

pub(super) struct Single;
pub(super) struct Half;
pub(super) struct Brain;

impl Weight for Single {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<V: Sixteen>(from: *const u8) -> V {
        // SAFETY: the caller's word.
        unsafe { V::load(from.cast()) }
    }
}

impl Weight for Half {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<V: Sixteen>(from: *const u8) -> V {
        // SAFETY: the caller's word.
        unsafe { V::load_f16(from.cast()) }
    }
}

impl Weight for Brain {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<V: Sixteen>(from: *const u8) -> V {
        // SAFETY: the caller's word.
        unsafe { V::load_bf16(from.cast()) }
    }
}

/// `ROWS` rows at once times up to 3 tokens at once.
///
/// # Safety
///
/// `V`'s instruction set; `w` must be of type `W` and the shapes fit.
#[inline(always)]
pub(super) unsafe fn matmul<V: Sixteen, W: Weight, const ROWS: usize>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: &[u32],
    out: &mut WindowMut<'_, f32>,
) {
    let width = out.window().cols.len();
    let mut first = 0;
    while first < width {
        let rows = if width - first < ROWS { 1 } else { ROWS };
        for (i, tokens) in tokens.chunks(3).enumerate() {
            let bytes = &w.bytes[(first_row + first) * w.row_bytes..][..rows * w.row_bytes];
            let x = |t: usize| acts.floats(tokens[t] as usize);
            let mut put = |t: usize, sums: &[f32]| out.row(3 * i + t)[first..first + rows].copy_from_slice(sums);
            // SAFETY: the caller's word; `bytes` are these rows, and each vector has a number for each column.
            unsafe {
                match (rows == ROWS, tokens.len()) {
                    (true, 1) => tile::<V, W, ROWS, 1>(bytes, w.row_bytes, [x(0)], &mut put),
                    (true, 2) => tile::<V, W, ROWS, 2>(bytes, w.row_bytes, [x(0), x(1)], &mut put),
                    (true, _) => tile::<V, W, ROWS, 3>(bytes, w.row_bytes, [x(0), x(1), x(2)], &mut put),
                    (false, 1) => tile::<V, W, 1, 1>(bytes, w.row_bytes, [x(0)], &mut put),
                    (false, 2) => tile::<V, W, 1, 2>(bytes, w.row_bytes, [x(0), x(1)], &mut put),
                    (false, _) => tile::<V, W, 1, 3>(bytes, w.row_bytes, [x(0), x(1), x(2)], &mut put),
                }
            }
        }
        first += rows;
    }
}

/// # Safety
///
/// `V`'s instruction set; `ROWS` rows of `stride` bytes, a row being as many weights as each `x` has numbers.
#[inline(always)]
unsafe fn tile<V: Sixteen, W: Weight, const ROWS: usize, const N: usize>(
    rows: &[u8],
    stride: usize,
    x: [&[f32]; N],
    put: &mut impl FnMut(usize, &[f32]),
) {
    let cols = stride / W::BYTES;
    let whole = cols - cols % 16;
    let (row, next) = (rows.as_ptr(), rows.as_ptr().wrapping_add(rows.len()));
    // SAFETY: 16 numbers from column `c` on exist in every row and vector.
    unsafe {
        let mut acc = [[V::zero(); N]; ROWS];
        for c in (0..whole).step_by(16) {
            // The next rows in the order of their addresses, as in the panels.
            for line in 0..(16 * W::BYTES * ROWS).div_ceil(64) {
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(c * W::BYTES * ROWS + 64 * line).cast());
            }
            for r in 0..ROWS {
                let w = W::load::<V>(row.add(r * stride + c * W::BYTES));
                for t in 0..N {
                    acc[r][t] = w.fma(V::load(x[t].as_ptr().add(c)), acc[r][t]);
                }
            }
        }
        if whole < cols {
            // The rest goes to the first sums; the others keep every bit.
            for r in 0..ROWS {
                let mut padded = [0u8; 64];
                let rest = &rows[r * stride..][..stride][whole * W::BYTES..];
                padded[..rest.len()].copy_from_slice(rest);
                let mut w = [0.0f32; 16];
                W::load::<V>(padded.as_ptr()).store(w.as_mut_ptr());
                for t in 0..N {
                    let mut sums = [0.0f32; 16];
                    acc[r][t].store(sums.as_mut_ptr());
                    for ((sum, w), x) in sums.iter_mut().zip(w).zip(&x[t][whole..]) {
                        *sum = w.mul_add(*x, *sum);
                    }
                    acc[r][t] = V::load(sums.as_ptr());
                }
            }
        }
        for t in 0..N {
            let mut sums = [0.0; ROWS];
            for r in 0..ROWS {
                sums[r] = acc[r][t].sum();
            }
            put(t, &sums);
        }
    }
}

impl Sixteen for (__m256, __m256) {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX2, FMA and F16C are there, the caller's word; so in all that follows.
        unsafe { (_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see `zero`; 16 numbers are readable.
        unsafe { (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: as for `load`.
        unsafe {
            let widen = |at: *const u16| {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16))
            };
            (widen(from), widen(from.byte_add(16)))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: as for `load`.
        unsafe {
            let widen = |at: *const u16| _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
            (widen(from), widen(from.byte_add(16)))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: see `zero`; there is room for 16 numbers.
        unsafe {
            _mm256_storeu_ps(at, self.0);
            _mm256_storeu_ps(at.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn fma(self, x: Self, acc: Self) -> Self {
        // SAFETY: see `zero`.
        unsafe { (_mm256_fmadd_ps(self.0, x.0, acc.0), _mm256_fmadd_ps(self.1, x.1, acc.1)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see `zero`.
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

impl Sixteen for __m512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX-512 F is there, the caller's word; so in all that follows.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see `zero`; 16 numbers are readable.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: as for `load`.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: as for `load`.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: see `zero`; there is room for 16 numbers.
        unsafe { _mm512_storeu_ps(at, self) }
    }
    #[inline(always)]
    unsafe fn fma(self, x: Self, acc: Self) -> Self {
        // SAFETY: see `zero`.
        unsafe { _mm512_fmadd_ps(self, x, acc) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see `zero`.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
            let eight = _mm256_add_ps(_mm512_castps512_ps256(self), high);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
