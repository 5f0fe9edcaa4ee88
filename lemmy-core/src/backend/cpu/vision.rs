//! The vision tower on the CPU.
//!
//! `bind` finds the weights, `pack` brings operands into the order that the dense kernels want, `exec` runs the steps.
//! Weights stay in the file's own types; those of one step at a time become packed floats, which costs a few hundredths
//! of the products. Every patch's numbers are worked out alone and every sum has a fixed order, so results do not depend
//! on the number of threads.

#![forbid(unsafe_code)]

mod bind;
mod exec;
mod heads;
mod pack;

use std::sync::Arc;

use self::bind::Bound;
use self::exec::Exec;
use super::kernels::KernelSet;
use crate::backend::{Tap, VisionEngine};
use crate::error::{Error, Result};
use crate::plan::{VisionPlan, VisionWeights};
use crate::threads::{CancelToken, ThreadPool};
use crate::vision::{Layout, Patches, SoftTokens};

/// A tower with its weights, ready to run.
pub(super) struct CpuVision {
    plan: Arc<VisionPlan>,
    bound: Bound,
    pool: ThreadPool,
    kernels: KernelSet,
}

impl CpuVision {
    pub(super) fn new(
        plan: Arc<VisionPlan>,
        weights: &VisionWeights,
        pool: ThreadPool,
        kernels: KernelSet,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let bound = Bound::new(&plan, weights, cancel)?;
        Ok(Self { plan, bound, pool, kernels })
    }
}

impl VisionEngine for CpuVision {
    fn bytes(&self) -> u64 {
        self.bound.bytes()
    }

    fn scratch(&self, layout: Layout) -> u64 {
        exec::scratch_bytes(&self.plan.spec, layout.patches(), self.pool.threads())
    }

    fn encode(&self, picture: &Patches, tap: Option<&mut Tap<'_>>, cancel: &CancelToken) -> Result<SoftTokens> {
        let (layout, most) = (picture.layout(), self.plan.spec.positions);
        if layout.columns().max(layout.rows()) > most {
            let reason = format!("{} x {} patches, at most {most} a side", layout.columns(), layout.rows());
            return Err(Error::Argument { name: "picture", reason });
        }
        Exec::new(self, picture, tap, cancel)?.run()
    }
}
