//! A full context takes the memory that the estimate said, as the system counts it.
//!
//! The variable `LEMMY_TEST_GEMMA4` names a file of the 26B-A4B; without it the tiny model stands in.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lemmy_core::backend::Backend;
use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::gguf::Gguf;
use lemmy_core::kv::{KvSpec, Positions};
use lemmy_core::plan::{Plan, Spec, Weights};
use lemmy_core::{CancelToken, KvType, LoadMode, ThreadPool};

const CONTEXT: usize = 262_144;

/// Bytes of this process that no file backs.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Fills every row of a cache, and gives what was estimated and what the process has grown by.
fn filled(file: &Path, kv_type: KvType) -> (u64, u64) {
    let (go_on, cancel) = (&mut |_, _| ControlFlow::Continue(()), CancelToken::new());
    let gguf = Gguf::open(file, LoadMode::Mmap, &cancel, go_on).unwrap();
    let plan = Arc::new(Plan::new(Spec::from_gguf(&gguf).unwrap()));
    let weights = Weights::new(&gguf, &plan).unwrap();
    let backend = CpuBackend::new(ThreadPool::new(1).unwrap());
    let engine = backend.compile(plan.clone(), &weights, &cancel, go_on).unwrap();
    let spec = KvSpec { kv_type, ..KvSpec::with_context(CONTEXT) };
    let estimate = backend.estimate(&plan, &weights, &spec).unwrap().kv;

    let before = resident();
    let mut kv = engine.new_kv(&spec).unwrap();
    let layers = &plan.spec.layers;
    let positions = Positions::restored(&spec, layers, CONTEXT, CONTEXT).unwrap();
    for (l, layer) in layers.iter().enumerate() {
        kv.import(l, positions.held(spec.rows(layer)), &mut std::io::repeat(1).take(u64::MAX)).unwrap();
    }
    assert_eq!(kv.bytes(), estimate);
    (estimate, resident() - before)
}

#[test]
fn a_full_context_takes_what_was_estimated() {
    let real = std::env::var_os("LEMMY_TEST_GEMMA4").map(PathBuf::from);
    let tiny = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    let file = real.as_ref().unwrap_or(&tiny);
    for (kv_type, most_mib) in [(KvType::Q8_0, 1946), (KvType::F16, 3584)] {
        let (estimate, taken) = filled(file, kv_type);
        println!("{kv_type:?}: estimated {} MiB, taken {} MiB", estimate >> 20, taken >> 20);
        assert!((taken as f64 / estimate as f64 - 1.0).abs() < 0.02, "{kv_type:?}: {taken} of {estimate}");
        // 1.9 GiB and 3.5 GiB.
        assert!(estimate <= most_mib << 20, "{kv_type:?}: {estimate}");
    }
}
