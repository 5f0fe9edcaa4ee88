//! The recorded cases of `tests/fixtures/sampling`, made by an independent sampler.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as TokenId).collect()
}

fn sampler(options: &Value, stages: usize) -> Sampler {
    let number = |name: &str, neutral: f64| options[name].as_f64().unwrap_or(neutral);
    let mut params = SamplerParams {
        temperature: number("temp", 1.0) as f32,
        top_k: number("top_k", 0.0) as u32,
        top_p: number("top_p", 1.0) as f32,
        min_p: number("min_p", 0.0) as f32,
        repeat_penalty: number("rep", 1.0) as f32,
        frequency_penalty: number("freq", 0.0) as f32,
        presence_penalty: number("pres", 0.0) as f32,
        ..SamplerParams::default()
    };
    for (id, bias) in options["bias"].as_object().into_iter().flatten() {
        params.bias.push((id.parse().unwrap(), bias.as_f64().unwrap() as f32));
    }
    params.order.truncate(stages);
    let mut sampler = Sampler::new(&params).unwrap();
    for token in options["hist"].as_array().into_iter().flatten() {
        sampler.accept(token.as_u64().unwrap() as TokenId);
    }
    sampler
}

#[test]
fn every_recorded_case() {
    let text = include_str!("../../../tests/fixtures/sampling/golden.jsonl");
    let mut cases = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (name, options, expect) = (&case["name"], &case["options"], &case["expect"]);
        let logits: Vec<f32> = numbers(&case["logits"]).iter().map(|&x| x as f32).collect();
        cases += 1;
        if let Some(greedy) = expect["greedy"].as_u64() {
            assert_eq!(u64::from(sampler(options, 5).sample(&logits).unwrap()), greedy, "{name}");
            continue;
        }
        let Candidates::Whole(penalised) = sampler(options, 1).candidates(&logits, None).unwrap() else {
            unreachable!()
        };
        for (found, expected) in penalised.iter().zip(numbers(&expect["penalised"])) {
            // The options are f32 here and f64 there.
            assert!((found.logit - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {found:?} {expected}");
        }
        for (stages, list) in [(2, "after_top_k"), (3, "after_top_p"), (4, "after_min_p"), (5, "ids")] {
            let found = sampler(options, stages).distribution(&logits).unwrap();
            let found: Vec<TokenId> = found.iter().map(|&(id, _)| id).collect();
            assert_eq!(found, ids(&expect[list]), "{name}: {list}");
        }
        let last = sampler(options, 5);
        let found = last.distribution(&logits).unwrap();
        for ((_, found), expected) in found.iter().zip(numbers(&expect["probs"])) {
            assert!((found - expected).abs() < 1e-6, "{name}: {found} {expected}");
        }
        for draw in case["draws"].as_array().unwrap() {
            let picked = last.candidates(&logits, None).unwrap().draw(draw[0].as_f64().unwrap()).unwrap();
            assert_eq!(u64::from(picked.id), draw[1].as_u64().unwrap(), "{name}: {draw}");
        }
    }
    assert_eq!(cases, 50);
}
