//! The judge: a backend's outputs against the reference's.

use std::fmt;
use std::sync::Arc;

use lemmy_core::backend::Backend;
use lemmy_core::kv::KvType;
use lemmy_core::plan::{Plan, Step, WeightSource};
use lemmy_core::quant::DType;
use lemmy_core::{Error, TokenId};

use crate::behaviour;
use crate::prompt::{Prompt, random_tokens};
use crate::reference::Reference;
use crate::report::Report;
use crate::runner::{Runner, compile};
use crate::taps::{Rows, TapId, of_plan};
use crate::tiny::TinyModel;
use crate::tolerance::{self, Tolerance};

const SEED: u64 = 20;

/// Judges a backend by everything in this crate. The report tells all checks, not only the first that failed.
pub fn judge(backend: &dyn Backend) -> Report {
    let mut report = Report::default();
    let formats = DType::ALL.iter().copied().filter(|dtype| dtype.is_readable());
    for dtype in formats {
        let model = TinyModel::moe(SEED, dtype);
        let outcome = taps_of_tokens(backend, &model, 70, KvType::F32);
        report.add(format!("taps, {dtype}"), outcome);
    }
    // 150 tokens go round a ring of 128 rows; one token is the shortest prompt.
    for (kv_type, n) in [(KvType::F16, 150), (KvType::F32, 150), (KvType::Q8_0, 150), (KvType::F16, 1)] {
        let model = TinyModel::moe(SEED, DType::BF16);
        let outcome = taps_of_tokens(backend, &model, n, kv_type);
        report.add(format!("taps, BF16, {kv_type:?} cache, {n} tokens"), outcome);
    }
    let model = TinyModel::dense(SEED, DType::Q4_K);
    report.add("taps, no experts, Q4_K", taps_of_tokens(backend, &model, 60, KvType::F16));
    report.add("taps, a block of soft tokens", soft_block(backend));
    report.add("end, greedy tokens and logits", greedy(backend));
    behaviour::judge(backend, &mut report);
    report
}

/// What is wrong with a backend's outputs.
#[derive(Debug)]
pub enum Fault {
    /// A call failed.
    Error(Error),
    /// An output did not come, or not with the shape that it must have.
    Shape {
        /// Step that should have shown it.
        step: Step,
        /// The output.
        tap: TapId,
        /// (rows, columns) that came.
        found: (usize, usize),
        /// (rows, columns) that should have come.
        expected: (usize, usize),
    },
    /// An output is wrong, and all before it are right.
    Off {
        /// The faulty step.
        step: Step,
        /// The output.
        tap: TapId,
        /// Token whose row is worst.
        token: usize,
        /// Relative error of that row.
        error: f64,
        /// What was allowed.
        allowed: Tolerance,
    },
}

