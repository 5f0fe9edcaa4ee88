//! Block formats against golden blocks: every bit of dequantisation, and the error that our own quantiser leaves.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use lemmy_core::ErrorKind;
use lemmy_core::quant::{DType, dequantize, is_writable, largest, quantize};
use proptest::prelude::*;

const WRITABLE: [DType; 9] =
    [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q5_0, DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K];

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/quants/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn round_trip(dtype: DType, x: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0; dtype.row_bytes(x.len()).unwrap()];
    quantize(dtype, x, &mut bytes).unwrap();
    let mut back = vec![f32::NAN; x.len()];
    dequantize(dtype, &bytes, &mut back).unwrap();
    back
}

fn rms(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

#[test]
fn every_readable_type_is_bit_equal_to_the_golden_blocks() {
    let mut seen = 0;
    for &dtype in DType::ALL.iter().filter(|t| t.is_readable() && **t != DType::F32) {
        for kind in ["blocks", "quantised"] {
            let golden = floats(&fixture(&format!("{dtype}.{kind}.f32")));
            let mut out = vec![f32::NAN; golden.len()];
            dequantize(dtype, &fixture(&format!("{dtype}.{kind}.bin")), &mut out).unwrap();
            assert_eq!(bits(&out), bits(&golden), "{dtype} {kind}");
            seen += 1;
        }
    }
    assert_eq!(seen, 30);
}

#[test]
fn plain_types_round_as_the_golden_rows() {
    let source = floats(&fixture("source_w.f32"));
    for dtype in [DType::F16, DType::BF16] {
        let golden = floats(&fixture(&format!("{dtype}.quantised.f32")));
        assert_eq!(bits(&round_trip(dtype, &source)), bits(&golden), "{dtype}");
    }
    assert_eq!(bits(&round_trip(DType::F32, &source)), bits(&source));
}

#[test]
fn our_blocks_are_as_good_as_the_golden_ones() {
    let source = floats(&fixture("source_w.f32"));
    for (dtype, allowed) in [
        (DType::Q8_0, 1.01),
        (DType::Q5_0, 1.01),
        (DType::Q5_1, 1.01),
        (DType::Q4_K, 1.02),
        (DType::Q5_K, 1.02),
        (DType::Q6_K, 1.02),
    ] {
        let golden = rms(&source, &floats(&fixture(&format!("{dtype}.quantised.f32"))));
        let ours = rms(&source, &round_trip(dtype, &source));
        println!("{dtype}: rms error {ours:.4e}, golden {golden:.4e}, ratio {:.4}", ours / golden);
        assert!(ours <= allowed * golden, "{dtype}: {ours:e} > {allowed} * {golden:e}");
    }
}

/// The error that a format must keep to: every group has a grid of this step that covers it, and the search finds a grid
/// at least as good by its own measure, in which errors weigh 1 and more, at most 1.5 on average. So the mean square is
/// at most 1.5 times that of rounding, `step^2 / 4`, and its root at most 0.62 steps.
fn check_error(dtype: DType, x: &[f32]) -> Result<(), TestCaseError> {
    let back = round_trip(dtype, x);
    prop_assert!(back.iter().all(|y| y.is_finite()), "{dtype}: {back:?}");
    let (group, block) = match dtype {
        DType::Q6_K => (16, 256),
        DType::Q4_K | DType::Q5_K => (32, 256),
        _ => (32, 32),
    };
    for (x, y) in x.chunks(block).zip(back.chunks(block)) {
        let of_block = step(dtype, x);
        for (x, y) in x.chunks(group).zip(y.chunks(group)) {
            // Groups of a block have integers as scales and minima. Half a unit of a minimum is up to a quarter of the
            // block's own step (31 / 63 / 2 in Q5_K), of a scale much less. Halves end at 2^-24.
            let step = step(dtype, x) + of_block / 3.0 + 2f64.powi(-24) * 64.0;
            let error = rms(x, y);
            prop_assert!(error <= 0.62 * step, "{dtype}: rms {error:e}, step {step:e}, {x:?} as {y:?}");
        }
    }
    Ok(())
}

/// Distance of the levels if they just cover the numbers.
fn step(dtype: DType, x: &[f32]) -> f64 {
    let x = || x.iter().map(|&x| f64::from(x));
    let peak = x().map(f64::abs).fold(0.0, f64::max);
    let (low, high) = (x().fold(f64::INFINITY, f64::min), x().fold(f64::NEG_INFINITY, f64::max));
    match dtype {
        DType::Q8_0 => peak / 127.0,
        DType::Q5_0 => peak / 16.0,
        // The offset is a half too: relative to it 2^-11.
        DType::Q5_1 => (high - low) / 31.0 + peak / 1024.0,
        DType::Q4_K => (high.max(0.0) - low.min(0.0)) / 15.0,
        DType::Q5_K => (high.max(0.0) - low.min(0.0)) / 31.0,
        DType::Q6_K => peak / 32.0,
        other => panic!("{other} has no step"),
    }
}

/// Rows as they come and as they should not: plain, one-sided, with outliers, constant, of any magnitude.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let numbers = prop::collection::vec(-1.0f32..1.0, 256);
    (numbers, 0..5usize, -45i32..3, 0..256usize).prop_map(|(mut x, kind, exponent, place)| {
        match kind {
            0 => {}
            1 => x.iter_mut().for_each(|x| *x = x.abs() + 3.0),
            2 => x[place] = 100.0,
            3 => x = vec![x[0]; 256],
            _ => x.iter_mut().enumerate().for_each(|(i, x)| *x *= 2f32.powi(-((i / 16) as i32))),
        }
        let factor = 10f32.powi(exponent);
        x.iter_mut().for_each(|x| *x *= factor);
        x
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_error_is_bounded_by_the_step(x in rows()) {
        for dtype in [DType::Q8_0, DType::Q5_0, DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K] {
            check_error(dtype, &x)?;
        }
    }

    #[test]
    fn any_bits_are_dequantised_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 292 * 2)) {
        for dtype in DType::ALL.iter().copied().filter(|t| t.is_readable()) {
            let numbers = bytes.len() / dtype.block_bytes() * dtype.block_len();
            let mut out = vec![0.0; numbers];
            dequantize(dtype, &bytes[..dtype.row_bytes(numbers).unwrap()], &mut out).unwrap();
        }
    }
}

