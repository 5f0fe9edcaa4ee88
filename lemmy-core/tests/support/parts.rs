//! A sound model file taken apart, to be changed and put together again.

use lemmy_core::gguf::{FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::quant::DType;

/// Keys and tensors of a file.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) keys: Vec<(String, Value)>,
    pub(crate) tensors: Vec<Part>,
}

/// One tensor.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Parts {
    pub(crate) fn read(file: Vec<u8>) -> Self {
        let gguf = Gguf::from_bytes(FileBytes::Owned(file)).unwrap();
        let tensors = gguf.tensors().iter().map(|t| Part {
            name: t.name.clone(),
            dtype: t.dtype,
            shape: t.shape[..t.dims as usize].to_vec(),
            data: gguf.tensor_bytes(t).as_slice().to_vec(),
        });
        Self {
            keys: gguf.keys().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            tensors: tensors.collect(),
        }
    }

    /// The same file with another value of a key.
    pub(crate) fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut parts = self.without(key);
        parts.keys.push((key.into(), value.into()));
        parts
    }

    /// The same file without a key.
    pub(crate) fn without(&self, key: &str) -> Self {
        let mut parts = self.clone();
        parts.keys.retain(|(name, _)| name != key);
        parts
    }

    /// The same file with one tensor changed (or dropped: `None`). Its data becomes as long as the new shape wants.
    pub(crate) fn with_tensor(&self, name: &str, change: impl FnOnce(Part) -> Option<Part>) -> Self {
        let mut parts = self.clone();
        let at = parts.tensors.iter().position(|t| t.name == name).unwrap();
        let old = parts.tensors.remove(at);
        if let Some(mut new) = change(old) {
            let rows: u64 = new.shape[1..].iter().product();
            new.data.resize(new.dtype.row_bytes(new.shape[0] as usize).unwrap() * rows as usize, 0);
            parts.tensors.insert(at, new);
        }
        parts
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = GgufWriter::new();
        for (key, value) in &self.keys {
            writer.key(key, value.clone());
        }
        for t in &self.tensors {
            writer.tensor(&t.name, t.dtype, &t.shape).unwrap();
        }
        let mut data = writer.begin(Vec::new()).unwrap();
        for t in &self.tensors {
            data.write(&t.data).unwrap();
        }
        data.finish().unwrap()
    }
}
