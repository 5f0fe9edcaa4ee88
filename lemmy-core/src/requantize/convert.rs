//! The conversion of a whole model, tensor by tensor, in pieces.

#![forbid(unsafe_code)]

use std::io::Write;
use std::ops::ControlFlow;

use super::pieces::{Failure, PIECE, Pieces};
use super::{Mixture, TypeRule};
use crate::error::{Error, GgufError, Result, try_vec};
use crate::gguf::{Gguf, GgufWriter, TensorInfo, TensorWriter};
use crate::quant::{self, DType};
use crate::threads::{CancelToken, ThreadPool};

/// Pieces that are converted together and then written.
const PIECES: usize = 256;
/// The version of the block formats, key `general.quantization_version`.
const QUANTIZATION_VERSION: u32 = 2;

/// Called with bytes of the source done and in total; `Break` stops with [`Error::Cancelled`].
type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// A conversion that is decided but not yet done.
#[derive(Debug)]
pub struct Requantize<'a> {
    source: &'a Gguf,
    mixture: Mixture,
    /// One for each tensor of the source.
    types: Vec<DType>,
    from_quantized: bool,
}

impl<'a> Requantize<'a> {
    /// Decides the type of every tensor.
    ///
    /// # Errors
    ///
    /// Those of [`TypeRule::of`].
    pub fn new(source: &'a Gguf, mixture: Mixture) -> Result<Self> {
        let rule = TypeRule::of(mixture, source)?;
        let types = source.tensors().iter().map(|t| rule.tensor_type(&t.name, &t.shape, t.dtype)).collect();
        Ok(Self { source, mixture, types, from_quantized: false })
    }

    /// Whether tensors that are quantised already may be converted: their errors add up. Default: no.
    pub fn from_quantized(mut self, allow: bool) -> Self {
        self.from_quantized = allow;
        self
    }

    /// Every tensor with the type that it will have, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = (&'a TensorInfo, DType)> + '_ {
        self.source.tensors().iter().zip(self.types.iter().copied())
    }

    /// Writes the new file: the keys of the source (but those of a split), its tensors in the same order.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a tensor is quantised already and that was not [allowed](Self::from_quantized);
    /// [`Error::Gguf`] if a number is NaN, infinite or too large for its new type, with the tensor's name and the number's
    /// place; [`Error::Cancelled`]; [`Error::FileChanged`]; [`Error::Io`] if `out` refuses. What `out` holds then is no
    /// usable file.
    pub fn write<W: Write>(
        &self,
        out: W,
        pool: &ThreadPool,
        cancel: &CancelToken,
        progress: Progress<'_>,
    ) -> Result<W> {
        self.check_sources()?;
        let mut data = self.header()?.begin(out)?;
        let total = self.source.tensors().iter().map(|t| t.bytes).sum();
        let mut state = State { done: 0, total, cancel, progress };
        let mut buffer = Vec::new();
        for (tensor, dtype) in self.tensors() {
            if dtype == tensor.dtype {
                self.copy(tensor, &mut data, &mut state)?;
            } else {
                self.convert(tensor, dtype, &mut buffer, pool, &mut data, &mut state)?;
            }
            self.source.check_unchanged()?;
        }
        data.finish()
    }

    fn check_sources(&self) -> Result<()> {
        match self.tensors().find(|(t, dtype)| *dtype != t.dtype && t.dtype.block_len() > 1 && !self.from_quantized) {
            None => Ok(()),
            Some((tensor, dtype)) => Err(Error::Argument {
                name: "source",
                reason: format!(
                    "{}: tensor `{}` is {} already; making {dtype} of it adds to its errors: use a file of f32, f16 or bf16 numbers",
                    self.source.name(),
                    tensor.name,
                    tensor.dtype,
                ),
            }),
        }
    }

    fn header(&self) -> Result<GgufWriter> {
        let changed =
            [("general.file_type", self.mixture.file_type()), ("general.quantization_version", QUANTIZATION_VERSION)];
        let mut writer = GgufWriter::new();
        for (key, value) in self.source.keys().filter(|(key, _)| !key.starts_with("split.")) {
            match changed.iter().find(|(name, _)| *name == key) {
                Some((_, value)) => writer.key(key, *value),
                None => writer.key(key, value.clone()),
            };
        }
        for (key, value) in changed.iter().filter(|(key, _)| self.source.get(key).is_none()) {
            writer.key(*key, *value);
        }
        for (tensor, dtype) in self.tensors() {
            let shape = tensor.shape.get(..tensor.dims as usize).unwrap_or(&tensor.shape);
            writer.tensor(&*tensor.name, dtype, shape)?;
        }
        Ok(writer)
    }

    fn copy<W: Write>(&self, tensor: &TensorInfo, data: &mut TensorWriter<W>, state: &mut State<'_>) -> Result<()> {
        let source = self.source.tensor_bytes(tensor);
        for piece in source.as_slice().chunks(PIECE * PIECES) {
            data.write(piece)?;
            state.advance(piece.len())?;
        }
        Ok(())
    }

    /// Rows are whole blocks in both types, so a tensor is one long sequence of blocks and may be cut at any block.
    fn convert<W: Write>(
        &self,
        tensor: &TensorInfo,
        dtype: DType,
        buffer: &mut Vec<u8>,
        pool: &ThreadPool,
        data: &mut TensorWriter<W>,
        state: &mut State<'_>,
    ) -> Result<()> {
        let pieces = Pieces::new(tensor.dtype, dtype)?;
        let source = self.source.tensor_bytes(tensor);
        let mut first = 0;
        for chunk in source.as_slice().chunks(pieces.read * PIECES) {
            let room = chunk.len().div_ceil(pieces.read) * pieces.written;
            if buffer.len() < room {
                *buffer = try_vec(room, 0, "converted numbers")?;
            }
            let out = buffer.get_mut(..room).unwrap_or_default();
            let done = pieces.convert(chunk, out, pool).map_err(|failure| match failure {
                Failure::Number { place, value } => self.bad_number(tensor, dtype, first + place, value),
                Failure::Other(error) => error,
            })?;
            data.write(out.get(..done.bytes).unwrap_or_default())?;
            first += done.numbers;
            state.advance(chunk.len())?;
        }
        Ok(())
    }

    fn bad_number(&self, tensor: &TensorInfo, dtype: DType, place: usize, value: f32) -> Error {
        self.source.error(GgufError::Tensor {
            tensor: tensor.name.clone(),
            found: format!("{value:e} as number {place}"),
            expected: format!("finite numbers of at most {:e}, as {dtype} holds", quant::largest(dtype)),
        })
    }
}

/// How far the work is, and who wants to know.
struct State<'a> {
    done: u64,
    total: u64,
    cancel: &'a CancelToken,
    progress: Progress<'a>,
}

impl State<'_> {
    fn advance(&mut self, bytes: usize) -> Result<()> {
        self.done += bytes as u64;
        if self.cancel.is_cancelled() || (self.progress)(self.done, self.total).is_break() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
