//! Blocks in 256-bit registers: `vpmaddubsw` multiplies unsigned with signed bytes and adds pairs in 16 bits, `vpmaddwd`
//! widens, multiplying by the group's scale where there is one. No pair can overflow: codes are at most 63 (Q6_K), and
//! 2 * 63 * 127 is below 2^15.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every function is nothing but instructions, whose presence is the caller's word"
)]

use std::arch::x86_64::*;

use super::{Min, Stream, scales_mins};

/// Four times a pair of neighbours' products, widened with a factor for all.
#[inline(always)]
unsafe fn pairs(codes: __m256i, x: __m256i, factor: __m256i) -> __m256i {
    _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), factor)
}

/// Eight numbers as words.
#[inline(always)]
unsafe fn words(numbers: *const i32) -> __m128i {
    let (low, high) = (_mm_loadu_si128(numbers.cast()), _mm_loadu_si128(numbers.add(4).cast()));
    _mm_packs_epi32(low, high)
}

/// Q4_K, and Q5_K with its fifth bits: 32 bytes of codes hold two groups, one in the low nibbles and one in the high ones.
pub(in super::super) struct Q4K<const FIFTH_BITS: bool>;

#[derive(Clone, Copy)]
pub(in super::super) struct Groups {
    codes: [__m256i; 8],
    /// Scales of the groups, each in 16 bits.
    scales: __m128i,
    mins: u64,
}

impl<const FIFTH_BITS: bool> Stream for Q4K<FIFTH_BITS> {
    const BLOCK: usize = 256;
    const BYTES: usize = if FIFTH_BITS { 176 } else { 144 };
    const MIN: Min = Min::Grouped;
    const OFFSET: i32 = 0;
    type W = Groups;
    type X = (*const i8, __m128i);

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> Groups {
        let (scales, mins) = scales_mins(block.add(4));
        let nibble = _mm256_set1_epi8(15);
        let qs = block.add(if FIFTH_BITS { 48 } else { 16 });
        let mut codes = [_mm256_setzero_si256(); 8];
        for pair in 0..4 {
            let packed = _mm256_loadu_si256(qs.add(32 * pair).cast());
            codes[2 * pair] = _mm256_and_si256(packed, nibble);
            codes[2 * pair + 1] = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), nibble);
        }
        if FIFTH_BITS {
            let bits = _mm256_loadu_si256(block.add(16).cast());
            let sixteen = _mm256_set1_epi8(16);
            for (group, codes) in codes.iter_mut().enumerate() {
                let bit = _mm256_set1_epi8((1u8 << group) as i8);
                let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
                *codes = _mm256_or_si256(*codes, _mm256_and_si256(is_set, sixteen));
            }
        }
        Groups { codes, scales: _mm_cvtepu8_epi16(_mm_cvtsi64_si128(scales as i64)), mins }
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, factors: *const i32) -> (*const i8, __m128i) {
        (codes, words(factors))
    }

    #[inline(always)]
    unsafe fn dot(w: &Groups, &(x, factors): &(*const i8, __m128i)) -> __m256i {
        let scales = _mm256_broadcastsi128_si256(_mm_mullo_epi16(w.scales, factors));
        let mut sum = _mm256_setzero_si256();
        for (g, &codes) in w.codes.iter().enumerate() {
            let at = (2 * g) as u16;
            let scale = _mm256_shuffle_epi8(scales, _mm256_set1_epi16((at | (at + 1) << 8) as i16));
            sum = _mm256_add_epi32(sum, pairs(codes, _mm256_loadu_si256(x.add(32 * g).cast()), scale));
        }
        sum
    }

    #[inline(always)]
    unsafe fn mins(w: &Groups) -> __m128i {
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
    codes: [__m256i; 8],
    scales: __m128i,
}

