//! Any bytes as blocks of any type: the right count of numbers or an error; whatever is finite survives being written
//! as Q8_0 with the error that eight bits allow.

#![no_main]

use lemmy_core::quant::{DType, dequantize, quantize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let dtype = DType::ALL[usize::from(first) % DType::ALL.len()];
    let blocks = (bytes.len() / dtype.block_bytes()).min(64);
    let mut numbers = vec![0.0f32; blocks * dtype.block_len()];
    let bytes = &bytes[..blocks * dtype.block_bytes()];
    let result = dequantize(dtype, bytes, &mut numbers);
    assert_eq!(result.is_ok(), dtype.is_readable(), "{dtype}");
    assert!(dequantize(dtype, bytes, &mut vec![0.0; numbers.len() + 1]).is_err());

    numbers.truncate(numbers.len() / 32 * 32);
    let mut written = vec![0; DType::Q8_0.row_bytes(numbers.len()).expect("whole blocks")];
    // Beyond what a 16-bit scale can hold, an error is right.
    if numbers.iter().any(|x| !x.is_finite()) || quantize(DType::Q8_0, &numbers, &mut written).is_err() {
        return;
    }
    let mut again = vec![0.0f32; numbers.len()];
    dequantize(DType::Q8_0, &written, &mut again).expect("our own blocks");
    for (old, new) in numbers.chunks(32).zip(again.chunks(32)) {
        let largest = old.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        for (a, b) in old.iter().zip(new) {
            // Half a step of 127, the scale's rounding to 11 bits, and its smallest value.
            assert!((a - b).abs() <= largest / 127.0 * 0.57 + largest / 1024.0 + 127.0 * 6e-8, "{a} {b}");
        }
    }
});
