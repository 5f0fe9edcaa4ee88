//! Random blocks of every weight type: all code bits random, scales chosen so that the numbers have a given size.

use half::f16;
use lemmy_core::quant::{self, DType};

use super::Rng;

/// `n` numbers of about the size `rms` in blocks of `dtype`.
pub(super) fn random(rng: &mut Rng, dtype: DType, n: usize, rms: f32) -> Vec<u8> {
    match dtype {
        DType::F32 => (0..n).flat_map(|_| (rng.normal() as f32 * rms).to_le_bytes()).collect(),
        DType::F16 => (0..n).flat_map(|_| f16::from_f64(rng.normal() * f64::from(rms)).to_le_bytes()).collect(),
        DType::BF16 => (0..n).flat_map(|_| half::bf16::from_f64(rng.normal() * f64::from(rms)).to_le_bytes()).collect(),
        _ => random_blocks(rng, dtype, n, rms),
    }
}

fn random_blocks(rng: &mut Rng, dtype: DType, n: usize, rms: f32) -> Vec<u8> {
    let size = dtype.block_bytes();
    let mut bytes: Vec<u8> = (0..n / dtype.block_len() * size).map(|_| rng.next() as u8).collect();
    // Random scales first, so that blocks differ; then one factor for all, found by measuring.
    for block in bytes.chunks_exact_mut(size) {
        let scale = 0.5 + rng.uniform();
        for &(at, share) in scales(dtype) {
            block[at..at + 2].copy_from_slice(&f16::from_f64(scale * share).to_le_bytes());
        }
        if dtype == DType::MXFP4 {
            // 2^(e - 128), times codes of about 5.
            let exponent = 128 + (rms / 5.0).log2().round() as i32;
            block[0] = exponent.clamp(1, 254) as u8 - (rng.next() % 2) as u8;
        }
    }
    let factor = f64::from(rms) / measured_rms(dtype, &bytes, n);
    for block in bytes.chunks_exact_mut(size) {
        for &(at, _) in scales(dtype) {
            let scale = f16::from_le_bytes([block[at], block[at + 1]]).to_f64() * factor;
            block[at..at + 2].copy_from_slice(&f16::from_f64(scale).to_le_bytes());
        }
    }
    bytes
}

/// Offsets of the f16 fields of a block, each with its share of the scale: a minimum is as large as the middle of the
/// codes that it shifts, so that the numbers lie around zero.
fn scales(dtype: DType) -> &'static [(usize, f64)] {
    match dtype {
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[(0, 1.0)],
        DType::Q4_1 => &[(0, 1.0), (2, -7.5)],
        DType::Q5_1 => &[(0, 1.0), (2, -15.5)],
        DType::Q2_K => &[(80, 1.0), (82, 1.5)],
        DType::Q3_K => &[(108, 1.0)],
        DType::Q4_K => &[(0, 1.0), (2, 7.5)],
        DType::Q5_K => &[(0, 1.0), (2, 15.5)],
        DType::Q6_K => &[(208, 1.0)],
        _ => &[],
    }
}

fn measured_rms(dtype: DType, bytes: &[u8], n: usize) -> f64 {
    let mut numbers = vec![0.0f32; n];
    quant::dequantize(dtype, bytes, &mut numbers).expect("only readable types are asked for");
    (numbers.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_have_the_size_that_was_asked_for() {
        for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_readable()) {
            let bytes = random(&mut Rng::new(1), dtype, 8192, 0.0625);
            let rms = measured_rms(dtype, &bytes, 8192);
            assert!((0.03..0.12).contains(&rms), "{dtype}: {rms}");
        }
    }
}
