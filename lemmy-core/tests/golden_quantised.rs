//! Quantised files against transformers in f32 on the same, dequantised weights.
//!
//! We round activations where they meet quantised weights, as llama.cpp does; so we cannot be equal, but we must be no
//! farther away than it is, in the mean and in the median of every file. The measure is the KL divergence from the exact
//! distribution, over 80 places.
//!
//! A mean is ruled by the two or three places where two experts are nearly equally good and the rounding tips the scale.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "support/safetensors.rs"]
mod safetensors;

use lemmy_core::{KvType, Model, Session, ThreadPool};
use safetensors::{Safetensors, tiny};

#[test]
fn no_farther_from_exact_than_llama_cpp() {
    let golden = Safetensors::open("golden.safetensors");
    let ids = golden.ids("input_ids");
    assert_eq!(golden.i32s("n_prompt"), [48]);
    println!("| file | KL mean | llama.cpp | KL median | llama.cpp | same best | llama.cpp | greedy | llama.cpp |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut faults = Vec::new();
    for quant in ["q8_0", "q6_k", "q5_k_m", "q4_k_m"] {
        let exact = Safetensors::open(&format!("dequant-{quant}.safetensors"));
        let llama = Safetensors::open(&format!("llamacpp-{quant}.safetensors"));
        let model =
            Model::builder(tiny(&format!("tiny-{quant}.gguf"))).threads(ThreadPool::new(2).unwrap()).load().unwrap();
        let vocab = model.plan().spec.vocab;
        let mut session = model.session().context(128).kv_type(KvType::F32).build().unwrap();
        let logits: Vec<f32> = session.forward_all(&ids).unwrap().rows().flatten().copied().collect();
        session.rewind(0).unwrap();
        let said = greedy(&mut session, &ids[..48], 32);

        let target = exact.f32s("logits");
        let (ours, theirs) =
            (Distance::new(&target, &logits, vocab), Distance::new(&target, &llama.f32s("logits"), vocab));
        let beginning = |said: &[u32]| said.iter().zip(exact.ids("greedy")).take_while(|(a, b)| *a == b).count();
        println!(
            "| {quant} | {:.2e} | {:.2e} | {:.2e} | {:.2e} | {} | {} | {} | {} |",
            ours.mean,
            theirs.mean,
            ours.median,
            theirs.median,
            ours.same_best,
            theirs.same_best,
            beginning(&said),
            beginning(&llama.ids("greedy"))
        );
        if ours.median > theirs.median || ours.mean > theirs.mean {
            faults.push(quant);
        }
    }
    assert!(faults.is_empty(), "farther from exact than llama.cpp: {faults:?}");
}

fn greedy(session: &mut Session, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut said = vec![best(session.forward(prompt).unwrap().last())];
    while said.len() < n {
        let last = said[said.len() - 1];
        said.push(best(session.forward(&[last]).unwrap().last()));
    }
    said
}

/// How far logits are from the exact ones.
struct Distance {
    mean: f64,
    median: f64,
    /// Places with the same best token.
    same_best: usize,
}

impl Distance {
    fn new(exact: &[f32], logits: &[f32], vocab: usize) -> Self {
        assert_eq!(exact.len(), logits.len());
        let rows = || exact.chunks_exact(vocab).zip(logits.chunks_exact(vocab));
        let mut kl: Vec<f64> = rows().map(|(p, q)| divergence(p, q)).collect();
        kl.sort_by(f64::total_cmp);
        let middle = kl.len() / 2;
        Self {
            mean: kl.iter().sum::<f64>() / kl.len() as f64,
            median: (kl[middle - 1] + kl[middle]) / 2.0,
            same_best: rows().filter(|(p, q)| best(p) == best(q)).count(),
        }
    }
}

/// `sum p ln(p / q)` in nats, from logits.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p, q) = (log_softmax(p), log_softmax(q));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&l| (f64::from(l) - max).exp()).sum();
    logits.iter().map(|&l| f64::from(l) - max - total.ln()).collect()
}

fn best(logits: &[f32]) -> u32 {
    lemmy_conformance::judge::best(logits)
}
