//! From the blocks of a file to a panel: the layouts of ggml's `ggml-common.h`, one row per lane.
//!
//! Codes become unsigned, but for [`Format::WORDS`]. What that adds to a sum is taken back through the activations' own sums
//! ([`Format::OFFSET`]).

use super::lanes::Lanes;

/// A block type, and what its tiles must know.
pub(super) trait Format {
    /// Numbers in a block.
    const BLOCK: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Integer scales in a block; 0 if there are none.
    const SCALES: usize;
    /// Added to each code.
    const OFFSET: i32;
    /// Whether there is a second scale `m`, with integer minimums if there are integer scales.
    const MIN: bool;
    /// Products of 4 columns that can be added before a sum of 16 bits overflows:
    /// `largest code * 127 * 2 * STEPS <= 32767`.
    const STEPS: usize;
    /// Whether codes are signed words, two columns to a lane, and meet activations of 16 bits.
    const WORDS: bool = false;
    /// Vectors of codes in a block.
    const VECTORS: usize = Self::BLOCK / if Self::WORDS { 2 } else { 4 };

    /// Unpacks one block of `L::ROWS` rows.
    ///
    /// # Safety
    ///
    /// The CPU must have the instructions of `L`; the block of each row must be readable and `to` have room.
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place);
}

/// Where a block goes: the lanes of one half or all of a panel. Everything has a stride of 64 bytes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) codes: *mut u8,
    pub(super) scales: *mut u8,
    pub(super) mins: *mut u8,
    pub(super) d: *mut f32,
    pub(super) m: *mut f32,
}

impl Place {
    #[inline(always)]
    unsafe fn codes<L: Lanes>(self, k: usize, codes: L) {
        // SAFETY: a panel has room for the codes of a block, the caller's word.
        unsafe { codes.store(self.codes.add(64 * k)) }
    }
    #[inline(always)]
    unsafe fn scale<L: Lanes>(self, g: usize, scale: L) {
        // SAFETY: as above, for up to 16 scales.
        unsafe { scale.store_scale(self.scales.add(64 * g)) }
    }
    /// A pair of 16-bit factors.
    #[inline(always)]
    unsafe fn min_pair<L: Lanes>(self, pair: usize, low: L, high: L) {
        // SAFETY: as above, for up to 8 pairs.
        unsafe { low.and(0xffff).or(high.shl(16)).store(self.mins.add(64 * pair)) }
    }
}

const LOW: u32 = 0x0f0f_0f0f;

pub(super) struct Q4K;

impl Format for Q4K {
    const BLOCK: usize = 256;
    const BYTES: usize = 144;
    const SCALES: usize = 8;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    const STEPS: usize = 8;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        // SAFETY: all offsets lie within the 144 bytes of a block.
        unsafe {
            k_header::<L>(src, stride, to);
            for pair in 0..4 {
                for part in 0..2 {
                    let q = L::dwords(src.add(16 + 32 * pair + 16 * part), stride);
                    let k = 16 * pair + 4 * part;
                    for (i, q) in q.into_iter().enumerate() {
                        to.codes(k + i, q.and(LOW));
                        to.codes(k + 8 + i, q.shr(4).and(LOW));
                    }
                }
            }
        }
    }
}

pub(super) struct Q5K;

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const SCALES: usize = 8;
    const OFFSET: i32 = 0;
    const MIN: bool = true;
    const STEPS: usize = 4;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        const FIFTH: u32 = 0x1010_1010;
        // SAFETY: all offsets lie within the 176 bytes of a block.
        unsafe {
            k_header::<L>(src, stride, to);
            for part in 0..2 {
                let h = L::dwords(src.add(16 + 16 * part), stride);
                for pair in 0..4 {
                    let q = L::dwords(src.add(48 + 32 * pair + 16 * part), stride);
                    let k = 16 * pair + 4 * part;
                    for (i, (q, h)) in q.into_iter().zip(h).enumerate() {
                        // Bit `g` of the byte belongs to group `g`; groups `2 * pair` and `2 * pair + 1` are here.
                        let (low, high) = match pair {
                            0 => (h.shl(4), h.shl(3)),
                            1 => (h.shl(2), h.shl(1)),
                            2 => (h, h.shr(1)),
                            _ => (h.shr(2), h.shr(3)),
                        };
                        to.codes(k + i, q.and(LOW).or(low.and(FIFTH)));
                        to.codes(k + 8 + i, q.shr(4).and(LOW).or(high.and(FIFTH)));
                    }
                }
            }
        }
    }
}

/// `d`, `dmin` and the 8 scales and minimums of 6 bits in 12 bytes: one vector of bytes for four of them at a time.
///
/// # Safety
///
/// As for [`Format::unpack`].
#[inline(always)]
unsafe fn k_header<L: Lanes>(src: *const u8, stride: usize, to: Place) {
    // SAFETY: the header is the first 16 bytes of a block.
    unsafe {
        let [d, s0, s1, s2] = L::dwords(src, stride);
        d.store_f16(to.d);
        d.shr(16).xor(0x8000).store_f16(to.m);
        let top = 0x3030_3030;
        let scales = [s0.and(0x3f3f_3f3f), s2.and(LOW).or(s0.shr(2).and(top))];
        let mins = [s1.and(0x3f3f_3f3f), s2.shr(4).and(LOW).or(s1.shr(2).and(top))];
        for i in 0..2 {
            for j in 0..4 {
                to.scale(4 * i + j, scales[i].shr(8 * j as u32).and(0xff));
            }
            to.min_pair(2 * i, mins[i].and(0xff), mins[i].shr(8).and(0xff));
            to.min_pair(2 * i + 1, mins[i].shr(16).and(0xff), mins[i].shr(24));
        }
    }
}

