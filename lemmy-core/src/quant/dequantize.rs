//! What each format's bits stand for: one small function per format. This is the specification in code; every faster
//! kernel is tested against it.
//!
//! The order of the arithmetic is part of the definition (f32, products in brackets first): it is that of ggml's
//! `ggml-quants.c`, and the results are equal to its bit for bit.

#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing)] // indices into fixed-size arrays that the format bounds; tests reach every one

use half::bf16;

use super::blocks::*;
use super::{DType, check_sizes};
use crate::error::{Error, Result};

/// Writes the numbers that the blocks in `bytes` stand for to `out`.
///
/// `out` says how many numbers are wanted; `bytes` must hold exactly that many, in whole blocks. Any bit pattern is
/// accepted: damaged scales give NaN or infinities, never a panic.
///
/// # Errors
///
/// [`Error::Argument`] if the lengths do not fit each other, [`Error::Unsupported`] for a type that is not
/// [`readable`](DType::is_readable).
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    check_sizes(dtype, out.len(), bytes.len())?;
    match dtype {
        DType::F32 => {
            for (y, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *y = f32::from_le_bytes(*b);
            }
            Ok(())
        }
        DType::F16 => each(bytes, out, |b: &BlockF16, y: &mut [f32; 1]| y[0] = half_to_f32(b.bits)),
        DType::BF16 => {
            each(bytes, out, |b: &BlockBF16, y: &mut [f32; 1]| y[0] = bf16::from_bits(b.bits.get()).to_f32())
        }
        DType::Q4_0 => each(bytes, out, q4_0),
        DType::Q4_1 => each(bytes, out, q4_1),
        DType::Q5_0 => each(bytes, out, q5_0),
        DType::Q5_1 => each(bytes, out, q5_1),
        DType::Q8_0 => each(bytes, out, q8_0),
        DType::IQ4_NL => each(bytes, out, iq4_nl),
        DType::MXFP4 => each(bytes, out, mxfp4),
        DType::Q2_K => each(bytes, out, q2_k),
        DType::Q3_K => each(bytes, out, q3_k),
        DType::Q4_K => each(bytes, out, q4_k),
        DType::Q5_K => each(bytes, out, q5_k),
        DType::Q6_K => each(bytes, out, q6_k),
        DType::IQ4_XS => each(bytes, out, iq4_xs),
        other => Err(Error::Unsupported(format!("numbers of type {other}"))),
    }
}

/// Calls `block` for every block of `bytes` and its `N` numbers in `out`.
fn each<B: Block, const N: usize>(bytes: &[u8], out: &mut [f32], block: impl Fn(&B, &mut [f32; N])) -> Result<()> {
    let blocks = cast::<B>(bytes)
        .ok_or_else(|| Error::Internal(format!("{} bytes are no blocks of {}", bytes.len(), B::DTYPE)))?;
    for (b, y) in blocks.iter().zip(out.as_chunks_mut::<N>().0) {
        block(b, y);
    }
    Ok(())
}

/// Number `i` (0..32) of a block whose byte `j` holds numbers `j` and `j + 16`.
fn nibble(qs: &[u8; 16], i: usize) -> u8 {
    qs[i % 16] >> (4 * (i / 16)) & 15
}

/// The same with the fifth bit from `qh`.
fn five_bits(qs: &[u8; 16], qh: u32, i: usize) -> u8 {
    nibble(qs, i) | ((qh >> i & 1) as u8) << 4
}

fn q4_0(b: &BlockQ4_0, y: &mut [f32; 32]) {
    let d = half_to_f32(b.d);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * (f32::from(nibble(&b.qs, i)) - 8.0);
    }
}

fn q4_1(b: &BlockQ4_1, y: &mut [f32; 32]) {
    let (d, m) = (half_to_f32(b.d), half_to_f32(b.m));
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(nibble(&b.qs, i)) + m;
    }
}

fn q5_0(b: &BlockQ5_0, y: &mut [f32; 32]) {
    let (d, qh) = (half_to_f32(b.d), b.qh.get());
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * (f32::from(five_bits(&b.qs, qh, i)) - 16.0);
    }
}

fn q5_1(b: &BlockQ5_1, y: &mut [f32; 32]) {
    let (d, m, qh) = (half_to_f32(b.d), half_to_f32(b.m), b.qh.get());
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(five_bits(&b.qs, qh, i)) + m;
    }
}

