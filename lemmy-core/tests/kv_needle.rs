//! A needle at 0, 50 and 99 % of a prompt of 32,800 tokens is attended as in the reference.
//!
//! The golden data are logits of transformers after the prompt without the needle and with it at each place; see
//! `tests/fixtures/long-needle`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "support/safetensors.rs"]
mod safetensors;

use std::path::PathBuf;

use lemmy_core::{KvType, Model, Session, ThreadPool};
use safetensors::Safetensors;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/long-needle").join(name)
}

/// As in `make_long_needle.py`.
fn haystack(n: usize) -> Vec<u32> {
    let mut x = 1u64;
    let next = |_| {
        x = (x * 1_103_515_245 + 12_345) % (1 << 31);
        8 + ((x >> 16) % 248) as u32
    };
    (0..n).map(next).collect()
}

/// The golden data, and a model.
struct Needle {
    golden: Safetensors,
    model: Model,
    hay: Vec<u32>,
}

impl Needle {
    fn new() -> Self {
        let golden = Safetensors::open(fixture("golden.safetensors").to_str().unwrap());
        let hay = haystack(golden.ids("length")[0] as usize);
        let model = Model::builder(fixture("needle-bf16.gguf")).threads(ThreadPool::new(2).unwrap()).load().unwrap();
        Self { golden, model, hay }
    }

    fn session(&self, kv_type: KvType) -> Session {
        self.model.session().context(self.hay.len()).kv_type(kv_type).build().unwrap()
    }

    /// Last logits of the reference: row 0 without the needle, then with it at each place.
    fn expected(&self, row: usize) -> Vec<f32> {
        self.golden.f32s("logits")[row * VOCAB..][..VOCAB].to_vec()
    }

    /// Last logits after `session`, which has read the prompt up to a place, and the rest with the needle there.
    fn found(&self, mut session: Session) -> Vec<f32> {
        let needle = self.golden.ids("needle");
        let rest = [&needle, &self.hay[session.tokens().len() + needle.len()..]].concat();
        session.forward(&rest).unwrap().last().to_vec()
    }

    /// Relative errors of the logits without the needle, and of what it changes in them at 50 and 99 %.
    fn errors(&self, kv_type: KvType) -> (f64, Vec<f64>) {
        let mut plain = self.session(kv_type);
        let mut forks = Vec::new();
        for place in self.golden.ids("places").into_iter().skip(1) {
            let from = plain.tokens().len();
            plain.prefill(&self.hay[from..place as usize], &mut |_, _| {}).unwrap();
            forks.push(plain.fork().unwrap());
        }
        let from = plain.tokens().len();
        let without = plain.forward(&self.hay[from..]).unwrap().last().to_vec();
        let expected = self.expected(0);
        let change = |(row, fork): (usize, Session)| {
            let found = difference(&self.found(fork), &without);
            error(&found, &difference(&self.expected(row), &expected))
        };
        (error(&without, &expected), (2..).zip(forks).map(change).collect())
    }
}

const VOCAB: usize = 256;

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Length of the difference over the length of what is expected.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    length(&difference(found, expected)) / length(expected)
}

/// At the very start, where only the global layer can see it from the end.
#[test]
fn at_the_start_with_an_f32_cache() {
    let needle = Needle::new();
    let expected = needle.expected(1);
    let change = error(&expected, &needle.expected(0));
    let off = error(&needle.found(needle.session(KvType::F32)), &expected);
    println!("f32: off by {off:.1e}, the needle makes {change:.1e}");
    assert!(off < 5e-6, "{off:.1e}");
    assert!(change > 1e-2);
}

#[test]
fn at_every_place_with_an_f16_cache() {
    let needle = Needle::new();
    let start = error(&needle.found(needle.session(KvType::F16)), &needle.expected(1));
    let (logits, changes) = needle.errors(KvType::F16);
    println!("f16: off by {start:.1e} and {logits:.1e}, changes by {changes:?}");
    assert!(start < 1e-3 && logits < 1e-3, "{start:.1e} {logits:.1e}");
    assert!(changes.iter().all(|&e| e < 1e-2), "{changes:?}");
}

#[test]
fn in_the_middle_and_at_the_end_with_a_q8_0_cache() {
    let (logits, changes) = Needle::new().errors(KvType::Q8_0);
    println!("q8_0: off by {logits:.1e}, changes by {changes:?}");
    assert!(logits < 1e-2, "{logits:.1e}");
    assert!(changes.iter().all(|&e| e < 5e-2), "{changes:?}");
}
