//! Whole files from one mixture to another.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::io::Write;
use std::ops::ControlFlow;

use lemmy_core::gguf::{FileBytes, Gguf, GgufWriter};
use lemmy_core::quant::{DType, dequantize, quantize};
use lemmy_core::requantize::{Mixture, Requantize};
use lemmy_core::{CancelToken, Error, ErrorKind, Result, ThreadPool};

/// Tensors of a small mixture-of-experts model: names, shapes. `ffn_down` has rows that no block of 256 fits.
const MATRICES: [(&str, &[u64]); 5] = [
    ("token_embd.weight", &[256, 70]),
    ("blk.0.attn_v.weight", &[256, 33]),
    ("blk.0.attn_output.weight", &[512, 256]),
    ("blk.0.ffn_down.weight", &[96, 256]),
    ("blk.0.ffn_down_exps.weight", &[64, 256, 3]),
];

/// Reproducible numbers, most of them small.
fn numbers(seed: u64, n: u64) -> Vec<f32> {
    let mut state = seed * 2 + 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| 0.1 * (next() + next() + next())).collect()
}

fn model(dtype: DType) -> Gguf {
    Gguf::from_bytes(FileBytes::Owned(file_of(dtype))).unwrap()
}

fn file_of(dtype: DType) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", "gemma4").key("general.file_type", 0u32).key("gemma4.block_count", 1u32);
    writer.key("split.count", 1u16).key("split.no", 0u16).key("split.tensors.count", MATRICES.len() as i32 + 1);
    writer.tensor("output_norm.weight", DType::F32, &[256]).unwrap();
    for (name, shape) in MATRICES {
        writer.tensor(name, dtype, shape).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    data.write(&[0x3F; 1024]).unwrap();
    for (i, (_, shape)) in MATRICES.into_iter().enumerate() {
        let x = numbers(i as u64, shape.iter().product());
        let mut bytes = vec![0; dtype.row_bytes(x.len()).unwrap()];
        quantize(dtype, &x, &mut bytes).unwrap();
        data.write(&bytes).unwrap();
    }
    data.finish().unwrap()
}

fn convert(source: &Gguf, mixture: Mixture, threads: usize) -> Result<Vec<u8>> {
    let pool = ThreadPool::new(threads)?;
    Requantize::new(source, mixture)?
        .write(Vec::new(), &pool, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()))
}

fn floats(model: &Gguf, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).unwrap();
    let mut out = vec![0.0; tensor.numbers() as usize];
    dequantize(tensor.dtype, model.tensor_bytes(tensor).as_slice(), &mut out).unwrap();
    out
}

#[test]
fn files_of_every_mixture_open_and_hold_the_same_numbers() {
    let source = model(DType::BF16);
    for (mixture, types, tolerance) in [
        (Mixture::BF16, [DType::BF16; 5], 0.0),
        (Mixture::Q8_0, [DType::Q8_0; 5], 0.003),
        (Mixture::Q6_K, [DType::Q6_K, DType::Q6_K, DType::Q6_K, DType::Q8_0, DType::Q8_0], 0.01),
        (Mixture::Q5_K_M, [DType::Q6_K, DType::Q6_K, DType::Q5_K, DType::Q8_0, DType::Q8_0], 0.02),
        (Mixture::Q4_K_M, [DType::Q6_K, DType::Q6_K, DType::Q4_K, DType::Q8_0, DType::Q8_0], 0.04),
    ] {
        let file = convert(&source, mixture, 2).unwrap();
        assert_eq!(file, convert(&source, mixture, 1).unwrap(), "{mixture}: threads change the file");
        let result = Gguf::from_bytes(FileBytes::Owned(file)).unwrap();
        assert_eq!(result.get("general.file_type").unwrap().as_u64(), Some(u64::from(mixture.file_type())));
        assert_eq!(result.get("general.quantization_version").unwrap().as_u64(), Some(2));
        assert_eq!(result.get("gemma4.block_count").unwrap().as_u64(), Some(1));
        assert!(result.keys().all(|(key, _)| !key.starts_with("split.")));
        let names = |g: &Gguf| g.tensors().iter().map(|t| (t.name.clone(), t.shape)).collect::<Vec<_>>();
        assert_eq!(names(&result), names(&source));
        assert_eq!(floats(&result, "output_norm.weight"), floats(&source, "output_norm.weight"));
        for ((name, _), dtype) in MATRICES.into_iter().zip(types) {
            assert_eq!(result.tensor(name).unwrap().dtype, dtype, "{mixture} {name}");
            let (x, y) = (floats(&source, name), floats(&result, name));
            let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance, "{mixture} {name}: {worst}");
        }
    }
}

#[test]
fn numbers_without_a_place_are_named() {
    for (bad, place) in [(f32::NAN, 12_345), (f32::INFINITY, 131_071), (1e30, 4_096)] {
        let source = {
            let clean = model(DType::F32);
            let tensor = clean.tensor("blk.0.attn_output.weight").unwrap().clone();
            let at = tensor.offset as usize + 4 * place;
            let mut bytes = file_of(DType::F32);
            bytes[at..at + 4].copy_from_slice(&bad.to_le_bytes());
            Gguf::from_bytes(FileBytes::Owned(bytes)).unwrap()
        };
        let error = convert(&source, Mixture::Q4_K_M, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gguf);
        let text = error.to_string();
        assert!(text.contains("blk.0.attn_output.weight") && text.contains(&format!("number {place}")), "{text}");
    }
}

#[test]
fn quantised_sources_are_refused_unless_allowed() {
    let source = model(DType::Q8_0);
    let error = convert(&source, Mixture::Q4_K_M, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert!(error.to_string().contains("token_embd.weight"), "{error}");
    let pool = ThreadPool::new(1).unwrap();
    let allowed = Requantize::new(&source, Mixture::Q4_K_M).unwrap().from_quantized(true);
    let mut seen = Vec::new();
    let file = allowed.write(Vec::new(), &pool, &CancelToken::new(), &mut |done, total| {
        seen.push((done, total));
        ControlFlow::Continue(())
    });
    let result = Gguf::from_bytes(FileBytes::Owned(file.unwrap())).unwrap();
    // Same type before and after: the bytes are copied.
    assert_eq!(floats(&result, "blk.0.ffn_down.weight"), floats(&source, "blk.0.ffn_down.weight"));
    let (last, total) = *seen.last().unwrap();
    assert_eq!((last, total), (total, source.tensors().iter().map(|t| t.bytes).sum()));
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{seen:?}");
}

#[test]
fn cancelling_and_a_full_disk_stop_the_work() {
    let source = model(DType::F32);
    let (pool, cancel) = (ThreadPool::new(1).unwrap(), CancelToken::new());
    let work = Requantize::new(&source, Mixture::Q8_0).unwrap();
    let broken = work.write(Vec::new(), &pool, &cancel, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(broken, Err(Error::Cancelled)));
    cancel.cancel();
    let cancelled = work.write(Vec::new(), &pool, &cancel, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    cancel.reset();
    let full = work.write(Full(3000), &pool, &cancel, &mut |_, _| ControlFlow::Continue(()));
    assert_eq!(full.map(drop).unwrap_err().kind(), ErrorKind::Io);
}

/// An output with room for so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
