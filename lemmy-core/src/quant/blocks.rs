//! Layouts of the block formats, field by field as in the file, with accessors for the packed parts.
//!
//! All structs are plain bytes without alignment: a slice of a model file is viewed as blocks by [`cast`]. `d` is always
//! the factor of the quantised numbers, an IEEE half; `qs` holds their low bits, `qh` the high ones. For formats of 32
//! numbers byte `j` of `qs` holds numbers `j` (low nibble) and `j + 16` (high nibble).
//!
//! Source of the layouts: ggml's `ggml-common.h`. What the numbers mean: [`dequantize`](super::dequantize).

#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing)] // fixed-size arrays, indices masked or documented; every index is reached by tests
#![allow(missing_docs)] // fields are the format's own names, described in the struct's comment

use half::f16;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::DType;

/// What all block structs have in common.
pub trait Block: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy + Send + Sync {
    /// The type whose block this is.
    const DTYPE: DType;
    /// Numbers in a block.
    const LEN: usize;
}

/// Views bytes as blocks, or `None` if they are no whole number of blocks.
pub fn cast<B: Block>(bytes: &[u8]) -> Option<&[B]> {
    <[B]>::ref_from_bytes(bytes).ok()
}

/// Views bytes as blocks to be written, or `None` if they are no whole number of blocks.
pub fn cast_mut<B: Block>(bytes: &mut [u8]) -> Option<&mut [B]> {
    <[B]>::mut_from_bytes(bytes).ok()
}

