//! Arrays of metadata values, left in the file and read on demand.

#![forbid(unsafe_code)]

use std::fmt;

use super::{SharedBytes, Value, ValueType};

/// An array of metadata values; it stays in the file and is read on demand.
///
/// ```
/// use lemmy_core::gguf::Array;
/// let layers = Array::from(&[8u32, 8, 2][..]);
/// assert_eq!(layers.integers().unwrap().max(), Some(8));
/// assert!(layers.strings().is_none());
/// ```
#[derive(Clone)]
pub struct Array {
    element: ValueType,
    len: usize,
    bytes: SharedBytes,
}

impl Array {
    /// `bytes` hold exactly `len` elements as in a file: the caller has checked it.
    pub(super) fn new(element: ValueType, len: usize, bytes: SharedBytes) -> Self {
        Self { element, len, bytes }
    }

    /// An array of strings.
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        let (mut bytes, mut len) = (Vec::new(), 0);
        for s in strings {
            let s = s.as_ref();
            bytes.extend_from_slice(&(s.len() as u64).to_le_bytes());
            bytes.extend_from_slice(s);
            len += 1;
        }
        Self::new(ValueType::String, len, bytes.into())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// The elements as strings (raw bytes: a file may hold text that is not UTF-8), or `None` for another element type.
    pub fn strings(&self) -> Option<Strings<'_>> {
        (self.element == ValueType::String).then(|| Strings { rest: self.bytes.as_slice(), left: self.len })
    }

    /// The elements of any integer (or bool) type, or `None` for another. A u64 beyond i64 gives `i64::MAX`.
    pub fn integers(&self) -> Option<impl ExactSizeIterator<Item = i64> + '_> {
        let not_integers = matches!(self.element, ValueType::F32 | ValueType::F64);
        let values = self.values().filter(|_| !not_integers)?;
        Some(values.map(|v| v.as_i64().unwrap_or(i64::MAX)))
    }

    /// The elements of any number type, or `None` for another.
    pub fn floats(&self) -> Option<impl ExactSizeIterator<Item = f64> + '_> {
        let values = self.values().filter(|_| self.element != ValueType::Bool)?;
        Some(values.map(|v| v.as_f64().unwrap_or(f64::NAN)))
    }

    /// The bytes of the elements as they stand in a file.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    fn values(&self) -> Option<impl ExactSizeIterator<Item = Value> + '_> {
        let element = self.element;
        let chunks = self.bytes.as_slice().chunks_exact(element.width()?);
        Some(chunks.map(move |bytes| Value::from_le_bytes(element, bytes).unwrap_or(Value::U8(0))))
    }
}

/// The same type and the same bytes.
impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        (self.element, self.len, self.as_bytes()) == (other.element, other.len, other.as_bytes())
    }
}

/// Type and length, as in `[string; 262144]`.
impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", self.element.name(), self.len)
    }
}

macro_rules! from_numbers {
    ($($t:ty => $variant:ident),*) => { $(
        impl From<&[$t]> for Array {
            fn from(numbers: &[$t]) -> Self {
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                Self::new(ValueType::$variant, numbers.len(), bytes.into())
            }
        }
    )* };
}
from_numbers!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, u64 => U64, i64 => I64,
    f64 => F64);

impl From<&[bool]> for Array {
    fn from(bools: &[bool]) -> Self {
        let bytes: Vec<u8> = bools.iter().map(|&b| b.into()).collect();
        Self::new(ValueType::Bool, bools.len(), bytes.into())
    }
}

/// The elements of an array of strings, exactly [`Array::len`] of them.
///
/// The lengths were checked when the file was opened. Should another process have changed a mapped file since, the rest
/// of the strings come out empty.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(split_string(self.rest).map_or(&[], |(string, rest)| {
            self.rest = rest;
            string
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// A length and as many bytes; what follows them.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(u64::from_le_bytes(*len).try_into().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_of_each_type() {
        let a = Array::from(&[-1i16, 7][..]);
        assert_eq!(a.integers().unwrap().collect::<Vec<_>>(), [-1, 7]);
        assert_eq!(a.floats().unwrap().collect::<Vec<_>>(), [-1.0, 7.0]);
        let a = Array::from(&[0.5f64][..]);
        assert!(a.integers().is_none());
        assert_eq!(a.floats().unwrap().collect::<Vec<_>>(), [0.5]);
        let a = Array::from(&[true, false][..]);
        assert!(a.floats().is_none());
        assert_eq!(a.integers().unwrap().collect::<Vec<_>>(), [1, 0]);
        assert_eq!(Array::from(&[u64::MAX][..]).integers().unwrap().collect::<Vec<_>>(), [i64::MAX]);
    }

    #[test]
    fn strings_may_be_any_bytes() {
        let a = Array::from_strings([&b"a"[..], b"", b"\xff\xfe"]);
        assert_eq!(a.strings().unwrap().collect::<Vec<_>>(), [&b"a"[..], b"", b"\xff\xfe"]);
        assert_eq!(a.strings().unwrap().len(), 3);
        assert!(a.integers().is_none() && a.floats().is_none());
        assert_eq!(format!("{a:?}"), "[string; 3]");
    }

    #[test]
    fn strings_of_bytes_that_changed_underneath_are_empty() {
        let broken = Array::new(ValueType::String, 3, vec![0xff; 20].into());
        assert_eq!(broken.strings().unwrap().collect::<Vec<_>>(), [b""; 3]);
    }
}
