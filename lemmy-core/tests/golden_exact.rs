//! Float weights against transformers in f32: every output of every step, the greedy tokens, a long prompt, a block of
//! soft tokens. `tests/fixtures/tiny/README.md` tells where the numbers come from.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "support/safetensors.rs"]
mod safetensors;

use std::collections::HashMap;

use lemmy_conformance::prompt::Prompt;
use lemmy_conformance::reference::Reference;
use lemmy_core::gguf::{FileBytes, Gguf, GgufWriter};
use lemmy_core::plan::{Plan, Spec, Weights};
use lemmy_core::quant::{DType, dequantize};
use lemmy_core::{KvType, Model, Sampler, Session, ThreadPool};
use safetensors::{Safetensors, tiny};

/// Largest difference of a logit.
const LOGITS: f32 = 1e-3;
/// Largest difference of any other output, as a share of its rms.
const TAPS: f64 = 1e-3;

fn load(file: Vec<u8>) -> Model {
    Model::builder_from_bytes(FileBytes::Owned(file)).threads(ThreadPool::new(2).unwrap()).load().unwrap()
}

fn bf16() -> Vec<u8> {
    std::fs::read(tiny("tiny-bf16.gguf")).unwrap()
}

/// The same numbers in F32.
fn f32_of(bf16: Vec<u8>) -> Vec<u8> {
    let from = Gguf::from_bytes(FileBytes::Owned(bf16)).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in from.keys() {
        writer.key(key, value.clone());
    }
    for tensor in from.tensors() {
        writer.tensor(&tensor.name, DType::F32, &tensor.shape[..tensor.dims as usize]).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    for tensor in from.tensors() {
        let mut numbers = vec![0.0; tensor.numbers() as usize];
        dequantize(tensor.dtype, from.tensor_bytes(tensor).as_slice(), &mut numbers).unwrap();
        data.write(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }
    data.finish().unwrap()
}

/// An exact cache.
fn session(model: &Model, batch: usize) -> Session {
    model.session().context(2048).batch(batch).kv_type(KvType::F32).build().unwrap()
}

#[test]
fn bf16_file_equals_transformers() {
    equals_transformers(&load(bf16()));
}

#[test]
fn f32_file_equals_transformers() {
    equals_transformers(&load(f32_of(bf16())));
}

fn equals_transformers(model: &Model) {
    let golden = Safetensors::open("golden.safetensors");
    let ids = golden.ids("input_ids");

    let mut shown: HashMap<String, Vec<f32>> = HashMap::new();
    let mut s = session(model, 80);
    s.forward_tapped(&ids, &mut |name, layer, _, values| {
        let name = layer.map_or(name.to_owned(), |l| format!("layer.{l}.{name}"));
        shown.entry(name).or_default().extend(values);
    })
    .unwrap();

    assert_eq!(shown.len(), 3 + 6 * 12, "outputs");
    let mut worst = (0.0, String::new());
    for (name, values) in &shown {
        if name.ends_with("router_experts") {
            let chosen: Vec<i32> = values.iter().map(|&e| e as i32).collect();
            assert_eq!(chosen, golden.i32s(name), "{name}");
            continue;
        }
        let off = off_by_rms(values, &golden.f32s(name));
        assert!(off <= TAPS, "{name} is off by {off:.1e} of its rms");
        if off > worst.0 {
            worst = (off, name.clone());
        }
    }
    let logits = largest_difference(&shown["logits"], &golden.f32s("logits"));
    assert!(logits <= LOGITS, "logits are off by {logits}");
    println!("worst output: {} of its rms ({}); largest difference of a logit: {logits:.1e}", worst.0, worst.1);

    let prompt = golden.i32s("n_prompt")[0] as usize;
    assert_eq!(greedy(model, &ids[..prompt], ids.len() - prompt), ids[prompt..], "greedy tokens");
}

#[test]
fn long_prompt_equals_transformers() {
    let golden = Safetensors::open("long.safetensors");
    let model = load(bf16());
    let mut s = session(&model, 512);
    let logits: Vec<f32> = s.forward_all(&golden.ids("input_ids")).unwrap().rows().flatten().copied().collect();
    let vocab = model.plan().spec.vocab;

    let last = largest_difference(&logits[(2048 - 64) * vocab..], &golden.f32s("logits_last64"));
    println!("largest difference of a logit in the last 64 of 2048 places: {last:.1e}");
    assert!(last <= 1e-3, "logits are off by {last}");
    let best: Vec<u32> = logits.chunks_exact(vocab).map(best).collect();
    assert_eq!(best, golden.ids("argmax"));
}

#[test]
fn soft_block_equals_transformers() {
    let golden = Safetensors::open("soft.safetensors");
    let ids = golden.ids("input_ids");
    let [start, end] = golden.ids("soft_range")[..] else { panic!("a range") };
    let model = load(bf16());

    let mut s = session(&model, 64);
    let mut logits: Vec<f32> = Vec::new();
    logits.extend(s.forward_all(&ids[..start as usize]).unwrap().rows().flatten());
    logits.extend(s.forward_soft(&golden.f32s("soft")).unwrap().rows().flatten());
    logits.extend(s.forward_all(&ids[end as usize..]).unwrap().rows().flatten());

    let off = largest_difference(&logits, &golden.f32s("logits"));
    println!("largest difference of a logit around the soft block: {off:.1e}");
    assert!(off <= LOGITS, "logits are off by {off}");
}

#[test]
fn cuts_do_not_change_a_bit() {
    let golden = Safetensors::open("golden.safetensors");
    let ids = golden.ids("input_ids");
    let model = load(bf16());
    let whole: Vec<f32> = session(&model, 80).forward_all(&ids).unwrap().rows().flatten().copied().collect();
    for batch in [1, 2, 7, 16, 17, 79] {
        let cut: Vec<f32> = session(&model, batch).forward_all(&ids).unwrap().rows().flatten().copied().collect();
        assert!(whole.iter().zip(&cut).all(|(a, b)| a.to_bits() == b.to_bits()), "batches of {batch}");
    }
}

/// The judge of all backends must itself be right.
#[test]
fn reference_of_the_conformance_suite_equals_transformers() {
    let golden = Safetensors::open("golden.safetensors");
    let gguf = Gguf::from_bytes(FileBytes::Owned(bf16())).unwrap();
    let plan = Plan::new(Spec::from_gguf(&gguf).unwrap());
    let weights = Weights::new(&gguf, &plan).unwrap();
    let taps = Reference::new(&plan, &weights).forward(&Prompt::tokens(&golden.ids("input_ids"))).unwrap();

    let mut count = 0;
    for id in taps.ids() {
        let name = id.layer.map_or(id.name.to_owned(), |l| format!("layer.{l}.{}", id.name));
        let values: Vec<f32> = taps.get(id).unwrap().data.iter().map(|&v| v as f32).collect();
        if id.name == "router_experts" {
            assert_eq!(values.iter().map(|&e| e as i32).collect::<Vec<_>>(), golden.i32s(&name), "{name}");
        } else {
            let off = off_by_rms(&values, &golden.f32s(&name));
            assert!(off <= 1e-4, "{name} is off by {off:.1e} of its rms");
        }
        count += 1;
    }
    assert_eq!(count, 3 + 6 * 12, "outputs");
}

fn greedy(model: &Model, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut s = session(model, 64);
    let mut sampler = Sampler::greedy();
    let mut next = sampler.sample(s.forward(prompt).unwrap().last()).unwrap();
    let mut out = vec![next];
    while out.len() < n {
        next = sampler.sample(s.forward(&[next]).unwrap().last()).unwrap();
        out.push(next);
    }
    out
}

fn best(logits: &[f32]) -> u32 {
    lemmy_conformance::judge::best(logits)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn off_by_rms(values: &[f32], golden: &[f32]) -> f64 {
    let squares: f64 = golden.iter().map(|&g| f64::from(g).powi(2)).sum();
    f64::from(largest_difference(values, golden)) / (squares / golden.len() as f64).sqrt()
}
