//! What can go wrong, with numbers that never change.
//!
//! Every message says which file, key, tensor or argument is meant, what was found there and what was expected.

#![forbid(unsafe_code)]

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a call of this crate can fail with.
///
/// ```
/// use lemmy_core::{ErrorKind, Model};
/// let error = Model::open("no-such-file.gguf").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Io);
/// assert!(error.to_string().contains("no-such-file.gguf"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; `what` names the file and the attempt.
    #[error("{what}: {source}")]
    Io {
        /// The attempt, for instance "cannot open model.gguf".
        what: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The model file was changed or cut by another process while it was in use.
    #[error("the model file changed while it was in use: {0}")]
    FileChanged(String),
    /// The bytes are not a model file that can be used.
    #[error("{file}: {source}")]
    Gguf {
        /// Name of the file, or "(bytes)" when the caller handed in bytes.
        file: String,
        /// What is wrong, and where.
        #[source]
        source: GgufError,
    },
    /// A sound request that this build cannot serve, such as another architecture.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// An allocation failed or would exceed the limit that the caller set.
    #[error("{what} needs {needed} bytes, {}", if *limit == u64::MAX { "which the system refuses".into() } else { format!("limit is {limit}") })]
    OutOfMemory {
        /// What the memory was for.
        what: String,
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that may be used; `u64::MAX` when the system refused.
        limit: u64,
    },
    /// More tokens than the session has room for. Nothing was evaluated, nothing was dropped.
    #[error("context full: {used} used + {requested} requested > {capacity}")]
    ContextFull {
        /// Positions already filled.
        used: usize,
        /// Positions that the call would have added.
        requested: usize,
        /// Positions that the session holds.
        capacity: usize,
    },
    /// The rows that a rewind needs have left the sliding-window ring.
    #[error("cannot rewind to {to}: sliding-window rows before {oldest} are gone")]
    RewindTooFar {
        /// Position that was asked for.
        to: usize,
        /// Lowest position that can still be rewound to (besides 0).
        oldest: usize,
    },
    /// The chat template could not be read or rendered.
    #[error("chat template: {0}")]
    Template(String),
    /// The bytes are no picture that can be read, or it is too large.
    #[error("picture: {0}")]
    Image(String),
    /// The bytes are not a saved session that this model can go on with.
    #[error("saved session: {what}: found {found}, expected {expected}")]
    Session {
        /// The field that is wrong.
        what: &'static str,
        /// What stands there.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The caller's cancel token was triggered, or a progress callback answered `Break`.
    #[error("cancelled")]
    Cancelled,
    /// An argument is out of its range.
    #[error("bad argument {name}: {reason}")]
    Argument {
        /// Name of the argument.
        name: &'static str,
        /// What was found and what is allowed.
        reason: String,
    },
    /// A step produced NaN or an infinity; the weights or the input are damaged.
    #[error("not a finite number in step {step}{}", layer.map(|l| format!(", layer {l}")).unwrap_or_default())]
    Numeric {
        /// Name of the step, as in [`plan::Step`](crate::plan::Step).
        step: &'static str,
        /// Layer of the step, if it has one.
        layer: Option<u16>,
    },
    /// The thread pool belongs to the parent process: load the model again after `fork`.
    #[error("used in a forked process: load the model there")]
    Forked,
    /// A fault of this crate, reported and not thrown.
    #[error("internal error (please report): {0}")]
    Internal(String),
}

/// What is wrong with a GGUF file, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The bytes at an offset do not follow the format.
    #[error("at byte {at}: {what}: found {found}, expected {expected}")]
    Malformed {
        /// Offset from the start of the file.
        at: u64,
        /// The field that is wrong, and the key or tensor that it belongs to.
        what: String,
        /// What stands there.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A metadata key that the model needs is not there.
    #[error("missing key `{0}`")]
    MissingKey(String),
    /// A metadata key has an unusable value.
    #[error("key `{key}`: found {found}, expected {expected}")]
    Key {
        /// The key.
        key: String,
        /// Its value or type.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A tensor that the model needs is not there.
    #[error("missing tensor `{0}`")]
    MissingTensor(String),
    /// A tensor has an unusable shape, type or place.
    #[error("tensor `{tensor}`: found {found}, expected {expected}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// Its shape, type or place.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The parts of a split model do not belong together.
    #[error("split: {what}: found {found}, expected {expected}")]
    Split {
        /// The property that disagrees.
        what: &'static str,
        /// What the part says.
        found: String,
        /// What would have been right.
        expected: String,
    },
}

/// Stable numbers of [`Error`]; the C ABI returns exactly these. Never renumbered, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Io`]
    Io = 100,
    /// [`Error::FileChanged`]
    FileChanged = 101,
    /// [`Error::Gguf`]
    Gguf = 200,
    /// [`Error::Unsupported`]
    Unsupported = 300,
    /// [`Error::OutOfMemory`]
    OutOfMemory = 400,
    /// [`Error::ContextFull`]
    ContextFull = 500,
    /// [`Error::RewindTooFar`]
    RewindTooFar = 501,
    /// [`Error::Session`]
    Session = 502,
    /// [`Error::Template`]
    Template = 600,
    /// [`Error::Image`]
    Image = 610,
    /// [`Error::Cancelled`]
    Cancelled = 800,
    /// [`Error::Argument`]
    Argument = 850,
    /// [`Error::Numeric`]
    Numeric = 860,
    /// [`Error::Forked`]
    Forked = 870,
    /// [`Error::Internal`]
    Internal = 900,
}

impl Error {
    /// The stable number of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::FileChanged(_) => ErrorKind::FileChanged,
            Self::Gguf { .. } => ErrorKind::Gguf,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            Self::ContextFull { .. } => ErrorKind::ContextFull,
            Self::RewindTooFar { .. } => ErrorKind::RewindTooFar,
            Self::Session { .. } => ErrorKind::Session,
            Self::Template(_) => ErrorKind::Template,
            Self::Image(_) => ErrorKind::Image,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Argument { .. } => ErrorKind::Argument,
            Self::Numeric { .. } => ErrorKind::Numeric,
            Self::Forked => ErrorKind::Forked,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

/// A vector of `n` copies of `value`, or [`Error::OutOfMemory`] instead of an abort.
pub(crate) fn try_vec<T: Clone>(n: usize, value: T, what: &str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Error::OutOfMemory {
        what: what.into(),
        needed: (n as u64).saturating_mul(size_of::<T>() as u64),
        limit: u64::MAX,
    })?;
    v.resize(n, value);
    Ok(v)
}
