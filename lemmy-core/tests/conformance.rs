//! The CPU backend before the judge that every backend stands before.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use lemmy_core::ThreadPool;
use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::cpu::kernels::KernelSet;
use lemmy_core::quant::DType;

fn backend(threads: usize, kernels: KernelSet) -> CpuBackend {
    CpuBackend::with_kernels(ThreadPool::new(threads).unwrap(), kernels)
}

#[test]
fn detected_kernels_pass() {
    let report = lemmy_conformance::judge(&backend(2, KernelSet::detect()));
    println!("{report}");
    assert!(report.passed(), "{report}");
}

#[test]
fn scalar_kernels_pass() {
    let report = lemmy_conformance::judge(&backend(2, KernelSet::scalar()));
    assert!(report.passed(), "{report}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let one = backend(1, KernelSet::detect());
    for threads in [2, 3, 7] {
        for dtype in [DType::BF16, DType::Q8_0, DType::Q4_K] {
            lemmy_conformance::behaviour::same_logits(&one, &backend(threads, KernelSet::detect()), dtype).unwrap();
        }
    }
}
