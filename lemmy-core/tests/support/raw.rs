//! GGUF files of which every field can be wrong. (`GgufWriter` refuses to write those.)

/// The fields of a file; [`bytes`](Self::bytes) puts them together without a look at their sense.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) version: u32,
    pub(crate) keys: Vec<RawKey>,
    pub(crate) tensors: Vec<RawTensor>,
    /// The data starts at a multiple of this.
    pub(crate) alignment: usize,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct RawKey {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    pub(crate) value: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct RawTensor {
    pub(crate) name: Vec<u8>,
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
}

impl Raw {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for key in &self.keys {
            out.extend((key.name.len() as u64).to_le_bytes());
            out.extend(&key.name);
            out.extend(key.kind.to_le_bytes());
            out.extend(&key.value);
        }
        for tensor in &self.tensors {
            out.extend((tensor.name.len() as u64).to_le_bytes());
            out.extend(&tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            for n in &tensor.dims {
                out.extend(n.to_le_bytes());
            }
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}
