//! Loading: options, progress, cancel.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use super::{Inner, MemoryEstimate, Model, ModelInfo, Vision, check_memory};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::chat::ChatTemplate;
use crate::error::{Error, GgufError, Result};
use crate::gguf::{FileBytes, Gguf, LoadMode};
use crate::kv::{KvSpec, KvType};
use crate::plan::{Plan, Spec, Weights};
use crate::sampler::SamplerParams;
use crate::threads::{CancelToken, ThreadPool};
use crate::tokenizer::Tokenizer;
use crate::vision::SoftCache;

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// What is being done.
    pub stage: LoadStage,
    /// Done of this stage, in the stage's unit.
    pub done: u64,
    /// All of this stage.
    pub total: u64,
}

/// Stages of loading, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadStage {
    /// The file is mapped, or read (`LoadMode::Read`); in bytes.
    File,
    /// The tokenizer is built; 0 of 1, then 1 of 1.
    Tokenizer,
    /// The backend prepares the weights; in layers.
    Weights,
}

type OnProgress = Box<dyn FnMut(LoadProgress) -> ControlFlow<()> + Send>;

/// Options for loading a model.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use lemmy_core::{Model, ThreadPool};
///
/// let model = Model::builder("model.gguf")
///     .threads(ThreadPool::new(4)?)
///     .on_progress(|p| {
///         println!("{:?}: {} of {}", p.stage, p.done, p.total);
///         ControlFlow::Continue(())
///     })
///     .load()?;
/// # Ok::<(), lemmy_core::Error>(())
/// ```
pub struct ModelBuilder {
    source: Source,
    backend: Option<Box<dyn Backend>>,
    pool: Option<ThreadPool>,
    mode: LoadMode,
    memory_limit: Option<u64>,
    chat_template: Option<String>,
    mmproj: Option<Source>,
    soft_cache: usize,
    cancel: CancelToken,
    on_progress: Option<OnProgress>,
}

#[derive(Clone)]
enum Source {
    Path(PathBuf),
    Bytes(Arc<FileBytes>),
}

impl ModelBuilder {
    pub(super) fn from_path(path: &Path) -> Self {
        Self::new(Source::Path(path.into()))
    }

    pub(super) fn from_bytes(bytes: FileBytes) -> Self {
        Self::new(Source::Bytes(Arc::new(bytes)))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            backend: None,
            pool: None,
            mode: LoadMode::default(),
            memory_limit: None,
            chat_template: None,
            mmproj: None,
            soft_cache: SoftCache::DEFAULT_BYTES,
            cancel: CancelToken::new(),
            on_progress: None,
        }
    }

    /// Any implementation of the seam; the CPU when left out.
    pub fn backend(mut self, backend: impl Backend + 'static) -> Self {
        self.backend = Some(Box::new(backend));
        self
    }

    /// Threads for this model's work on the CPU; as many as the process may use CPUs when left out.
    pub fn threads(mut self, pool: ThreadPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Map the file (default) or read it.
    pub fn load_mode(mut self, mode: LoadMode) -> Self {
        self.mode = mode;
        self
    }

    /// Refuses to load, or to make a session, if weights, cache and working memory would take more bytes than this.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// A chat template (Jinja) in place of the file's own.
    pub fn chat_template(mut self, jinja: impl Into<String>) -> Self {
        self.chat_template = Some(jinja.into());
        self
    }

    /// Stops loading with [`Error::Cancelled`] when triggered.
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// A file with the model's vision tower (an mmproj GGUF), so that it can see.
    pub fn mmproj(mut self, path: impl AsRef<Path>) -> Self {
        self.mmproj = Some(Source::Path(path.as_ref().into()));
        self
    }

    /// The same, in memory already.
    pub fn mmproj_bytes(mut self, bytes: FileBytes) -> Self {
        self.mmproj = Some(Source::Bytes(Arc::new(bytes)));
        self
    }

    /// Bytes of soft tokens of pictures that the model remembers at most, so that it need not look again; 64 MiB when left
    /// out, 0 for none.
    pub fn soft_cache(mut self, bytes: usize) -> Self {
        self.soft_cache = bytes;
        self
    }

    /// Called now and then on the loading thread; `Break` stops with [`Error::Cancelled`].
    pub fn on_progress(mut self, f: impl FnMut(LoadProgress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(f));
        self
    }

    /// Memory that the model and a session of that context will take; a cache of 16-bit floats, all else as usual. Reads
    /// headers only, and of an mmproj file what is small: norms and the weights of patches.
    pub fn estimate(&self, context: usize) -> Result<MemoryEstimate> {
        self.estimate_with(context, KvType::default())
    }

    /// As [`estimate`](Self::estimate), for a cache of another type.
    pub fn estimate_with(&self, context: usize, kv_type: KvType) -> Result<MemoryEstimate> {
        let gguf = open(&self.source, LoadMode::Mmap, &self.cancel, &mut |_, _| ControlFlow::Continue(()))?;
        let plan = Plan::new(Spec::from_gguf(&gguf)?);
        let weights = Weights::new(&gguf, &plan)?;
        let kv = KvSpec { kv_type, ..KvSpec::with_context(context) };
        // One thread is enough to count.
        let counting = CpuBackend::new(ThreadPool::new(1)?);
        let backend = self.backend.as_deref().unwrap_or(&counting);
        let estimate = MemoryEstimate::new(&gguf, &plan, &weights, backend, &kv)?;
        Ok(self.vision(&plan, backend)?.map_or(estimate, |vision| vision.add_to(estimate)))
    }

    /// Loads.
    pub fn load(mut self) -> Result<Model> {
        let pool = self.pool()?;
        let backend = self.backend.take().unwrap_or_else(|| Box::new(CpuBackend::new(pool)));
        let cancel = self.cancel.clone();
        let mut on_progress = self.on_progress.take();
        let mut report = |stage, done, total| match &mut on_progress {
            Some(f) => f(LoadProgress { stage, done, total }),
            None => ControlFlow::Continue(()),
        };

        let gguf = open(&self.source, self.mode, &cancel, &mut |done, total| report(LoadStage::File, done, total))?;
        let plan = Arc::new(Plan::new(Spec::from_gguf(&gguf)?));
        let weights = Weights::new(&gguf, &plan)?;
        backend.check(&plan)?;
        let vision = self.vision(&plan, &*backend)?;
        let needed = MemoryEstimate::new(&gguf, &plan, &weights, &*backend, &KvSpec::with_context(0))?;
        let needed = vision.as_ref().map_or(needed, |vision| vision.add_to(needed));
        check_memory(self.memory_limit, "the model", needed.weights + needed.engine)?;

        let stop = |flow: ControlFlow<()>| {
            if flow.is_break() || cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        };
        stop(report(LoadStage::Tokenizer, 0, 1))?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        check_vocabulary(&gguf, &plan, &tokenizer)?;
        stop(report(LoadStage::Tokenizer, 1, 1))?;
        let engine = backend
            .compile(plan.clone(), &weights, &cancel, &mut |done, total| report(LoadStage::Weights, done, total))?;
        let chat_template = match self.chat_template.take() {
            Some(source) => ChatTemplate::new(source)?,
            None => ChatTemplate::from_gguf(&gguf)?,
        };
        let info = info(&gguf, &plan, &tokenizer, &*backend);
        let memory_limit = self.memory_limit;
        Ok(Model(Arc::new(Inner {
            gguf,
            plan,
            weights,
            tokenizer,
            backend,
            engine,
            info,
            chat_template,
            grammars: OnceLock::new(),
            fingerprint: OnceLock::new(),
            vision,
            memory_limit,
        })))
    }

    /// Loads on a thread of its own.
    pub fn spawn(self) -> Result<LoadTask> {
        let cancel = self.cancel.clone();
        let thread = std::thread::Builder::new().name("lemmy-load".into());
        let handle = thread
            .spawn(move || self.load())
            .map_err(|source| Error::Io { what: "cannot start a thread for loading".into(), source })?;
        Ok(LoadTask { cancel, handle })
    }

    fn vision(&self, plan: &Plan, backend: &dyn Backend) -> Result<Option<Vision>> {
        let Some(source) = &self.mmproj else { return Ok(None) };
        let gguf = open(source, self.mode, &self.cancel, &mut |_, _| ControlFlow::Continue(()))?;
        Vision::new(gguf, plan, backend, self.soft_cache, &self.cancel).map(Some)
    }

    fn pool(&self) -> Result<ThreadPool> {
        self.pool.clone().map_or_else(|| ThreadPool::builder().build(), Ok)
    }
}

