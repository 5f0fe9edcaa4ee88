//! The built library: what it exports, C programs that run on it (`checked`: under what finds wrong uses of memory),
//! and what it is linked beside (`linking`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod built;
mod checked;
mod linking;

use std::path::Path;
use std::process::Command;

use self::built::{Linked, PROGRAMS, Program, ROOT, library, program, run, run_silently};

#[test]
fn exports_are_the_listed_ones() {
    let shared = library(Linked::Shared);
    let output = run(Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(shared));
    let mut found: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    found.sort();
    let listed = std::fs::read_to_string(Path::new(ROOT).join("include/lemmy.symbols")).unwrap();
    assert_eq!(found, listed.lines().collect::<Vec<_>>(), "the library and include/lemmy.symbols");
}

#[test]
fn every_program_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = files.filter(|name| name.ends_with(".c")).map(|name| format!("c/{name}")).collect();
    let mut listed = PROGRAMS.to_vec();
    found.sort();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn c_programs_use_and_misuse_every_function() {
    for source in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        let built = program(source, Linked::Shared).build(folder.path());
        run_silently(folder.path(), &mut Command::new(built));
    }
}

#[test]
fn they_are_cpp_too() {
    for source in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        Program { is_cpp: true, ..program(source, Linked::Shared) }.build(folder.path());
    }
}

#[test]
fn a_program_of_the_last_release_goes_on() {
    let old = Program { include: "lemmy-ffi/tests/abi/0.1", ..program("abi/0.1/program.c", Linked::Shared) };
    let folder = tempfile::tempdir().unwrap();
    run_silently(folder.path(), &mut Command::new(old.build(folder.path())));
}

#[test]
fn example_says_which_library_it_is() {
    for linked in [Linked::Shared, Linked::Static] {
        let folder = tempfile::tempdir().unwrap();
        let example = program("../../examples/c/version.c", linked).build(folder.path());
        let output = run(&mut Command::new(&example));
        let expected = format!("lemmy {}, ABI 0.2, built with: cpu,grammar,vision\n", env!("CARGO_PKG_VERSION"));
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
