//! Damaged copies of a sound GGUF file, each with a number and a name, the same ones on every run.
//!
//! Kinds: `a` cut short; `b` one bit flipped; `c` one field (found by walking through the structure) set to a value that
//! hurts; `d` keys dropped, doubled, retyped, tensors dropped, doubled, renamed, retyped, swapped, overlapped; `e` two
//! places of the file joined; `f` a block overwritten. The number comes first in the name, so that a failure is found
//! again by `Mutants::new(seed, number_of_the_seed).get(i)`.

#[path = "raw.rs"]
mod raw;

use raw::{Raw, RawKey, RawTensor};

/// Cuts and flips of a header larger than these many are spread evenly over it; smaller ones get all of them.
const MOST_CUTS: usize = 4096;
const MOST_FLIPS: usize = 16_384;

/// The mutants of one file.
pub(crate) struct Mutants {
    seed: Vec<u8>,
    walk: Walk,
    list: Vec<Mutation>,
}

#[derive(Clone)]
enum Mutation {
    Cut { len: usize },
    Flip { bit: usize },
    Set { field: usize, value: u64 },
    Key { index: usize, change: KeyChange },
    Tensor { index: usize, change: TensorChange },
    Splice { head: usize, tail: usize },
    Block { at: usize, len: usize, fill: Fill },
}

#[derive(Clone, Debug)]
enum KeyChange {
    Drop,
    Double,
    /// Another type number over the same bytes.
    Relabel(u32),
    /// A sound value of another type.
    Replace(u32),
}

#[derive(Clone, Debug)]
enum TensorChange {
    Drop,
    Double,
    Rename,
    Retype(u32),
    Swap(usize),
    Overlap(usize),
    DropDimension,
    AddDimension,
}

#[derive(Clone, Debug)]
enum Fill {
    Zeros,
    /// NaN as f32, f16 and bf16.
    Ones,
    Random(u64),
}

/// A number in the header that says how much, where or of which kind, or a plain value.
struct Field {
    at: usize,
    width: usize,
    what: String,
    old: u64,
    float: bool,
}

