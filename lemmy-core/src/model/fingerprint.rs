//! Which model this is, in 32 bytes.

#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

use super::Model;
use crate::gguf::{Array, Gguf, TensorInfo, Value};

/// Pieces of a tensor that are looked at, spread evenly from its first byte to its last.
const PIECES: usize = 4;
/// Bytes of a piece. A tensor that is no longer than all its pieces is looked at as a whole.
const PIECE: usize = 1024;

impl Model {
    /// SHA-256 over the file's keys, its tensor table and a sample of each tensor's bytes; the same for every copy of the
    /// file, however it is split or loaded. Computed when it is first asked for: it touches a few megabytes of weights.
    pub fn fingerprint(&self) -> &[u8; 32] {
        self.0.fingerprint.get_or_init(|| fingerprint(self.gguf()))
    }
}

/// Which file this is, whatever its name.
pub(super) fn fingerprint(gguf: &Gguf) -> [u8; 32] {
    let mut hash = Framed(Sha256::new());
    // What tells the parts of a split model from a whole one is not the model.
    let keys = gguf.keys().filter(|(key, _)| !key.starts_with("split."));
    for (key, value) in keys {
        hash.bytes(key.as_bytes());
        hash.value(value);
    }
    for tensor in gguf.tensors() {
        hash.tensor(tensor);
        let bytes = gguf.tensor_bytes(tensor);
        sample(bytes.as_slice()).for_each(|piece| hash.bytes(piece));
    }
    hash.0.finalize().into()
}

/// Everything goes in with its length, so that no two sequences of values look the same.
struct Framed(Sha256);

impl Framed {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, n: u64) {
        self.0.update(n.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        self.number(value.value_type() as u64);
        match value {
            Value::U8(v) => self.bytes(&v.to_le_bytes()),
            Value::I8(v) => self.bytes(&v.to_le_bytes()),
            Value::U16(v) => self.bytes(&v.to_le_bytes()),
            Value::I16(v) => self.bytes(&v.to_le_bytes()),
            Value::U32(v) => self.bytes(&v.to_le_bytes()),
            Value::I32(v) => self.bytes(&v.to_le_bytes()),
            Value::U64(v) => self.bytes(&v.to_le_bytes()),
            Value::I64(v) => self.bytes(&v.to_le_bytes()),
            Value::F32(v) => self.bytes(&v.to_le_bytes()),
            Value::F64(v) => self.bytes(&v.to_le_bytes()),
            Value::Bool(v) => self.bytes(&[u8::from(*v)]),
            Value::String(v) => self.bytes(v.as_bytes()),
            Value::Array(v) => self.array(v),
        }
    }

    fn array(&mut self, array: &Array) {
        self.number(array.element_type() as u64);
        self.number(array.len() as u64);
        self.bytes(array.as_bytes());
    }

    fn tensor(&mut self, tensor: &TensorInfo) {
        self.bytes(tensor.name.as_bytes());
        self.number(tensor.dtype as u64);
        tensor.shape.iter().for_each(|&n| self.number(n));
    }
}

/// The pieces of a tensor that count.
fn sample(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (piece, step) = match bytes.len().checked_sub(PIECES * PIECE) {
        None | Some(0) => (bytes.len(), 1),
        Some(_) => (PIECE, (bytes.len() - PIECE) / (PIECES - 1)),
    };
    let pieces = if piece == bytes.len() { 1 } else { PIECES };
    (0..pieces).filter_map(move |i| bytes.get(i * step..i * step + piece))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_sample_is_the_whole_of_a_short_tensor_and_both_ends_of_a_long_one() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i / 40) as u8).collect();
        for len in [0, 1, 4095, 4096] {
            let pieces: Vec<&[u8]> = sample(&bytes[..len]).collect();
            assert_eq!(pieces, [&bytes[..len]]);
        }
        for len in [4097, 4099, 10_000] {
            let pieces: Vec<&[u8]> = sample(&bytes[..len]).collect();
            assert_eq!(pieces.len(), 4, "{len}");
            assert_eq!(pieces[0], &bytes[..1024]);
            let last = pieces[3].as_ptr_range().end as usize - bytes.as_ptr() as usize;
            assert!(len - last < 3, "{len}: the last piece ends at {last}");
        }
    }
}
