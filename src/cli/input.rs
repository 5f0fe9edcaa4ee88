//! Text from stdin and files, as it is.

use std::io::Read;

use super::failure::{Failure, Result};
use super::signals::Signals;

/// All of stdin, which must be UTF-8.
pub(crate) fn stdin_text(signals: &Signals) -> Result<String> {
    let _raised = signals.while_reading();
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| Failure::io("cannot read stdin", &e))?;
    utf8(bytes, "stdin")
}

/// All of a file, which must be UTF-8.
pub(crate) fn file_text(file: &str) -> Result<String> {
    utf8(std::fs::read(file).map_err(|e| Failure::io(format_args!("cannot read {file}"), &e))?, file)
}

fn utf8(bytes: Vec<u8>, from: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::usage(format!("{from}: found no UTF-8 at byte {at} (expected text)"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::utf8;

    #[test]
    fn bad_bytes_are_named_by_their_place() {
        let error = utf8(b"ab\xff".to_vec(), "stdin").unwrap_err();
        assert!(error.json().to_string().contains("stdin: found no UTF-8 at byte 2"), "{error:?}");
    }
}
