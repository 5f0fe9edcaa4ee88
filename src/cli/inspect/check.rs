//! `--check`: reads every number of a file.

use std::sync::Mutex;

use lemmy_core::gguf::{Gguf, TensorInfo};
use lemmy_core::quant::dequantize;
use lemmy_core::{GgufError, ThreadPool, Tokenizer};

use crate::cli::failure::{Failure, Result};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Signals;

/// Numbers that one thread unpacks at once: whole blocks of every type.
const PIECE: usize = 1 << 16;

/// The inner result is the verdict on the file.
pub(super) fn check(gguf: &Gguf, is_model: bool, signals: &Signals) -> Result<Result<()>> {
    let cancel = signals.watch();
    let pool = ThreadPool::builder().build()?;
    let mut progress = Progress::bar_only("checking", Unit::Bytes);
    let total = gguf.tensors().iter().map(|t| t.bytes).sum();
    let mut done = 0;
    for tensor in gguf.tensors().iter().filter(|t| t.dtype.is_readable()) {
        if cancel.is_cancelled() {
            return Err(signals.failure());
        }
        if let Some(index) = first_not_finite(gguf, tensor, &pool)? {
            return Ok(Err(gguf
                .error(GgufError::Tensor {
                    tensor: tensor.name.clone(),
                    found: format!("a number that is not finite at index {index}"),
                    expected: "finite numbers".into(),
                })
                .into()));
        }
        done += tensor.bytes;
        progress.set(done, total);
    }
    gguf.check_unchanged()?;
    Ok(if is_model { Tokenizer::from_gguf(gguf).map(|_| ()).map_err(Failure::from) } else { Ok(()) })
}

/// What a passed check says; numbers of types that this build cannot read were not looked at.
pub(super) fn passed(gguf: &Gguf) -> String {
    match gguf.tensors().iter().filter(|t| !t.dtype.is_readable()).count() {
        0 => "every number is finite".into(),
        unread => format!("every number that can be read here is finite; {unread} tensors were not read"),
    }
}

/// Index of the first number of a tensor that is NaN or an infinity.
fn first_not_finite(gguf: &Gguf, tensor: &TensorInfo, pool: &ThreadPool) -> Result<Option<usize>> {
    let shared = gguf.tensor_bytes(tensor);
    let bytes = shared.as_slice();
    let numbers = bytes.len() / tensor.dtype.block_bytes() * tensor.dtype.block_len();
    let piece_bytes = tensor.dtype.row_bytes(PIECE).unwrap_or(bytes.len());
    let found = Mutex::new(Ok(None::<usize>));
    pool.items(numbers.div_ceil(PIECE), &|_, piece| {
        let start = piece * PIECE;
        let piece_of_bytes = bytes.get(piece * piece_bytes..).unwrap_or_default();
        let piece_of_bytes = piece_of_bytes.get(..piece_bytes).unwrap_or(piece_of_bytes);
        let mut values = vec![0.0; PIECE.min(numbers - start)];
        let result = dequantize(tensor.dtype, piece_of_bytes, &mut values);
        let bad = values.iter().position(|x| !x.is_finite()).map(|i| start + i);
        let Ok(mut found) = found.lock() else { return };
        match (result, &mut *found) {
            (Err(e), slot) => *slot = Err(e),
            (Ok(()), Ok(first)) => *first = [*first, bad].into_iter().flatten().min(),
            (Ok(()), Err(_)) => {}
        }
    })?;
    Ok(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?)
}