impl Mutants {
    /// The mutants of `seed_bytes`, a sound file; `seed` chooses the random ones.
    pub(crate) fn new(seed_bytes: &[u8], seed: u64) -> Self {
        let walk = Walk::new(seed_bytes);
        let mut random = Random(seed);
        let mut list = Vec::new();
        let (len, header) = (seed_bytes.len(), walk.header);

        list.extend(spread(header, MOST_CUTS).map(|len| Mutation::Cut { len }));
        list.extend((0..500).map(|_| Mutation::Cut { len: random.between(header, len) }));
        list.extend(spread(header * 8, MOST_FLIPS).map(|bit| Mutation::Flip { bit }));
        list.extend((0..2000).map(|_| Mutation::Flip { bit: random.between(header * 8, len * 8) }));
        for (field, f) in walk.fields.iter().enumerate() {
            list.extend(f.values(len as u64).into_iter().map(|value| Mutation::Set { field, value }));
        }
        for index in 0..walk.raw.keys.len() {
            let kinds = (0..13).map(KeyChange::Relabel).chain((0..13).map(KeyChange::Replace));
            let changes = [KeyChange::Drop, KeyChange::Double].into_iter().chain(kinds);
            list.extend(changes.map(|change| Mutation::Key { index, change }));
        }
        let tensors = walk.raw.tensors.len();
        for index in 0..tensors {
            use TensorChange::*;
            let other = (index + 1 + random.between(0, tensors.saturating_sub(1))) % tensors;
            let plain = [Drop, Double, Rename, Swap(other), Overlap(other), DropDimension, AddDimension];
            let changes = plain.into_iter().chain((0..=43).chain([999, u32::MAX]).map(Retype));
            list.extend(changes.map(|change| Mutation::Tensor { index, change }));
        }
        let splices =
            (0..500).map(|_| Mutation::Splice { head: random.between(24, len), tail: random.between(24, len) });
        list.extend(splices);
        for i in 0..1500 {
            let at = random.between(0, if i % 2 == 0 { header } else { len });
            let fill = match i % 3 {
                0 => Fill::Zeros,
                1 => Fill::Ones,
                _ => Fill::Random(random.next()),
            };
            list.push(Mutation::Block { at, len: random.between(1, 65), fill });
        }
        Self { seed: seed_bytes.to_vec(), walk, list }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Name and bytes of mutant `i`.
    pub(crate) fn get(&self, i: usize) -> (String, Vec<u8>) {
        let mut bytes = self.seed.clone();
        let name = match &self.list[i] {
            Mutation::Cut { len } => {
                bytes.truncate(*len);
                format!("a: cut after {len} bytes")
            }
            Mutation::Flip { bit } => {
                bytes[bit / 8] ^= 1 << (bit % 8);
                format!("b: bit {} of byte {} flipped", bit % 8, bit / 8)
            }
            Mutation::Set { field, value } => {
                let f = &self.walk.fields[*field];
                bytes[f.at..f.at + f.width].copy_from_slice(&value.to_le_bytes()[..f.width]);
                format!("c: {} at byte {} set from {} to {value}", f.what, f.at, f.old)
            }
            Mutation::Key { index, change } => {
                let mut raw = self.walk.raw.clone();
                let key = &mut raw.keys[*index];
                let name = format!("d: key {}: {change:?}", String::from_utf8_lossy(&key.name));
                match change {
                    KeyChange::Drop => _ = raw.keys.remove(*index),
                    KeyChange::Double => {
                        let copy = key.clone();
                        raw.keys.push(copy);
                    }
                    KeyChange::Relabel(kind) => key.kind = *kind,
                    KeyChange::Replace(kind) => (key.kind, key.value) = (*kind, sample(*kind)),
                }
                bytes = raw.bytes();
                name
            }
            Mutation::Tensor { index, change } => {
                let mut raw = self.walk.raw.clone();
                let name = format!("d: tensor {}: {change:?}", String::from_utf8_lossy(&raw.tensors[*index].name));
                change_tensor(&mut raw.tensors, *index, change);
                bytes = raw.bytes();
                name
            }
            Mutation::Splice { head, tail } => {
                bytes.truncate(*head);
                bytes.extend_from_slice(&self.seed[*tail..]);
                format!("e: bytes from {tail} on, behind the first {head}")
            }
            Mutation::Block { at, len, fill } => {
                let end = bytes.len().min(at + len);
                let mut random = Random(if let Fill::Random(seed) = fill { *seed } else { 0 });
                bytes[*at..end].fill_with(|| match fill {
                    Fill::Zeros => 0,
                    Fill::Ones => 0xff,
                    Fill::Random(_) => random.next() as u8,
                });
                format!("f: bytes {at} to {end} overwritten, {fill:?}")
            }
        };
        (format!("{i} {name}"), bytes)
    }
}

fn change_tensor(tensors: &mut Vec<RawTensor>, index: usize, change: &TensorChange) {
    match change {
        TensorChange::Drop => _ = tensors.remove(index),
        TensorChange::Double => tensors.push(tensors[index].clone()),
        TensorChange::Rename => tensors[index].name.push(b'x'),
        TensorChange::Retype(kind) => tensors[index].kind = *kind,
        TensorChange::Swap(other) => tensors.swap(index, *other),
        TensorChange::Overlap(other) => tensors[index].offset = tensors[*other].offset,
        TensorChange::DropDimension => _ = tensors[index].dims.pop(),
        TensorChange::AddDimension => tensors[index].dims.push(2),
    }
}

/// A sound value of a type, as in a file.
fn sample(kind: u32) -> Vec<u8> {
    match kind {
        0 | 1 | 7 => vec![1],
        2 | 3 => vec![1, 0],
        4 | 5 => vec![1, 0, 0, 0],
        6 => 1f32.to_le_bytes().to_vec(),
        8 => [&1u64.to_le_bytes()[..], b"x"].concat(),
        9 => [&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &1u32.to_le_bytes()].concat(),
        10 | 11 => 1u64.to_le_bytes().to_vec(),
        12 => 1f64.to_le_bytes().to_vec(),
        other => panic!("no value type {other}"),
    }
}

impl Field {
    fn values(&self, file: u64) -> Vec<u64> {
        let (v, left) = (self.old, file - (self.at + self.width) as u64);
        let mut values = vec![0, 1, v.wrapping_sub(1), v.wrapping_add(1), v.wrapping_mul(2), left, left + 1];
        values.extend([1 << 7, (1 << 8) - 1, 1 << 15, (1 << 16) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]);
        values.extend([1 << 32, 1 << 53, 1 << 61, (1 << 62) + 1, (1 << 63) - 1, 1 << 63, u64::MAX]);
        if self.float {
            for f in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 1e300] {
                values.push(if self.width == 4 { (f as f32).to_bits().into() } else { f.to_bits() });
            }
        }
        let mask = if self.width == 8 { u64::MAX } else { (1 << (8 * self.width)) - 1 };
        values.iter_mut().for_each(|value| *value &= mask);
        values.sort_unstable();
        values.dedup();
        values.retain(|value| *value != self.old);
        values
    }
}

