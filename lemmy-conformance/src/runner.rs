//! One session on an engine, as a test drives it.

use std::ops::ControlFlow;
use std::sync::Arc;

use lemmy_core::backend::{Backend, Engine, Input, KvStore, Scratch, SeqSlice, Tap};
use lemmy_core::kv::{KvSpec, KvType};
use lemmy_core::plan::{Plan, WeightSource};
use lemmy_core::{CancelToken, Result, TokenId};

use crate::prompt::{Prompt, Segment};
use crate::taps::{TapId, Taps};

/// Most tokens of one session in one pass; two sessions may share one.
pub const BATCH: usize = 32;

/// A cache that wraps early: window 40 + batch 32 + rewind 8 make rings of 128 rows.
pub fn kv_spec(kv_type: KvType) -> KvSpec {
    KvSpec { context: 320, batch: BATCH, rewind: 8, kv_type }
}

/// Compiles a plan.
pub fn compile(backend: &dyn Backend, plan: &Arc<Plan>, weights: &dyn WeightSource) -> Result<Box<dyn Engine>> {
    backend.check(plan)?;
    backend.compile(plan.clone(), weights, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()))
}

/// A cache, working memory and a position.
pub struct Runner<'e> {
    engine: &'e dyn Engine,
    vocab: usize,
    pub(crate) kv: Box<dyn KvStore>,
    pub(crate) scratch: Box<dyn Scratch>,
    /// Where the next token goes.
    pub pos: usize,
    /// Stops a pass.
    pub cancel: CancelToken,
}

impl<'e> Runner<'e> {
    /// An empty session.
    pub fn new(engine: &'e dyn Engine, plan: &Plan, kv_type: KvType) -> Result<Self> {
        let spec = kv_spec(kv_type);
        Ok(Self {
            engine,
            vocab: plan.spec.vocab,
            kv: engine.new_kv(&spec)?,
            scratch: engine.new_scratch(2 * BATCH)?,
            pos: 0,
            cancel: CancelToken::new(),
        })
    }

    /// A second session with the same past.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self {
            engine: self.engine,
            vocab: self.vocab,
            kv: self.kv.fork()?,
            scratch: self.engine.new_scratch(2 * BATCH)?,
            pos: self.pos,
            cancel: CancelToken::new(),
        })
    }

    /// One pass over tokens; the logits of each.
    pub fn pass(&mut self, ids: &[TokenId]) -> Result<Vec<f32>> {
        self.step(Input::Tokens(ids), ids.len(), &mut |_, _, _, _| ())
    }

    /// Passes of at most [`BATCH`] tokens; the logits of each token.
    pub fn feed(&mut self, ids: &[TokenId]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for ids in ids.chunks(BATCH) {
            logits.extend(self.pass(ids)?);
        }
        Ok(logits)
    }

    /// One pass with a tap.
    pub fn step<'a>(&'a mut self, input: Input<'a>, n: usize, tap: &'a mut Tap<'a>) -> Result<Vec<f32>> {
        let mut logits = vec![0.0; n * self.vocab];
        let slice = SeqSlice { kv: self.kv.as_mut(), input, pos: self.pos, logits: Some(&mut logits), tap: Some(tap) };
        self.engine.forward(&mut [slice], self.scratch.as_mut(), &self.cancel)?;
        self.pos += n;
        Ok(logits)
    }

    /// Everything that the steps show for a prompt, in passes of at most [`BATCH`] tokens; a soft block is one pass.
    pub fn taps(&mut self, prompt: &Prompt) -> Result<Taps> {
        let mut taps = Taps::default();
        let mut tap = |name, layer, cols, values: &[f32]| {
            taps.push(TapId { name, layer }, cols, values.iter().map(|&v| f64::from(v)));
        };
        for (segment, place) in prompt.places() {
            match segment {
                Segment::Tokens(ids) => {
                    for ids in ids.chunks(BATCH) {
                        self.step(Input::Tokens(ids), ids.len(), &mut tap)?;
                    }
                }
                Segment::Soft(rows) => {
                    self.step(Input::Embeddings { rows, bidirectional: true }, place.len(), &mut tap)?;
                }
            }
        }
        Ok(taps)
    }
}
