//! AVX2 (with FMA and F16C) and AVX-512.

use std::arch::x86_64::*;

use half::f16;

use super::isa::{Isa, Kernel, LANES};

/// 16 floats in two registers. A value proves that the CPU has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"))
            .then_some(Self(()))
    }
}

/// 16 floats in one register. A value proves that the CPU has AVX-512F and all that [`Avx2`] has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avx512f")).map(|_| Self(()))
    }
}

/// An intrinsic on both halves.
macro_rules! halves {
    ($intrinsic:ident $([$constant:expr])? ($($argument:ident),+)) => {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { ($intrinsic$(::<{ $constant }>)?($($argument.0),+), $intrinsic$(::<{ $constant }>)?($($argument.1),+)) }
    };
}

impl Isa for Avx2 {
    /// Lanes 0 to 7, lanes 8 to 15.
    type V = (__m256, __m256);
    const NAME: &'static str = "avx2";
    const MANY_REGISTERS: bool = false;

    fn run<K: Kernel>(self, kernel: K) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: Kernel>(isa: Avx2, kernel: K) {
            kernel.run(isa);
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves that the CPU has the instructions.
        let v = unsafe { _mm256_set1_ps(x) };
        (v, v)
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        // SAFETY: `self` proves the instructions; 8 floats from `x` and 8 more are the array.
        unsafe { (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        // SAFETY: `self` proves the instructions; 8 floats from `out` and 8 more are the array.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), v.0);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), v.1);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::V {
        // SAFETY: `self` proves the instructions; two loads of 16 bytes are the array of 32 bytes; f16 is a plain u16.
        unsafe {
            let x = x.as_ptr().cast::<__m128i>();
            (_mm256_cvtph_ps(_mm_loadu_si128(x)), _mm256_cvtph_ps(_mm_loadu_si128(x.add(1))))
        }
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]) {
        let (low, high) = halves!(_mm256_cvtps_ph[_MM_FROUND_TO_NEAREST_INT](v));
        // SAFETY: `self` proves the instructions; two stores of 16 bytes are the array; any bits are an f16.
        unsafe {
            let out = out.as_mut_ptr().cast::<__m128i>();
            _mm_storeu_si128(out, low);
            _mm_storeu_si128(out.add(1), high);
        }
    }
    #[inline(always)]
    fn splat_f16(self, bits: u16) -> Self::V {
        // SAFETY: `self` proves that the CPU has the instructions.
        let v = unsafe { _mm256_cvtph_ps(_mm_set1_epi16(bits.cast_signed())) };
        (v, v)
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Self::V {
        // SAFETY: `self` proves the instructions; 16 bytes are the array.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            let (low, high) = (_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(x)));
            (_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }
    #[inline(always)]
    fn store_i8(self, v: Self::V, out: &mut [i8; LANES]) {
        let (low, high) = halves!(_mm256_cvtps_epi32(v));
        // SAFETY: `self` proves the instructions; one store of 16 bytes is the array.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes_256(low, high)) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        halves!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        halves!(_mm256_round_ps[_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC](a))
    }
    #[inline(always)]
    fn pow2(self, n: Self::V) -> Self::V {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { (pow2_256(n.0), pow2_256(n.1)) }
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        let less = halves!(_mm256_cmp_ps[_CMP_LT_OQ](a, b));
        halves!(_mm256_blendv_ps(no, yes, less))
    }
    #[inline(always)]
    fn prefetch(self, line: *const u8) {
        // SAFETY: a hint: it accesses nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
    #[inline(always)]
    fn sums(self, [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [Self::V; LANES]) -> Self::V {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { (sums_256([a, b, c, d, e, f, g, h]), sums_256([i, j, k, l, m, n, o, p])) }
    }
}

/// An intrinsic.
macro_rules! whole {
    ($call:expr) => {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { $call }
    };
}

impl Isa for Avx512 {
    type V = __m512;
    const NAME: &'static str = "avx512";
    const MANY_REGISTERS: bool = true;

    fn run<K: Kernel>(self, kernel: K) {
        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
        fn compiled<K: Kernel>(isa: Avx512, kernel: K) {
            kernel.run(isa);
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        whole!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        // SAFETY: `self` proves the instruction; it reads the array.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        // SAFETY: `self` proves the instruction; it writes the array.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::V {
        // SAFETY: `self` proves the instructions; 32 bytes are the array; f16 is a plain u16.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]) {
        // SAFETY: `self` proves the instructions; 32 bytes are the array; any bits are an f16.
        unsafe {
            let rounded = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), rounded);
        }
    }
    #[inline(always)]
    fn splat_f16(self, bits: u16) -> Self::V {
        whole!(_mm512_cvtph_ps(_mm256_set1_epi16(bits.cast_signed())))
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Self::V {
        // SAFETY: `self` proves the instructions; 16 bytes are the array.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn store_i8(self, v: Self::V, out: &mut [i8; LANES]) {
        // SAFETY: `self` proves the instructions; one store of 16 bytes is the array.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        whole!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        whole!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        whole!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn pow2(self, n: Self::V) -> Self::V {
        whole!({
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        })
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        whole!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes))
    }
    #[inline(always)]
    fn prefetch(self, line: *const u8) {
        // SAFETY: a hint: it accesses nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
    #[inline(always)]
    fn sums(self, v: [Self::V; LANES]) -> Self::V {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { sums_512(v) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pow2_256(n: __m256) -> __m256 {
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
}

/// Sixteen small numbers as bytes. The packing stays within 128 bits, so its pieces are put in order before and after.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes_256(low: __m256i, high: __m256i) -> __m128i {
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
    _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
}

/// The tree for 8 vectors of 16 lanes at once: each step adds the halves of two vectors and packs the results into one.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_256([a, b, c, d, e, f, g, h]: [(__m256, __m256); 8]) -> __m256 {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn to_4(a: (__m256, __m256), b: (__m256, __m256)) -> __m256 {
        let (a, b) = (_mm256_add_ps(a.0, a.1), _mm256_add_ps(b.0, b.1));
        _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn to_2(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn to_1(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b))
    }
    // The shuffles stay within 128 bits: `a` to `d` end up in the lower half, `e` to `h` in the upper.
    to_1(to_2(to_4(a, e), to_4(b, f)), to_2(to_4(c, g), to_4(d, h)))
}

/// As [`sums_256`], for 16 vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_512([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [__m512; LANES]) -> __m512 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn to_8(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn to_4(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
        let (a, b) = (to_8(a, b), to_8(c, d));
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn to_2(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn to_1(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b))
    }
    // Each 128 bits hold sums of one of every four: `a, e, i, m` go to one vector so that the order comes out right.
    to_1(to_2(to_4(a, e, i, m), to_4(b, f, j, n)), to_2(to_4(c, g, k, o), to_4(d, h, l, p)))
}
