//! Writes GGUF files: keys, tensor table, then the tensors' data as a stream.

#![forbid(unsafe_code)]

use std::io::Write;

use super::cursor::Shown;
use super::header::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, alignment};
use super::names::NameIndex;
use super::tensor::{align_up, tensor_bytes};
use super::{Array, TensorInfo, Value, ValueType};
use crate::error::{Error, Result};
use crate::limits;
use crate::quant::DType;

/// Collects the keys and the tensor table of a file of version 3.
///
/// A key `general.alignment` (a u32) sets the alignment of the tensors' data; it is 32 without. What
/// [`begin`](Self::begin) accepts, [`Gguf`](super::Gguf) opens.
///
/// ```
/// use lemmy_core::gguf::{Array, GgufWriter};
/// use lemmy_core::quant::DType;
///
/// let mut writer = GgufWriter::new();
/// writer.key("general.name", "two tensors").key("answers", Array::from(&[42u32][..]));
/// writer.tensor("a", DType::F32, &[3])?;
/// writer.tensor("b", DType::Q8_0, &[32, 2])?;
/// let mut data = writer.begin(Vec::new())?;
/// data.write(&[1; 12])?; // a
/// data.write(&[2; 34])?; // b's first row,
/// data.write(&[3; 34])?; // and its second
/// let file: Vec<u8> = data.finish()?;
/// # Ok::<(), lemmy_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GgufWriter {
    keys: Vec<(String, Value)>,
    tensors: Vec<TensorInfo>,
}

impl GgufWriter {
    /// A file without keys and tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    pub fn key(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.keys.push((key.into(), value.into()));
        self
    }

    /// Adds a tensor to the table; `shape` has the contiguous dimension first.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a name or a shape that no file may have.
    pub fn tensor(&mut self, name: impl Into<String>, dtype: DType, shape: &[u64]) -> Result<&mut Self> {
        let name = name.into();
        within("length of a tensor name", name.len(), 1, limits::GGUF_TENSOR_NAME_BYTES)?;
        let bytes = tensor_bytes(dtype, shape).map_err(|e| {
            argument(format!("shape of tensor {}: found {}, expected {}", Shown(&name), e.found, e.expected))
        })?;
        let mut padded = [1; 4];
        padded.iter_mut().zip(shape).for_each(|(to, from)| *to = *from);
        self.tensors.push(TensorInfo {
            name,
            dtype,
            shape: padded,
            dims: shape.len() as u32,
            part: 0,
            offset: 0,
            bytes,
        });
        Ok(self)
    }

    /// Writes everything that stands before the tensors' data.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a key or a tensor that is there twice or a value beyond the
    /// [`limits`], [`Error::Io`] if `out` refuses.
    pub fn begin<W: Write>(mut self, out: W) -> Result<TensorWriter<W>> {
        let alignment = self.check()?;
        let mut offset = 0u64;
        for tensor in &mut self.tensors {
            tensor.offset = offset;
            offset = offset
                .checked_add(tensor.bytes)
                .and_then(|end| align_up(end, alignment))
                .ok_or_else(|| argument("tensors of more than 2^64 bytes together".into()))?;
        }
        let mut out = Output { out, at: 0 };
        out.put(MAGIC)?;
        out.put(&3u32.to_le_bytes())?;
        out.put(&(self.tensors.len() as u64).to_le_bytes())?;
        out.put(&(self.keys.len() as u64).to_le_bytes())?;
        for (key, value) in &self.keys {
            out.string(key)?;
            out.put(&(value.value_type() as u32).to_le_bytes())?;
            out.value(value)?;
        }
        for tensor in &self.tensors {
            out.string(&tensor.name)?;
            out.put(&tensor.dims.to_le_bytes())?;
            for n in tensor.shape.iter().take(tensor.dims as usize) {
                out.put(&n.to_le_bytes())?;
            }
            out.put(&(tensor.dtype as u32).to_le_bytes())?;
            out.put(&tensor.offset.to_le_bytes())?;
        }
        out.pad(alignment)?;
        if out.at > limits::GGUF_HEADER_BYTES {
            return Err(argument(format!("{} bytes of keys and table, more than a file may have", out.at)));
        }
        for tensor in &mut self.tensors {
            tensor.offset =
                tensor.offset.checked_add(out.at).ok_or_else(|| argument("a file of more than 2^64 bytes".into()))?;
        }
        Ok(TensorWriter { out, alignment, tensors: self.tensors, current: 0, written: 0 })
    }

    /// Refuses what a reader would refuse; the alignment.
    fn check(&self) -> Result<u32> {
        within("number of keys", self.keys.len(), 0, limits::GGUF_KEYS)?;
        within("number of tensors", self.tensors.len(), 0, limits::GGUF_TENSORS)?;
        let twice = |name: String| argument(format!("{} is there twice", Shown(&name)));
        let keys = NameIndex::new(&self.keys, |(key, _)| key).map_err(twice)?;
        NameIndex::new(&self.tensors, |t| &t.name).map_err(twice)?;
        for (key, value) in &self.keys {
            within("length of a key", key.len(), 1, limits::GGUF_KEY_BYTES)?;
            match value {
                Value::String(text) => within("length of a string", text.len(), 0, limits::GGUF_STRING_BYTES)?,
                Value::Array(array) => check_array(array)?,
                _ => {}
            }
        }
        match keys.find(&self.keys, ALIGNMENT_KEY, |(key, _)| key) {
            Some((_, value)) => alignment(value).map_err(|e| argument(e.to_string())),
            None => Ok(DEFAULT_ALIGNMENT),
        }
    }
}

