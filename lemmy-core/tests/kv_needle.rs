//! A needle at 0, 50 and 99 % of a prompt of 32,800 tokens is attended as in the reference.
//!
//! The golden data are logits of transformers after the prompt without the needle and with it at each place; see
//! `tests/fixtures/long-needle`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "support/safetensors.rs"]
mod safetensors;

use std::path::PathBuf;

use lemmy_core::{KvType, Model, ThreadPool};
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

fn length(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Relative error of the logits, and of what the needle changes in them, at each place.
fn check(kv_type: KvType, logits_within: f64, change_within: f64) {
    let golden = Safetensors::open(fixture("golden.safetensors").to_str().unwrap());
    let (needle, places) = (golden.ids("needle"), golden.ids("places"));
    let vocab = 256;
    let expected: Vec<Vec<f32>> = golden.f32s("logits").chunks(vocab).map(<[f32]>::to_vec).collect();
    let hay = haystack(golden.ids("length")[0] as usize);

    let model = Model::builder(fixture("needle-bf16.gguf")).threads(ThreadPool::new(2).unwrap()).load().unwrap();
    let session = || model.session().context(hay.len()).kv_type(kv_type).build().unwrap();
    let mut found = Vec::new();
    let mut plain = session();
    let mut forks = Vec::new();
    let mut done = 0;
    for &place in places.iter().skip(1) {
        plain.prefill(&hay[done..place as usize], &mut |_, _| {}).unwrap();
        done = place as usize;
        forks.push(plain.fork().unwrap());
    }
    found.push(plain.forward(&hay[done..]).unwrap().last().to_vec());
    drop(plain);
    for (fork, &place) in std::iter::once(session()).chain(forks).zip(&places) {
        let (mut fork, place) = (fork, place as usize);
        let rest = [&needle, &hay[place + needle.len()..]].concat();
        found.push(fork.forward(&rest).unwrap().last().to_vec());
    }

    let relative = |found: &[f32], expected: &[f32]| length(&difference(found, expected)) / length(expected);
    let logits: Vec<f64> = found.iter().zip(&expected).map(|(f, e)| relative(f, e)).collect();
    let change = |rows: &[Vec<f32>], i: usize| difference(&rows[i], &rows[0]);
    let changes: Vec<f64> = (1..4).map(|i| relative(&change(&found, i), &change(&expected, i))).collect();
    println!("{kv_type:?}: logits off by {logits:?}, changes by {changes:?}");
    assert!(logits.iter().all(|&e| e < logits_within), "{kv_type:?}: {logits:?}");
    assert!(changes.iter().all(|&e| e < change_within), "{kv_type:?}: {changes:?}");
}

#[test]
fn with_an_f32_cache() {
    check(KvType::F32, 1e-5, 1e-4);
}

#[test]
fn with_an_f16_cache() {
    check(KvType::F16, 1e-4, 1e-2);
}

#[test]
fn with_a_q8_0_cache() {
    check(KvType::Q8_0, 2e-3, 5e-2);
}
