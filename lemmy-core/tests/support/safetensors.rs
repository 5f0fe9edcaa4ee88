//! Reads the golden numbers: a length, a JSON header of that length, raw little-endian numbers.

use std::path::PathBuf;

/// Path of a file of the tiny model.
pub(crate) fn tiny(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny").join(name)
}

/// A file of named arrays.
pub(crate) struct Safetensors {
    header: serde_json::Value,
    data: Vec<u8>,
}

impl Safetensors {
    /// A golden file of the tiny model.
    pub(crate) fn open(name: &str) -> Self {
        let bytes = std::fs::read(tiny(name)).unwrap();
        let (len, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        Self { header: serde_json::from_slice(header).unwrap(), data: data.to_vec() }
    }

    pub(crate) fn f32s(&self, name: &str) -> Vec<f32> {
        self.numbers(name, "F32").map(f32::from_le_bytes).collect()
    }

    pub(crate) fn i32s(&self, name: &str) -> Vec<i32> {
        self.numbers(name, "I32").map(i32::from_le_bytes).collect()
    }

    /// Token ids.
    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.i32s(name).into_iter().map(|id| id.try_into().unwrap()).collect()
    }

    fn numbers(&self, name: &str, dtype: &str) -> impl Iterator<Item = [u8; 4]> {
        let entry = &self.header[name];
        assert_eq!(entry["dtype"], dtype, "{name}");
        let [start, end] = [0, 1].map(|i| entry["data_offsets"][i].as_u64().unwrap() as usize);
        self.data[start..end].chunks_exact(4).map(|number| number.try_into().unwrap())
    }
}
