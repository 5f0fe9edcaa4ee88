//! From numbers to blocks.
//!
//! Every format stores integers on a grid `scale * q + offset`; to quantise is to choose the grid (here: least weighted
//! squared error, see [`search`]) and to round to it.

#![forbid(unsafe_code)]

mod groups;
mod search;
mod super_blocks;

use half::{bf16, f16};

use super::blocks::*;
use super::{DType, check_sizes};
use crate::error::{Error, Result};

/// Whether [`quantize`] can make this type.
pub fn is_writable(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, F32 | F16 | BF16 | Q8_0 | Q5_0 | Q5_1 | Q4_K | Q5_K | Q6_K)
}

/// Writes `src` to `out` as blocks of the type.
///
/// # Errors
///
/// [`Error::Argument`] if the lengths do not fit each other, or if a number is NaN, infinite or beyond what the format can
/// hold (the message says which one and the limit); [`Error::Unsupported`] for a type that is not
/// [`writable`](is_writable). `out` is then untouched.
pub fn quantize(dtype: DType, src: &[f32], out: &mut [u8]) -> Result<()> {
    if !is_writable(dtype) {
        return Err(Error::Unsupported(format!("writing numbers of type {dtype}")));
    }
    check_sizes(dtype, src.len(), out.len())?;
    check_range(dtype, src)?;
    match dtype {
        DType::F32 => {
            for (b, x) in out.as_chunks_mut::<4>().0.iter_mut().zip(src) {
                *b = x.to_le_bytes();
            }
            Ok(())
        }
        DType::F16 => each(src, out, |[x]: &[f32; 1]| BlockF16 { bits: f16::from_f32(*x).to_bits().into() }),
        DType::BF16 => each(src, out, |[x]: &[f32; 1]| BlockBF16 { bits: bf16::from_f32(*x).to_bits().into() }),
        DType::Q8_0 => each(src, out, groups::q8_0),
        DType::Q5_0 => each(src, out, groups::q5_0),
        DType::Q5_1 => each(src, out, groups::q5_1),
        DType::Q4_K => each(src, out, super_blocks::q4_k),
        DType::Q5_K => each(src, out, super_blocks::q5_k),
        DType::Q6_K => each(src, out, super_blocks::q6_k),
        other => Err(Error::Unsupported(format!("writing numbers of type {other}"))),
    }
}

/// The largest magnitude that [`quantize`] takes for a type, so that no scale overflows.
pub fn largest(dtype: DType) -> f32 {
    let half = f16::MAX.to_f32();
    match dtype {
        DType::F16 | DType::Q5_1 => half,
        DType::BF16 => bf16::MAX.to_f32(),
        DType::Q8_0 => 127.0 * half,
        DType::Q5_0 => 15.0 * half,
        // The most negative number is `dmin * 63`.
        DType::Q4_K | DType::Q5_K => 63.0 * half,
        DType::Q6_K => 127.0 * 31.0 * half,
        _ => f32::MAX,
    }
}

fn check_range(dtype: DType, src: &[f32]) -> Result<()> {
    let largest = largest(dtype);
    match src.iter().position(|x| x.is_nan() || x.abs() > largest) {
        None => Ok(()),
        Some(i) => Err(Error::Argument {
            name: "src",
            reason: format!(
                "number {i} is {:e}, expected a finite number of at most {largest:e} ({dtype})",
                src.get(i).copied().unwrap_or(f32::NAN)
            ),
        }),
    }
}

/// Makes one block of every `N` numbers.
fn each<B: Block, const N: usize>(src: &[f32], out: &mut [u8], block: impl Fn(&[f32; N]) -> B) -> Result<()> {
    let bytes = out.len();
    let blocks =
        cast_mut::<B>(out).ok_or_else(|| Error::Internal(format!("{bytes} bytes are no blocks of {}", B::DTYPE)))?;
    for (b, x) in blocks.iter_mut().zip(src.as_chunks::<N>().0) {
        *b = block(x);
    }
    Ok(())
}
