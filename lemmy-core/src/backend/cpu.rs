//! The CPU backend in plain Rust.
//!
//! `bind` finds the weights of each step, `exec` runs the steps, [`kernels`] hold what each instruction set can do
//! best, `cache` is the memory of keys and values, `scratch` that of a forward pass.

mod bind;
mod cache;
mod exec;
pub mod kernels;
mod scratch;
mod vision;

use std::ops::ControlFlow;
use std::sync::Arc;

use self::bind::Bound;
use self::cache::CpuKv;
use self::exec::Exec;
use self::kernels::KernelSet;
use self::scratch::{CpuScratch, Forms};
use self::vision::CpuVision;
use super::{Backend, BackendMemory, Engine, KvStore, Scratch, SeqSlice, VisionEngine};
use crate::error::Result;
use crate::kv::KvSpec;
use crate::plan::{Plan, VisionPlan, VisionWeights, WeightSource};
use crate::threads::{CancelToken, ThreadPool};

/// Runs plans on the CPU, straight from the file's own blocks.
#[derive(Debug, Clone)]
pub struct CpuBackend {
    pool: ThreadPool,
    kernels: KernelSet,
}

impl CpuBackend {
    /// With the fastest kernels that this CPU has.
    pub fn new(pool: ThreadPool) -> Self {
        Self::with_kernels(pool, KernelSet::detect())
    }

    /// With these kernels: for tests and comparisons.
    pub fn with_kernels(pool: ThreadPool, kernels: KernelSet) -> Self {
        Self { pool, kernels }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> String {
        format!("cpu ({})", self.kernels.matmul.name())
    }

    fn check(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory> {
        Ok(BackendMemory {
            engine: bind::estimate(plan),
            kv: cache::estimate(plan, kv),
            scratch: scratch::estimate(plan, &Forms::new(plan, weights)?, kv.batch),
        })
    }

    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        let bound = Bound::new(&plan, weights, cancel, progress)?;
        let forms = Forms::new(&plan, weights)?;
        Ok(Box::new(CpuEngine { plan, bound, forms, pool: self.pool.clone(), kernels: self.kernels.clone() }))
    }

    fn compile_vision(
        &self,
        plan: Arc<VisionPlan>,
        weights: &VisionWeights,
        cancel: &CancelToken,
    ) -> Result<Box<dyn VisionEngine>> {
        Ok(Box::new(CpuVision::new(plan, weights, self.pool.clone(), self.kernels.clone(), cancel)?))
    }
}

/// A plan with its weights, ready to run.
struct CpuEngine {
    plan: Arc<Plan>,
    bound: Bound,
    forms: Forms,
    pool: ThreadPool,
    kernels: KernelSet,
}

impl Engine for CpuEngine {
    fn bytes(&self) -> u64 {
        self.bound.bytes()
    }

    fn new_kv(&self, spec: &KvSpec) -> Result<Box<dyn KvStore>> {
        Ok(Box::new(CpuKv::new(&self.plan, spec)?))
    }

    fn new_scratch(&self, batch: usize) -> Result<Box<dyn Scratch>> {
        Ok(Box::new(CpuScratch::new(&self.plan, &self.forms, batch, self.pool.threads())?))
    }

    fn forward(&self, batch: &mut [SeqSlice<'_>], scratch: &mut dyn Scratch, cancel: &CancelToken) -> Result<()> {
        Exec::new(self, batch, scratch)?.run(cancel)
    }
}
