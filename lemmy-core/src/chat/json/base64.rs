//! Base64 as in RFC 4648, section 4.

#![forbid(unsafe_code)]

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |group, (i, &byte)| group | u32::from(byte) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET.get((group >> (18 - 6 * i)) as usize & 63).copied().unwrap_or_default();
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

/// Line breaks are skipped, padding may be left out; the error names the place of what is wrong.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    bytes.try_reserve(text.len() / 4 * 3 + 3).map_err(|error| error.to_string())?;
    let (mut group, mut digits, mut padding) = (0_u32, 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        let digit = match byte {
            b'\r' | b'\n' => continue,
            b'=' => {
                padding += 1;
                continue;
            }
            _ if padding > 0 => return Err(format!("base64: byte {at} comes after the padding")),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("base64: byte {at} is no digit")),
        };
        group = group << 6 | u32::from(digit);
        digits += 1;
        if digits % 4 == 0 {
            bytes.extend_from_slice(&[(group >> 16) as u8, (group >> 8) as u8, group as u8]);
            group = 0;
        }
    }
    match (digits % 4, padding) {
        (0, 0) => {}
        (2, 0 | 2) => bytes.push((group >> 4) as u8),
        (3, 0 | 1) => bytes.extend_from_slice(&[(group >> 10) as u8, (group >> 2) as u8]),
        _ => return Err("base64: its end is missing or wrong".into()),
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        let rows =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, text) in rows {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text), Ok(plain.into()));
            assert_eq!(decode(text.trim_end_matches('=')), Ok(plain.into()));
        }
        assert_eq!(decode("Zm\r\n9v\n"), Ok("foo".into()));
        for text in ["Z", "Zg=", "Zg===", "Zm8==", "=", "Zg==Zg==", "Zm9v=", "Z*==", "Zm-_", "Zm9 "] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }
    }
}
