//! Names that never come twice: of requests, answers and tool calls.

use std::hash::{BuildHasher, Hasher, RandomState};

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `prefix` and 24 random letters and digits.
pub(crate) fn name(prefix: &str) -> String {
    spelled(prefix, LETTERS)
}

/// `prefix` and 24 random hexadecimal digits.
pub(crate) fn hex(prefix: &str) -> String {
    spelled(prefix, b"0123456789abcdef")
}

fn spelled(prefix: &str, letters: &[u8]) -> String {
    let mut name = prefix.to_owned();
    for _ in 0..3 {
        // The standard library keys each of these from the operating system's randomness.
        let mut bits = RandomState::new().build_hasher().finish();
        for _ in 0..8 {
            let letter = letters.get((bits % letters.len() as u64) as usize).copied().unwrap_or(b'0');
            name.push(char::from(letter));
            bits /= letters.len() as u64;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{hex, name};

    #[test]
    fn names_do_not_repeat() {
        let names: HashSet<String> = (0..10_000).map(|_| name("call_")).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name.len() == 29 && name.is_ascii()));
        assert!(hex("req_").strip_prefix("req_").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
