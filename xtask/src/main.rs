//! Chores of the project that Cargo alone does not do. `cargo xtask` says which.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program may print

mod dist;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
cargo xtask dist [FOLDER] [-- FLAGS OF CARGO...]

Builds the C library and lays out what a C, C++ or Swift project needs of it: shared and static library, headers, module
map, pkg-config and CMake files. FOLDER is target/dist unless told. Without flags of Cargo, --release is meant; others:

    cargo xtask dist /opt/lemmy
    cargo xtask dist -- --profile dev
    cargo xtask dist -- --release --target aarch64-unknown-linux-gnu   # with OBJCOPY, LD and AR of that machine

For systems whose libraries are ELF files, with binutils.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (own, flags) = match arguments.iter().position(|argument| argument == "--") {
        Some(place) => (arguments.get(..place).unwrap_or_default(), arguments.get(place + 1..).unwrap_or_default()),
        None => (arguments, &[] as &[String]),
    };
    match own {
        [chore] if chore == "dist" => dist::run(&root().join("target/dist"), flags),
        [chore, folder] if chore == "dist" && !folder.starts_with('-') => dist::run(Path::new(folder), flags),
        _ => Err(USAGE.into()),
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
