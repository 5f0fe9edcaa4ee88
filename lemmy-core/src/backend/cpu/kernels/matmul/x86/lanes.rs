//! A vector in which every 32-bit lane belongs to one row: what unpacking a panel needs from an instruction set.

use std::arch::x86_64::*;

/// One 32-bit lane per row.
///
/// # Safety
///
/// Every method needs the instruction set of the implementing type, and is inlined into a function that has it.
pub(super) trait Lanes: Copy {
    /// Lanes, so rows.
    const ROWS: usize;
    /// Whether a product of an unsigned and a signed byte is summed in 32 bits. Else sums of 16 bits must not overflow.
    const WIDE: bool;

    /// Bytes `0..16` of each row as four vectors: vector `i` has bytes `4 * i..` of row `r` in lane `r`.
    unsafe fn dwords(src: *const u8, stride: usize) -> [Self; 4];
    unsafe fn splat(x: u32) -> Self;
    unsafe fn and(self, mask: u32) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, mask: u32) -> Self;
    unsafe fn shr(self, n: u32) -> Self;
    unsafe fn shl(self, n: u32) -> Self;
    /// Byte `i` of each lane, as a signed number.
    unsafe fn signed_byte(self, i: u32) -> Self;
    /// Bytes `2 * i` and `2 * i + 1` of each lane, as signed words.
    unsafe fn signed_pair(self, i: u32) -> Self;
    /// For each row 0x10 in byte `e` where bit `4 * k + e` is set.
    unsafe fn sixteen_if_bit(self, k: u32) -> Self;
    unsafe fn store(self, at: *mut u8);
    /// The low halves as f16, stored as f32.
    unsafe fn store_f16(self, at: *mut f32);
    /// A scale in the form in which the tiles multiply with it.
    unsafe fn store_scale(self, at: *mut u8);
}

impl Lanes for __m256i {
    const ROWS: usize = 8;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn dwords(src: *const u8, stride: usize) -> [Self; 4] {
        // SAFETY: the caller's word that 16 bytes of 8 rows can be read.
        unsafe {
            let row = |r: usize| _mm_loadu_si128(src.add(r * stride).cast());
            let pair = |r: usize| _mm256_inserti128_si256(_mm256_castsi128_si256(row(r)), row(r + 4), 1);
            let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        // SAFETY: AVX2, the caller's word; so in all that follows.
        unsafe { _mm256_set1_epi32(x as i32) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_and_si256(self, Self::splat(mask)) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_or_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, mask: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_xor_si256(self, Self::splat(mask)) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_srl_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn shl(self, n: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_sll_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn signed_byte(self, i: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm256_srai_epi32(self.shl(24 - 8 * i), 24) }
    }
    #[inline(always)]
    unsafe fn signed_pair(self, i: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            // Each byte to the upper half of its word, then down with its sign.
            let lane =
                _mm256_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c, 0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
            let byte = _mm256_set1_epi32((0x0100_0000 + i * 0x0200_0200) as i32);
            _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(self, _mm256_add_epi8(lane, byte)))
        }
    }
    #[inline(always)]
    unsafe fn sixteen_if_bit(self, k: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            let byte = _mm256_set1_epi32((k / 2 * 0x0101_0101) as i32);
            let lane =
                _mm256_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c, 0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
            let bytes = _mm256_shuffle_epi8(self, _mm256_add_epi8(byte, lane));
            let bit = Self::splat(0x0804_0201 << (4 * (k % 2)));
            _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit).and(0x1010_1010)
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: see `splat`; the caller's word for the 32 bytes.
        unsafe { _mm256_storeu_si256(at.cast(), self) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, at: *mut f32) {
        // SAFETY: as for `store`.
        unsafe {
            let low = self.and(0xffff);
            let halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0b00_00_10_00);
            _mm256_storeu_ps(at, _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
        }
    }
    #[inline(always)]
    unsafe fn store_scale(self, at: *mut u8) {
        // Two partial sums of 16 bits lie in a lane, so the scale is there twice.
        // SAFETY: as for `store`.
        unsafe { self.and(0xffff).or(self.shl(16)).store(at) }
    }
}

impl Lanes for __m512i {
    const ROWS: usize = 16;
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn dwords(src: *const u8, stride: usize) -> [Self; 4] {
        // SAFETY: the caller's word that 16 bytes of 16 rows can be read.
        unsafe {
            let row = |r: usize| _mm_loadu_si128(src.add(r * stride).cast());
            // Rows `r`, `r + 4`, `r + 8`, `r + 12`, so that unpacking leaves the rows in order.
            let four = |r: usize| {
                let v = _mm512_castsi128_si512(row(r));
                let v = _mm512_mask_broadcast_i32x4(v, 0x00f0, row(r + 4));
                let v = _mm512_mask_broadcast_i32x4(v, 0x0f00, row(r + 8));
                _mm512_mask_broadcast_i32x4(v, 0xf000, row(r + 12))
            };
            let (a, b, c, d) = (four(0), four(1), four(2), four(3));
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        // SAFETY: AVX-512 F and BW, the caller's word; so in all that follows.
        unsafe { _mm512_set1_epi32(x as i32) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_and_si512(self, Self::splat(mask)) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_or_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, mask: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_xor_si512(self, Self::splat(mask)) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_srl_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn shl(self, n: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_sll_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn signed_byte(self, i: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_srai_epi32::<24>(self.shl(24 - 8 * i)) }
    }
    #[inline(always)]
    unsafe fn signed_pair(self, i: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            // Each byte to the upper half of its word, then down with its sign.
            let lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c));
            let byte = _mm512_set1_epi32((0x0100_0000 + i * 0x0200_0200) as i32);
            _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(self, _mm512_add_epi8(lane, byte)))
        }
    }
    #[inline(always)]
    unsafe fn sixteen_if_bit(self, k: u32) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            let lane = _mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
            let lane = _mm_add_epi8(lane, _mm_set1_epi8((k / 2) as i8));
            let bytes = _mm512_shuffle_epi8(self, _mm512_broadcast_i32x4(lane));
            let set = _mm512_test_epi8_mask(bytes, Self::splat(0x0804_0201 << (4 * (k % 2))));
            _mm512_maskz_mov_epi8(set, Self::splat(0x1010_1010))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: see `splat`; the caller's word for the 64 bytes.
        unsafe { _mm512_storeu_si512(at.cast(), self) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, at: *mut f32) {
        // SAFETY: as for `store`.
        unsafe { _mm512_storeu_ps(at, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(self))) }
    }
    #[inline(always)]
    unsafe fn store_scale(self, at: *mut u8) {
        // SAFETY: as for `store`.
        unsafe { self.store(at) }
    }
}
