//! Blocks in 512-bit registers, with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each lane.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is nothing but instructions, whose presence is the caller's word"
)]

use std::arch::x86_64::*;

use super::{Min, Stream, scales_mins};

/// Eight 32-bit sums out of sixteen.
#[inline(always)]
unsafe fn halve(x: __m512i) -> __m256i {
    _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x))
}

/// `low` in the lower half, `high` in the upper.
#[inline(always)]
unsafe fn join(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Lane indices `[a; 8] [b; 8]`: the scale of group `a` under its eight lanes, that of `b` under the others.
#[inline(always)]
unsafe fn two(a: i32, b: i32) -> __m512i {
    join(_mm256_set1_epi32(a), _mm256_set1_epi32(b))
}

/// Lane indices `a`, `a + 1`, `a + 2`, `a + 3`, four times each.
#[inline(always)]
unsafe fn four_each(a: i32) -> __m512i {
    let steps = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    _mm512_add_epi32(_mm512_set1_epi32(a), steps)
}

/// Q4_K, and Q5_K with its fifth bits. 64 bytes of codes hold four groups of 32: 0 and 2 in the low nibbles, 1 and 3 in
/// the high ones; so vectors go by pairs of groups (0, 2), (1, 3), (4, 6), (5, 7).
pub(in super::super) struct Q4K<const FIFTH_BITS: bool>;

#[derive(Clone, Copy)]
pub(in super::super) struct PairedGroups {
    codes: [__m512i; 4],
    scales: __m256i,
    mins: u64,
}

impl<const FIFTH_BITS: bool> Stream for Q4K<FIFTH_BITS> {
    const BLOCK: usize = 256;
    const BYTES: usize = if FIFTH_BITS { 176 } else { 144 };
    const MIN: Min = Min::Grouped;
    const OFFSET: i32 = 0;
    type W = PairedGroups;
    type X = ([__m512i; 4], __m256i);

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> PairedGroups {
        let (scales, mins) = scales_mins(block.add(4));
        let nibble = _mm512_set1_epi8(15);
        let qs = block.add(if FIFTH_BITS { 48 } else { 16 });
        let (a, b) = (_mm512_loadu_si512(qs.cast()), _mm512_loadu_si512(qs.add(64).cast()));
        let high = |x| _mm512_and_si512(_mm512_srli_epi16::<4>(x), nibble);
        let mut codes = [_mm512_and_si512(a, nibble), high(a), _mm512_and_si512(b, nibble), high(b)];
        if FIFTH_BITS {
            let bits = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(16).cast()));
            let sixteen = _mm512_set1_epi8(16);
            for (i, codes) in codes.iter_mut().enumerate() {
                // The bits of this pair's groups, each moved to bit 4: first to bit 0, then all by 4.
                let group = (i / 2 * 4 + i % 2) as i16;
                let shift = join(_mm256_set1_epi16(group), _mm256_set1_epi16(group + 2));
                let moved = _mm512_slli_epi16::<4>(_mm512_srlv_epi16(bits, shift));
                // codes | (moved & 16)
                *codes = _mm512_ternarylogic_epi32::<0b1111_1000>(*codes, moved, sixteen);
            }
        }
        let scales = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(scales as i64));
        PairedGroups { codes, scales, mins }
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, factors: *const i32) -> ([__m512i; 4], __m256i) {
        let group = |g: usize| _mm256_loadu_si256(codes.add(32 * g).cast());
        let codes =
            [join(group(0), group(2)), join(group(1), group(3)), join(group(4), group(6)), join(group(5), group(7))];
        (codes, _mm256_loadu_si256(factors.cast()))
    }

    #[inline(always)]
    unsafe fn dot(w: &PairedGroups, (x, factors): &([__m512i; 4], __m256i)) -> __m256i {
        let zero = _mm512_setzero_si512();
        let scales = _mm512_castsi256_si512(_mm256_mullo_epi32(w.scales, *factors));
        let of = [two(0, 2), two(1, 3), two(4, 6), two(5, 7)];
        let part = |i: usize| {
            let scale = _mm512_permutexvar_epi32(of[i], scales);
            _mm512_mullo_epi32(_mm512_dpbusd_epi32(zero, w.codes[i], x[i]), scale)
        };
        halve(_mm512_add_epi32(_mm512_add_epi32(part(0), part(1)), _mm512_add_epi32(part(2), part(3))))
    }

    #[inline(always)]
    unsafe fn mins(w: &PairedGroups) -> __m128i {
        _mm_cvtepu8_epi16(_mm_cvtsi64_si128(w.mins as i64))
    }

    #[inline(always)]
    unsafe fn scales(block: *const u8) -> (u16, u16) {
        // The minimum is subtracted: flip the sign of its scale.
        (block.cast::<u16>().read_unaligned(), block.add(2).cast::<u16>().read_unaligned() ^ 0x8000)
    }
}

/// Q6_K: codes 0 to 63 stand for -32 to 31; a scale for every 16.
pub(in super::super) struct Q6K;

#[derive(Clone, Copy)]
pub(in super::super) struct Sixteens {
    codes: [__m512i; 4],
    scales: __m128i,
}

/// Activations whose groups of 32 are halved: sums and factors by 16.
#[derive(Clone, Copy)]
pub(in super::super) struct Halves {
    codes: [__m512i; 4],
    sums: __m256i,
    factors: __m512i,
}

