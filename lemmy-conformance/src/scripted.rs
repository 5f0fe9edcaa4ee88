//! A backend without weights: a function of the tokens so far says what the logits are. With it a model says exactly
//! what a test wants, on any vocabulary.

use std::any::Any;
use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use lemmy_core::backend::{Backend, BackendMemory, Engine, Input, KvStore, Scratch, SeqSlice};
use lemmy_core::kv::KvSpec;
use lemmy_core::plan::{Plan, WeightSource};
use lemmy_core::{CancelToken, Error, Result, Session, TokenId};

/// Fills one row of logits (all 0 so far), given all tokens up to and including the one that it belongs to.
pub type Script = dyn Fn(&[TokenId], &mut [f32]) -> Result<()> + Send + Sync;

/// The backend; clones share the record of passes.
#[derive(Clone)]
pub struct Scripted {
    script: Arc<Script>,
    passes: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Scripted {
    /// A backend that follows this script.
    pub fn new(script: impl Fn(&[TokenId], &mut [f32]) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), passes: Arc::default() }
    }

    /// Forward passes so far: of each, the tokens of each of its slices.
    pub fn passes(&self) -> Vec<Vec<usize>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tokens evaluated so far.
    pub fn evaluated(&self) -> usize {
        self.passes().iter().flatten().sum()
    }
}

impl Backend for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn check(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    fn estimate(&self, _plan: &Plan, _weights: &dyn WeightSource, _kv: &KvSpec) -> Result<BackendMemory> {
        Ok(BackendMemory::default())
    }

    fn compile(
        &self,
        plan: Arc<Plan>,
        _weights: &dyn WeightSource,
        _cancel: &CancelToken,
        _progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        Ok(Box::new(ScriptedEngine { backend: self.clone(), hidden: plan.spec.hidden, vocab: plan.spec.vocab }))
    }
}

struct ScriptedEngine {
    backend: Scripted,
    hidden: usize,
    vocab: usize,
}

impl Engine for ScriptedEngine {
    fn bytes(&self) -> u64 {
        0
    }

    fn new_kv(&self, spec: &KvSpec) -> Result<Box<dyn KvStore>> {
        Ok(Box::new(Past { tokens: Vec::new(), context: spec.context }))
    }

    fn new_scratch(&self, batch: usize) -> Result<Box<dyn Scratch>> {
        Ok(Box::new(Batch(batch)))
    }

    fn forward(&self, batch: &mut [SeqSlice<'_>], scratch: &mut dyn Scratch, cancel: &CancelToken) -> Result<()> {
        let most = scratch.as_any_mut().downcast_mut::<Batch>().map_or(0, |batch| batch.0);
        let mut pass = Vec::new();
        for slice in batch {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let past = slice.kv.as_any_mut().downcast_mut::<Past>();
            let past = past.ok_or_else(|| Error::Internal("a cache of another backend".into()))?;
            if slice.pos > past.tokens.len() {
                return Err(Error::Internal(format!("position {} after {} tokens", slice.pos, past.tokens.len())));
            }
            past.tokens.truncate(slice.pos);
            match slice.input {
                Input::Tokens(ids) => past.tokens.extend_from_slice(ids),
                Input::Embeddings { rows, .. } => {
                    past.tokens.extend(std::iter::repeat_n(Session::SOFT, rows.len() / self.hidden));
                }
            }
            pass.push(past.tokens.len() - slice.pos);
            if past.tokens.len() > past.context || pass.iter().sum::<usize>() > most {
                return Err(Error::Internal("more tokens than there is room for".into()));
            }
            if let Some(logits) = slice.logits.as_deref_mut() {
                let first = past.tokens.len() - logits.len() / self.vocab;
                for (end, row) in (first + 1..).zip(logits.chunks_exact_mut(self.vocab)) {
                    row.fill(0.0);
                    (self.backend.script)(&past.tokens[..end], row)?;
                }
            }
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.backend.passes.lock().unwrap_or_else(PoisonError::into_inner).push(pass);
        Ok(())
    }
}

/// A cache that holds the tokens themselves.
struct Past {
    tokens: Vec<TokenId>,
    context: usize,
}

impl KvStore for Past {
    fn bytes(&self) -> u64 {
        0
    }

    fn fork(&self) -> Result<Box<dyn KvStore>> {
        Ok(Box::new(Self { tokens: self.tokens.clone(), context: self.context }))
    }

    fn layout(&self) -> &'static str {
        "scripted tokens"
    }

    fn export(&self, _layer: usize, positions: Range<usize>, to: &mut dyn Write) -> io::Result<()> {
        let tokens = self.tokens.get(positions).ok_or(io::ErrorKind::InvalidInput)?;
        tokens.iter().try_for_each(|token| to.write_all(&token.to_le_bytes()))
    }

    fn import(&mut self, _layer: usize, positions: Range<usize>, from: &mut dyn Read) -> io::Result<()> {
        self.tokens.resize(self.tokens.len().max(positions.end), Session::SOFT);
        let tokens = self.tokens.get_mut(positions).ok_or(io::ErrorKind::InvalidInput)?;
        tokens.iter_mut().try_for_each(|token| {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes)?;
            *token = TokenId::from_le_bytes(bytes);
            Ok(())
        })
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Tokens that one pass may hold.
struct Batch(usize);

impl Scratch for Batch {
    fn bytes(&self) -> u64 {
        0
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