impl Stream for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const MIN: Min = Min::Without;
    const OFFSET: i32 = 0;
    type W = Sixteens;
    type X = (*const i8, __m256i, __m256i);

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> Sixteens {
        let nibble = _mm256_set1_epi8(15);
        let high_bits = _mm256_set1_epi8(0x30);
        let mut codes = [_mm256_setzero_si256(); 8];
        for half in 0..2 {
            let two_bits = _mm256_loadu_si256(block.add(128 + 32 * half).cast());
            // Quarter g has its high bits at 2 * g of each byte; they go to bit 4.
            let high = [
                _mm256_slli_epi16::<4>(two_bits),
                _mm256_slli_epi16::<2>(two_bits),
                two_bits,
                _mm256_srli_epi16::<2>(two_bits),
            ];
            for (g, high) in high.into_iter().enumerate() {
                let packed = _mm256_loadu_si256(block.add(64 * half + 32 * (g % 2)).cast());
                let low = if g < 2 { packed } else { _mm256_srli_epi16::<4>(packed) };
                codes[4 * half + g] = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(high, high_bits));
            }
        }
        Sixteens { codes, scales: _mm_loadu_si128(block.add(192).cast()) }
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, half_sums: *const i16, factors: *const i32) -> (*const i8, __m256i, __m256i) {
        let factors = words(factors);
        let twice = _mm256_inserti128_si256::<1>(
            _mm256_castsi128_si256(_mm_unpacklo_epi16(factors, factors)),
            _mm_unpackhi_epi16(factors, factors),
        );
        (codes, _mm256_loadu_si256(half_sums.cast()), twice)
    }

    #[inline(always)]
    unsafe fn dot(w: &Sixteens, &(x, half_sums, factors): &(*const i8, __m256i, __m256i)) -> __m256i {
        let scales = _mm256_cvtepi8_epi16(w.scales);
        let offset = _mm256_slli_epi32::<5>(_mm256_madd_epi16(scales, half_sums));
        let scales = _mm256_mullo_epi16(scales, factors);
        // Both halves of each vector: the first eight scales, the last eight.
        let scales =
            [_mm256_permute4x64_epi64::<0b01_00_01_00>(scales), _mm256_permute4x64_epi64::<0b11_10_11_10>(scales)];
        let mut sum = _mm256_sub_epi32(_mm256_setzero_si256(), offset);
        for (g, &codes) in w.codes.iter().enumerate() {
            // Group g has the 16-bit scales 2 * g and 2 * g + 1, one for each half.
            let at = (4 * (g % 4)) as u16;
            let low = _mm_set1_epi16((at | (at + 1) << 8) as i16);
            let high = _mm_set1_epi16(((at + 2) | ((at + 3) << 8)) as i16);
            let which = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            let scale = _mm256_shuffle_epi8(scales[g / 4], which);
            sum = _mm256_add_epi32(sum, pairs(codes, _mm256_loadu_si256(x.add(32 * g).cast()), scale));
        }
        sum
    }

    #[inline(always)]
    unsafe fn scales(block: *const u8) -> (u16, u16) {
        (block.add(208).cast::<u16>().read_unaligned(), 0)
    }
}

/// The types with blocks of 32: scales, then fifth bits if there are, then codes.
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
        if !FIFTH_BITS {
            return codes;
        }
        // Byte j gets the byte of the bits that holds its own, then keeps bit j % 8 of it.
        let bits = _mm256_set1_epi32(block.add(Self::HEAD).cast::<i32>().read_unaligned());
        let spread = _mm256_shuffle_epi8(
            bits,
            _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303),
        );
        let own = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, own), own);
        _mm256_or_si256(codes, _mm256_and_si256(is_set, _mm256_set1_epi8(16)))
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, _: *const i32) -> __m256i {
        _mm256_loadu_si256(codes.cast())
    }

    #[inline(always)]
    unsafe fn dot(w: &__m256i, x: &__m256i) -> __m256i {
        pairs(*w, *x, _mm256_set1_epi16(1))
    }
}

impl<const WITH_MIN: bool, const FIFTH_BITS: bool> Nibbles<WITH_MIN, FIFTH_BITS> {
    const HEAD: usize = if WITH_MIN { 4 } else { 2 };
}

/// Q8_0, against activations of 16 bits.
pub(in super::super) struct Q8;

impl Stream for Q8 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;
    const MIN: Min = Min::Without;
    const OFFSET: i32 = 0;
    type W = [__m256i; 2];
    type X = [__m256i; 2];

    #[inline(always)]
    unsafe fn unpack(block: *const u8) -> [__m256i; 2] {
        let half = |i: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(block.add(2 + 16 * i).cast()));
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn load(codes: *const i8, _: *const i16, _: *const i32) -> [__m256i; 2] {
        let half = |i: usize| _mm256_loadu_si256(codes.add(32 * i).cast());
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn dot(w: &[__m256i; 2], x: &[__m256i; 2]) -> __m256i {
        _mm256_add_epi32(_mm256_madd_epi16(w[0], x[0]), _mm256_madd_epi16(w[1], x[1]))
    }
}
