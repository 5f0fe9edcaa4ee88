//! `--profile`: where the time of a forward pass goes, by kind of step.
//!
//! A backend around the CPU's sees the output of every step, as tests do, and reads the clock there. The two halves of
//! the experts' step have no output between them; where the second begins, kernels around the CPU's see by the shape
//! of the product. Calculation and results are those of the CPU backend.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::cpu::kernels::KernelSet;
use lemmy_core::backend::cpu::kernels::matmul::{Acts, ActsRow, MatmulKernels, MatmulScratch, MatrixView};
use lemmy_core::backend::{Backend, BackendMemory, Engine, KvStore, Scratch, SeqSlice, Tap};
use lemmy_core::kv::KvSpec;
use lemmy_core::plan::{Plan, WeightSource};
use lemmy_core::threads::WindowMut;
use lemmy_core::{CancelToken, Result, ThreadPool};

use super::traffic::Kind;

/// Time of each kind of step.
pub(super) type Times = BTreeMap<Kind, Duration>;

/// Collects the time of each kind of step.
#[derive(Debug, Default)]
pub(super) struct Clock {
    times: Mutex<Times>,
    /// Width of the residual stream, by which the experts' second product is told from the first.
    hidden: AtomicUsize,
    /// Whether the experts' second products are still to come.
    awaits_down: AtomicBool,
    /// When the first of them began.
    down: Mutex<Option<Instant>>,
}

impl Clock {
    /// What was collected since the last call.
    pub(super) fn take(&self) -> Times {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, kind: Kind, time: Duration) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += time;
    }

    /// A step ended now, which began where the one before it ended.
    fn step(&self, tap: &str, began: Instant, now: Instant) {
        match (Kind::of_tap(tap), self.down.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            (Kind::ExpertsUp, Some(down)) => {
                self.add(Kind::ExpertsUp, down.saturating_duration_since(began));
                self.add(Kind::ExpertsDown, now.saturating_duration_since(down));
            }
            (kind, _) => self.add(kind, now.saturating_duration_since(began)),
        }
        self.awaits_down.store(tap == "router_weights", Ordering::Relaxed);
    }

    /// A product begins; any thread.
    fn product(&self, w: &MatrixView<'_>) {
        let is_down = w.rows() == self.hidden.load(Ordering::Relaxed) && w.cols() != w.rows();
        if is_down && self.awaits_down.swap(false, Ordering::Relaxed) {
            *self.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

/// The CPU backend, with a clock at every step.
#[derive(Debug)]
pub(super) struct Clocked {
    inner: CpuBackend,
    clock: Arc<Clock>,
}

impl Clocked {
    pub(super) fn new(pool: ThreadPool, clock: Arc<Clock>) -> Self {
        let kernels = KernelSet::detect();
        let matmul = Arc::new(ClockedProducts { inner: kernels.matmul, clock: clock.clone() });
        Self { inner: CpuBackend::with_kernels(pool, KernelSet { matmul, ..kernels }), clock }
    }
}

impl Backend for Clocked {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn check(&self, plan: &Plan) -> Result<()> {
        self.inner.check(plan)
    }

    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory> {
        self.inner.estimate(plan, weights, kv)
    }

    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        self.clock.hidden.store(plan.spec.hidden, Ordering::Relaxed);
        let inner = self.inner.compile(plan, weights, cancel, progress)?;
        Ok(Box::new(ClockedEngine { inner, clock: self.clock.clone() }))
    }
}

struct ClockedEngine {
    inner: Box<dyn Engine>,
    clock: Arc<Clock>,
}

impl Engine for ClockedEngine {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn new_kv(&self, spec: &KvSpec) -> Result<Box<dyn KvStore>> {
        self.inner.new_kv(spec)
    }

    fn new_scratch(&self, batch: usize) -> Result<Box<dyn Scratch>> {
        self.inner.new_scratch(batch)
    }

    /// The first slice's outputs are those of all: steps run over the whole batch.
    fn forward(&self, batch: &mut [SeqSlice<'_>], scratch: &mut dyn Scratch, cancel: &CancelToken) -> Result<()> {
        let mut last = Instant::now();
        let mut show = |tap: &'static str, _: Option<u16>, _: usize, _: &[f32]| {
            let now = Instant::now();
            self.clock.step(tap, last, now);
            last = now;
        };
        let mut tapped = Vec::with_capacity(batch.len());
        let mut tap: Option<&mut Tap<'_>> = Some(&mut show);
        for slice in batch {
            tapped.push(SeqSlice {
                kv: &mut *slice.kv,
                input: slice.input,
                pos: slice.pos,
                logits: slice.logits.as_deref_mut(),
                tap: tap.take(),
            });
        }
        self.inner.forward(&mut tapped, scratch, cancel)
    }
}

/// Kernels that say when a product begins.
#[derive(Debug)]
struct ClockedProducts {
    inner: Arc<dyn MatmulKernels>,
    clock: Arc<Clock>,
}

impl MatmulKernels for ClockedProducts {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn quantise(&self, x: &[f32], row: ActsRow<'_>) {
        self.inner.quantise(x, row);
    }

    fn matmul(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        acts: &Acts,
        tokens: &[u32],
        out: &mut WindowMut<'_, f32>,
        scratch: &mut MatmulScratch,
    ) {
        self.clock.product(&w);
        self.inner.matmul(w, first_row, acts, tokens, out, scratch);
    }
}
