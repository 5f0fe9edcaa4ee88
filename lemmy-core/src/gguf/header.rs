//! The header of one file: keys and tensor table, with every number checked.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::sync::Arc;

use super::cursor::{Cursor, Shown, reserve, shown};
use super::names::NameIndex;
use super::tensor::{align_up, tensor_bytes};
use super::{Array, FileBytes, SharedBytes, TensorInfo, Value, ValueType};
use crate::error::{GgufError, Result};
use crate::limits;
use crate::quant::DType;

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";

/// Fewest bytes of a key: its length, one letter, a type, a value of one byte.
const KEY_BYTES: u64 = 8 + 1 + 4 + 1;
/// Fewest bytes of a tensor's entry: the name's length, one letter, dimensions, one of them, type, offset.
const TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// What stands in front of the tensors' data.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) keys: Vec<(String, Value)>,
    pub(super) key_index: NameIndex,
    /// In the file's order; names are not yet known to differ.
    pub(super) tensors: Vec<TensorInfo>,
}

impl Header {
    /// Parses the file called `file`, which is part `part` of its model.
    pub(super) fn parse(file: &str, source: &Arc<FileBytes>, part: usize) -> Result<Self> {
        let mut c = Cursor::new(file, source);
        if (source.len() as u64) < limits::GGUF_FILE_BYTES {
            let expected = format!("at least {} bytes", limits::GGUF_FILE_BYTES);
            return Err(c.malformed(0, "size of the file", format!("{} bytes", source.len()), expected));
        }
        let version = magic_and_version(&mut c)?;
        let tensor_count = c.count(TENSOR_BYTES, limits::GGUF_TENSORS, "number of tensors")?;
        let key_count = c.count(KEY_BYTES, limits::GGUF_KEYS, "number of keys")?;

        let mut keys = reserve(key_count, "the keys of a model file")?;
        for i in 0..key_count {
            keys.push(key(&mut c, source, i)?);
        }
        let key_index = NameIndex::new(&keys, |(key, _)| key).map_err(|key| {
            c.error(GgufError::Key { key: shown(&key), found: "it twice".into(), expected: "every key once".into() })
        })?;
        let alignment = match key_index.find(&keys, ALIGNMENT_KEY, |(key, _)| key) {
            Some((_, value)) => alignment(value).map_err(|e| c.error(e))?,
            None => DEFAULT_ALIGNMENT,
        };

        let mut tensors = reserve(tensor_count, "the tensor table of a model file")?;
        for i in 0..tensor_count {
            tensors.push(tensor(&mut c, part, alignment, i)?);
        }
        place(&mut tensors, c.at() as u64, alignment, source.len() as u64).map_err(|e| c.error(e))?;
        disjoint(&tensors).map_err(|e| c.error(e))?;
        Ok(Self { version, keys, key_index, tensors })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.key_index.find(&self.keys, key, |(key, _)| key).map(|(_, value)| value)
    }
}

fn magic_and_version(c: &mut Cursor<'_>) -> Result<u32> {
    let magic = c.take(4, "magic")?;
    if magic != MAGIC {
        return Err(c.malformed(0, "magic", format!("\"{}\"", magic.escape_ascii()), "\"GGUF\""));
    }
    let version = c.u32("version")?;
    let found = match version {
        2 | 3 => return Ok(version),
        1 => "1, whose counts have 32 bits".to_owned(),
        v if (1..=3).contains(&v.swap_bytes()) => format!("{} of a big-endian file", v.swap_bytes()),
        v => v.to_string(),
    };
    Err(c.malformed(4, "version", found, "2 or 3, little-endian"))
}

fn key(c: &mut Cursor<'_>, source: &Arc<FileBytes>, i: u64) -> Result<(String, Value)> {
    let key = c.string(1..=limits::GGUF_KEY_BYTES, format_args!("name of key {i}"))?;
    let kind = value_type(c, format_args!("type of key {}", Shown(&key)))?;
    let value = match kind {
        ValueType::String => {
            Value::String(c.string(0..=limits::GGUF_STRING_BYTES, format_args!("value of key {}", Shown(&key)))?)
        }
        ValueType::Array => Value::Array(array(c, source, &key)?),
        _ => {
            let at = c.at();
            let what = format_args!("value of key {}", Shown(&key));
            let bytes = c.take(kind.width().unwrap_or(0) as u64, what)?;
            check_bools(c, kind, bytes, at, what)?;
            match Value::from_le_bytes(kind, bytes) {
                Some(value) => value,
                None => return Err(c.malformed(at, what, "another length", kind.name())),
            }
        }
    };
    Ok((key, value))
}

