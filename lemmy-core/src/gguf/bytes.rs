//! The bytes of a model file: mapped, read, or handed in.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// The bytes of one file (or of one part of a split model), immutable from here on.
///
/// Nothing is promised about their alignment in memory.
pub enum FileBytes {
    /// A read-only map of the file.
    Mapped(memmap2::Mmap),
    /// Read into memory, or handed in by the caller.
    Owned(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(m) => m,
            Self::Owned(v) => v,
            Self::Static(s) => s,
        }
    }
}

/// The kind and the length; a model's bytes are nothing to print.
impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Mapped(_) => "Mapped",
            Self::Owned(_) => "Owned",
            Self::Static(_) => "Static",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

/// A piece of [`FileBytes`] that keeps the whole alive. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct SharedBytes {
    source: Arc<FileBytes>,
    start: usize,
    len: usize,
}

impl SharedBytes {
    /// The piece `start..start + len`, or `None` if it is not inside.
    pub fn new(source: Arc<FileBytes>, start: usize, len: usize) -> Option<Self> {
        source.get(start..start.checked_add(len)?)?;
        Some(Self { source, start, len })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.source.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A piece of this piece, or `None` if it is not inside.
    pub fn slice(&self, start: usize, len: usize) -> Option<Self> {
        (start.checked_add(len)? <= self.len).then(|| Self {
            source: self.source.clone(),
            start: self.start + start,
            len,
        })
    }
}

/// All of the bytes.
impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self { source: Arc::new(FileBytes::Owned(bytes)), start: 0, len }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pieces_stay_inside() {
        let whole = Arc::new(FileBytes::Static(b"0123456789"));
        assert!(SharedBytes::new(whole.clone(), 0, 11).is_none());
        assert!(SharedBytes::new(whole.clone(), usize::MAX, 2).is_none());
        let piece = SharedBytes::new(whole, 2, 6).unwrap();
        assert_eq!(piece.as_slice(), b"234567");
        assert_eq!(piece.slice(1, 5).unwrap().as_slice(), b"34567");
        assert!(piece.slice(1, 6).is_none());
        assert!(piece.slice(2, usize::MAX).is_none());
        assert!(piece.slice(6, 0).unwrap().is_empty());
    }

    #[test]
    fn debug_does_not_print_the_model() {
        assert_eq!(format!("{:?}", FileBytes::Owned(vec![0; 1000])), "Owned(1000 bytes)");
    }
}