/// A walk through a sound file that notes every field.
struct Walk {
    fields: Vec<Field>,
    raw: Raw,
    /// Bytes before the padding.
    header: usize,
}

impl Walk {
    fn new(bytes: &[u8]) -> Self {
        let mut r = Reader { bytes, at: 4, fields: Vec::new() };
        let version = r.field(4, "version") as u32;
        let tensor_count = r.field(8, "number of tensors");
        let key_count = r.field(8, "number of keys");
        let mut keys = Vec::new();
        for _ in 0..key_count {
            let name = r.string("length of a key");
            let shown = String::from_utf8_lossy(&name).into_owned();
            let kind = r.field(4, &format!("type of {shown}")) as u32;
            let start = r.at;
            r.value(kind, &shown);
            keys.push(RawKey { name, kind, value: bytes[start..r.at].to_vec() });
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            let name = r.string("length of a tensor name");
            let shown = String::from_utf8_lossy(&name).into_owned();
            let dims = r.field(4, &format!("dimensions of {shown}"));
            let dims = (0..dims).map(|_| r.field(8, &format!("shape of {shown}"))).collect();
            let kind = r.field(4, &format!("type of {shown}")) as u32;
            tensors.push(RawTensor { name, dims, kind, offset: r.field(8, &format!("offset of {shown}")) });
        }
        let alignment = keys.iter().find(|k| k.name == b"general.alignment").map_or(32, |k| le(&k.value)) as usize;
        let data = bytes.get(r.at.next_multiple_of(alignment)..).unwrap_or_default().to_vec();
        let header = r.at;
        Self { fields: r.fields, raw: Raw { version, keys, tensors, alignment, data }, header }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Reader<'_> {
    fn field(&mut self, width: usize, what: &str) -> u64 {
        let old = le(&self.bytes[self.at..self.at + width]);
        self.fields.push(Field { at: self.at, width, what: what.into(), old, float: false });
        self.at += width;
        old
    }

    fn string(&mut self, what: &str) -> Vec<u8> {
        let len = self.field(8, what) as usize;
        self.at += len;
        self.bytes[self.at - len..self.at].to_vec()
    }

    fn value(&mut self, kind: u32, key: &str) {
        match kind {
            8 => _ = self.string(&format!("length of {key}")),
            9 => {
                let element = self.field(4, &format!("element type of {key}")) as u32;
                let count = self.field(8, &format!("length of {key}"));
                for i in 0..count {
                    let before = self.fields.len();
                    self.value(element, &format!("{key}[{i}]"));
                    // A few of a long array are enough.
                    if i >= 3 && i + 1 < count {
                        self.fields.truncate(before);
                    }
                }
            }
            _ => {
                self.field(sample(kind).len(), &format!("value of {key}"));
                self.fields.last_mut().unwrap().float = kind == 6 || kind == 12;
            }
        }
    }
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// All of `0..n`, or `most` of them spread evenly.
fn spread(n: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = n.min(most);
    (0..count).map(move |i| i * n / count)
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From `from` to `to - 1`; `from` if that is nothing.
    fn between(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % to.saturating_sub(from).max(1) as u64) as usize
    }
}
