//! 8 rows by up to 6 tokens in registers.
//!
//! `vpmaddubsw` multiplies 4 columns of 8 rows and gives two sums of 16 bits per row. They are added in 16 bits as long
//! as they cannot overflow ([`Format::STEPS`]); then one `vpmaddwd` widens them and multiplies with the group's integer
//! scale.

use std::arch::x86_64::*;

use super::super::super::acts::Vector;
use super::super::formats::Format;
use super::super::panel::{Sums, Tile};

/// The tiles of a type, by tokens.
pub(super) const fn tiles<F: Format>() -> [unsafe fn(&Tile<'_>, &mut [Sums]); 6] {
    if F::BLOCK == 256 {
        [k::<F, 1>, k::<F, 2>, k::<F, 3>, k::<F, 4>, k::<F, 5>, k::<F, 6>]
    } else {
        [small::<F, 1>, small::<F, 2>, small::<F, 3>, small::<F, 4>, small::<F, 5>, small::<F, 6>]
    }
}

/// A panel of one K-quant block.
///
/// # Safety
///
/// The CPU must have AVX2 and FMA; the tile's panel must hold a block of `F` and there be `N` tokens and sums.
#[target_feature(enable = "avx2,fma")]
unsafe fn k<F: Format, const N: usize>(tile: &Tile<'_>, sums: &mut [Sums]) {
    let sums = &mut sums[..N];
    let panel = tile.panel;
    // SAFETY: the caller's word.
    let x = unsafe { tile.vectors::<256, N>() };
    for first_row in [0, 8] {
        let mut isum = [_mm256_setzero_si256(); N];
        let runs = 64 / F::STEPS;
        for run in 0..runs {
            if first_row == 0 && run % (runs / 8) == 0 {
                tile.fetch(run * 8 / runs);
            }
            // SAFETY: `run` lies within the panel and the 256 codes of each token.
            let partial = unsafe { run_of::<N>(&panel.codes[4 * first_row..], &x, run * F::STEPS, F::STEPS) };
            // SAFETY: 8 numbers are left in a line of scales.
            let scale = unsafe { load(&panel.scales[run * F::SCALES / runs][first_row..]) };
            for t in 0..N {
                // SAFETY: a factor per 32 of the block's columns.
                let factor = unsafe { *x[t].factors.add(run * F::STEPS / 8) };
                // At most 128 * 8: the product of scale and factor is a word.
                let scale = _mm256_mullo_epi16(scale, _mm256_set1_epi16(factor as i16));
                isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(partial[t], scale));
            }
        }
        // SAFETY: 8 numbers are left in each line.
        let (d, m) = unsafe { (load_f32(&panel.d[0][first_row..]), load_f32(&panel.m[0][first_row..])) };
        for t in 0..N {
            let acc = &mut sums[t].0[first_row..];
            // SAFETY: a scale per block; 8 numbers are left in a token's sums.
            let (d_x, mut sum) = unsafe { (_mm256_set1_ps(*x[t].scales), load_f32(acc)) };
            if F::MIN {
                // SAFETY: the activations have 8 sums per 256 numbers, the panel a pair of minimums for each two.
                let imin = unsafe { pairs::<4>(&panel.mins, first_row, x[t].sums) };
                sum = _mm256_fmadd_ps(_mm256_mul_ps(d, d_x), _mm256_cvtepi32_ps(isum[t]), sum);
                sum = _mm256_fmadd_ps(_mm256_mul_ps(m, d_x), _mm256_cvtepi32_ps(imin), sum);
            } else {
                // SAFETY: as above, with 16 sums and a pair of scales for each two.
                let offset = unsafe { pairs::<8>(&panel.mins, first_row, x[t].half_sums) };
                let offset = _mm256_mullo_epi32(offset, _mm256_set1_epi32(F::OFFSET));
                let isum = _mm256_sub_epi32(isum[t], offset);
                sum = _mm256_fmadd_ps(_mm256_mul_ps(d, d_x), _mm256_cvtepi32_ps(isum), sum);
            }
            // SAFETY: as for the load.
            unsafe { _mm256_storeu_ps(acc.as_mut_ptr(), sum) };
        }
    }
}