/// A model that is being loaded on another thread.
#[derive(Debug)]
pub struct LoadTask {
    cancel: CancelToken,
    handle: JoinHandle<Result<Model>>,
}

impl LoadTask {
    /// Asks it to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether [`join`](Self::join) would return at once.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the model.
    pub fn join(self) -> Result<Model> {
        self.handle.join().unwrap_or_else(|_| Err(Error::Internal("panic while loading".into())))
    }
}

fn open(
    source: &Source,
    mode: LoadMode,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Gguf> {
    match source {
        Source::Path(path) => Gguf::open(path, mode, cancel, progress),
        Source::Bytes(bytes) => Gguf::from_bytes(bytes.clone()),
    }
}

/// A token without an embedding could be typed but not read, an embedding without a token said but not shown.
fn check_vocabulary(gguf: &Gguf, plan: &Plan, tokenizer: &Tokenizer) -> Result<()> {
    if tokenizer.vocab_size() == plan.spec.vocab {
        return Ok(());
    }
    Err(gguf.error(GgufError::Tensor {
        tensor: "token_embd.weight".into(),
        found: format!("{} rows", plan.spec.vocab),
        expected: format!("{}, one for each token", tokenizer.vocab_size()),
    }))
}

fn info(gguf: &Gguf, plan: &Plan, tokenizer: &Tokenizer, backend: &dyn Backend) -> ModelInfo {
    let mut types = Vec::new();
    for tensor in gguf.tensors() {
        match types.iter_mut().find(|(dtype, _)| *dtype == tensor.dtype) {
            Some((_, bytes)) => *bytes += tensor.bytes,
            None => types.push((tensor.dtype, tensor.bytes)),
        }
    }
    types.sort_by_key(|&(dtype, bytes)| (std::cmp::Reverse(bytes), dtype));
    let file = Path::new(gguf.name()).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = gguf.get("general.name").and_then(|v| v.as_str()).map(str::to_owned);
    ModelInfo {
        name: name.or(file).unwrap_or_default(),
        architecture: plan.spec.architecture.clone(),
        parameters: gguf.tensors().iter().map(|t| t.numbers()).sum(),
        file_bytes: gguf.file_bytes(),
        context: plan.spec.context,
        types,
        sampling: SamplerParams { suppress: tokenizer.suppressed().to_vec(), ..SamplerParams::from_gguf(gguf) },
        backend: backend.name(),
    }
}
