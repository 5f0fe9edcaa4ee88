//! Keeps the shared library's exports to the functions of the header: llguidance exports a C interface of its own, which
//! would meet that of another copy in the same program.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // how a build script talks to Cargo

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |key: &str| std::env::var(key).unwrap_or_default();
    // The package's own objects keep their names; the crates that it uses come as archives. It is an option of ELF's
    // linkers.
    if target("CARGO_CFG_TARGET_FAMILY") == "unix" && target("CARGO_CFG_TARGET_VENDOR") != "apple" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
