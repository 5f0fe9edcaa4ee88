//! How fast pictures become soft tokens: the true sizes of the tower with random weights.
//!
//! `cargo run --release -p lemmy-core --example vision_rates -- [type] [budget] [layers] [threads] [rounds]`; by default
//! `f16 280 27`, every thread, 3 rounds. Prints the best round, and what it is of the products alone.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/support/random_tower.rs"]
mod random_tower;

use std::sync::Arc;
use std::time::Instant;

use lemmy_core::backend::Backend;
use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::gguf::{FileBytes, Gguf};
use lemmy_core::plan::{VisionPlan, VisionSpec, VisionWeights};
use lemmy_core::quant::DType;
use lemmy_core::vision::{Budget, Patches, Rgb};
use lemmy_core::{CancelToken, ThreadPool};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |arg| arg.parse().unwrap());
    let dtype = match args.first().map(String::as_str) {
        None | Some("f16") => DType::F16,
        Some("bf16") => DType::BF16,
        Some("f32") => DType::F32,
        Some("q8_0") => DType::Q8_0,
        Some(other) => panic!("no type {other}"),
    };
    let budget = Budget::new(number(1, 280) as u16).unwrap();
    let layers = number(2, 27);
    let sizes = random_tower::Sizes { hidden: 1152, ffn: 4304, layers, positions: 10_240, output: 2816 };
    let gguf = Gguf::from_bytes(FileBytes::Owned(random_tower::random_tower(&sizes, dtype))).unwrap();
    let pool = match number(3, 0) {
        0 => ThreadPool::builder().build().unwrap(),
        threads => ThreadPool::new(threads).unwrap(),
    };
    let threads = pool.threads();
    let plan = Arc::new(VisionPlan::new(VisionSpec::from_gguf(&gguf).unwrap()));
    let weights = VisionWeights::new(&gguf, &plan).unwrap();
    let backend = CpuBackend::new(pool);
    let engine = backend.compile_vision(plan, &weights, &CancelToken::new()).unwrap();

    let (width, height) = (1200, 800);
    let data = (0..width * height * 3).map(|i| (i * 7 % 253) as u8).collect();
    let picture = Rgb { width, height, data };
    let start = Instant::now();
    let patches = Patches::new(&picture, budget).unwrap();
    let (n, preparing) = (patches.layout().patches(), start.elapsed());
    println!(
        "{dtype}, {layers} layers, {threads} threads: {n} patches, {} soft tokens",
        patches.layout().soft_tokens()
    );
    println!("resizing and cutting: {:.1} ms", preparing.as_secs_f64() * 1e3);
    println!("engine {} MB, working memory {} MB", engine.bytes() >> 20, engine.scratch(patches.layout()) >> 20);

    let best = (0..number(4, 3)).map(|_| {
        let start = Instant::now();
        let mut last = start;
        let mut taken: Vec<(&str, f64)> = Vec::new();
        let mut tap = |name: &'static str, _: Option<u16>, _: usize, _: &[f32]| {
            let seconds = last.elapsed().as_secs_f64();
            match taken.iter_mut().find(|(n, _)| *n == name) {
                Some((_, sum)) => *sum += seconds,
                None => taken.push((name, seconds)),
            }
            last = Instant::now();
        };
        engine.encode(&patches, Some(&mut tap), &CancelToken::new()).unwrap();
        (start.elapsed().as_secs_f64(), taken)
    });
    let (seconds, taken) = best.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let per_layer = n * (4 * 1152 * 1152 + 3 * 1152 * 4304) + 2 * n * n * 1152;
    let products = layers * per_layer + n * 768 * 1152 + n / 9 * 1152 * 2816;
    println!("{:.0} ms, {:.1} GFLOP/s", seconds * 1e3, 2.0 * products as f64 / seconds / 1e9);
    for (name, seconds) in taken {
        println!("  {name:12} {:8.1} ms", seconds * 1e3);
    }
}
