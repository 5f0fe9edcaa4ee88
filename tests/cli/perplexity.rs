//! `lemmy perplexity`, against what follows from `lemmy logits`.

use super::*;

const CHUNK: usize = 16;

fn sample() -> String {
    "Once upon a time there was a small model that read a long text, word by word, and guessed what came next. "
        .repeat(3)
}

/// Log-probabilities behind each token, by the other command.
fn log_probabilities(file: &str, ids: &[u64]) -> Vec<Vec<f64>> {
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    let told = done(&mut lemmy(["logits", file, "--tokens", &ids.join(","), "--all", "--json"])).code(0);
    let row = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let logits: Vec<_> = line["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect();
        let log_sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        logits.iter().map(|logit| logit - log_sum).collect()
    };
    told.text().lines().map(row).collect()
}

/// The chunks, each with the token that begins a text.
fn chunks(file: &str) -> Vec<Vec<u64>> {
    let told =
        done_with(&mut lemmy(["tokenize", file, "--bos", "--no-special", "--json"]), sample().as_bytes()).code(0);
    let ids: Vec<_> = told.json()["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    let whole = ids.chunks_exact(CHUNK).map(|chunk| [&ids[..1], &chunk[1..]].concat());
    whole.collect()
}

fn perplexity(arguments: &[&str]) -> Done {
    done_with(lemmy(["perplexity", "-c", "16"]).args(arguments), sample().as_bytes())
}

#[test]
fn it_is_that_of_the_second_half_of_each_chunk() {
    let (tiny, mut surprises) = (tiny(), Vec::new());
    for chunk in chunks(&tiny).iter().take(3) {
        let rows = log_probabilities(&tiny, chunk);
        surprises.extend((CHUNK / 2..CHUNK - 1).map(|at| -rows[at][usize::try_from(chunk[at + 1]).unwrap()]));
    }
    let n = surprises.len() as f64;
    let mean = surprises.iter().sum::<f64>() / n;
    let variance = surprises.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
    let told = perplexity(&[&tiny, "-f", "-", "--chunks", "3", "--json"]).code(0).json();
    let close = |key: &str, expected: f64| {
        let found = told[key].as_f64().unwrap();
        // `logits` writes as many digits as an f32 needs.
        assert!((found / expected - 1.0).abs() < 1e-6, "{key}: {found}, {expected}");
    };
    close("perplexity", mean.exp());
    close("perplexity_error", mean.exp() * (variance / (n - 1.0)).sqrt());
    assert_eq!((&told["tokens"], &told["chunks"]), (&(surprises.len().into()), &(3.into())));
}

#[test]
fn a_base_is_kept_and_compared_with() {
    let (best, small) = (fixture("tiny/tiny-bf16.gguf"), tiny());
    let folder = Folder::new("perplexity");
    let base = folder.path("bf16.base");
    let kept = perplexity(&[&best, "-f", "-", "--kl-base", text(&base), "--json"]).code(0).json();
    assert!(kept.get("base").is_none());
    assert_eq!(folder.names(), ["bf16.base"]);

    let same = perplexity(&[&best, "--kl-base", text(&base), "--json"]).code(0).json();
    assert_eq!(same["perplexity"], kept["perplexity"]);
    assert!(same["base"]["kl_mean"].as_f64().unwrap().abs() < 1e-5, "{same}");
    assert_eq!(same["base"]["same_top"], 1.0);
    // A base holds what is more than 16 below the best as if it were 16 below, so it is never more surprised.
    let ratio = same["base"]["perplexity"].as_f64().unwrap() / kept["perplexity"].as_f64().unwrap();
    assert!(ratio > 0.5 && ratio < 1.001, "{same}");

    let mut divergences = Vec::new();
    for chunk in chunks(&best) {
        let (p, q) = (log_probabilities(&best, &chunk), log_probabilities(&small, &chunk));
        for at in CHUNK / 2..CHUNK - 1 {
            divergences.push(p[at].iter().zip(&q[at]).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
        }
    }
    let expected = divergences.iter().sum::<f64>() / divergences.len() as f64;
    let other = perplexity(&[&small, "-f", "-", "--kl-base", text(&base), "--json"]).code(0).json();
    let found = other["base"]["kl_mean"].as_f64().unwrap();
    assert!(expected > 1e-3 && (found / expected - 1.0).abs() < 0.01, "{found}, {expected}");
    let table = perplexity(&[&small, "--kl-base", text(&base)]).code(0);
    assert!(table.text().starts_with("PPL = ") && table.text().contains("KL divergence, mean"), "{table:?}");
    assert!(table.err.contains("chunk 1 of "), "{table:?}");
}

#[test]
fn what_cannot_be_measured() {
    let tiny = tiny();
    let folder = Folder::new("perplexity-bad");
    let base = folder.path("base");
    done_with(&mut lemmy(["perplexity", &tiny, "-f", "-", "-c", "512"]), b"too short")
        .code(2)
        .says("expected at least the 512");
    done(&mut lemmy(["perplexity", &tiny])).code(2).says("--file");
    done(&mut lemmy(["perplexity", &tiny, "--kl-base", text(&base)])).code(2).says("found no text");
    perplexity(&[&tiny, "-f", "-", "--kl-base", text(&base)]).code(0);
    let other = done_with(&mut lemmy(["perplexity", &tiny, "-f", "-", "--kl-base", text(&base)]), b"another text");
    other.code(2).says("another text");
    done(&mut lemmy(["perplexity", &tiny, "-c", "32", "--kl-base", text(&base)]))
        .code(2)
        .says("expected the base's 16");
    let whole = std::fs::read(&base).unwrap();
    for len in [0, 7, 19, 20, whole.len() - 1] {
        std::fs::write(&base, &whole[..len]).unwrap();
        done(&mut lemmy(["perplexity", &tiny, "--kl-base", text(&base)])).code(5).says("base: found");
    }
    let mut huge = whole.clone();
    huge[8..20].copy_from_slice(&[0xff; 12]);
    std::fs::write(&base, &huge).unwrap();
    done(&mut lemmy(["perplexity", &tiny, "--kl-base", text(&base)])).code(5).says("out of range");
}
