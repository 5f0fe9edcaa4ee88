//! Facts of a vision tower, from a file of its own.

use std::ops::ControlFlow;
use std::path::Path;

use lemmy_core::gguf::{Gguf, TensorInfo};
use lemmy_core::plan::{VisionPlan, VisionSpec, VisionWeights};
use lemmy_core::vision::{PATCH, POOL};
use lemmy_core::{CancelToken, Error, LoadMode};
use serde_json::{Value, json};

use super::facts::line;
use crate::cli::failure::Result;
use crate::cli::units::{bytes, count};

/// A tower that this build can run.
#[derive(Debug)]
pub(super) struct Tower {
    file: String,
    bytes: u64,
    parameters: u64,
    spec: VisionSpec,
}

impl Tower {
    /// Opens the file and looks at its headers.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path, LoadMode::Mmap, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()))?;
        Ok(Self::new(&gguf)?)
    }

    fn new(gguf: &Gguf) -> lemmy_core::Result<Self> {
        let plan = VisionPlan::new(VisionSpec::from_gguf(gguf)?);
        VisionWeights::new(gguf, &plan)?;
        Ok(Self {
            file: gguf.name().into(),
            bytes: gguf.file_bytes(),
            parameters: gguf.tensors().iter().map(TensorInfo::numbers).sum(),
            spec: plan.spec,
        })
    }

    /// The tower that a file holds in place of a language model; the reason if it is one that cannot run here.
    ///
    /// # Errors
    ///
    /// It is a tower, and something is wrong with it.
    pub(super) fn of(gguf: &Gguf) -> Result<Option<Result<Self, String>>> {
        if gguf.get("general.architecture").and_then(|value| value.as_str()) != Some("clip") {
            return Ok(None);
        }
        match Self::new(gguf) {
            Ok(tower) => Ok(Some(Ok(tower))),
            Err(Error::Unsupported(reason)) => Ok(Some(Err(reason))),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn text(&self) -> String {
        let spec = &self.spec;
        let size = format!("{}, {}, {} parameters", self.file, bytes(self.bytes), count(self.parameters));
        let layers = format!(
            "{} layers of width {}, {} heads of {}, MLP of {}",
            spec.layers, spec.hidden, spec.heads, spec.head_dim, spec.ffn
        );
        let side = spec.positions * PATCH;
        let sees = format!("up to {side} pixels a side, in patches of {PATCH}; {POOL} x {POOL} of them are one token");
        line("tower", &size)
            + &line("  layers", &layers)
            + &line("  sees", &sees)
            + &line("  gives", &format!("tokens of width {}", spec.output))
    }

    pub(super) fn json(&self) -> Value {
        let spec = &self.spec;
        json!({
            "file": self.file,
            "file_bytes": self.bytes,
            "parameters": self.parameters,
            "layers": spec.layers,
            "hidden": spec.hidden,
            "heads": spec.heads,
            "head_dim": spec.head_dim,
            "ffn": spec.ffn,
            "patch": PATCH,
            "pool": POOL,
            "positions": spec.positions,
            "standardize": spec.standardize,
            "output": spec.output,
        })
    }
}
