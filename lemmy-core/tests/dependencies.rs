//! `cargo add lemmy-core` needs a Rust compiler alone.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

/// Packages of a Linux build, this one included: without features, with each, with both.
const CEILING: usize = 40;
const GRAMMAR_CEILING: usize = 50;
const VISION_CEILING: usize = 60;
const BOTH_CEILING: usize = 70;

fn tree(features: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["tree", "-p", "lemmy-core", "-e", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{cargo:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    // `name v1.2.3`, for some lines followed by a note.
    let lines = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<String> =
        lines.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    assert!(packages.iter().any(|package| package.starts_with("lemmy-core ")), "{lines}");
    packages
}

/// Packages that compile C, generate bindings or look for libraries of the system.
fn needs_more_than_rust(package: &str) -> bool {
    let name = package.split(' ').next().unwrap_or_default();
    matches!(name, "cc" | "cmake" | "bindgen" | "pkg-config" | "autotools" | "vcpkg")
        || (name.ends_with("-sys") && name != "windows-sys")
}

#[test]
fn rust_compiler_alone() {
    for (features, ceiling) in [
        (&[][..], CEILING),
        (&["--no-default-features"], CEILING),
        (&["--features", "grammar"], GRAMMAR_CEILING),
        (&["--features", "vision"], VISION_CEILING),
        (&["--features", "grammar,vision"], BOTH_CEILING),
    ] {
        let packages = tree(features);
        let bad: Vec<&String> = packages.iter().filter(|package| needs_more_than_rust(package)).collect();
        assert!(bad.is_empty(), "lemmy-core {features:?} must not depend on {bad:?}; see docs/dependencies.md");
        let count = packages.len();
        assert!(count <= ceiling, "lemmy-core {features:?} has {count} packages, at most {ceiling}: {packages:#?}");
    }
}

#[test]
fn the_rule_knows_bad_from_good() {
    assert!(
        ["cc v1.2.0", "cmake v0.1.0", "zstd-sys v2.0.0", "pkg-config v0.3.0"].into_iter().all(needs_more_than_rust)
    );
    assert!(
        !["libc v0.2.0", "windows-sys v0.61.0", "sysinfo v0.1.0", "ccc v1.0.0"].into_iter().any(needs_more_than_rust)
    );
}
