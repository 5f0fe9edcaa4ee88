//! How AVX2 and AVX-512 multiply.
//!
//! Blocks are taken as *panels*: 16 rows by 256 columns, unpacked in the first-level cache to unsigned bytes (Q8_0 to
//! signed words), then multiplied with every token. A panel is interleaved by rows, so each lane of a vector is one row and no horizontal
//! sums are needed:
//!
//! ```text
//! byte  k * 64 + row * 4 + e   is the code of column 4 * k + e
//! ```
//!
//! Up to [`stream::TOKENS`] tokens take another way: [`stream`] reads each weight once, without a panel.
//!
//! [`formats`] unpacks (the same code for both sets), [`panel`] drives, `tile` of each set multiplies; [`floats`] is
//! for the plain types.

#![allow(clippy::needless_range_loop)] // indices name rows, tokens and steps, often in several arrays at once

/// The way of a checked product through a set, by the type of its weights. `$set` is the set's module in [`stream`];
/// `streamed`, `kernel` and `floats` are functions of the calling module, compiled for the set's instructions.
macro_rules! product {
    ($set:ident, $w:ident, $first_row:ident, $acts:ident, $tokens:ident, $out:ident, $scratch:ident) => {{
        if $tokens.len() <= stream::TOKENS && $w.rows() >= stream::ROWS {
            let stream = match $w.dtype() {
                DType::Q4_0 => Some(streamed::<stream::$set::Nibbles<false, false>> as Streamed),
                DType::Q4_1 => Some(streamed::<stream::$set::Nibbles<true, false>> as Streamed),
                DType::Q5_0 => Some(streamed::<stream::$set::Nibbles<false, true>> as Streamed),
                DType::Q5_1 => Some(streamed::<stream::$set::Nibbles<true, true>> as Streamed),
                DType::Q8_0 => Some(streamed::<stream::$set::Q8> as Streamed),
                DType::Q4_K => Some(streamed::<stream::$set::Q4K<false>> as Streamed),
                DType::Q5_K => Some(streamed::<stream::$set::Q4K<true>> as Streamed),
                DType::Q6_K => Some(streamed::<stream::$set::Q6K> as Streamed),
                _ => None,
            };
            if let Some(stream) = stream {
                // SAFETY: the caller is the set and proves the instructions, `check` saw the shapes, the type is the stream's.
                return unsafe { stream($w, $first_row, $acts, $tokens, $out) };
            }
        }
        let kernel = match $w.dtype() {
            DType::Q4_0 => const { kernel::<Q4<false>>() },
            DType::Q4_1 => const { kernel::<Q4<true>>() },
            DType::Q5_0 => const { kernel::<Q5<false>>() },
            DType::Q5_1 => const { kernel::<Q5<true>>() },
            DType::Q8_0 => const { kernel::<Q8>() },
            DType::Q4_K => const { kernel::<Q4K>() },
            DType::Q5_K => const { kernel::<Q5K>() },
            DType::Q6_K => const { kernel::<Q6K>() },
            // SAFETY: the caller is the set and proves the instructions, `check` saw the shapes, the type is the function's.
            DType::F32 => return unsafe { floats::<Single>($w, $first_row, $acts, $tokens, $out) },
            // SAFETY: as above.
            DType::F16 => return unsafe { floats::<Half>($w, $first_row, $acts, $tokens, $out) },
            // SAFETY: as above.
            DType::BF16 => return unsafe { floats::<Brain>($w, $first_row, $acts, $tokens, $out) },
            _ => return Scalar.matmul($w, $first_row, $acts, $tokens, $out, $scratch),
        };
        // SAFETY: the caller is the set and proves the instructions, `check` saw the shapes, the type is the kernel's.
        unsafe { kernel.matmul($w, $first_row, $acts, $tokens, $out, &mut $scratch.x86) }
    }};
}
mod avx2;
mod avx512;
mod floats;
mod formats;
mod lanes;
mod panel;
mod stream;

pub use avx2::Avx2;
pub use avx512::Avx512;
pub(super) use panel::Scratch;
