//! The handle on a loaded model.

#![forbid(unsafe_code)]

mod builder;
mod fingerprint;
mod vision;

use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use self::builder::{LoadProgress, LoadStage, LoadTask, ModelBuilder};
use crate::backend::{Backend, Engine};
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::gguf::{FileBytes, Gguf};
use crate::grammar::Grammars;
use crate::kv::{KvSpec, KvType};
use crate::plan::{Plan, Weights};
use crate::quant::DType;
use crate::sampler::SamplerParams;
use crate::tokenizer::Tokenizer;

pub use self::vision::Vision;
pub use crate::gguf::LoadMode;

/// Immutable weights, tokenizer and plan. A clone is a reference count; any thread may use it.
///
/// ```no_run
/// use lemmy_core::{Model, Sampler, Special};
///
/// let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
/// let ids = model.tokenizer().encode("The capital of France is", Special::Text);
/// let mut session = model.session().context(4096).build()?;
/// let mut sampler = Sampler::greedy();
/// let next = sampler.sample(session.forward(&ids)?.last())?;
/// println!("{}", model.tokenizer().decode(&[next]));
/// # Ok::<(), lemmy_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    gguf: Gguf,
    plan: Arc<Plan>,
    weights: Weights,
    tokenizer: Tokenizer,
    backend: Box<dyn Backend>,
    engine: Box<dyn Engine>,
    info: ModelInfo,
    chat_template: ChatTemplate,
    grammars: OnceLock<Grammars>,
    fingerprint: OnceLock<[u8; 32]>,
    vision: Option<Vision>,
    memory_limit: Option<u64>,
}

/// Facts of a model for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelInfo {
    /// `general.name`, or the file's name.
    pub name: String,
    /// `general.architecture`.
    pub architecture: String,
    /// Parameters (numbers in all tensors).
    pub parameters: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Context that the model was trained for.
    pub context: usize,
    /// Number types with the bytes they take, greatest first.
    pub types: Vec<(DType, u64)>,
    /// Recommended sampling: the file's, else the architecture's; tokens that are never to be said are suppressed.
    pub sampling: SamplerParams,
    /// Backend in use, for instance "cpu (avx2)".
    pub backend: String,
}

/// Memory that a model and one session take, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// The file's weights.
    pub weights: u64,
    /// Copies and tables of the backend.
    pub engine: u64,
    /// The cache of one session when its context is full.
    pub kv_per_session: u64,
    /// Working memory of one session.
    pub scratch: u64,
    /// Working memory while a picture of 280 soft tokens is looked at; 0 without a vision tower. The tower's weights
    /// count among the weights.
    pub picture: u64,
}

impl MemoryEstimate {
    /// All of it, for one session.
    pub fn total(&self) -> u64 {
        [self.engine, self.kv_per_session, self.scratch, self.picture]
            .into_iter()
            .fold(self.weights, u64::saturating_add)
    }

    /// What `backend` will need for this file, plan and cache; reads no weights.
    fn new(gguf: &Gguf, plan: &Plan, weights: &Weights, backend: &dyn Backend, kv: &KvSpec) -> Result<Self> {
        let memory = backend.estimate(plan, weights, kv)?;
        Ok(Self {
            weights: gguf.tensors().iter().map(|t| t.bytes).sum(),
            engine: memory.engine,
            kv_per_session: memory.kv,
            scratch: memory.scratch,
            picture: 0,
        })
    }
}

impl Model {
    /// Loads a file with default options.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Self::builder(path).load()
    }

    /// Options for loading a file.
    pub fn builder(path: impl AsRef<Path>) -> ModelBuilder {
        ModelBuilder::from_path(path.as_ref())
    }

    /// Options for loading a model that is already in memory.
    pub fn builder_from_bytes(bytes: FileBytes) -> ModelBuilder {
        ModelBuilder::from_bytes(bytes)
    }

    /// Facts for people.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// The file's keys and tensor table.
    pub fn gguf(&self) -> &Gguf {
        &self.0.gguf
    }

    /// The description that the backend runs.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The template by which conversations become prompts.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.0.chat_template
    }

    /// The vocabulary, prepared for grammars when they are first wanted.
    pub(crate) fn grammars(&self) -> Result<&Grammars> {
        if let Some(grammars) = self.0.grammars.get() {
            return Ok(grammars);
        }
        let made = Grammars::new(self.tokenizer())?;
        Ok(self.0.grammars.get_or_init(|| made))
    }

    /// The vision tower, if the model was loaded with one ([`ModelBuilder::mmproj`]).
    pub fn vision(&self) -> Option<&Vision> {
        self.0.vision.as_ref()
    }

    /// Memory that this model and a session of that context take; a cache of 16-bit floats, all else as usual.
    pub fn estimate(&self, context: usize) -> Result<MemoryEstimate> {
        self.estimate_with(context, KvType::default())
    }

    /// As [`estimate`](Self::estimate), for a cache of another type. A session's own options:
    /// [`SessionBuilder::estimate`](crate::SessionBuilder::estimate).
    pub fn estimate_with(&self, context: usize, kv_type: KvType) -> Result<MemoryEstimate> {
        self.estimate_for(&KvSpec { kv_type, ..KvSpec::with_context(context) })
    }

    pub(crate) fn estimate_for(&self, kv: &KvSpec) -> Result<MemoryEstimate> {
        let estimate = MemoryEstimate::new(&self.0.gguf, &self.0.plan, &self.0.weights, &*self.0.backend, kv)?;
        Ok(self.0.vision.as_ref().map_or(estimate, |vision| vision.add_to(estimate)))
    }

    /// Whether the other is a clone of this one.
    pub(crate) fn is_same(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.0.engine
    }

    /// Refuses what would exceed the caller's limit.
    pub(crate) fn check_memory(&self, what: &str, needed: u64) -> Result<()> {
        check_memory(self.0.memory_limit, what, needed)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("info", &self.0.info).finish_non_exhaustive()
    }
}

fn check_memory(limit: Option<u64>, what: &str, needed: u64) -> Result<()> {
    match limit {
        Some(limit) if needed > limit => Err(Error::OutOfMemory { what: what.into(), needed, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a model's users may rely on, proved by the compiler.
    #[test]
    fn models_and_sessions_travel_between_threads() {
        fn send_sync<T: Send + Sync>() {}
        fn send<T: Send>() {}
        send_sync::<Model>();
        send_sync::<Error>();
        send::<crate::Session>();
        send::<LoadTask>();
        send::<crate::Sampler>();
    }
}