/// A panel of up to 8 blocks of 32.
///
/// # Safety
///
/// As for [`k`].
#[target_feature(enable = "avx2,fma")]
unsafe fn small<F: Format, const N: usize>(tile: &Tile<'_>, sums: &mut [Sums]) {
    let sums = &mut sums[..N];
    let panel = tile.panel;
    // SAFETY: the caller's word.
    let x = unsafe { tile.vectors::<32, N>() };
    for first_row in [0, 8] {
        // SAFETY: 8 numbers are left in a token's sums.
        let mut acc: [_; N] = std::array::from_fn(|t| unsafe { load_f32(&sums[t].0[first_row..]) });
        for b in 0..tile.blocks {
            if first_row == 0 {
                tile.fetch(b);
            }
            // SAFETY: block `b` is in the panel and in the codes of each token.
            let dots = unsafe {
                let codes = &panel.codes[4 * first_row..];
                if F::WORDS { dot_words::<N>(codes, &x, b) } else { dot::<F, N>(codes, &x, b) }
            };
            let isum: [_; N] = std::array::from_fn(|t| {
                // SAFETY: for a type with an offset there is a correction per block.
                let correction = if F::OFFSET == 0 { 0 } else { unsafe { *x[t].corrections.add(b) } };
                _mm256_add_epi32(dots[t], _mm256_set1_epi32(correction))
            });
            // SAFETY: 8 numbers are left in each line.
            let (d, m) = unsafe { (load_f32(&panel.d[b][first_row..]), load_f32(&panel.m[b][first_row..])) };
            for t in 0..N {
                // SAFETY: each token has a scale per block.
                let d_x = unsafe { _mm256_set1_ps(*x[t].scales.add(b)) };
                acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(d, d_x), _mm256_cvtepi32_ps(isum[t]), acc[t]);
                if F::MIN {
                    // SAFETY: for a type with a minimum each token has a sum per block.
                    let imin = unsafe { _mm256_set1_ps(f32::from(*x[t].sums.add(b))) };
                    acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(m, d_x), imin, acc[t]);
                }
            }
        }
        for t in 0..N {
            // SAFETY: 8 numbers are left in a token's sums.
            unsafe { _mm256_storeu_ps(sums[t].0[first_row..].as_mut_ptr(), acc[t]) };
        }
    }
}

/// Dots of block `b` of 32.
///
/// # Safety
///
/// AVX2; the block must lie within the panel and the tokens' codes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dot<F: Format, const N: usize>(panel: &[u8], x: &[Vector; N], b: usize) -> [__m256i; N] {
    let mut dots = [_mm256_setzero_si256(); N];
    for at in (8 * b..8 * b + 8).step_by(F::STEPS) {
        // SAFETY: the caller's word.
        let partial = unsafe { run_of::<N>(panel, x, at, F::STEPS) };
        for t in 0..N {
            dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(partial[t], _mm256_set1_epi16(1)));
        }
    }
    dots
}

/// Dots of block `b` of 32 words.
///
/// # Safety
///
/// As for [`dot`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dot_words<const N: usize>(panel: &[u8], x: &[Vector; N], b: usize) -> [__m256i; N] {
    let mut dots = [_mm256_setzero_si256(); N];
    for step in 16 * b..16 * b + 16 {
        // SAFETY: the caller's word.
        unsafe {
            let w = _mm256_load_si256(panel.as_ptr().add(64 * step).cast());
            for t in 0..N {
                let two = _mm256_set1_epi32(x[t].codes.add(4 * step).cast::<i32>().read_unaligned());
                dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(w, two));
            }
        }
    }
    dots
}

/// Sums of 16 bits over `steps` times 4 columns, from vector `at` of the panel's codes on.
///
/// # Safety
///
/// AVX2; the steps must lie within the panel and the tokens' codes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn run_of<const N: usize>(panel: &[u8], x: &[Vector; N], at: usize, steps: usize) -> [__m256i; N] {
    let mut partial = [_mm256_setzero_si256(); N];
    for step in at..at + steps {
        // SAFETY: the caller's word.
        unsafe {
            let w = _mm256_load_si256(panel.as_ptr().add(64 * step).cast());
            for t in 0..N {
                let four = x[t].codes.add(4 * step).cast::<i32>().read_unaligned();
                partial[t] = _mm256_add_epi16(partial[t], _mm256_maddubs_epi16(w, _mm256_set1_epi32(four)));
            }
        }
    }
    partial
}

/// Sum over pairs of (factor of the row) * (sum of the token's codes).
///
/// # Safety
///
/// AVX2; `sums` must have `2 * PAIRS` numbers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pairs<const PAIRS: usize>(factors: &[[[i16; 2]; 16]; 8], first_row: usize, sums: *const i16) -> __m256i {
    let mut sum = _mm256_setzero_si256();
    for p in 0..PAIRS {
        // SAFETY: the caller's word; 8 pairs are left in a line of factors.
        let (factor, x) = unsafe { (load(&factors[p][first_row..]), sums.add(2 * p).cast::<i32>().read_unaligned()) };
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(factor, _mm256_set1_epi32(x)));
    }
    sum
}

/// # Safety
///
/// AVX2; 32 bytes must be there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load<T>(from: &[T]) -> __m256i {
    // SAFETY: the caller's word.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// # Safety
///
/// AVX2; 8 numbers must be there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_f32(from: &[f32]) -> __m256 {
    // SAFETY: the caller's word.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}
