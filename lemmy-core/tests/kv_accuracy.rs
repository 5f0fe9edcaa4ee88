//! What rounding the cache costs: distributions over the next token with caches of 16 and of 8 bits against an f32 cache.
//!
//! The real model is Gemma 3 270M, which is not part of this project; the variable `LEMMY_TEST_GEMMA3` names it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::path::PathBuf;

use lemmy_core::{KvType, Model, Special, ThreadPool, TokenId};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn load(path: PathBuf) -> Model {
    Model::builder(path).threads(ThreadPool::new(2).unwrap()).load().unwrap()
}

/// Natural logarithms of the probabilities.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    logits.iter().map(|&x| f64::from(x - max) - total.ln()).collect()
}

/// How far a cache of some type is from an f32 cache, over all places of a text.
#[derive(Debug)]
struct Cost {
    /// Median of the Kullback-Leibler divergence, in nats: where a router is nearly undecided, rounding may choose another
    /// expert, and in a random model of ten experts that is another answer.
    median: f64,
    /// Its mean.
    mean: f64,
    /// Share of places where the best token is another one.
    other_best: f64,
    /// Perplexity of the text with this cache over that with an f32 cache.
    perplexity: f64,
}

fn cost(model: &Model, ids: &[TokenId], kv_type: KvType) -> Cost {
    const PIECE: usize = 64;
    let session = |kv_type| model.session().context(ids.len()).batch(PIECE).kv_type(kv_type).build().unwrap();
    let (mut exact, mut rounded) = (session(KvType::F32), session(kv_type));
    let (mut divergences, mut others, mut likelihood) = (Vec::new(), 0, 0.0);
    for (start, piece) in ids.chunks(PIECE).enumerate().map(|(i, piece)| (i * PIECE, piece)) {
        let (p, q) = (exact.forward_all(piece).unwrap(), rounded.forward_all(piece).unwrap());
        for (place, (p, q)) in (start..).zip(p.rows().zip(q.rows())) {
            let (p, q) = (log_softmax(p), log_softmax(q));
            divergences.push(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
            let best = |x: &[f64]| (0..x.len()).max_by(|&a, &b| x[a].total_cmp(&x[b]));
            others += usize::from(best(&p) != best(&q));
            if let Some(&next) = ids.get(place + 1) {
                likelihood += p[next as usize] - q[next as usize];
            }
        }
    }
    divergences.sort_by(f64::total_cmp);
    Cost {
        median: divergences[ids.len() / 2],
        mean: divergences.iter().sum::<f64>() / ids.len() as f64,
        other_best: others as f64 / ids.len() as f64,
        perplexity: (likelihood / (ids.len() - 1) as f64).exp(),
    }
}

#[test]
fn the_tiny_models_hardly_notice() {
    let ids: Vec<TokenId> = (0..300).map(|i| (i * 37 + i / 19 + 11) % 512).collect();
    for file in ["bf16", "q4_k_m"] {
        let model = load(PathBuf::from(ROOT).join(format!("tests/fixtures/tiny/tiny-{file}.gguf")));
        for (kv_type, median) in [(KvType::F32, 1e-12), (KvType::F16, 1e-2), (KvType::Q8_0, 2e-2)] {
            let cost = cost(&model, &ids, kv_type);
            println!("{file}, {kv_type:?}: {cost:?}");
            assert!(cost.median < median, "{file}, {kv_type:?}: {cost:?}");
            assert!((cost.perplexity - 1.0).abs() < 0.01 && cost.other_best < 0.15, "{file}, {kv_type:?}: {cost:?}");
        }
    }
}

#[test]
fn a_real_model_hardly_notices() {
    let Some(path) = std::env::var_os("LEMMY_TEST_GEMMA3") else { return };
    let model = load(path.into());
    let text = std::fs::read_to_string(PathBuf::from(ROOT).join("docs/kv-cache.md")).unwrap();
    let ids = model.tokenizer().encode_prompt(&text, Special::Text);
    let ids = &ids[..ids.len().min(300)];
    for (kv_type, mean) in [(KvType::F16, 1e-2), (KvType::Q8_0, 2e-2)] {
        let cost = cost(&model, ids, kv_type);
        println!("{} tokens, {kv_type:?}: {cost:?}", ids.len());
        assert!(cost.mean < mean, "{kv_type:?}: {cost:?}");
        assert!((cost.perplexity - 1.0).abs() < mean && cost.other_best < 0.05, "{kv_type:?}: {cost:?}");
    }
}
