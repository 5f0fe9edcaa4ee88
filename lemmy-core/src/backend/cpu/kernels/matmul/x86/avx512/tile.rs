//! 16 rows by up to 8 tokens in registers.
//!
//! `vpdpbusd` multiplies 4 columns of 16 rows, with the token's 4 codes broadcast from memory, and adds in 32 bits.

use std::arch::x86_64::*;

use super::super::super::acts::Vector;
use super::super::formats::Format;
use super::super::panel::{Sums, Tile};

/// The tiles of a type, by tokens.
pub(super) const fn tiles<F: Format>() -> [unsafe fn(&Tile<'_>, &mut [Sums]); 8] {
    if F::BLOCK == 256 {
        [k::<F, 1>, k::<F, 2>, k::<F, 3>, k::<F, 4>, k::<F, 5>, k::<F, 6>, k::<F, 7>, k::<F, 8>]
    } else {
        [
            small::<F, 1>,
            small::<F, 2>,
            small::<F, 3>,
            small::<F, 4>,
            small::<F, 5>,
            small::<F, 6>,
            small::<F, 7>,
            small::<F, 8>,
        ]
    }
}

/// A panel of one K-quant block.
///
/// # Safety
///
/// The CPU must have what [`Avx512`](super::Avx512) proves; the tile's panel must hold a block of `F` and there be `N`
/// tokens and sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn k<F: Format, const N: usize>(tile: &Tile<'_>, sums: &mut [Sums]) {
    let sums = &mut sums[..N];
    let panel = tile.panel;
    // SAFETY: the caller's word.
    let x = unsafe { tile.vectors::<256, N>() };
    let mut isum = [_mm512_setzero_si512(); N];
    let steps = 64 / F::SCALES;
    let mut group = [_mm512_setzero_si512(); N];
    for g in 0..F::SCALES {
        if g % (F::SCALES / 8) == 0 {
            tile.fetch(g * 8 / F::SCALES);
        }
        let start: [_; N] = std::array::from_fn(|t| {
            // SAFETY: for a type with an offset there is a correction per group.
            _mm512_set1_epi32(if F::OFFSET == 0 { 0 } else { unsafe { *x[t].corrections.add(g) } })
        });
        // SAFETY: group `g` lies within the panel and the 256 codes of each token.
        let partial = unsafe { run_of::<N>(start, &panel.codes, &x, g * steps, steps) };
        // SAFETY: a line of scales.
        let scale = unsafe { _mm512_load_si512(panel.scales[g].as_ptr().cast()) };
        // Groups with a scale of their own are 32 columns, or 16; a factor is for 32.
        let is_first = F::SCALES == 8 || g % 2 == 0;
        let is_last = F::SCALES == 8 || g % 2 == 1;
        for t in 0..N {
            let scaled = _mm512_mullo_epi32(partial[t], scale);
            group[t] = if is_first { scaled } else { _mm512_add_epi32(group[t], scaled) };
            if is_last {
                // SAFETY: a factor per 32 of the block's columns.
                let factor = unsafe { _mm512_set1_epi32(*x[t].factors.add(g * 8 / F::SCALES)) };
                isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(group[t], factor));
            }
        }
    }
    // SAFETY: lines of 16 numbers.
    let (d, m) = unsafe { (_mm512_load_ps(panel.d[0].as_ptr()), _mm512_load_ps(panel.m[0].as_ptr())) };
    for t in 0..N {
        let acc = sums[t].0.as_mut_ptr();
        // SAFETY: a scale per block; a line of 16 numbers.
        let (d_x, mut sum) = unsafe { (_mm512_set1_ps(*x[t].scales), _mm512_load_ps(acc)) };
        sum = _mm512_fmadd_ps(_mm512_mul_ps(d, d_x), _mm512_cvtepi32_ps(isum[t]), sum);
        if F::MIN {
            let mut imin = _mm512_setzero_si512();
            for p in 0..4 {
                // SAFETY: the activations have 8 sums per 256 numbers, the panel a pair of minimums for each two.
                let (sums, min) = unsafe {
                    let sums = x[t].sums.add(2 * p).cast::<i32>().read_unaligned();
                    (sums, _mm512_load_si512(panel.mins[p].as_ptr().cast()))
                };
                imin = _mm512_dpwssd_epi32(imin, min, _mm512_set1_epi32(sums));
            }
            sum = _mm512_fmadd_ps(_mm512_mul_ps(m, d_x), _mm512_cvtepi32_ps(imin), sum);
        }
        // SAFETY: as for the load.
        unsafe { _mm512_store_ps(acc, sum) };
    }
}