/// Takes the tensors' data in the order of the table and pads each tensor.
#[derive(Debug)]
pub struct TensorWriter<W> {
    out: Output<W>,
    alignment: u32,
    tensors: Vec<TensorInfo>,
    /// The tensor whose data comes next, and how much of it is there.
    current: usize,
    written: u64,
}

impl<W: Write> TensorWriter<W> {
    /// The tensor whose data comes next; its offset is the place in the file. `None` when all are there.
    pub fn current(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.current)
    }

    /// Writes the next bytes of the current tensor; the next tensor's turn comes when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for more bytes than the tensor lacks (nothing is written then), [`Error::Io`] if the output
    /// refuses.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        let Some(tensor) = self.tensors.get(self.current) else {
            return Err(argument(format!("{} bytes after the last tensor", piece.len())));
        };
        let left = tensor.bytes - self.written;
        if piece.len() as u64 > left {
            return Err(argument(format!(
                "{} bytes for tensor {}, which lacks {left}",
                piece.len(),
                Shown(&tensor.name)
            )));
        }
        self.out.put(piece)?;
        self.written += piece.len() as u64;
        if piece.len() as u64 == left {
            self.out.pad(self.alignment)?;
            (self.current, self.written) = (self.current + 1, 0);
        }
        Ok(())
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a tensor is not complete, [`Error::Io`] if the output refuses.
    pub fn finish(mut self) -> Result<W> {
        if let Some(tensor) = self.current() {
            let left = tensor.bytes - self.written;
            return Err(argument(format!("tensor {} lacks {left} bytes", Shown(&tensor.name))));
        }
        self.out.out.flush().map_err(refused)?;
        Ok(self.out.out)
    }
}

/// An output that knows how far it is.
#[derive(Debug)]
struct Output<W> {
    out: W,
    at: u64,
}

impl<W: Write> Output<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(refused)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<()> {
        self.put(&(text.len() as u64).to_le_bytes())?;
        self.put(text.as_bytes())
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::U8(v) => self.put(&v.to_le_bytes()),
            Value::I8(v) => self.put(&v.to_le_bytes()),
            Value::U16(v) => self.put(&v.to_le_bytes()),
            Value::I16(v) => self.put(&v.to_le_bytes()),
            Value::U32(v) => self.put(&v.to_le_bytes()),
            Value::I32(v) => self.put(&v.to_le_bytes()),
            Value::F32(v) => self.put(&v.to_le_bytes()),
            Value::Bool(v) => self.put(&[u8::from(*v)]),
            Value::String(v) => self.string(v),
            Value::Array(v) => {
                self.put(&(v.element_type() as u32).to_le_bytes())?;
                self.put(&(v.len() as u64).to_le_bytes())?;
                self.put(v.as_bytes())
            }
            Value::U64(v) => self.put(&v.to_le_bytes()),
            Value::I64(v) => self.put(&v.to_le_bytes()),
            Value::F64(v) => self.put(&v.to_le_bytes()),
        }
    }

    fn pad(&mut self, alignment: u32) -> Result<()> {
        let zeros = [0; 256];
        let mut left = align_up(self.at, alignment).map_or(0, |end| end - self.at) as usize;
        while let Some(piece) = zeros.get(..left.min(zeros.len())).filter(|piece| !piece.is_empty()) {
            self.put(piece)?;
            left -= piece.len();
        }
        Ok(())
    }
}

fn check_array(array: &Array) -> Result<()> {
    if array.element_type() != ValueType::String {
        return within("length of an array", array.len(), 0, limits::GGUF_ARRAY_NUMBERS);
    }
    within("length of an array of strings", array.len(), 0, limits::GGUF_ARRAY_STRINGS)?;
    let longest = array.strings().and_then(|strings| strings.map(<[u8]>::len).max()).unwrap_or(0);
    within("length of a string", longest, 0, limits::GGUF_STRING_BYTES)
}

fn within(what: &str, found: usize, least: u64, most: u64) -> Result<()> {
    match found as u64 {
        n if n >= least && n <= most => Ok(()),
        n => Err(argument(format!("{what}: found {n}, expected {least} to {most}"))),
    }
}

fn argument(reason: String) -> Error {
    Error::Argument { name: "gguf", reason }
}

fn refused(source: std::io::Error) -> Error {
    Error::Io { what: "cannot write the model file".into(), source }
}
