//! What a person reads when something went wrong, and the exit code.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use lemmy_core::{Error, ErrorKind};
use serde_json::{Value, json};

use super::units::bytes;
use super::{output, system};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    kind: &'static str,
    message: String,
    hint: Option<String>,
    /// Whether the command's own JSON document says it already.
    told: bool,
    /// Whether nothing can go on after it.
    is_final: bool,
}

impl Failure {
    fn new(exit: u8, kind: &'static str, message: impl Display) -> Self {
        Self { exit, kind, message: message.to_string(), hint: None, told: false, is_final: false }
    }
    /// Exit 1: the operation failed.
    pub(crate) fn failed(kind: &'static str, message: impl Display) -> Self {
        Self::new(1, kind, message)
    }
    /// Exit 2: it was asked for in the wrong way.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(2, "usage", message)
    }
    /// Exit 3: no such file, key or model.
    pub(crate) fn not_found(message: impl Display) -> Self {
        Self::new(3, "not_found", message)
    }
    /// Exit 4: it does not fit memory or disk.
    pub(crate) fn resources(kind: &'static str, message: impl Display) -> Self {
        Self::new(4, kind, message)
    }
    /// Exit 5: the file is not what it should be.
    pub(crate) fn bad_file(kind: &'static str, message: impl Display) -> Self {
        Self::new(5, kind, message)
    }
    /// Exit 130 or 143: a signal stopped it.
    pub(crate) fn signal(terminated: bool) -> Self {
        let failure = match terminated {
            true => Self::new(143, "terminated", "terminated"),
            false => Self::new(130, "interrupted", "interrupted"),
        };
        Self { is_final: true, ..failure }
    }
    /// Exit 0 without a word: whoever read our output has seen enough.
    fn reader_gone() -> Self {
        Self { told: true, is_final: true, ..Self::new(0, "reader_gone", "") }
    }

    /// Names what is free when it was the system that refused.
    fn out_of_memory(what: &str, needed: u64, limit: u64) -> Self {
        let free = match (limit, system::available_memory(), system::address_space_limit()) {
            (u64::MAX, _, Some(limit)) => format!("an address space of {}", bytes(limit)),
            (u64::MAX, Some(free), None) => format!("{} free", bytes(free)),
            (u64::MAX, None, None) => "the system refuses".into(),
            (limit, _, _) => format!("a limit of {}", bytes(limit)),
        };
        Self::resources("out_of_memory", format!("out of memory: {what}: needs {} ({free})", bytes(needed)))
    }

    /// An operating system's error; `what` names the attempt.
    pub(crate) fn io(what: impl Display, e: &io::Error) -> Self {
        let message = format!("{what}: {e}");
        match e.kind() {
            io::ErrorKind::NotFound => Self::not_found(message),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::resources("storage_full", message)
            }
            io::ErrorKind::OutOfMemory => Self::resources("out_of_memory", message),
            _ => Self::failed("io", message),
        }
    }
    /// An error of writing to stdout.
    pub(crate) fn stdout(e: &io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Self::reader_gone(),
            _ => Self::no_stdout(e),
        }
    }
    /// Stdout cannot be written.
    pub(crate) fn no_stdout(why: impl Display) -> Self {
        Self { is_final: true, ..Self::failed("io", format!("cannot write to stdout: {why}")) }
    }

    /// Adds the next step to take.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
    /// Adds what it is about, such as a file.
    pub(crate) fn about(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
    /// Says that the command's own JSON document holds [`json`](Self::json) already.
    pub(crate) fn told(self) -> Self {
        Self { told: true, ..self }
    }
    /// The object that `--json` shows.
    pub(crate) fn json(&self) -> Value {
        json!({ "kind": self.kind, "message": self.message, "hint": self.hint })
    }

    /// Whether it was asked for in the wrong way.
    pub(crate) fn is_usage(&self) -> bool {
        self.exit == 2
    }
    /// Whether nothing can go on after it: a signal came, or nobody can hear us.
    pub(crate) fn ends_conversation(&self) -> bool {
        self.is_final
    }

    /// Writes what went wrong, and the next step.
    pub(crate) fn tell(&self) {
        output::note(format_args!("error: {}", self.message));
        if let Some(hint) = &self.hint {
            output::note(format_args!("hint: {hint}"));
        }
    }

    /// Writes the report; the answer is the process's exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if self.exit == 130 || self.exit == 143 || self.exit == 0 {
            // Whoever sent the signal, or closed the pipe, knows why.
        } else {
            self.tell();
        }
        if json && !self.told {
            output::last_words(&json!({ "error": self.json() }));
        }
        ExitCode::from(self.exit)
    }
}

#[cfg(feature = "serve")]
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::io("the server cannot go on", &e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match e.kind() {
            ErrorKind::Io => match &e {
                Error::Io { what, source } => Self::io(what, source),
                _ => Self::failed("io", e),
            },
            ErrorKind::FileChanged => Self::failed("file_changed", e),
            ErrorKind::Gguf => Self::bad_file("gguf", e),
            ErrorKind::Unsupported => Self::bad_file("unsupported", e),
            ErrorKind::OutOfMemory => match &e {
                Error::OutOfMemory { what, needed, limit } => Self::out_of_memory(what, *needed, *limit),
                _ => Self::resources("out_of_memory", e),
            },
            ErrorKind::ContextFull => Self::failed("context_full", e),
            ErrorKind::RewindTooFar => Self::failed("rewind_too_far", e),
            ErrorKind::Session => Self::bad_file("session", e),
            ErrorKind::Template => Self::failed("template", e),
            ErrorKind::Image => Self::bad_file("picture", e),
            // Only a signal triggers the token of the command line.
            ErrorKind::Cancelled => Self::signal(false),
            ErrorKind::Argument => Self { kind: "argument", ..Self::usage(e) },
            ErrorKind::Numeric => Self::failed("numeric", e),
            ErrorKind::Forked => Self::failed("forked", e),
            _ => Self::failed("internal", e),
        }
    }
}
