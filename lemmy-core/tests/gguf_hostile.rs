//! Container attacks and limits by name. What went wrong elsewhere stands in the names: look the numbers up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use lemmy_core::gguf::{FileBytes, Gguf};
use lemmy_core::limits;
use lemmy_core::{Error, GgufError};

#[path = "support/raw.rs"]
mod raw;

use raw::{Raw, RawKey, RawTensor};

const F32: u32 = 0;
const Q8_0: u32 = 8;
const Q4_K: u32 = 12;
const I8: u32 = 24;

/// Numbers that have overflowed somebody's arithmetic.
const HUGE: [u64; 7] = [1 << 31, (1 << 31) + 1, 1 << 32, 1 << 61, 1 << 63, (1 << 63) + 1, u64::MAX];

#[test]
fn cve_2024_21802_counts_and_lengths() {
    let plain = file(vec![key("k", 5, &[0; 4])], vec![tensor("t", &[1], F32, 0)], 32);
    let text =
        file(vec![key("k", 8, &[8, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h'])], vec![], 0);
    let numbers = file(vec![key("k", 9, &[0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], vec![], 0);
    let strings = file(vec![key("k", 9, &[8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])], vec![], 0);
    // The file, the place of the number in it, the name of the number in the message.
    let cases = [
        (&plain, 8, "number of tensors"),
        (&plain, 16, "number of keys"),
        (&plain, 24, "length of name of key 0"),
        (&plain, 41, "length of name of tensor 0"),
        (&text, 37, "length of value of key `k`"),
        (&numbers, 41, "length of array `k`"),
        (&strings, 41, "length of array `k`"),
        (&strings, 49, "length of string 0 of array `k`"),
    ];
    for (sound, at, what) in cases {
        open(sound.clone()).unwrap();
        let left = (sound.len() - at - 8) as u64;
        for value in HUGE.into_iter().chain([left + 1]) {
            let mut bytes = sound.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let GgufError::Malformed { at: where_, what: field, found, .. } = refused(bytes) else { panic!("{what}") };
            assert_eq!((where_, field.as_str(), found), (at as u64, what, value.to_string()));
        }
    }
    for dims in [0, 5, 1 << 31, u32::MAX] {
        let mut bytes = plain.clone();
        bytes[50..54].copy_from_slice(&dims.to_le_bytes());
        assert_eq!(text_of(bytes), format!("tensor `t`: found {dims} dimensions, expected 1 to 4"));
    }
}

#[test]
fn cve_2024_32878_cut_at_every_byte_of_the_header() {
    let header = include_bytes!("../../tests/fixtures/gguf/true26-header.gguf");
    for len in 0..=header.len() {
        let error = Gguf::from_bytes(FileBytes::Static(&header[..len])).unwrap_err();
        assert!(matches!(error, Error::Gguf { .. }), "{len}: {error}");
    }
}

#[test]
fn cve_2024_39720_four_byte_file() {
    assert_eq!(text_of(b"GGUF".to_vec()), "at byte 0: size of the file: found 4 bytes, expected at least 32 bytes");
    assert!(text_of(vec![]).contains("found 0 bytes"));
    assert!(text_of(vec![b'G'; 31]).contains("found 31 bytes"));
    // 32 bytes are the smallest file: it has no keys and no tensors.
    let smallest = file(vec![], vec![], 0);
    assert_eq!(smallest.len() as u64, limits::GGUF_FILE_BYTES);
    assert_eq!(open(smallest).unwrap().keys().len(), 0);
}

#[test]
fn cve_2025_53630_sum_of_tensor_sizes_wraps() {
    // Each fits into 64 bits, and so does no sum of offset and size.
    for offset in [u64::MAX - 31, u64::MAX - 63, (1 << 63) - 32, 1 << 63] {
        let bytes = file(vec![], vec![tensor("a", &[8], F32, 0), tensor("b", &[16], F32, offset)], 96);
        let GgufError::Tensor { tensor, expected, .. } = refused(bytes) else { panic!("{offset}") };
        assert_eq!(tensor, "b");
        assert!(expected.contains("inside the file"), "{expected}");
    }
}

#[test]
fn cve_2026_27940_tensor_size_product_overflow() {
    // Products that wrap to something small in 64 bits: 2^64, 2^64 + 2^32, 4 * 2^62 bytes.
    for dims in
        [&[1 << 32, 1 << 32][..], &[1 << 32, (1 << 32) + 1], &[1 << 40, 1 << 24], &[1 << 40; 4], &[1 << 31, 1 << 31, 4]]
    {
        let text = text_of(file(vec![], vec![tensor("t", dims, F32, 0)], 64));
        assert!(text.starts_with("tensor `t`: found shape ["), "{text}");
        assert!(text.ends_with(&format!("at most {} numbers", limits::GGUF_TENSOR_NUMBERS)), "{text}");
    }
    // Within the limit of numbers, far beyond the file.
    let text = text_of(file(vec![], vec![tensor("t", &[1 << 40, 1 << 8], I8, 0)], 64));
    assert!(text.contains("expected data inside the file"), "{text}");
    for dim in [(1 << 40) + 1, 1 << 63, u64::MAX] {
        let text = text_of(file(vec![], vec![tensor("t", &[dim], I8, 0)], 64));
        assert_eq!(text, format!("tensor `t`: found dimension 0 = {dim}, expected 1 to {}", limits::GGUF_DIM));
    }
}

#[test]
fn ghsa_96jg_mvhq_q7q7_alignment() {
    let with = |alignment: u32| {
        let mut file = Raw {
            version: 3,
            keys: vec![key("general.alignment", 4, &alignment.to_le_bytes())],
            tensors: vec![tensor("t", &[2], F32, 0)],
            alignment: 1,
            data: vec![],
        };
        if alignment.is_power_of_two() && alignment <= 2 * limits::GGUF_ALIGNMENT {
            file.alignment = alignment as usize;
        }
        file.data = vec![7; 8];
        file.bytes()
    };
    for good in [1, 2, 64, limits::GGUF_ALIGNMENT] {
        let gguf = open(with(good)).unwrap();
        assert_eq!(gguf.tensor_bytes(&gguf.tensors()[0]).as_slice(), [7; 8], "{good}");
    }
    for bad in [0, 3, 48, limits::GGUF_ALIGNMENT + 1, 2 * limits::GGUF_ALIGNMENT, 1 << 31, (1 << 31) + 1, u32::MAX] {
        let GgufError::Key { key, found, .. } = refused(with(bad)) else { panic!("{bad}") };
        assert_eq!((key.as_str(), found), ("general.alignment", bad.to_string()));
    }
    let text = text_of(file(vec![key("general.alignment", 10, &32u64.to_le_bytes())], vec![], 0));
    assert!(text.starts_with("key `general.alignment`: found u64, expected a u32"), "{text}");
}

#[test]
fn ghsa_3p75_pq92_q28f_zero_dimensions_and_types_that_are_gone() {
    for place in 0..4 {
        let mut dims = [2; 4];
        dims[place] = 0;
        let text = text_of(file(vec![], vec![tensor("t", &dims, F32, 0)], 64));
        assert!(text.starts_with(&format!("tensor `t`: found dimension {place} = 0")), "{text}");
    }
    for number in [4, 5, 31, 32, 33, 36, 37, 38, 43, 999, u32::MAX] {
        let text = text_of(file(vec![], vec![tensor("t", &[256], number, 0)], 4096));
        assert_eq!(text, format!("tensor `t`: found type number {number}, expected a type that is known"));
    }
    assert!(
        text_of(file(vec![key("", 0, &[1])], vec![], 0))
            .contains("length of name of key 0: found 0, expected at least 1")
    );
    assert!(text_of(file(vec![], vec![tensor("", &[1], F32, 0)], 32)).contains("length of name of tensor 0: found 0"));
    let text = text_of(file(vec![], vec![tensor("t", &[128, 2], Q4_K, 0)], 4096));
    assert_eq!(text, "tensor `t`: found rows of 128 Q4_K numbers, expected a multiple of 256");
}

#[test]
fn cve_2026_7482_tensor_beyond_the_file() {
    let numbers = |n: u64| file(vec![], vec![tensor("t", &[n], I8, 32)], 32 + 64);
    assert_eq!(open(numbers(64)).unwrap().tensors()[0].bytes, 64);
    for beyond in [65, 64 + (1 << 32)] {
        let text = text_of(numbers(beyond));
        let start = 64 + 32;
        let expected = format!("data inside the file, which has {} bytes", start + 64);
        assert_eq!(text, format!("tensor `t`: found data at bytes {start} to {}, expected {expected}", start + beyond));
    }
}

#[test]
fn cve_2025_49847_long_token_text() {
    let token = |declared: u64, bytes: usize| {
        let mut value = 8u32.to_le_bytes().to_vec();
        value.extend(1u64.to_le_bytes());
        value.extend(declared.to_le_bytes());
        value.resize(value.len() + bytes, b'x');
        file(vec![key("tokenizer.ggml.tokens", 9, &value)], vec![], 0)
    };
    let most = limits::GGUF_STRING_BYTES;
    let gguf = open(token(most, most as usize)).unwrap();
    let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|v| v.as_array()).unwrap();
    assert_eq!(tokens.strings().unwrap().next().unwrap().len() as u64, most);
    for declared in [most + 1, (1 << 31) + 1] {
        let text = text_of(token(declared, 1000));
        assert!(text.contains("length of string 0 of array `tokenizer.ggml.tokens`"), "{text}");
        assert!(text.contains(&format!("found {declared}, expected at most {most}")), "{text}");
    }
}

#[test]
fn limits_of_counts() {
    let keys = |n| (0..n).map(|i| key(&i.to_string(), 0, &[1])).collect();
    assert_eq!(open(file(keys(limits::GGUF_KEYS), vec![], 0)).unwrap().keys().len() as u64, limits::GGUF_KEYS);
    assert!(
        text_of(file(keys(limits::GGUF_KEYS + 1), vec![], 0))
            .contains("number of keys: found 100001, expected at most 100000")
    );
    let tensors = |n| (0..n).map(|i| tensor(&i.to_string(), &[32], I8, i * 32)).collect();
    let data = 32 * (limits::GGUF_TENSORS as usize + 1);
    let gguf = open(file(vec![], tensors(limits::GGUF_TENSORS), data)).unwrap();
    assert_eq!(gguf.tensor("99999").unwrap().offset % 32, 0);
    let text = text_of(file(vec![], tensors(limits::GGUF_TENSORS + 1), data));
    assert!(text.contains("number of tensors: found 100001, expected at most 100000"), "{text}");
}

#[test]
fn limits_of_names_and_strings() {
    let named = |n: u64| file(vec![key(&"k".repeat(n as usize), 0, &[1])], vec![], 0);
    open(named(limits::GGUF_KEY_BYTES)).unwrap();
    assert!(
        text_of(named(limits::GGUF_KEY_BYTES + 1))
            .contains("length of name of key 0: found 65536, expected at most 65535")
    );
    let named = |n: u64| file(vec![], vec![tensor(&"t".repeat(n as usize), &[1], F32, 0)], 32);
    open(named(limits::GGUF_TENSOR_NAME_BYTES)).unwrap();
    let text = text_of(named(limits::GGUF_TENSOR_NAME_BYTES + 1));
    assert!(text.contains("length of name of tensor 0: found 256, expected at most 255"), "{text}");
    let valued = |n: u64| file(vec![key("k", 8, &[&n.to_le_bytes()[..], &vec![b'x'; n as usize]].concat())], vec![], 0);
    let gguf = open(valued(limits::GGUF_STRING_BYTES)).unwrap();
    assert_eq!(gguf.get("k").and_then(|v| v.as_str()).map(str::len), Some(64 << 20));
    assert!(text_of(valued(limits::GGUF_STRING_BYTES + 1)).contains("expected at most 67108864"));
}

#[test]
fn limits_of_arrays() {
    let array = |element: u32, n: u64, width: u64| {
        let mut value = element.to_le_bytes().to_vec();
        value.extend(n.to_le_bytes());
        value.resize(value.len() + (n * width) as usize, 0);
        file(vec![key("k", 9, &value)], vec![], 0)
    };
    for (element, width, most) in [(0, 1, limits::GGUF_ARRAY_NUMBERS), (8, 8, limits::GGUF_ARRAY_STRINGS)] {
        let gguf = open(array(element, most, width)).unwrap();
        assert_eq!(gguf.get("k").and_then(|v| v.as_array()).unwrap().len() as u64, most);
        let text = text_of(array(element, most + 1, width));
        assert!(text.contains(&format!("length of array `k`: found {}, expected at most {most}", most + 1)), "{text}");
    }
    let nested = [&9u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
    assert_eq!(
        text_of(file(vec![key("k", 9, &nested)], vec![], 0)),
        "at byte 37: element type of array `k`: found array, expected another type: arrays of arrays are not supported"
    );
}

#[test]
fn versions_and_magic() {
    let sound = file(vec![key("k", 0, &[1])], vec![], 0);
    let version = |bytes: [u8; 4]| {
        let mut file = sound.clone();
        file[4..8].copy_from_slice(&bytes);
        file
    };
    assert_eq!(open(version([2, 0, 0, 0])).unwrap().version(), 2);
    assert_eq!(open(version([3, 0, 0, 0])).unwrap().version(), 3);
    for (bytes, found) in [
        ([1, 0, 0, 0], "1, whose counts have 32 bits"),
        ([0, 0, 0, 3], "3 of a big-endian file"),
        ([0, 0, 0, 2], "2 of a big-endian file"),
        ([0, 0, 0, 0], "0"),
        ([4, 0, 0, 0], "4"),
        ([255; 4], "4294967295"),
    ] {
        assert_eq!(
            text_of(version(bytes)),
            format!("at byte 4: version: found {found}, expected 2 or 3, little-endian")
        );
    }
    let mut other = sound.clone();
    other[..4].copy_from_slice(b"\x1b[2J");
    assert_eq!(text_of(other), "at byte 0: magic: found \"\\x1b[2J\", expected \"GGUF\"");
}

#[test]
fn values_that_are_none() {
    let one = |kind, value: &[u8]| text_of(file(vec![key("k", kind, value)], vec![], 0));
    assert_eq!(one(13, &[0; 8]), "at byte 33: type of key `k`: found 13, expected 0 to 12");
    assert_eq!(one(7, &[2]), "at byte 37: value of key `k`: found 2, expected 0 or 1");
    let bools = [&7u32.to_le_bytes()[..], &3u64.to_le_bytes(), &[1, 0, 9]].concat();
    assert_eq!(one(9, &bools), "at byte 51: elements of array `k`: found 9, expected 0 or 1");
    let latin1 = [&1u64.to_le_bytes()[..], &[0xe9]].concat();
    assert_eq!(one(8, &latin1), "at byte 45: value of key `k`: found bytes that are not UTF-8, expected UTF-8 text");
    assert!(
        text_of(file(vec![RawKey { name: vec![0xff], kind: 0, value: vec![1] }], vec![], 0)).contains("name of key 0")
    );
    // Tokens may be any bytes.
    let tokens = [&8u32.to_le_bytes()[..], &1u64.to_le_bytes(), &1u64.to_le_bytes(), &[0xe9]].concat();
    let gguf = open(file(vec![key("k", 9, &tokens)], vec![], 0)).unwrap();
    assert_eq!(gguf.get("k").unwrap().as_array().unwrap().strings().unwrap().next(), Some(&[0xe9][..]));
}

#[test]
fn keys_of_a_split_come_together() {
    let (no, count, total) =
        (key("split.no", 2, &[0, 0]), key("split.count", 2, &[1, 0]), key("split.tensors.count", 5, &[0; 4]));
    open(file(vec![no.clone(), count.clone(), total.clone()], vec![], 0)).unwrap();
    assert_eq!(text_of(file(vec![no.clone(), count.clone()], vec![], 0)), "missing key `split.tensors.count`");
    assert_eq!(text_of(file(vec![no, total.clone()], vec![], 0)), "missing key `split.count`");
    assert_eq!(text_of(file(vec![count, total], vec![], 0)), "missing key `split.no`");
    let wrong = key("split.count", 6, &1f32.to_le_bytes());
    assert_eq!(
        text_of(file(vec![wrong], vec![], 0)),
        "key `split.count`: found f32, expected an integer that is not negative"
    );
}

#[test]
fn names_are_there_once() {
    let twice = vec![key("b", 0, &[1]), key("a", 0, &[1]), key("b", 0, &[1])];
    assert_eq!(text_of(file(twice, vec![], 0)), "key `b`: found it twice, expected every key once");
    let twice = vec![tensor("b", &[1], F32, 0), tensor("a", &[1], F32, 32), tensor("b", &[1], F32, 64)];
    assert_eq!(text_of(file(vec![], twice, 96)), "tensor `b`: found it twice, expected every tensor once");
}

#[test]
fn tensors_are_aligned_and_disjoint_in_any_order() {
    // 68 bytes at 0, 4 bytes at 96 and 40 bytes at 128, listed backwards.
    let with =
        |b: u64, c: u64| vec![tensor("c", &[10], F32, c), tensor("b", &[1], F32, b), tensor("a", &[64], Q8_0, 0)];
    let gguf = open(file(vec![], with(96, 128), 168)).unwrap();
    assert_eq!(gguf.tensors().iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    for (b, c, text) in [
        (64, 128, "tensor `b`: found data from byte 192, inside of tensor `a`, expected bytes of its own"),
        (128, 128, "inside of tensor"),
        (96, 0, "inside of tensor"),
        (96, 132, "tensor `c`: found offset 132, expected a multiple of 32"),
        (97, 128, "tensor `b`: found offset 97, expected a multiple of 32"),
    ] {
        let found = text_of(file(vec![], with(b, c), 256));
        assert!(found.contains(text), "{found}");
    }
}

/// A sound container with these keys, tensors and bytes of data.
fn file(keys: Vec<RawKey>, tensors: Vec<RawTensor>, data: usize) -> Vec<u8> {
    Raw { version: 3, keys, tensors, alignment: 32, data: vec![0; data] }.bytes()
}

fn key(name: &str, kind: u32, value: &[u8]) -> RawKey {
    RawKey { name: name.into(), kind, value: value.into() }
}

fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> RawTensor {
    RawTensor { name: name.into(), dims: dims.into(), kind, offset }
}

fn open(bytes: Vec<u8>) -> Result<Gguf, Error> {
    Gguf::from_bytes(FileBytes::Owned(bytes))
}

/// What is wrong with the file.
fn refused(bytes: Vec<u8>) -> GgufError {
    match open(bytes).unwrap_err() {
        Error::Gguf { file, source } if file == "(bytes)" => source,
        other => panic!("{other:?}"),
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    refused(bytes).to_string()
}
