//! GGUF files: untrusted bytes in, a typed view out.
//!
//! The format (versions 2 and 3, little-endian): magic, counts, keys with typed values, a table of tensors, padding, the
//! tensors' data. [`Gguf::open`] checks every number in it against the file and against [`limits`](crate::limits) before
//! anything relies on it; what it returns holds nothing but the small values and the table. Arrays and tensors stay in
//! the file.
//!
//! Reading order: `cursor` (bounded reads), `value` and `array`, `tensor` (sizes), `header` (one file), `split` (several
//! parts), `load` (from a path), `file` (the whole), `write` (the way back).

pub mod array;
pub mod bytes;
pub mod file;
pub mod tensor;
pub mod value;
pub mod write;

mod cursor;
mod header;
mod load;
mod names;
mod split;

pub use array::{Array, Strings};
pub use bytes::{FileBytes, SharedBytes};
pub use file::{Gguf, LoadMode};
pub use tensor::TensorInfo;
pub use value::{Value, ValueType};
pub use write::{GgufWriter, TensorWriter};