impl Fault {
    /// The output that is at fault.
    pub fn tap(&self) -> Option<TapId> {
        match self {
            Self::Error(_) => None,
            Self::Shape { tap, .. } | Self::Off { tap, .. } => Some(*tap),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(e) => write!(f, "{e}"),
            Self::Shape { step, tap, found, expected } => {
                write!(f, "step {}: {tap} has the shape {found:?}, expected {expected:?}", step.name())
            }
            Self::Off { step, tap, token, error, allowed } => write!(
                f,
                "step {}: {tap} is off by {error:.1e} at token {token} ({}: {:.0e} allowed)",
                step.name(),
                allowed.name,
                allowed.limit
            ),
        }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// Runs a prompt on a backend and compares every output, in order, with the reference; each is computed from the
/// outputs that the backend showed before it. Tells how near the nearest one came to its tolerance.
pub fn judge_taps(
    backend: &dyn Backend,
    plan: &Arc<Plan>,
    weights: &dyn WeightSource,
    prompt: &Prompt,
    kv_type: KvType,
) -> Result<String, Fault> {
    let engine = compile(backend, plan, weights)?;
    let shown = Runner::new(engine.as_ref(), plan, kv_type)?.taps(prompt)?;
    let reference = Reference::new(plan, weights);
    let mut nearest = (0.0, String::new());
    for (step, tap) in of_plan(plan) {
        let want = reference.tap(tap, &shown, prompt)?;
        let none = Rows::default();
        let got = shown.get(tap).unwrap_or(&none);
        if (got.len(), got.cols) != (want.len(), want.cols) {
            return Err(Fault::Shape { step, tap, found: (got.len(), got.cols), expected: (want.len(), want.cols) });
        }
        let allowed = tolerance::of_tap(tap, plan, weights, kv_type);
        let (token, error) = worst_row(got, &want);
        // Not `error > limit`: a NaN is off, too.
        if !matches!(error.partial_cmp(&allowed.limit), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            return Err(Fault::Off { step, tap, token, error, allowed });
        }
        if error / allowed.limit > nearest.0 {
            nearest =
                (error / allowed.limit, format!("{tap}, {error:.1e} of {:.1e} ({})", allowed.limit, allowed.name));
        }
    }
    Ok(format!("nearest to its tolerance: {}", nearest.1))
}

/// The row with the greatest relative error, and that error. A NaN counts as greatest.
pub fn worst_row(got: &Rows, want: &Rows) -> (usize, f64) {
    let errors = got.iter().zip(want.iter()).map(|(got, want)| relative_error(got, want));
    errors.enumerate().fold((0, 0.0), |worst, (i, e)| if e > worst.1 || e.is_nan() { (i, e) } else { worst })
}

/// Length of the difference over the length of `want` (or alone, where `want` is zero).
fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let off = length(&mut got.iter().zip(want).map(|(g, w)| g - w));
    let size = length(&mut want.iter().copied());
    if size == 0.0 { off } else { off / size }
}

fn taps_of_tokens(backend: &dyn Backend, model: &TinyModel, n: usize, kv_type: KvType) -> Result<String, String> {
    let prompt = Prompt::tokens(&random_tokens(SEED, model.plan.spec.vocab, n));
    judge_taps(backend, &model.plan, &model.weights, &prompt, kv_type).map_err(|fault| fault.to_string())
}

/// Text, a block of soft tokens that reaches over the window's edge, text.
pub(crate) fn soft_prompt(plan: &Plan) -> Prompt {
    Prompt::with_soft_block(SEED, plan.spec.vocab, plan.spec.hidden, [36, 14, 6])
}

fn soft_block(backend: &dyn Backend) -> Result<String, String> {
    let model = TinyModel::moe(SEED, DType::F32);
    let prompt = soft_prompt(&model.plan);
    judge_taps(backend, &model.plan, &model.weights, &prompt, KvType::F32).map_err(|fault| fault.to_string())
}

/// 64 greedy tokens after a prompt: each must be the reference's best one after the same beginning, which makes them
/// equal to the reference's own greedy tokens; and the logits must agree from end to end.
fn greedy(backend: &dyn Backend) -> Result<String, String> {
    const PROMPT: usize = 16;
    let text = |e: Error| e.to_string();
    let model = TinyModel::moe(SEED, DType::BF16);
    let engine = compile(backend, &model.plan, &model.weights).map_err(text)?;
    let mut runner = Runner::new(engine.as_ref(), &model.plan, KvType::F32).map_err(text)?;
    let vocab = model.plan.spec.vocab;
    let mut ids = random_tokens(SEED, vocab, PROMPT);
    let mut logits = runner.feed(&ids).map_err(text)?;
    for _ in 0..64 {
        let next = best(&logits[logits.len() - vocab..]);
        logits.extend(runner.pass(&[next]).map_err(text)?);
        ids.push(next);
    }

    let want = Reference::new(&model.plan, &model.weights).forward(&Prompt::tokens(&ids)).map_err(text)?;
    let want = want.get(TapId { name: "logits", layer: None }).ok_or("the reference has no logits")?;
    let got = Rows { cols: vocab, data: logits.iter().map(|&v| f64::from(v)).collect() };
    let (token, error) = worst_row(&got, want);
    if !matches!(error.partial_cmp(&tolerance::END.limit), Some(std::cmp::Ordering::Less)) {
        return Err(format!("logits are off by {error:.1e} at token {token} ({:.0e} allowed)", tolerance::END.limit));
    }
    for (i, &id) in ids.iter().enumerate().skip(PROMPT) {
        let row: Vec<f32> = want.row(i - 1).iter().map(|&v| v as f32).collect();
        if best(&row) != id {
            return Err(format!("greedy token {} is {id}, the reference's is {}", i - PROMPT, best(&row)));
        }
    }
    Ok(format!("64 tokens equal, logits within {error:.1e}"))
}

/// The greatest logit; the lower index where two are equal.
pub fn best(logits: &[f32]) -> TokenId {
    let greatest =
        (0u32..).zip(logits).fold((0, f32::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best });
    greatest.0
}
