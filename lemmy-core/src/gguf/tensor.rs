//! Tensors: an entry of the table, and how many bytes a shape takes.

#![forbid(unsafe_code)]

use crate::limits;
use crate::quant::DType;

/// A tensor's entry in the table: every number checked, the bytes inside the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// Number type.
    pub dtype: DType,
    /// Dimensions, the contiguous one first; missing ones are 1.
    pub shape: [u64; 4],
    /// Number of dimensions written in the file.
    pub dims: u32,
    /// Part of a split model, from 0.
    pub part: usize,
    /// Offset from the start of its part's file.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// How many numbers it holds.
    pub fn numbers(&self) -> u64 {
        self.shape.iter().fold(1, |product, &n| product.saturating_mul(n))
    }
}

/// What is wrong with a shape.
pub(super) struct BadShape {
    pub(super) found: String,
    pub(super) expected: String,
}

/// Bytes of a tensor: numbers / block numbers * block bytes, with the shape and every step checked.
pub(super) fn tensor_bytes(dtype: DType, dims: &[u64]) -> Result<u64, BadShape> {
    let bad = |found: String, expected: String| Err(BadShape { found, expected });
    if dims.is_empty() || dims.len() > limits::GGUF_DIMS as usize {
        return bad(format!("{} dimensions", dims.len()), format!("1 to {}", limits::GGUF_DIMS));
    }
    let mut numbers = Some(1u64);
    for (i, &n) in dims.iter().enumerate() {
        if n == 0 || n > limits::GGUF_DIM {
            return bad(format!("dimension {i} = {n}"), format!("1 to {}", limits::GGUF_DIM));
        }
        numbers = numbers.and_then(|product| product.checked_mul(n));
    }
    let Some(numbers) = numbers.filter(|&n| n <= limits::GGUF_TENSOR_NUMBERS) else {
        return bad(format!("shape {dims:?}"), format!("at most {} numbers", limits::GGUF_TENSOR_NUMBERS));
    };
    let (block_len, block_bytes) = (dtype.block_len() as u64, dtype.block_bytes() as u64);
    let row = dims.first().copied().unwrap_or(1);
    if row % block_len != 0 {
        return bad(format!("rows of {row} {dtype} numbers"), format!("a multiple of {block_len}"));
    }
    match (numbers / block_len).checked_mul(block_bytes) {
        Some(bytes) => Ok(bytes),
        None => bad(format!("shape {dims:?}"), "a size below 2^64 bytes".into()),
    }
}

/// `at` rounded up to a multiple of `alignment`, which is a power of two.
pub(super) fn align_up(at: u64, alignment: u32) -> Option<u64> {
    at.checked_next_multiple_of(alignment.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(dtype: DType, dims: &[u64]) -> Result<u64, String> {
        tensor_bytes(dtype, dims).map_err(|e| format!("{}, expected {}", e.found, e.expected))
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(DType::F32, &[3]), Ok(12));
        assert_eq!(bytes(DType::BF16, &[3, 5]), Ok(30));
        assert_eq!(bytes(DType::Q8_0, &[704, 2816, 128]), Ok(704 * 2816 * 128 / 32 * 34));
        assert_eq!(bytes(DType::Q4_K, &[512, 2, 1, 2]), Ok(8 * 144));
        assert_eq!(bytes(DType::NVFP4, &[64]), Ok(36));
        assert_eq!(bytes(DType::Q1_0, &[128]), Ok(18));
        assert_eq!(bytes(DType::Q2_0, &[64]), Ok(18));
    }

    #[test]
    fn limits_of_shapes() {
        assert_eq!(bytes(DType::F32, &[1, 1, 1, 1]), Ok(4));
        assert_eq!(bytes(DType::F32, &[1; 5]), Err("5 dimensions, expected 1 to 4".into()));
        assert_eq!(bytes(DType::F32, &[]), Err("0 dimensions, expected 1 to 4".into()));
        assert_eq!(bytes(DType::I8, &[1 << 40]), Ok(1 << 40));
        assert_eq!(
            bytes(DType::I8, &[2, (1 << 40) + 1]),
            Err("dimension 1 = 1099511627777, expected 1 to 1099511627776".into())
        );
        assert_eq!(bytes(DType::I8, &[4, 0]), Err("dimension 1 = 0, expected 1 to 1099511627776".into()));
        assert_eq!(bytes(DType::F64, &[1 << 40, 1 << 8]), Ok(1 << 51));
        assert!(bytes(DType::F64, &[1 << 40, (1 << 8) + 1]).is_err());
        // 2^40 * 2^40 wraps to 2^16 in 64 bits.
        assert!(bytes(DType::F64, &[1 << 40, 1 << 40]).is_err());
        assert_eq!(bytes(DType::Q4_K, &[128, 2]), Err("rows of 128 Q4_K numbers, expected a multiple of 256".into()));
    }
}