/// A panel of up to 8 blocks of 32.
///
/// # Safety
///
/// As for [`k`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn small<F: Format, const N: usize>(tile: &Tile<'_>, sums: &mut [Sums]) {
    let sums = &mut sums[..N];
    let panel = tile.panel;
    // SAFETY: the caller's word.
    let x = unsafe { tile.vectors::<32, N>() };
    // SAFETY: a line of 16 numbers.
    let mut acc: [_; N] = std::array::from_fn(|t| unsafe { _mm512_load_ps(sums[t].0.as_ptr()) });
    for b in 0..tile.blocks {
        tile.fetch(b);
        let start: [_; N] = std::array::from_fn(|t| {
            // SAFETY: for a type with an offset there is a correction per block.
            _mm512_set1_epi32(if F::OFFSET == 0 { 0 } else { unsafe { *x[t].corrections.add(b) } })
        });
        // SAFETY: block `b` is in the panel and in the codes of each token.
        let isum = unsafe {
            if F::WORDS {
                run_of_words::<N>(&panel.codes, &x, b)
            } else {
                run_of::<N>(start, &panel.codes, &x, 8 * b, 8)
            }
        };
        // SAFETY: lines of 16 numbers.
        let (d, m) = unsafe { (_mm512_load_ps(panel.d[b].as_ptr()), _mm512_load_ps(panel.m[b].as_ptr())) };
        for t in 0..N {
            // SAFETY: each token has a scale per block.
            let d_x = unsafe { _mm512_set1_ps(*x[t].scales.add(b)) };
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, d_x), _mm512_cvtepi32_ps(isum[t]), acc[t]);
            if F::MIN {
                // SAFETY: for a type with a minimum each token has a sum per block.
                let imin = unsafe { _mm512_set1_ps(f32::from(*x[t].sums.add(b))) };
                acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(m, d_x), imin, acc[t]);
            }
        }
    }
    for t in 0..N {
        // SAFETY: a line of 16 numbers.
        unsafe { _mm512_store_ps(sums[t].0.as_mut_ptr(), acc[t]) };
    }
}

/// Sums over `steps` times 4 columns, from vector `at` of the panel's codes on.
///
/// # Safety
///
/// AVX-512 with VNNI; the steps must lie within the panel and the tokens' codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run_of<const N: usize>(
    mut sums: [__m512i; N],
    panel: &[u8],
    x: &[Vector; N],
    at: usize,
    steps: usize,
) -> [__m512i; N] {
    for step in at..at + steps {
        // SAFETY: the caller's word.
        unsafe {
            let w = _mm512_load_si512(panel.as_ptr().add(64 * step).cast());
            for t in 0..N {
                let four = x[t].codes.add(4 * step).cast::<i32>().read_unaligned();
                sums[t] = _mm512_dpbusd_epi32(sums[t], w, _mm512_set1_epi32(four));
            }
        }
    }
    sums
}

/// Dots of block `b` of 32 words.
///
/// # Safety
///
/// As for [`run_of`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run_of_words<const N: usize>(panel: &[u8], x: &[Vector; N], b: usize) -> [__m512i; N] {
    let mut sums = [_mm512_setzero_si512(); N];
    for step in 16 * b..16 * b + 16 {
        // SAFETY: the caller's word.
        unsafe {
            let w = _mm512_load_si512(panel.as_ptr().add(64 * step).cast());
            for t in 0..N {
                let two = x[t].codes.add(4 * step).cast::<i32>().read_unaligned();
                sums[t] = _mm512_dpwssd_epi32(sums[t], w, _mm512_set1_epi32(two));
            }
        }
    }
    sums
}