pub(super) struct Q6K;

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const SCALES: usize = 16;
    const OFFSET: i32 = 32;
    const MIN: bool = false;
    const STEPS: usize = 2;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        const TOP: u32 = 0x3030_3030;
        // SAFETY: all offsets lie within the 210 bytes of a block.
        unsafe {
            L::dwords(src.add(194), stride)[3].shr(16).store_f16(to.d);
            for (i, s) in L::dwords(src.add(192), stride).into_iter().enumerate() {
                let s = [s.signed_byte(0), s.signed_byte(1), s.signed_byte(2), s.signed_byte(3)];
                for (j, s) in s.into_iter().enumerate() {
                    to.scale(4 * i + j, s);
                }
                if !L::WIDE {
                    to.min_pair(2 * i, s[0], s[1]);
                    to.min_pair(2 * i + 1, s[2], s[3]);
                }
            }
            for half in 0..2 {
                for part in 0..2 {
                    let a = L::dwords(src.add(64 * half + 16 * part), stride);
                    let b = L::dwords(src.add(64 * half + 32 + 16 * part), stride);
                    let h = L::dwords(src.add(128 + 32 * half + 16 * part), stride);
                    for i in 0..4 {
                        let k = 32 * half + 4 * part + i;
                        to.codes(k, a[i].and(LOW).or(h[i].shl(4).and(TOP)));
                        to.codes(k + 8, b[i].and(LOW).or(h[i].shl(2).and(TOP)));
                        to.codes(k + 16, a[i].shr(4).and(LOW).or(h[i].and(TOP)));
                        to.codes(k + 24, b[i].shr(4).and(LOW).or(h[i].shr(2).and(TOP)));
                    }
                }
            }
        }
    }
}

/// Q4_0, and with `MIN` Q4_1.
pub(super) struct Q4<const MIN: bool>;

impl<const MIN: bool> Format for Q4<MIN> {
    const BLOCK: usize = 32;
    const BYTES: usize = if MIN { 20 } else { 18 };
    const SCALES: usize = 0;
    const OFFSET: i32 = if MIN { 0 } else { 8 };
    const MIN: bool = MIN;
    const STEPS: usize = 8;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        // SAFETY: all offsets lie within the bytes of a block.
        unsafe {
            let d = L::dwords(src, stride)[0];
            d.store_f16(to.d);
            if MIN {
                d.shr(16).store_f16(to.m);
            }
            for (k, q) in L::dwords(src.add(Self::BYTES - 16), stride).into_iter().enumerate() {
                to.codes(k, q.and(LOW));
                to.codes(k + 4, q.shr(4).and(LOW));
            }
        }
    }
}

/// Q5_0, and with `MIN` Q5_1.
pub(super) struct Q5<const MIN: bool>;

impl<const MIN: bool> Format for Q5<MIN> {
    const BLOCK: usize = 32;
    const BYTES: usize = if MIN { 24 } else { 22 };
    const SCALES: usize = 0;
    const OFFSET: i32 = if MIN { 0 } else { 16 };
    const MIN: bool = MIN;
    const STEPS: usize = 4;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        // SAFETY: all offsets lie within the bytes of a block.
        unsafe {
            let [d, next, ..] = L::dwords(src, stride);
            d.store_f16(to.d);
            let fifth = if MIN {
                d.shr(16).store_f16(to.m);
                next
            } else {
                d.shr(16).or(next.shl(16))
            };
            for (k, q) in L::dwords(src.add(Self::BYTES - 16), stride).into_iter().enumerate() {
                to.codes(k, q.and(LOW).or(fifth.sixteen_if_bit(k as u32)));
                to.codes(k + 4, q.shr(4).and(LOW).or(fifth.sixteen_if_bit(k as u32 + 4)));
            }
        }
    }
}

pub(super) struct Q8;

impl Format for Q8 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;
    const SCALES: usize = 0;
    const OFFSET: i32 = 0;
    const MIN: bool = false;
    const STEPS: usize = 1;
    const WORDS: bool = true;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(src: *const u8, stride: usize, to: Place) {
        // SAFETY: all offsets lie within the 34 bytes of a block.
        unsafe {
            L::dwords(src, stride)[0].store_f16(to.d);
            for part in 0..2 {
                for (i, q) in L::dwords(src.add(2 + 16 * part), stride).into_iter().enumerate() {
                    let k = 2 * (4 * part + i);
                    to.codes(k, q.signed_pair(0));
                    to.codes(k + 1, q.signed_pair(1));
                }
            }
        }
    }
}
