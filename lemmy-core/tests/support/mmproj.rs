//! Fixtures of vision, and changed copies of mmproj files.

#[path = "random_tower.rs"]
mod random;

use std::path::PathBuf;
use std::sync::OnceLock;

use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::quant::{DType, dequantize, quantize};

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vision").join(name)
}

pub(crate) fn unpacked(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(fixture(name)).unwrap();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(file), &mut bytes).unwrap();
    bytes
}

/// The language model. Its one merge makes a token that it lacks, so it goes.
pub(crate) fn text() -> Vec<u8> {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    let none = Value::Array(Array::from_strings::<&str>([]));
    let key = |name: &str, value| if name == "tokenizer.ggml.merges" { none.clone() } else { value };
    TEXT.get_or_init(|| changed(unpacked("tiny-mm-text.gguf.xz"), key, Some)).clone()
}

/// The golden arrays: a length, a JSON header of that length, raw little-endian numbers.
pub(crate) struct Golden {
    header: serde_json::Value,
    data: Vec<u8>,
}

impl Golden {
    pub(crate) fn open() -> Self {
        let bytes = std::fs::read(fixture("golden.safetensors")).unwrap();
        let (len, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        Self { header: serde_json::from_slice(header).unwrap(), data: data.to_vec() }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.get(name).is_some()
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        let [start, end] = [0, 1].map(|i| self.header[name]["data_offsets"][i].as_u64().unwrap() as usize);
        &self.data[start..end]
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        assert_eq!(self.header[name]["dtype"], "F32", "{name}");
        self.bytes(name).chunks_exact(4).map(|n| f32::from_le_bytes(n.try_into().unwrap())).collect()
    }
}

pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The file with other values of its keys; tensors get other names, or go.
pub(crate) fn changed(
    file: Vec<u8>,
    key: impl Fn(&str, Value) -> Value,
    tensor: impl Fn(String) -> Option<String>,
) -> Vec<u8> {
    rewritten(file, key, tensor, |dtype, _| dtype)
}

/// The file with its matrices in another type.
pub(crate) fn as_type(file: Vec<u8>, dtype: DType) -> Vec<u8> {
    rewritten(file, |_, v| v, Some, |old, dims| if dims == 2 { dtype } else { old })
}

/// A small random tower for the small language model.
pub(crate) fn random_tower(hidden: usize, ffn: usize, layers: usize, dtype: DType) -> Vec<u8> {
    random::random_tower(&random::Sizes { hidden, ffn, layers, positions: 64, output: 256 }, dtype)
}

fn rewritten(
    file: Vec<u8>,
    key: impl Fn(&str, Value) -> Value,
    tensor: impl Fn(String) -> Option<String>,
    dtype: impl Fn(DType, u32) -> DType,
) -> Vec<u8> {
    let from = Gguf::from_bytes(FileBytes::Owned(file)).unwrap();
    let mut writer = GgufWriter::new();
    for (name, value) in from.keys() {
        writer.key(name, key(name, value.clone()));
    }
    let kept: Vec<_> = from.tensors().iter().filter_map(|t| Some((t, tensor(t.name.clone())?))).collect();
    for (t, name) in &kept {
        writer.tensor(name, dtype(t.dtype, t.dims), &t.shape[..t.dims as usize]).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    for (t, _) in kept {
        let mut numbers = vec![0.0; t.numbers() as usize];
        dequantize(t.dtype, from.tensor_bytes(t).as_slice(), &mut numbers).unwrap();
        let to = dtype(t.dtype, t.dims);
        let mut bytes = vec![0; to.row_bytes(numbers.len()).unwrap()];
        quantize(to, &numbers, &mut bytes).unwrap();
        data.write(&bytes).unwrap();
    }
    data.finish().unwrap()
}
