//! From one model file to another with smaller numbers.
//!
//! A [`Mixture`] is a file's recipe: which tensor gets which type. [`Requantize`] applies it to an opened model and writes
//! the new file as a stream, in pieces of about a million numbers, so that memory does not grow with the model.
//!
//! ```no_run
//! use std::{fs::File, io::BufWriter, ops::ControlFlow};
//! use lemmy_core::gguf::{Gguf, LoadMode};
//! use lemmy_core::requantize::{Mixture, Requantize};
//! use lemmy_core::{CancelToken, Error, ThreadPool};
//!
//! let cancel = CancelToken::new();
//! let source = Gguf::open("model-bf16.gguf".as_ref(), LoadMode::Mmap, &cancel, &mut |_, _| ControlFlow::Continue(()))?;
//! let file = File::create("model-q4_k_m.gguf").map_err(|e| Error::Io { what: "cannot create the file".into(), source: e })?;
//! Requantize::new(&source, Mixture::Q4_K_M)?.write(
//!     BufWriter::new(file),
//!     &ThreadPool::new(8)?,
//!     &cancel,
//!     &mut |_done, _total| ControlFlow::Continue(()),
//! )?;
//! # Ok::<(), lemmy_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod convert;
mod mixture;
mod pieces;

pub use convert::Requantize;
pub use mixture::{Mixture, TypeRule};
