//! The judge itself before a judge: every deliberate mistake is found, and the right output is named.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use lemmy_conformance::faulty::check_judge;
use lemmy_core::ThreadPool;
use lemmy_core::backend::cpu::CpuBackend;

#[test]
fn every_mistake_is_found_and_named() {
    let report = check_judge(&CpuBackend::new(ThreadPool::new(2).unwrap()));
    println!("{report}");
    assert!(report.passed(), "{report}");
}