impl Stream for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const MIN: Min = Min::Without;
    const OFFSET: i32 = 0;
    type W = Sixteens;
    type X = Halves;

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> Sixteens {
        let nibble = _mm512_set1_epi8(15);
        let high_bits = _mm512_set1_epi8(0x30);
        let mut codes = [_mm512_setzero_si512(); 4];
        for half in 0..2 {
            let low = _mm512_loadu_si512(block.add(64 * half).cast());
            let two_bits = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(128 + 32 * half).cast()));
            for upper in 0..2 {
                // Numbers `64 * upper..` of the half have their high bits at 4 * upper, those 32 on at 4 * upper + 2.
                let nibbles = if upper == 0 { low } else { _mm512_srli_epi16::<4>(low) };
                let at = 4 * upper as i16;
                let shift = join(_mm256_set1_epi16(at), _mm256_set1_epi16(at + 2));
                let moved = _mm512_slli_epi16::<4>(_mm512_srlv_epi16(two_bits, shift));
                let moved = _mm512_and_si512(moved, high_bits);
                // (nibbles & 15) | moved
                codes[2 * half + upper] = _mm512_ternarylogic_epi32::<0b1111_1000>(moved, nibbles, nibble);
            }
        }
        Sixteens { codes, scales: _mm_loadu_si128(block.add(192).cast()) }
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, half_sums: *const i16, factors: *const i32) -> Halves {
        let part = |i: usize| _mm512_loadu_si512(codes.add(64 * i).cast());
        let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        let factors = _mm512_castsi256_si512(_mm256_loadu_si256(factors.cast()));
        Halves {
            codes: [part(0), part(1), part(2), part(3)],
            sums: _mm256_loadu_si256(half_sums.cast()),
            factors: _mm512_permutexvar_epi32(twice, factors),
        }
    }

    #[inline(always)]
    unsafe fn dot(w: &Sixteens, x: &Halves) -> __m256i {
        let zero = _mm512_setzero_si512();
        let scales = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(w.scales), x.factors);
        let part = |i: usize| {
            let of = four_each(4 * i as i32);
            let scale = _mm512_permutexvar_epi32(of, scales);
            _mm512_mullo_epi32(_mm512_dpbusd_epi32(zero, w.codes[i], x.codes[i]), scale)
        };
        let sum = halve(_mm512_add_epi32(_mm512_add_epi32(part(0), part(1)), _mm512_add_epi32(part(2), part(3))));
        let offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(w.scales), x.sums);
        _mm256_sub_epi32(sum, _mm256_slli_epi32::<5>(offset))
    }

    #[inline(always)]
    unsafe fn scales(block: *const u8) -> (u16, u16) {
        (block.add(208).cast::<u16>().read_unaligned(), 0)
    }
}

/// The types with blocks of 32: `HEAD` bytes of scales (4 with a minimum), then fifth bits if there are, then codes.
pub(in super::super) struct Nibbles<const WITH_MIN: bool, const FIFTH_BITS: bool>;

impl<const WITH_MIN: bool, const FIFTH_BITS: bool> Stream for Nibbles<WITH_MIN, FIFTH_BITS> {
    const BLOCK: usize = 32;
    const BYTES: usize = Self::HEAD + if FIFTH_BITS { 4 } else { 0 } + 16;
    const MIN: Min = if WITH_MIN { Min::Whole } else { Min::Without };
    const OFFSET: i32 = match (WITH_MIN, FIFTH_BITS) {
        (true, _) => 0,
        (false, true) => 16,
        (false, false) => 8,
    };
    const SMALL: bool = true;
    type W = __m256i;
    type X = __m256i;

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> __m256i {
        let packed = _mm_loadu_si128(block.add(Self::BYTES - 16).cast());
        let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(packed), _mm_srli_epi16::<4>(packed));
        let codes = _mm256_and_si256(both, _mm256_set1_epi8(15));
        if FIFTH_BITS {
            let bits = block.add(Self::HEAD).cast::<u32>().read_unaligned();
            _mm256_mask_add_epi8(codes, bits, codes, _mm256_set1_epi8(16))
        } else {
            codes
        }
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, _: *const i32) -> __m256i {
        _mm256_loadu_si256(codes.cast())
    }

    #[inline(always)]
    unsafe fn dot(w: &__m256i, x: &__m256i) -> __m256i {
        _mm256_dpbusd_epi32(_mm256_setzero_si256(), *w, *x)
    }
}

impl<const WITH_MIN: bool, const FIFTH_BITS: bool> Nibbles<WITH_MIN, FIFTH_BITS> {
    const HEAD: usize = if WITH_MIN { 4 } else { 2 };
}

/// Q8_0, against activations of 16 bits: `vpdpwssd` adds two products of words to each lane.
pub(in super::super) struct Q8;

impl Stream for Q8 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;
    const MIN: Min = Min::Without;
    const OFFSET: i32 = 0;
    type W = __m512i;
    type X = __m512i;

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> __m512i {
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(block.add(2).cast()))
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, _: *const i32) -> __m512i {
        _mm512_loadu_si512(codes.cast())
    }

    #[inline(always)]
    unsafe fn dot(w: &__m512i, x: &__m512i) -> __m256i {
        halve(_mm512_dpwssd_epi32(_mm512_setzero_si512(), *w, *x))
    }
}
