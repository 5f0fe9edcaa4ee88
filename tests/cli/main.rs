//! End-to-end tests of the built binary, on the tiny model of `tests/fixtures/tiny`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod chat;
mod files;
#[cfg(feature = "pull")]
mod hub;
mod inspect;
mod logits;
#[cfg(feature = "pull")]
mod models;
#[cfg(feature = "nano")]
mod nano;
mod perplexity;
#[cfg(feature = "pull")]
mod pull;
mod quantize;
mod run;
#[cfg(feature = "vision")]
mod sight;
mod settings;
mod streams;
mod talk;
mod terminal;
mod tokens;
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far more than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tiny model: 6 layers, 10 experts, 512 tokens, context 4096.
fn tiny() -> String {
    fixture("tiny/tiny-q4_k_m.gguf")
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The binary, with nothing of the tester's environment and settings that it listens to and an empty stdin.
fn lemmy<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lemmy"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEMMY_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/no-such-folder");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a finished command left.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Done {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
    /// Checks the exit code; what was written stays for more checks.
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
    /// Checks that stderr is an error that says this, and that nobody panicked.
    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.err.starts_with("error: ") && self.err.contains(words), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), out: output.stdout, err }
    }
}

/// Runs to the end.
fn done(command: &mut Command) -> Done {
    finish(command.spawn().unwrap())
}

/// Runs to the end with these bytes on stdin.
fn done_with(command: &mut Command, stdin: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A program that fails early does not read it all.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let done = finish(child);
    writer.join().unwrap();
    done
}

/// Waits for the end, or ends it and the test.
fn finish(child: Child) -> Done {
    let id = child.id();
    let waiter = std::thread::spawn(move || child.wait_with_output().unwrap());
    let began = Instant::now();
    while !waiter.is_finished() {
        if began.elapsed() > PATIENCE {
            signal(id, "KILL");
            panic!("did not end: {:?}", Done::from(waiter.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    waiter.join().unwrap().into()
}

fn signal(process: u32, name: &str) {
    Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
}

/// A fresh folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lemmy-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