macro_rules! block {
    ($(#[$meta:meta])* $name:ident, $dtype:ident, $len:literal, { $($field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name { $(pub $field: $ty),* }

        impl Block for $name {
            const DTYPE: DType = DType::$dtype;
            const LEN: usize = $len;
        }
    };
}

block!(
    /// One IEEE half, handled as a block of one number.
    BlockF16, F16, 1, { bits: U16 }
);
block!(
    /// One bfloat16, handled as a block of one number.
    BlockBF16, BF16, 1, { bits: U16 }
);
block!(
    /// 32 numbers of 4 bits, symmetric: `d * (q - 8)`.
    BlockQ4_0, Q4_0, 32, { d: U16, qs: [u8; 16] }
);
block!(
    /// 32 numbers of 4 bits with an offset: `d * q + m`.
    BlockQ4_1, Q4_1, 32, { d: U16, m: U16, qs: [u8; 16] }
);
block!(
    /// 32 numbers of 5 bits, symmetric: `d * (q - 16)`; bit `j` of `qh` is the fifth bit of number `j`.
    BlockQ5_0, Q5_0, 32, { d: U16, qh: U32, qs: [u8; 16] }
);
block!(
    /// 32 numbers of 5 bits with an offset: `d * q + m`; bit `j` of `qh` is the fifth bit of number `j`.
    BlockQ5_1, Q5_1, 32, { d: U16, m: U16, qh: U32, qs: [u8; 16] }
);
block!(
    /// 32 numbers of 8 bits: `d * q`.
    BlockQ8_0, Q8_0, 32, { d: U16, qs: [i8; 32] }
);
block!(
    /// 32 numbers of 4 bits on the uneven levels [`IQ4_LEVELS`]: `d * level[q]`.
    BlockIQ4NL, IQ4_NL, 32, { d: U16, qs: [u8; 16] }
);
block!(
    /// 32 numbers in E2M1 with one power of two `2^(e - 127)`; see [`MXFP4_LEVELS`].
    BlockMXFP4, MXFP4, 32, { e: u8, qs: [u8; 16] }
);
block!(
    /// 256 numbers of 2 bits in 16 groups of 16 with scale and minimum (4 bits each, in one byte of `scales`).
    BlockQ2K, Q2_K, 256, { scales: [u8; 16], qs: [u8; 64], d: U16, dmin: U16 }
);
block!(
    /// 256 numbers of 3 bits, symmetric, in 16 groups of 16 with a scale of 6 bits.
    BlockQ3K, Q3_K, 256, { hmask: [u8; 32], qs: [u8; 64], scales: [u8; 12], d: U16 }
);
block!(
    /// 256 numbers of 4 bits in 8 groups of 32 with scale and minimum of 6 bits: `(d * sc) * q - (dmin * mn)`.
    BlockQ4K, Q4_K, 256, { d: U16, dmin: U16, scales: [u8; 12], qs: [u8; 128] }
);
block!(
    /// 256 numbers of 5 bits in 8 groups of 32 with scale and minimum of 6 bits, as [`BlockQ4K`].
    BlockQ5K, Q5_K, 256, { d: U16, dmin: U16, scales: [u8; 12], qh: [u8; 32], qs: [u8; 128] }
);
block!(
    /// 256 numbers of 6 bits, symmetric, in 16 groups of 16 with a scale of 8 bits: `(d * sc) * (q - 32)`.
    BlockQ6K, Q6_K, 256, { ql: [u8; 128], qh: [u8; 64], scales: [i8; 16], d: U16 }
);
block!(
    /// 256 numbers of 4 bits on [`IQ4_LEVELS`] in 8 groups of 32 with a scale of 6 bits: `(d * sc) * level[q]`.
    BlockIQ4XS, IQ4_XS, 256, { d: U16, scales_h: U16, scales_l: [u8; 4], qs: [u8; 128] }
);

/// Levels of [`BlockIQ4NL`] and [`BlockIQ4XS`].
pub const IQ4_LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Levels of [`BlockMXFP4`]: twice the E2M1 numbers, so that they are integers.
pub const MXFP4_LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The number that the bits of an IEEE half stand for.
pub fn half_to_f32(bits: U16) -> f32 {
    f16::from_bits(bits.get()).to_f32()
}

impl BlockMXFP4 {
    /// Factor of [`MXFP4_LEVELS`]: `2^(e - 128)`, half of the format's scale because the levels are doubled.
    pub fn factor(&self) -> f32 {
        // 2^-128 and 2^-127 are subnormal: one bit of the mantissa.
        f32::from_bits(match self.e {
            e @ 0..2 => 0x0020_0000 << e,
            e => u32::from(e - 1) << 23,
        })
    }
}

impl BlockQ2K {
    /// Scale and minimum of group `j` (0..16), each in 0..16.
    pub fn scale_min(&self, j: usize) -> (u8, u8) {
        (self.scales[j] & 15, self.scales[j] >> 4)
    }
}

impl BlockQ3K {
    /// The 16 group scales, each in -32..32. Low four bits lie in bytes 0..8, two in each byte; high two in bytes 8..12.
    pub fn group_scales(&self) -> [i8; 16] {
        std::array::from_fn(|j| {
            let low = self.scales[j % 8] >> (4 * (j / 8)) & 15;
            let high = self.scales[8 + j % 4] >> (2 * (j / 4)) & 3;
            (low | high << 4) as i8 - 32
        })
    }
}

impl BlockQ4K {
    /// Scales and minima of the 8 groups, each in 0..64.
    pub fn scales_mins(&self) -> ([u8; 8], [u8; 8]) {
        unpack_scales_mins(&self.scales)
    }
}

impl BlockQ5K {
    /// Scales and minima of the 8 groups, each in 0..64.
    pub fn scales_mins(&self) -> ([u8; 8], [u8; 8]) {
        unpack_scales_mins(&self.scales)
    }
}

impl BlockIQ4XS {
    /// The 8 group scales, each in -32..32.
    pub fn group_scales(&self) -> [i8; 8] {
        std::array::from_fn(|j| {
            let low = self.scales_l[j / 2] >> (4 * (j % 2)) & 15;
            let high = (self.scales_h.get() >> (2 * j) & 3) as u8;
            (low | high << 4) as i8 - 32
        })
    }
}

/// Eight scales and eight minima of 6 bits from the 12 bytes of Q4_K and Q5_K.
///
/// Bytes 0..4 hold scales 0..4 and bytes 4..8 minima 0..4 in their low six bits; bytes 8..12 hold the low four bits of
/// scales 4..8 (low nibble) and minima 4..8 (high nibble), whose high two bits are the free top bits of the first eight.
pub fn unpack_scales_mins(s: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let scales = std::array::from_fn(|j| match j {
        0..4 => s[j] & 63,
        _ => s[j + 4] & 15 | (s[j - 4] >> 6) << 4,
    });
    let mins = std::array::from_fn(|j| match j {
        0..4 => s[j + 4] & 63,
        _ => s[j + 4] >> 4 | (s[j] >> 6) << 4,
    });
    (scales, mins)
}

/// The reverse of [`unpack_scales_mins`]; scales and minima are below 64.
pub fn pack_scales_mins(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    std::array::from_fn(|i| match i {
        0..4 => scales[i] | (scales[i + 4] >> 4) << 6,
        4..8 => mins[i - 4] | (mins[i] >> 4) << 6,
        _ => scales[i - 4] & 15 | (mins[i - 4] & 15) << 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_the_sizes_of_the_type_table() {
        fn check<B: Block>() {
            assert_eq!((B::LEN, size_of::<B>()), (B::DTYPE.block_len(), B::DTYPE.block_bytes()), "{}", B::DTYPE);
        }
        check::<BlockF16>();
        check::<BlockBF16>();
        check::<BlockQ4_0>();
        check::<BlockQ4_1>();
        check::<BlockQ5_0>();
        check::<BlockQ5_1>();
        check::<BlockQ8_0>();
        check::<BlockIQ4NL>();
        check::<BlockMXFP4>();
        check::<BlockQ2K>();
        check::<BlockQ3K>();
        check::<BlockQ4K>();
        check::<BlockQ5K>();
        check::<BlockQ6K>();
        check::<BlockIQ4XS>();
    }

    #[test]
    fn scales_and_mins_survive_packing() {
        for seed in 0..64u8 {
            let scales = std::array::from_fn(|j| (seed + 11 * j as u8) % 64);
            let mins = std::array::from_fn(|j| (seed * 3 + 7 * j as u8) % 64);
            assert_eq!(unpack_scales_mins(&pack_scales_mins(&scales, &mins)), (scales, mins));
        }
    }
}