fn array(c: &mut Cursor<'_>, source: &Arc<FileBytes>, key: &str) -> Result<Array> {
    let at = c.at();
    let element = value_type(c, format_args!("element type of array {}", Shown(key)))?;
    if element == ValueType::Array {
        let what = format_args!("element type of array {}", Shown(key));
        return Err(c.malformed(at, what, "array", "another type: arrays of arrays are not supported"));
    }
    let length = format_args!("length of array {}", Shown(key));
    let start;
    let count;
    if let Some(width) = element.width() {
        count = c.count(width as u64, limits::GGUF_ARRAY_NUMBERS, length)?;
        start = c.at();
        let what = format_args!("elements of array {}", Shown(key));
        let bytes = c.take(count * width as u64, what)?;
        check_bools(c, element, bytes, start, what)?;
    } else {
        count = c.count(8, limits::GGUF_ARRAY_STRINGS, length)?;
        start = c.at();
        for i in 0..count {
            let len =
                c.count(1, limits::GGUF_STRING_BYTES, format_args!("length of string {i} of array {}", Shown(key)))?;
            c.take(len, "string")?;
        }
    }
    match SharedBytes::new(source.clone(), start, c.at() - start) {
        Some(bytes) => Ok(Array::new(element, count as usize, bytes)),
        None => Err(c.malformed(start, "array", "bytes outside of the file", "bytes inside")),
    }
}

fn value_type(c: &mut Cursor<'_>, what: impl Display) -> Result<ValueType> {
    let at = c.at();
    let number = c.u32(&what)?;
    ValueType::from_number(number).ok_or_else(|| c.malformed(at, what, number, "0 to 12"))
}

/// A bool is a byte that is 0 or 1.
fn check_bools(c: &Cursor<'_>, kind: ValueType, bytes: &[u8], at: usize, what: impl Display) -> Result<()> {
    if kind == ValueType::Bool
        && let Some(i) = bytes.iter().position(|&b| b > 1)
    {
        return Err(c.malformed(at + i, what, bytes.get(i).copied().unwrap_or(0), "0 or 1"));
    }
    Ok(())
}

/// The alignment that the value of `general.alignment` means.
pub(super) fn alignment(value: &Value) -> Result<u32, GgufError> {
    match *value {
        Value::U32(n) if n.is_power_of_two() && n <= limits::GGUF_ALIGNMENT => Ok(n),
        ref other => Err(GgufError::Key {
            key: ALIGNMENT_KEY.into(),
            found: match other {
                Value::U32(n) => n.to_string(),
                _ => other.type_name(),
            },
            expected: format!("a u32 that is a power of two, 1 to {}", limits::GGUF_ALIGNMENT),
        }),
    }
}

/// An entry of the table; its `offset` still counts from the start of the data.
fn tensor(c: &mut Cursor<'_>, part: usize, alignment: u32, i: u64) -> Result<TensorInfo> {
    let name = c.string(1..=limits::GGUF_TENSOR_NAME_BYTES, format_args!("name of tensor {i}"))?;
    let bad = |c: &Cursor<'_>, found: String, expected: String| {
        Err(c.error(GgufError::Tensor { tensor: shown(&name), found, expected }))
    };
    let dims = c.u32(format_args!("dimensions of tensor {}", Shown(&name)))?;
    let mut shape = [1; 4];
    let Some(written) = shape.get_mut(..dims as usize).filter(|written| !written.is_empty()) else {
        return bad(c, format!("{dims} dimensions"), format!("1 to {}", limits::GGUF_DIMS));
    };
    for n in &mut *written {
        *n = c.u64(format_args!("shape of tensor {}", Shown(&name)))?;
    }
    let number = c.u32(format_args!("type of tensor {}", Shown(&name)))?;
    let Some(dtype) = DType::from_number(number) else {
        return bad(c, format!("type number {number}"), "a type that is known".into());
    };
    let bytes = match tensor_bytes(dtype, written) {
        Ok(bytes) => bytes,
        Err(e) => return bad(c, e.found, e.expected),
    };
    let offset = c.u64(format_args!("offset of tensor {}", Shown(&name)))?;
    if offset % u64::from(alignment) != 0 {
        return bad(c, format!("offset {offset}"), format!("a multiple of {alignment}"));
    }
    Ok(TensorInfo { name, dtype, shape, dims, part, offset, bytes })
}

/// Turns offsets in the data into offsets in the file.
fn place(tensors: &mut [TensorInfo], header: u64, alignment: u32, file: u64) -> Result<(), GgufError> {
    for tensor in tensors {
        let start = align_up(header, alignment).and_then(|data| data.checked_add(tensor.offset));
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= file => tensor.offset = start,
            _ => {
                return Err(GgufError::Tensor {
                    tensor: shown(&tensor.name),
                    found: match (start, end) {
                        (Some(start), Some(end)) => format!("data at bytes {start} to {end}"),
                        _ => format!("{} bytes of data at offset {}", tensor.bytes, tensor.offset),
                    },
                    expected: format!("data inside the file, which has {file} bytes"),
                });
            }
        }
    }
    Ok(())
}

/// Refuses tensors that share bytes.
fn disjoint(tensors: &[TensorInfo]) -> Result<(), GgufError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|t| t.offset);
    for pair in order.windows(2) {
        if let [a, b] = pair
            && a.offset + a.bytes > b.offset
        {
            return Err(GgufError::Tensor {
                tensor: shown(&b.name),
                found: format!("data from byte {}, inside of tensor {}", b.offset, Shown(&a.name)),
                expected: "bytes of its own".into(),
            });
        }
    }
    Ok(())
}
