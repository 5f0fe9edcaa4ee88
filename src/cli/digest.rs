//! Digests of files, as hubs name them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::failure::{Failure, Result};

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// The SHA-256 of a file and its size; `None` as soon as `goes_on` says no, which is told how many bytes are done.
pub(crate) fn sha256_of_file(path: &Path, goes_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<(String, u64)>> {
    let fail = |e: std::io::Error| Failure::io(format_args!("cannot read {}", path.display()), &e);
    let mut file = File::open(path).map_err(fail)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    let mut done = 0;
    while goes_on(done) {
        let read = file.read(&mut piece).map_err(fail)?;
        if read == 0 {
            return Ok(Some((hex(digest.finalize().as_slice()), done)));
        }
        digest.update(piece.get(..read).unwrap_or_default());
        done += read as u64;
    }
    Ok(None)
}

/// The SHA-256 by which a hub names a file that lies in the cache of downloaded models: large files are kept under it.
pub(crate) fn promised(path: &Path) -> Option<String> {
    let real = std::fs::canonicalize(path).ok()?;
    let name = real.file_name()?.to_str()?;
    let is_blob = real.parent()?.file_name()? == "blobs";
    let is_digest = name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_blob && is_digest).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn digests_of_bytes_and_of_files() {
        // FIPS 180-4.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        let path = std::env::temp_dir().join(format!("lemmy-digest-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(sha256_of_file(&path, &mut |_| true).unwrap(), Some((abc.into(), 3)));
        assert_eq!(sha256_of_file(&path, &mut |_| false).unwrap(), None);
        assert_eq!(promised(&path), None);
        std::fs::remove_file(&path).unwrap();
    }
}
