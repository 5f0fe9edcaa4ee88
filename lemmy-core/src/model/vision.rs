//! The model's eye: a vision tower from a file of its own.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::MemoryEstimate;
use super::fingerprint::fingerprint;
use crate::backend::{Backend, Tap, VisionEngine};
use crate::error::{Error, GgufError, Result};
use crate::gguf::Gguf;
use crate::plan::{Plan, VisionPlan, VisionSpec, VisionWeights};
use crate::threads::CancelToken;
use crate::vision::{Alpha, Budget, ImageKey, Layout, Patches, SoftCache, SoftTokens, decode};

/// A vision tower that belongs to a model; see [`Model::vision`](super::Model::vision).
///
/// It remembers what it made of the pictures last seen ([`SoftCache`]), for all sessions of the model. Sessions look at
/// pictures by themselves, when their turn in the prompt comes; whoever has many sessions in one
/// [`Scheduler`](crate::Scheduler) and does not want them to wait meanwhile looks first, on another thread:
///
/// ```no_run
/// use lemmy_core::vision::Budget;
/// use lemmy_core::{CancelToken, Model};
///
/// let model = Model::builder("model.gguf").mmproj("mmproj.gguf").load()?;
/// let bytes = std::fs::read("cat.jpg").unwrap_or_default();
/// if let Some(vision) = model.vision() {
///     let soft = vision.look(&bytes, Budget::default(), &CancelToken::new())?;
///     println!("{} soft tokens", soft.len());
/// }
/// # Ok::<(), lemmy_core::Error>(())
/// ```
pub struct Vision {
    gguf: Gguf,
    plan: Arc<VisionPlan>,
    engine: Box<dyn VisionEngine>,
    seen: Mutex<SoftCache>,
    fingerprint: OnceLock<[u8; 32]>,
}

impl Vision {
    /// Finds and checks the tower; it must speak the width of the language model.
    pub(super) fn new(
        gguf: Gguf,
        model: &Plan,
        backend: &dyn Backend,
        cache_bytes: usize,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let plan = Arc::new(VisionPlan::new(VisionSpec::from_gguf(&gguf)?));
        let (found, expected) = (plan.spec.output, model.spec.hidden);
        if found != expected {
            return Err(gguf.error(GgufError::Key {
                key: "clip.vision.projection_dim".into(),
                found: found.to_string(),
                expected: format!("{expected}, the hidden width of the model"),
            }));
        }
        let weights = VisionWeights::new(&gguf, &plan)?;
        let engine = backend.compile_vision(plan.clone(), &weights, cancel)?;
        let seen = Mutex::new(SoftCache::new(cache_bytes));
        Ok(Self { gguf, plan, engine, seen, fingerprint: OnceLock::new() })
    }

    /// The description that the backend runs.
    pub fn plan(&self) -> &VisionPlan {
        &self.plan
    }

    /// The file's keys and tensor table.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Soft tokens of a picture file, transparency dropped: what is [kept](Self::kept) of it, else what the tower sees
    /// now, which is kept. That is work of seconds.
    ///
    /// # Errors
    ///
    /// Those of [`decode`], [`Error::Image`](crate::Error::Image) for a picture that is longer than the tower has positions,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn look(&self, bytes: &[u8], budget: Budget, cancel: &CancelToken) -> Result<SoftTokens> {
        let key = ImageKey::new(bytes, budget);
        if let Some(soft) = self.kept(&key) {
            return Ok(soft);
        }
        let soft = self.encode_file(bytes, budget, cancel)?;
        self.seen().insert(key, soft.clone());
        Ok(soft)
    }

    /// What is remembered of a picture.
    pub fn kept(&self, key: &ImageKey) -> Option<SoftTokens> {
        self.seen().get(key)
    }

    /// Remembers soft tokens that another process or machine made with the same tower; from now on they are this
    /// picture's, in place of what the tower would see.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) unless they are as many and as wide as they should be.
    pub fn keep(&self, key: ImageKey, soft: SoftTokens) -> Result<()> {
        let (found, expected) = (soft.rows().len(), soft.len() * self.plan.spec.output);
        if found != expected || soft.len() > Budget::MAX.soft_tokens() {
            let reason = format!("found {found} numbers for {soft:?}, expected {expected} for at most 1120");
            return Err(Error::Argument { name: "soft", reason });
        }
        self.seen().insert(key, soft);
        Ok(())
    }

    /// The layout of a picture of `width` x `height` pixels.
    ///
    /// # Errors
    ///
    /// [`Error::Image`](crate::Error::Image) if [`Layout::new`] refuses it, or one of its sides has more patches than the
    /// tower has positions.
    pub fn layout(&self, width: usize, height: usize, budget: Budget) -> Result<Layout> {
        let (layout, most) = (Layout::new(width, height, budget)?, self.plan.spec.positions);
        let (columns, rows) = (layout.columns(), layout.rows());
        if columns.max(rows) > most {
            let reason = format!("found {columns} x {rows} patches, the tower has positions for {most} along a side");
            return Err(Error::Image(reason));
        }
        Ok(layout)
    }

    /// As [`look`](Self::look), without the memory.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn encode_file(&self, bytes: &[u8], budget: Budget, cancel: &CancelToken) -> Result<SoftTokens> {
        let picture = decode(bytes, Alpha::Drop)?;
        self.layout(picture.width, picture.height, budget)?;
        self.encode(&Patches::new(&picture, budget)?, cancel)
    }

    /// Soft tokens of a picture.
    pub fn encode(&self, picture: &Patches, cancel: &CancelToken) -> Result<SoftTokens> {
        self.gguf.check_unchanged()?;
        self.engine.encode(picture, None, cancel)
    }

    /// The same, with every step's output shown to `tap`.
    #[doc(hidden)]
    pub fn encode_tapped(&self, picture: &Patches, tap: &mut Tap<'_>, cancel: &CancelToken) -> Result<SoftTokens> {
        self.engine.encode(picture, Some(tap), cancel)
    }

    /// As [`Model::fingerprint`](super::Model::fingerprint), of the tower's file.
    pub fn fingerprint(&self) -> &[u8; 32] {
        self.fingerprint.get_or_init(|| fingerprint(&self.gguf))
    }

    fn seen(&self) -> MutexGuard<'_, SoftCache> {
        // A thread that panicked left a cache that is whole all the same.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a picture of this layout takes while it is looked at.
    pub fn scratch(&self, layout: Layout) -> u64 {
        self.engine.scratch(layout)
    }

    /// The estimate of a model, with this tower.
    pub(super) fn add_to(&self, estimate: MemoryEstimate) -> MemoryEstimate {
        // The squarest picture of the default budget has as many patches as any.
        let picture = Layout::new(768, 768, Budget::default()).map_or(0, |layout| self.engine.scratch(layout));
        MemoryEstimate {
            weights: estimate.weights + self.gguf.tensors().iter().map(|t| t.bytes).sum::<u64>(),
            engine: estimate.engine + self.engine.bytes(),
            picture,
            ..estimate
        }
    }
}

impl std::fmt::Debug for Vision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vision").field("spec", &self.plan.spec).finish_non_exhaustive()
    }
}