fn q8_0(b: &BlockQ8_0, y: &mut [f32; 32]) {
    let d = half_to_f32(b.d);
    for (y, q) in y.iter_mut().zip(b.qs) {
        *y = d * f32::from(q);
    }
}

fn iq4_nl(b: &BlockIQ4NL, y: &mut [f32; 32]) {
    let d = half_to_f32(b.d);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(IQ4_LEVELS[usize::from(nibble(&b.qs, i))]);
    }
}

fn mxfp4(b: &BlockMXFP4, y: &mut [f32; 32]) {
    let d = b.factor();
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(MXFP4_LEVELS[usize::from(nibble(&b.qs, i))]);
    }
}

/// Number `i` (0..256) of 64 bytes that hold 2 bits each: byte `l` of half `h` has numbers `128h + l + 32k`, `k` = 0..4.
fn two_bits(qs: &[u8; 64], i: usize) -> u8 {
    qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3
}

fn q2_k(b: &BlockQ2K, y: &mut [f32; 256]) {
    let (d, dmin) = (half_to_f32(b.d), half_to_f32(b.dmin));
    for (i, y) in y.iter_mut().enumerate() {
        let (sc, mn) = b.scale_min(i / 16);
        *y = (d * f32::from(sc)) * f32::from(two_bits(&b.qs, i)) - (dmin * f32::from(mn));
    }
}

fn q3_k(b: &BlockQ3K, y: &mut [f32; 256]) {
    let (d, scales) = (half_to_f32(b.d), b.group_scales());
    for (i, y) in y.iter_mut().enumerate() {
        let high = b.hmask[i % 32] >> (i / 32) & 1;
        let q = (two_bits(&b.qs, i) | high << 2) as i8 - 4;
        *y = (d * f32::from(scales[i / 16])) * f32::from(q);
    }
}

/// Number `i` (0..256) of 128 bytes whose byte `32k + l` holds numbers `64k + l` and `64k + l + 32`.
fn group_nibble(qs: &[u8; 128], i: usize) -> u8 {
    qs[32 * (i / 64) + i % 32] >> (4 * (i / 32 % 2)) & 15
}

fn q4_k(b: &BlockQ4K, y: &mut [f32; 256]) {
    let (d, dmin, (scales, mins)) = (half_to_f32(b.d), half_to_f32(b.dmin), b.scales_mins());
    for (i, y) in y.iter_mut().enumerate() {
        let q = f32::from(group_nibble(&b.qs, i));
        *y = (d * f32::from(scales[i / 32])) * q - (dmin * f32::from(mins[i / 32]));
    }
}

fn q5_k(b: &BlockQ5K, y: &mut [f32; 256]) {
    let (d, dmin, (scales, mins)) = (half_to_f32(b.d), half_to_f32(b.dmin), b.scales_mins());
    for (i, y) in y.iter_mut().enumerate() {
        let high = b.qh[i % 32] >> (i / 32) & 1;
        let q = f32::from(group_nibble(&b.qs, i) | high << 4);
        *y = (d * f32::from(scales[i / 32])) * q - (dmin * f32::from(mins[i / 32]));
    }
}

fn q6_k(b: &BlockQ6K, y: &mut [f32; 256]) {
    let d = half_to_f32(b.d);
    for (i, y) in y.iter_mut().enumerate() {
        let (half, group, l) = (i / 128, i % 128 / 32, i % 32);
        let low = b.ql[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2)) & 15;
        let high = b.qh[32 * half + l] >> (2 * group) & 3;
        let q = (low | high << 4) as i8 - 32;
        *y = (d * f32::from(b.scales[i / 16])) * f32::from(q);
    }
}

fn iq4_xs(b: &BlockIQ4XS, y: &mut [f32; 256]) {
    let (d, scales) = (half_to_f32(b.d), b.group_scales());
    for (i, y) in y.iter_mut().enumerate() {
        let (group, l) = (i / 32, i % 32);
        let q = b.qs[16 * group + l % 16] >> (4 * (l / 16)) & 15;
        *y = (d * f32::from(scales[group])) * f32::from(IQ4_LEVELS[usize::from(q)]);
    }
}
