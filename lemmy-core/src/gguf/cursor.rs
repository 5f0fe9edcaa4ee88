//! Reads from untrusted bytes; every read is checked and every error says where.

#![forbid(unsafe_code)]

use std::fmt::{self, Display};

use crate::error::{Error, GgufError, Result};
use crate::limits;

/// A place in the header of a file.
pub(super) struct Cursor<'a> {
    file: &'a str,
    /// The file, cut at the longest header that is allowed.
    bytes: &'a [u8],
    cut: bool,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let limit = usize::try_from(limits::GGUF_HEADER_BYTES).unwrap_or(usize::MAX);
        let header = bytes.get(..limit).unwrap_or(bytes);
        Self { file, bytes: header, cut: header.len() < bytes.len(), at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64, what: impl Display) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(n).ok().and_then(|n| rest.get(..n));
        let Some(taken) = taken else {
            return Err(self.malformed(
                self.at,
                what,
                format!("{} bytes in {}", rest.len(), self.rest()),
                format!("{n} bytes"),
            ));
        };
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: impl Display) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: impl Display) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A u64 that counts things of at least `size` bytes each which follow in this file; at most `limit` of them.
    ///
    /// The comparison with the bytes that are left comes before anybody reserves memory for them.
    pub(super) fn count(&mut self, size: u64, limit: u64, what: impl Display) -> Result<u64> {
        let at = self.at;
        let count = self.u64(&what)?;
        if count > limit {
            return Err(self.malformed(at, what, count, format!("at most {limit}")));
        }
        let room = self.left() / size;
        if count > room {
            return Err(self.malformed(at, what, count, format!("at most {room}, for which {} has room", self.rest())));
        }
        Ok(count)
    }

    /// A length of `lengths` bytes and as many bytes, which must be UTF-8.
    pub(super) fn string(&mut self, lengths: std::ops::RangeInclusive<u64>, what: impl Display) -> Result<String> {
        let at = self.at;
        let len = self.count(1, *lengths.end(), format_args!("length of {what}"))?;
        if len < *lengths.start() {
            let expected = format!("at least {}", lengths.start());
            return Err(self.malformed(at, format_args!("length of {what}"), len, expected));
        }
        let at = self.at;
        let bytes = self.take(len, &what)?;
        let mut copy = reserve(len, "a string of a model file")?;
        copy.extend_from_slice(bytes);
        // Judged after copying: a mapped file may change between two looks at it.
        String::from_utf8(copy).map_err(|_| self.malformed(at, &what, "bytes that are not UTF-8", "UTF-8 text"))
    }

    /// An error about the bytes at an offset.
    pub(super) fn malformed(
        &self,
        at: usize,
        what: impl Display,
        found: impl Display,
        expected: impl Display,
    ) -> Error {
        self.error(GgufError::Malformed {
            at: at as u64,
            what: what.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }

    /// An error about the content of this file.
    pub(super) fn error(&self, source: GgufError) -> Error {
        Error::Gguf { file: self.file.into(), source }
    }

    /// What the bytes that are left are called.
    fn rest(&self) -> String {
        match self.cut {
            false => "the rest of the file".into(),
            true => format!("a header of {} bytes", limits::GGUF_HEADER_BYTES),
        }
    }

    fn array<const N: usize>(&mut self, what: impl Display) -> Result<[u8; N]> {
        let bytes = self.take(N as u64, what)?;
        bytes.try_into().map_err(|_| Error::Internal("a read gave another length than asked for".into()))
    }
}

/// An empty vector with room for `n`.
pub(super) fn reserve<T>(n: u64, what: &str) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    items.try_reserve_exact(n).map_err(|_| Error::OutOfMemory {
        what: what.into(),
        needed: n.saturating_mul(size_of::<T>()) as u64,
        limit: u64::MAX,
    })?;
    Ok(items)
}

/// A name out of the file, fit for a message: in backquotes, without control characters, not endless.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", shown(self.0))
    }
}

/// The text of [`Shown`] without the backquotes.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 100;
    let mut text: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_stop_at_the_end_and_say_where() {
        let mut c = Cursor::new("f", &[1, 0, 0, 0, 9]);
        assert_eq!(c.u32("number").unwrap(), 1);
        let e = c.u32("other").unwrap_err().to_string();
        assert_eq!(e, "f: at byte 4: other: found 1 bytes in the rest of the file, expected 4 bytes");
        assert_eq!((c.at(), c.left()), (4, 1));
        assert!(c.take(u64::MAX, "all").is_err());
    }

    #[test]
    fn counts_are_held_against_the_bytes_left() {
        let bytes = [&3u64.to_le_bytes()[..], &[0; 11]].concat();
        assert_eq!(Cursor::new("f", &bytes).count(3, 3, "n").unwrap(), 3);
        assert!(Cursor::new("f", &bytes).count(4, 3, "n").unwrap_err().to_string().contains("at most 2, for which"));
        assert!(
            Cursor::new("f", &bytes).count(3, 2, "n").unwrap_err().to_string().contains("found 3, expected at most 2")
        );
    }

    #[test]
    fn names_in_messages_are_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown(&"x".repeat(101)).chars().count(), 101);
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 100);
    }
}
