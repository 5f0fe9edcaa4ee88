//! A real file that nobody here made: Gemma 3 270M, Q4_K_M, of which llama.cpp's greedy tokens are on record.
//!
//! The file is not part of this project (its licence asks for more than ours); the variable `LEMMY_TEST_GEMMA3` names it,
//! see `tests/fixtures/gemma3/README.md`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use lemmy_conformance::judge_taps;
use lemmy_conformance::prompt::Prompt;
use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::gguf::{FileBytes, Gguf, SharedBytes};
use lemmy_core::plan::{Matrix, Plan, Role, Spec, Step, WeightSource, Weights};
use lemmy_core::quant::{DType, dequantize};
use lemmy_core::{CancelToken, KvType, LoadMode, Model, Result, Sampler, Special, ThreadPool, TokenId};
use serde_json::Value;

#[test]
fn a_real_gemma3_file_says_what_llama_cpp_says() {
    let Some(path) = file() else { return };
    let record = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gemma3/270m-greedy.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let model = Model::builder(path).threads(ThreadPool::new(2).unwrap()).load().unwrap();
    assert_eq!(model.info().architecture, "gemma3");

    for case in record["greedy_kv_f16_flash"].as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        let ids = prompt_ids(&model, prompt);
        assert_eq!(ids, numbers(&case["prompt_ids"]), "{prompt}");
        // Where two tokens are nearly equally good, the record stops to bind.
        let certain = case["robust_prefix"].as_u64().unwrap() as usize;
        let said = greedy(&model, &ids, certain);
        assert_eq!(said, numbers(&case["greedy"])[..certain], "{prompt}{}", model.tokenizer().decode(&said));
        println!("{certain} tokens equal: {prompt}{}", model.tokenizer().decode(&said));
    }
}

/// The first six layers, a global one among them, step by step against the plain f64 reading of the steps that judges all
/// backends. With weights as f32: real activations have outliers, which rounded to 8 bits would drown every fault.
#[test]
fn every_step_of_a_real_gemma3_file_is_right() {
    let Some(path) = file() else { return };
    let gguf = Gguf::open(&path, LoadMode::Mmap, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    let mut spec = Spec::from_gguf(&gguf).unwrap();
    spec.layers.truncate(6);
    assert!(spec.layers[5].window.is_none() && spec.layers[4].window.is_some());
    let mut plan = Plan::new(spec);
    // The head is as large as all layers together.
    plan.steps.retain(|&step| step != Step::Head);
    let plan = Arc::new(plan);
    let weights = Dequantised(Weights::new(&gguf, &plan).unwrap());
    let backend = CpuBackend::new(ThreadPool::new(2).unwrap());
    let prompt = Prompt::tokens(&[2, 818, 5279, 529, 7001, 563]);
    match judge_taps(&backend, &plan, &weights, &prompt, KvType::F32) {
        Ok(figure) => println!("{figure}"),
        Err(fault) => panic!("{fault}"),
    }
}

/// Weights of layers as f32.
struct Dequantised(Weights);

impl WeightSource for Dequantised {
    fn matrix(&self, role: Role, layer: Option<u16>) -> Result<Matrix> {
        let matrix = self.0.matrix(role, layer)?;
        if layer.is_none() {
            return Ok(matrix);
        }
        let mut numbers = vec![0f32; matrix.rows * matrix.cols];
        dequantize(matrix.dtype, matrix.matrix(0), &mut numbers)?;
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let stride = bytes.len();
        let bytes = SharedBytes::new(Arc::new(FileBytes::Owned(bytes)), 0, stride).unwrap();
        Ok(Matrix { dtype: DType::F32, stride, bytes, ..matrix })
    }

    fn vector(&self, role: Role, layer: Option<u16>) -> Result<Vec<f32>> {
        self.0.vector(role, layer)
    }
}

fn file() -> Option<PathBuf> {
    let path = std::env::var_os("LEMMY_TEST_GEMMA3").map(PathBuf::from);
    if path.is_none() {
        println!("not run: LEMMY_TEST_GEMMA3 names no file");
    }
    path
}

fn prompt_ids(model: &Model, prompt: &str) -> Vec<TokenId> {
    let tokenizer = model.tokenizer();
    assert!(tokenizer.adds_bos());
    let bos = tokenizer.bos().unwrap();
    std::iter::once(bos).chain(tokenizer.encode(prompt, Special::Text)).collect()
}

fn greedy(model: &Model, prompt: &[TokenId], n: usize) -> Vec<TokenId> {
    let mut session = model.session().context(64).build().unwrap();
    let mut sampler = Sampler::greedy();
    let mut said = vec![sampler.sample(session.forward(prompt).unwrap().last()).unwrap()];
    while said.len() < n {
        let last = said[said.len() - 1];
        said.push(sampler.sample(session.forward(&[last]).unwrap().last()).unwrap());
    }
    said
}

fn numbers(list: &Value) -> Vec<TokenId> {
    list.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as TokenId).collect()
}
