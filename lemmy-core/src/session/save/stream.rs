//! Numbers, texts and a checksum over everything, to a writer and from a reader that is not trusted.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes of a checksum.
const CHECKSUM: usize = 32;
/// Most bytes that are reserved before as many have arrived.
const PIECE: u64 = 64 << 10;

/// Writes, and knows how much and what.
pub(super) struct Out<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl<'a> Out<'a> {
    pub(super) fn new(to: &'a mut dyn Write) -> Self {
        Self { to, hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(refused)
    }

    pub(super) fn number(&mut self, n: u64) -> Result<()> {
        self.raw(&n.to_le_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        self.number(text.len() as u64)?;
        self.raw(text.as_bytes())
    }

    /// Writes the checksum; bytes written.
    pub(super) fn finish(self) -> Result<u64> {
        let checksum = self.hash.finalize();
        self.to.write_all(&checksum).and_then(|()| self.to.flush()).map_err(refused)?;
        Ok(self.bytes + checksum.len() as u64)
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

pub(super) fn refused(source: io::Error) -> Error {
    Error::Io { what: "cannot write the session".into(), source }
}

/// Reads what [`Out`] has written. `what` names the field for errors.
pub(super) struct In<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
}

impl<'a> In<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Self { from, hash: Sha256::new() }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes).map_err(|e| failed(what, e))?;
        Ok(bytes)
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&mut self, what: &'static str, least: u64, most: u64) -> Result<u64> {
        let n = u64::from_le_bytes(self.array(what)?);
        if (least..=most).contains(&n) {
            return Ok(n);
        }
        Err(Error::Session { what, found: n.to_string(), expected: format!("{least} to {most}") })
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool> {
        Ok(self.number(what, 0, 1)? == 1)
    }

    /// A text of at most so many bytes.
    pub(super) fn text(&mut self, what: &'static str, most: u64) -> Result<String> {
        let len = self.number(what, 0, most)?;
        String::from_utf8(self.bytes(what, len)?).map_err(|_| Error::Session {
            what,
            found: "bytes that are no UTF-8".into(),
            expected: "a text".into(),
        })
    }

    /// So many bytes; memory is reserved as they arrive.
    pub(super) fn bytes(&mut self, what: &'static str, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut left = len;
        while left > 0 {
            let piece = left.min(PIECE) as usize;
            let out_of_memory =
                |_| Error::OutOfMemory { what: format!("saved session, {what}"), needed: len, limit: u64::MAX };
            bytes.try_reserve(piece).map_err(out_of_memory)?;
            let start = bytes.len();
            bytes.resize(start + piece, 0);
            self.read_exact(bytes.get_mut(start..).unwrap_or_default()).map_err(|e| failed(what, e))?;
            left -= piece as u64;
        }
        Ok(bytes)
    }

    /// Compares the checksum that comes next with what was read.
    pub(super) fn finish(mut self) -> Result<()> {
        let expected: [u8; CHECKSUM] = self.hash.clone().finalize().into();
        let found: [u8; CHECKSUM] = self.array("checksum")?;
        if found == expected {
            return Ok(());
        }
        Err(Error::Session { what: "checksum", found: hex(&found), expected: hex(&expected) })
    }
}

impl Read for In<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(out)?;
        self.hash.update(out.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// The error of a read that failed.
pub(super) fn failed(what: &'static str, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::UnexpectedEof => {
            Error::Session { what, found: "the end of the file".into(), expected: "more bytes".into() }
        }
        _ => Error::Io { what: format!("cannot read the session ({what})"), source },
    }
}

/// The first bytes of a hash, enough to tell two apart.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
