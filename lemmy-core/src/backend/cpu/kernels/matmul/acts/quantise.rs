//! From floats to codes, in portable code that an instruction set may compile for itself.

use super::{ActKind, ActsRow};

/// [`MatmulKernels::quantise`] in portable code; an instruction set may compile it for itself.
#[inline(always)]
pub(in super::super) fn quantise(x: &[f32], row: ActsRow<'_>) {
    match row {
        ActsRow::Floats(out) => out.copy_from_slice(x),
        ActsRow::Words { words, scales } => quantise_blocks::<32, _>(x, words, scales, 32767.0, |q| q as i16),
        ActsRow::Quantised { kind, codes, scales, factors, sums, half_sums, corrections } => {
            if kind == ActKind::Q8x32 {
                quantise_blocks::<32, _>(x, codes, scales, 127.0, |q| q as i8);
            } else {
                quantise_groups(x, codes, scales, factors);
            }
            for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<32>().0) {
                *sum = codes.iter().map(|&q| i16::from(q)).sum();
            }
            for (sum, codes) in half_sums.iter_mut().zip(codes.as_chunks::<16>().0) {
                *sum = codes.iter().map(|&q| i16::from(q)).sum();
            }
            let groups: &[i16] = if kind == ActKind::Q8x32 { sums } else { half_sums };
            for (plane, offset) in corrections.into_iter().zip(kind.offsets()) {
                for (correction, sum) in plane.iter_mut().zip(groups.iter()) {
                    *correction = -offset * i32::from(*sum);
                }
            }
            // At most 8 * 32 * 127, which a word holds.
            for (sum, &factor) in sums.iter_mut().zip(factors.iter()) {
                *sum *= factor as i16;
            }
            for (sums, &factor) in half_sums.as_chunks_mut::<2>().0.iter_mut().zip(factors.iter()) {
                sums.iter_mut().for_each(|sum| *sum *= factor as i16);
            }
        }
    }
}

/// `d = max|x| / largest`, `q = x / d` rounded to nearest, ties to even; `narrow` only drops bits that are not used.
#[inline(always)]
fn quantise_blocks<const N: usize, T>(
    x: &[f32],
    codes: &mut [T],
    scales: &mut [f32],
    largest: f32,
    narrow: impl Fn(i32) -> T,
) {
    for ((x, codes), scale) in x.as_chunks::<N>().0.iter().zip(codes.as_chunks_mut::<N>().0).zip(scales) {
        let max = magnitude(x);
        let inverse = if max < TINY { 0.0 } else { largest / max };
        *scale = if max < TINY { 0.0 } else { max / largest };
        for (code, x) in codes.iter_mut().zip(x) {
            *code = narrow(round(x * inverse).clamp(-(largest as i32), largest as i32));
        }
    }
}

/// Blocks of 256: `d = max|x| / (127 * 8)`; per group of 32 the smallest factor `f` of 1 to 8 with
/// `max|x of the group| <= 127 * f * d`, and `q = x / (f * d)` rounded to nearest, ties to even.
#[inline(always)]
fn quantise_groups(x: &[f32], codes: &mut [i8], scales: &mut [f32], factors: &mut [i32]) {
    const FACTORS: f32 = 8.0;
    let blocks = x.as_chunks::<256>().0.iter().zip(codes.as_chunks_mut::<256>().0);
    for ((x, codes), (scale, factors)) in blocks.zip(scales.iter_mut().zip(factors.as_chunks_mut::<8>().0)) {
        let max = magnitude(x);
        let is_tiny = max < TINY;
        *scale = if is_tiny { 0.0 } else { max / (127.0 * FACTORS) };
        let groups = x.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
        for ((x, codes), factor) in groups.zip(factors) {
            *factor = ((magnitude(x) * (FACTORS / max)).ceil() as i32).clamp(1, FACTORS as i32);
            let inverse = if is_tiny { 0.0 } else { 127.0 * FACTORS / max / *factor as f32 };
            for (code, x) in codes.iter_mut().zip(x) {
                *code = round(x * inverse).clamp(-127, 127) as i8;
            }
        }
    }
}

/// Blocks whose numbers are all smaller count as zero, so that what they are divided by has a finite inverse.
const TINY: f32 = 1e-33;

/// Greatest magnitude. As integers the magnitudes sort like the numbers, with NaN above all.
#[inline(always)]
fn magnitude(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)))
}

/// To the nearest integer, ties to even, for less than 2^22: adding 1.5 * 2^23 leaves it in the low bits.
#[inline(always)]
fn round(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32
}
