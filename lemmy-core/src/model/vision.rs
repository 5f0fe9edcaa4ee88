//! The model's eye: a vision tower from a file of its own.

use std::sync::Arc;

use super::MemoryEstimate;
use crate::backend::{Backend, Tap, VisionEngine};
use crate::error::{GgufError, Result};
use crate::gguf::Gguf;
use crate::plan::{Plan, VisionPlan, VisionSpec, VisionWeights};
use crate::threads::CancelToken;
use crate::vision::{Alpha, Budget, Layout, Patches, SoftTokens, decode};

/// A vision tower that belongs to a model; see [`Model::vision`](super::Model::vision).
///
/// ```no_run
/// use lemmy_core::vision::{Budget, ImageKey, SoftCache};
/// use lemmy_core::{CancelToken, Model};
///
/// let model = Model::builder("model.gguf").mmproj("mmproj.gguf").load()?;
/// let bytes = std::fs::read("cat.jpg").unwrap_or_default();
/// let mut cache = SoftCache::default();
/// let key = ImageKey::new(&bytes, Budget::default());
/// let soft = match (cache.get(&key), model.vision()) {
///     (Some(soft), _) => Some(soft),
///     (None, Some(vision)) => Some(vision.encode_file(&bytes, Budget::default(), &CancelToken::new())?),
///     (None, None) => None,
/// };
/// # Ok::<(), lemmy_core::Error>(())
/// ```
pub struct Vision {
    gguf: Gguf,
    plan: Arc<VisionPlan>,
    engine: Box<dyn VisionEngine>,
}

impl Vision {
    /// Finds and checks the tower; it must speak the width of the language model.
    pub(super) fn new(gguf: Gguf, model: &Plan, backend: &dyn Backend, cancel: &CancelToken) -> Result<Self> {
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
        Ok(Self { gguf, plan, engine })
    }

    /// The description that the backend runs.
    pub fn plan(&self) -> &VisionPlan {
        &self.plan
    }

    /// The file's keys and tensor table.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Soft tokens of a picture file, transparency dropped. Look into a [`SoftCache`](crate::vision::SoftCache) first:
    /// this is work of seconds.
    ///
    /// # Errors
    ///
    /// Those of [`decode`], [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn encode_file(&self, bytes: &[u8], budget: Budget, cancel: &CancelToken) -> Result<SoftTokens> {
        self.encode(&Patches::new(&decode(bytes, Alpha::Drop)?, budget)?, cancel)
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
