//! The libraries, and C programs that are built on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The demonstration model.
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lemmy-nano-q8_0.gguf");

/// How a program is linked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    Shared,
    Static,
}

/// A library, built now: Cargo does not do so for the tests of a package that is no Rust library. Cargo itself says
/// where it lies, whatever the target folder.
pub(crate) fn library(linked: Linked) -> &'static Path {
    static BUILT: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let [shared, archive] = BUILT.get_or_init(|| {
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
    });
    if linked == Linked::Shared { shared } else { archive }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    output
}

/// Whether a tool is there.
pub(crate) fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A compiler for C or C++, of the environment's choice.
pub(crate) fn compiler(is_cpp: bool) -> Command {
    let (variable, usual) = if is_cpp { ("CXX", "c++") } else { ("CC", "cc") };
    let program = std::env::var(variable).unwrap_or_else(|_| usual.into());
    assert!(has(&program), "these tests need a C and a C++ compiler; `{program}` is not there (set {variable})");
    let mut command = Command::new(program);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    command.args(if is_cpp { ["-std=c++17", "-xc++"] } else { ["-std=c99", "-xc"] });
    command
}

/// What a program is made of.
pub(crate) struct Program<'a> {
    /// Path of the C file, from this folder.
    pub(crate) source: &'a str,
    /// Folder of `lemmy.h`, from the workspace.
    pub(crate) include: &'a str,
    pub(crate) linked: Linked,
    pub(crate) is_cpp: bool,
    /// More for the compiler, behind the source.
    pub(crate) more: &'a [&'a str],
}

impl Program<'_> {
    /// Compiles it into a folder.
    pub(crate) fn build(&self, folder: &Path) -> PathBuf {
        let built = folder.join("program");
        let library = library(self.linked);
        let mut command = compiler(self.is_cpp);
        // pthread.h and sigaction are POSIX, which plain C99 hides.
        command.args(["-D_POSIX_C_SOURCE=200809L", "-g", "-I"]).arg(Path::new(ROOT).join(self.include));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(self.source));
        command.arg("-xnone").args(self.more).arg(library);
        // Where the shared library is looked for, and what the static one needs of the system.
        command.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
        run(command.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(&built));
        built
    }
}

/// A program of `tests/c` with the header of today.
pub(crate) fn program(source: &str, linked: Linked) -> Program<'_> {
    Program { source, include: "include", linked, is_cpp: false, more: &[] }
}

/// Runs a program of ours: it gets a folder and the model, prints nothing and returns 0.
pub(crate) fn run_silently(folder: &Path, command: &mut Command) {
    let output = run(command.arg(folder).arg(MODEL));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// The C programs that use and misuse every function.
pub(crate) const PROGRAMS: &[&str] = &[
    "c/basics.c",
    "c/model.c",
    "c/tokens.c",
    "c/image.c",
    "c/session.c",
    "c/reply.c",
    "c/raw.c",
    "c/save.c",
    "c/versions.c",
    "c/threads.c",
    "c/fork.c",
    "c/brief.c",
];
