//! The seam: a [`Plan`] and its weights go in, an [`Engine`] comes out that runs the forward pass.

use std::any::Any;
use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::TokenId;
use crate::error::{Error, Result};
use crate::kv::KvSpec;
use crate::plan::{Plan, VisionPlan, VisionWeights, WeightSource};
use crate::threads::CancelToken;

pub mod cpu;
mod vision;

pub use vision::VisionEngine;

/// A way to run plans. Implementations pass the suite of `lemmy-conformance`.
pub trait Backend: Send + Sync {
    /// Short name, for instance "cpu (avx2)".
    fn name(&self) -> String;
    /// Says why a plan cannot run here, if so.
    fn check(&self, plan: &Plan) -> Result<()>;
    /// Memory that compiling and running the plan will take, beside the weights' own bytes.
    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory>;
    /// Makes a plan ready to run. `progress(done, total)` in layers; `Break` gives `Error::Cancelled`.
    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>>;
    /// Makes a vision tower ready to run. [`Error::Unsupported`] from a backend that cannot.
    fn compile_vision(
        &self,
        plan: Arc<VisionPlan>,
        weights: &VisionWeights,
        cancel: &CancelToken,
    ) -> Result<Box<dyn VisionEngine>> {
        let _ = (plan, weights, cancel);
        Err(Error::Unsupported(format!("the backend {} has no vision tower", self.name())))
    }
}

/// Bytes that a backend takes beside the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendMemory {
    /// Copies of weights and tables, once per model.
    pub engine: u64,
    /// The cache, per session.
    pub kv: u64,
    /// Working memory, per session.
    pub scratch: u64,
}

/// A compiled plan.
pub trait Engine: Send + Sync {
    /// Bytes held beside the weights.
    fn bytes(&self) -> u64;
    /// An empty cache.
    fn new_kv(&self, spec: &KvSpec) -> Result<Box<dyn KvStore>>;
    /// Working memory for batches of up to `batch` tokens, of all slices together.
    fn new_scratch(&self, batch: usize) -> Result<Box<dyn Scratch>>;
    /// Runs the plan over a batch. Rows `pos..pos + n` of each slice's cache are written; earlier rows are read.
    ///
    /// After an error (cancel included) the rows from `pos` on are undefined, everything before is as it was.
    fn forward(&self, batch: &mut [SeqSlice<'_>], scratch: &mut dyn Scratch, cancel: &CancelToken) -> Result<()>;
}

/// Working memory of an engine.
pub trait Scratch: Send {
    /// Bytes held.
    fn bytes(&self) -> u64;
    /// For the engine that made it.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// The cache of one session: memory only; what its rows mean is [`kv`](crate::kv)'s business.
pub trait KvStore: Send {
    /// Bytes held.
    fn bytes(&self) -> u64;
    /// A copy.
    fn fork(&self) -> Result<Box<dyn KvStore>>;
    /// Name of the form in which [`export`](Self::export) writes; a store takes back only its own.
    fn layout(&self) -> &'static str;
    /// Writes a layer's rows of these positions, so many bytes for each. The positions are filled and, on a layer with a
    /// window, not yet overwritten by later ones.
    fn export(&self, layer: usize, positions: Range<usize>, to: &mut dyn Write) -> io::Result<()>;
    /// Reads what [`export`](Self::export) has written for the same layer and positions, from a store of the same
    /// number type; the sizes of the rings may differ.
    fn import(&mut self, layer: usize, positions: Range<usize>, from: &mut dyn Read) -> io::Result<()>;
    /// For the engine that made it.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Sees the output of every step: (tap name, layer, row length, values row by row for the slice's tokens).
pub type Tap<'f> = dyn FnMut(&'static str, Option<u16>, usize, &[f32]) + 'f;

/// One session's part of a batch.
pub struct SeqSlice<'a> {
    /// Its cache.
    pub kv: &'a mut dyn KvStore,
    /// Its tokens.
    pub input: Input<'a>,
    /// Position of the first of them.
    pub pos: usize,
    /// Where logits go: a whole number of rows of the vocabulary's length, for the last so many positions.
    pub logits: Option<&'a mut [f32]>,
    /// Sees every step's output.
    pub tap: Option<&'a mut Tap<'a>>,
}

/// What a slice feeds.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Token ids.
    Tokens(&'a [TokenId]),
    /// A block of soft tokens: rows of the hidden width that enter as they are.
    Embeddings {
        /// The rows.
        rows: &'a [f32],
        /// Whether they see each other in both directions on the layers that allow it.
        bidirectional: bool,
    },
}
