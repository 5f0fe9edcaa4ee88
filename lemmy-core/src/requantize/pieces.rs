//! Blocks of one type to blocks of another, on all threads.

#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::quant::{DType, dequantize, largest, quantize};
use crate::threads::ThreadPool;

/// Numbers of one piece: whole blocks of every type, and few enough for the stack of a thread.
pub(super) const PIECE: usize = 4096;

/// A conversion in pieces of [`PIECE`] numbers.
pub(super) struct Pieces {
    from: DType,
    to: DType,
    /// Bytes of a piece in the source.
    pub(super) read: usize,
    /// Bytes of a piece in the result.
    pub(super) written: usize,
}

/// What a call of [`Pieces::convert`] has done.
pub(super) struct Done {
    pub(super) numbers: usize,
    pub(super) bytes: usize,
}

/// What a conversion can fail with.
pub(super) enum Failure {
    /// A number does not fit the new type; its place is counted in the call's source.
    Number {
        place: usize,
        value: f32,
    },
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Pieces {
    pub(super) fn new(from: DType, to: DType) -> Result<Self> {
        Ok(Self { from, to, read: bytes_of(from, PIECE)?, written: bytes_of(to, PIECE)? })
    }

    /// Converts whole blocks; the last piece may be short. `out` has room for whole pieces.
    ///
    /// If several pieces fail the first of them is told, whatever the number of threads.
    pub(super) fn convert(&self, source: &[u8], out: &mut [u8], pool: &ThreadPool) -> Result<Done, Failure> {
        let first_failure: Mutex<Option<(usize, Failure)>> = Mutex::new(None);
        pool.rows(out, self.written, 1, &|_worker, first, rows| {
            let pieces = source.chunks(self.read).enumerate().skip(first);
            for ((i, piece), out) in pieces.zip(rows.chunks_mut(self.written)) {
                if let Err(failure) = self.convert_piece(piece, out) {
                    let mut kept = first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.as_ref().is_none_or(|(at, _)| i < *at) {
                        *kept = Some((i, failure));
                    }
                    return;
                }
            }
        })?;
        match first_failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((i, Failure::Number { place, value })) => Err(Failure::Number { place: i * PIECE + place, value }),
            Some((_, other)) => Err(other),
            None => {
                let numbers = self.numbers(source);
                Ok(Done { numbers, bytes: bytes_of(self.to, numbers)? })
            }
        }
    }

    fn convert_piece(&self, source: &[u8], out: &mut [u8]) -> Result<(), Failure> {
        let numbers = self.numbers(source);
        let mut x = [0.0; PIECE];
        let x = x.get_mut(..numbers).unwrap_or_default();
        dequantize(self.from, source, x)?;
        let out = out.get_mut(..bytes_of(self.to, numbers)?).unwrap_or_default();
        quantize(self.to, x, out).map_err(|error| {
            // Said in the caller's terms if a number is to blame.
            let largest = largest(self.to);
            let outside = x.iter().enumerate().find(|(_, x)| x.is_nan() || x.abs() > largest);
            outside.map_or(Failure::Other(error), |(place, &value)| Failure::Number { place, value })
        })
    }

    fn numbers(&self, source: &[u8]) -> usize {
        source.len() / self.from.block_bytes() * self.from.block_len()
    }
}

fn bytes_of(dtype: DType, numbers: usize) -> Result<usize> {
    dtype.row_bytes(numbers).ok_or_else(|| Error::Internal(format!("{numbers} numbers are no whole blocks of {dtype}")))
}
