//! The built library: what it exports, and C programs that run on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The shared and the static library, built now: Cargo does not do so for the tests of a package that is no Rust
/// library. Cargo itself says where they lie, whatever the target folder.
fn libraries() -> &'static [PathBuf; 2] {
    static BUILT: OnceLock<[PathBuf; 2]> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-p", "lemmy-ffi", "--message-format=json"]).current_dir(ROOT);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = run(&mut cargo);
        let messages = String::from_utf8(output.stdout).unwrap();
        let files: Vec<PathBuf> = messages
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "lemmy")
            .flat_map(|message| message["filenames"].as_array().unwrap().clone())
            .map(|file| PathBuf::from(file.as_str().unwrap()))
            .collect();
        ["liblemmy.so", "liblemmy.a"].map(|name| {
            let found = files.iter().find(|file| file.ends_with(name));
            found.unwrap_or_else(|| panic!("cargo built no {name}: {files:?}")).clone()
        })
    })
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
    output
}

/// Compiles a C program in `folder`; against the shared library (index 0) or the static one (index 1).
fn program(folder: &Path, source: &str, library: usize) -> PathBuf {
    let built = folder.join(format!("program-{library}"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let found = Command::new(&compiler).arg("--version").output();
    assert!(found.is_ok(), "these tests need a C compiler (`cc`, or set CC); `{compiler}` is not there");
    let library = &libraries()[library];
    let mut command = Command::new(compiler);
    command
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(Path::new(ROOT).join("include"))
        .arg(Path::new(ROOT).join(source))
        .arg(library)
        // Where the shared library is looked for, and what the static one needs of the system.
        .arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()))
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&built);
    run(&mut command);
    built
}

#[test]
fn exports_are_the_listed_ones() {
    let output = run(Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(&libraries()[0]));
    let mut found: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    found.sort();
    let listed = std::fs::read_to_string(Path::new(ROOT).join("include/lemmy.symbols")).unwrap();
    assert_eq!(found, listed.lines().collect::<Vec<_>>(), "the library and include/lemmy.symbols");
}

#[test]
fn c_programs_use_and_misuse_every_function() {
    for library in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let output =
            run(Command::new(program(folder.path(), "lemmy-ffi/tests/c/misuse.c", library)).arg(folder.path()));
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn example_says_which_library_it_is() {
    for library in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let example = program(folder.path(), "examples/c/version.c", library);
        let output = run(&mut Command::new(&example));
        let expected = format!("lemmy {}, ABI 0.1, built with: cpu\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

        let output =
            run(Command::new(&example).arg(Path::new(ROOT).join("tests/fixtures/tiny/tiny-q4_k_m.gguf")).arg("512"));
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<u64> = text.split([' ', ',', '\n']).filter_map(|word| word.parse().ok()).collect();
        let [weights, _, context, kv, scratch] = numbers[..] else { panic!("five numbers: {text}") };
        assert!(context == 512 && kv > 0 && scratch > 0, "{text}");
        assert!((1_000_000..3_172_672).contains(&weights), "the file has 3,172,672 bytes: {text}");

        let file = folder.path().join("not-a-model.gguf");
        std::fs::write(&file, [b'x'; 64]).unwrap();
        let output = Command::new(&example).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("Gguf: ") && error.contains("not-a-model.gguf"), "{error}");
    }
}
