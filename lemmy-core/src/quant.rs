//! Block formats: how weights are stored, what their bits mean, and how numbers become blocks.
//!
//! A row of a quantised tensor is a sequence of blocks of 32 or 256 numbers, each with its own scale. [`blocks`] has the
//! layouts, [`dequantize`] says in plain code what a block stands for, [`quantize`] finds good blocks for given numbers.
//!
//! ```
//! use lemmy_core::quant::{DType, dequantize, quantize};
//! let row: Vec<f32> = (0..32).map(|i| i as f32 / 10.0).collect();
//! let mut bytes = [0; 34];
//! quantize(DType::Q8_0, &row, &mut bytes)?;
//! let mut back = [0.0; 32];
//! dequantize(DType::Q8_0, &bytes, &mut back)?;
//! assert!(row.iter().zip(back).all(|(a, b)| (a - b).abs() < 0.5 * 3.1 / 127.0 + 1e-6));
//! # Ok::<(), lemmy_core::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod blocks;
mod dequantize;
mod dtype;
mod quantize;

pub use dequantize::dequantize;
pub use dtype::DType;
pub use quantize::{is_writable, largest, quantize};

use crate::error::{Error, Result};

/// Checks that `numbers` numbers of a type fill `bytes` bytes exactly, in whole blocks.
fn check_sizes(dtype: DType, numbers: usize, bytes: usize) -> Result<()> {
    match dtype.row_bytes(numbers) {
        Some(expected) if expected == bytes => Ok(()),
        Some(expected) => Err(Error::Argument {
            name: "bytes",
            reason: format!("{bytes} bytes for {numbers} numbers of {dtype}, expected {expected}"),
        }),
        None => Err(Error::Argument {
            name: "numbers",
            reason: format!("{numbers} numbers are no whole blocks of {dtype} ({} numbers each)", dtype.block_len()),
        }),
    }
}
