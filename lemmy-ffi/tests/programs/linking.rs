//! The static library beside others: its inside meets nobody's names.

use std::path::Path;
use std::process::Command;

use crate::built::{Linked, Program, compiler, program, run, run_silently};

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/linking").join(name)
}

/// Names of the most widespread library of this field, as an app may have it in already.
#[test]
fn beside_ggml_each_calls_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (object, archive) = (folder.path().join("ggml.o"), folder.path().join("libggml.a"));
    run(compiler(false).arg("-c").arg(source("ggml.c")).arg("-o").arg(&object));
    run(Command::new("ar").arg("rcs").arg(&archive).arg(&object));
    let more = [archive.to_str().unwrap()];
    let beside = Program { more: &more, ..program("linking/beside_ggml.c", Linked::Static) };
    run_silently(folder.path(), &mut Command::new(beside.build(folder.path())));
}

/// Another static library of the same Rust, with a panic of its own.
#[test]
fn beside_another_rust_library_each_has_its_panics() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("libother.a");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    run(Command::new(rustc)
        .args(["--edition=2024", "--crate-type=staticlib", "-o"])
        .arg(&archive)
        .arg(source("other.rs")));
    let more = [archive.to_str().unwrap()];
    let beside = Program { more: &more, ..program("linking/beside_rust.c", Linked::Static) };
    run_silently(folder.path(), &mut Command::new(beside.build(folder.path())));
}