#[test]
fn zeros_stay_zeros() {
    for dtype in WRITABLE {
        assert!(round_trip(dtype, &[0.0; 256]).iter().all(|&y| y == 0.0), "{dtype}");
        assert!(round_trip(dtype, &[-0.0; 256]).iter().all(|&y| y == 0.0), "{dtype}");
    }
}

#[test]
fn tiny_numbers_do_not_become_zeros() {
    // Below these sizes a scale is no normal half any more; the smallest is 6e-8.
    let x: Vec<f32> = (0..256).map(|i| 1e-6 * (i as f32).sin()).collect();
    for dtype in [DType::Q8_0, DType::Q5_0, DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K] {
        let relative = rms(&x, &round_trip(dtype, &x)) / rms(&x, &[0.0; 256]);
        assert!(relative < 0.1, "{dtype}: {relative}");
    }
}

#[test]
fn the_largest_numbers_fit_and_larger_ones_are_refused() {
    for dtype in WRITABLE {
        let most = largest(dtype);
        for pattern in [[most, most], [-most, -most], [most, -most], [most, 0.0]] {
            let x: Vec<f32> = pattern.into_iter().cycle().take(256).collect();
            let back = round_trip(dtype, &x);
            for (x, y) in x.iter().zip(&back) {
                assert!((x - y).abs() <= 0.07 * most, "{dtype}: {x:e} became {y:e}");
            }
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, most * 1.01] {
            let mut x = [0.5; 256];
            x[77] = bad;
            let mut bytes = vec![0xAA; dtype.row_bytes(256).unwrap()];
            let error = quantize(dtype, &x, &mut bytes);
            if dtype == DType::F32 && bad.is_finite() {
                continue;
            }
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument, "{dtype}");
            assert!(error.to_string().contains("number 77"), "{error}");
            assert!(bytes.iter().all(|&b| b == 0xAA), "{dtype}: the output was touched");
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for dtype in DType::ALL.iter().copied().filter(|t| t.is_readable()) {
        let (len, size) = (dtype.block_len(), dtype.block_bytes());
        let mut out = vec![0.0; 2 * len];
        for wrong in [0, size, 2 * size - 1, 2 * size + 1, 3 * size] {
            let error = dequantize(dtype, &vec![0; wrong], &mut out).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument, "{dtype} {wrong}");
        }
        if len > 1 {
            let error = dequantize(dtype, &vec![0; 2 * size], &mut out[1..]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument, "{dtype}");
        }
        let error = quantize(dtype, &out, &mut vec![0; 2 * size + 1]).unwrap_err();
        let expected = if is_writable(dtype) { ErrorKind::Argument } else { ErrorKind::Unsupported };
        assert_eq!(error.kind(), expected, "{dtype}");
    }
    let error = dequantize(DType::IQ2_XS, &[0; 74], &mut [0.0; 256]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
