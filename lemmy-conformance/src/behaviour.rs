//! What every backend must do besides being right: batches, caches, cancelling, bad input.
//!
//! Where results are compared here, they must be equal bit by bit: a token's logits depend on what came before it and on
//! nothing else.

use std::ops::ControlFlow;

use lemmy_core::backend::{Backend, Engine, Input, SeqSlice};
use lemmy_core::kv::{KvSpec, KvType};
use lemmy_core::plan::{Matrix, Plan, Role, WeightSource};
use lemmy_core::quant::DType;
use lemmy_core::{CancelToken, Error, TokenId};

use crate::judge::soft_prompt;
use crate::prompt::random_tokens;
use crate::report::Report;
use crate::runner::{BATCH, Runner, compile, kv_spec};
use crate::tiny::{TinyModel, owned};

type Outcome = Result<(), String>;
type EngineCheck = fn(&Subject<'_>) -> Outcome;
type BackendCheck = fn(&dyn Backend) -> Outcome;

/// Checks of everything else.
const CHECKS: [(&str, EngineCheck); 6] = [
    ("token by token or in batches", token_by_token),
    ("logits of the last rows, or none", some_logits),
    ("two sessions in one batch", two_sessions),
    ("cancel at every step", cancel),
    ("tokens outside of the vocabulary", bad_tokens),
    ("a soft block beside another session", soft_beside_tokens),
];
/// Checks of what a cache must do.
const CACHE_CHECKS: [(&str, EngineCheck); 5] = [
    ("a batch may be cut anywhere", cut_anywhere),
    ("fork", fork),
    ("rewind", rewind),
    ("rows written out and read back", export),
    ("rows that cannot be written out or read back", export_errors),
];

/// Runs all behaviour checks on float weights with an f32 cache and on quantised weights with an f16 cache; those of the
/// cache with one of 8 bits as well.
pub fn judge(backend: &dyn Backend, report: &mut Report) {
    for (dtype, kv_type) in [(DType::BF16, KvType::F32), (DType::Q4_K, KvType::F16), (DType::BF16, KvType::Q8_0)] {
        let model = TinyModel::moe(7, dtype);
        match compile(backend, &model.plan, &model.weights) {
            Err(e) => report.add(format!("compile, {dtype}"), Err(e.to_string())),
            Ok(engine) => {
                let subject = Subject { engine: engine.as_ref(), plan: &model.plan, kv_type };
                let others = if kv_type == KvType::Q8_0 { &[][..] } else { &CHECKS };
                for (name, check) in CACHE_CHECKS.iter().chain(others) {
                    let name = format!("{name}, {dtype}, {kv_type:?} cache");
                    report.add(name, check(&subject).map(|()| "exact".into()));
                }
            }
        }
    }
    let checks: [(&str, BackendCheck); 4] = [
        ("cancel while compiling", cancel_compiling),
        ("no memory for a cache", no_memory),
        ("damaged weights", damaged_weights),
        ("damaged soft tokens", damaged_soft_tokens),
    ];
    for (name, check) in checks {
        report.add(name, check(backend).map(|()| "typed error".into()));
    }
}

/// Whether two backends (or one with other threads) give the same bits for a prompt.
pub fn same_logits(a: &dyn Backend, b: &dyn Backend, dtype: DType) -> Outcome {
    let model = TinyModel::moe(7, dtype);
    let logits = |backend: &dyn Backend| {
        let engine = compile(backend, &model.plan, &model.weights)?;
        Runner::new(engine.as_ref(), &model.plan, KvType::F16)?.feed(&random_tokens(1, model.plan.spec.vocab, 70))
    };
    same("logits", &logits(a).map_err(text)?, &logits(b).map_err(text)?)
}

struct Subject<'a> {
    engine: &'a dyn Engine,
    plan: &'a Plan,
    kv_type: KvType,
}

impl<'a> Subject<'a> {
    fn tokens(&self, seed: u64, n: usize) -> Vec<TokenId> {
        random_tokens(seed, self.plan.spec.vocab, n)
    }

    fn runner(&self) -> Result<Runner<'a>, String> {
        Runner::new(self.engine, self.plan, self.kv_type).map_err(text)
    }

    /// A session that has read `ids`.
    fn after(&self, ids: &[TokenId]) -> Result<Runner<'a>, String> {
        let mut runner = self.runner()?;
        runner.feed(ids).map_err(text)?;
        Ok(runner)
    }
}

/// The tail crosses a ring's end (128 rows) and the window of some of its tokens begins inside of the tail.
fn cut_anywhere(s: &Subject<'_>) -> Outcome {
    let ids = s.tokens(1, 135);
    let (past, tail) = ids.split_at(119);
    let base = s.after(past)?;
    let fork = || base.fork().map_err(text);
    let whole = fork()?.pass(tail).map_err(text)?;
    for cut in 1..tail.len() {
        let mut runner = fork()?;
        let mut logits = runner.pass(&tail[..cut]).map_err(text)?;
        logits.extend(runner.pass(&tail[cut..]).map_err(text)?);
        same(&format!("cut after {cut} of {} tokens", tail.len()), &whole, &logits)?;
    }
    Ok(())
}

fn token_by_token(s: &Subject<'_>) -> Outcome {
    let ids = s.tokens(2, 140);
    let whole = s.runner()?.feed(&ids).map_err(text)?;
    let mut runner = s.runner()?;
    let mut logits = Vec::new();
    for id in ids {
        logits.extend(runner.pass(&[id]).map_err(text)?);
    }
    same("token by token", &whole, &logits)
}

fn some_logits(s: &Subject<'_>) -> Outcome {
    let ids = s.tokens(3, 9);
    let vocab = s.plan.spec.vocab;
    let all = s.runner()?.pass(&ids).map_err(text)?;
    for wanted in [0, 1, 3] {
        let mut runner = s.runner()?;
        let mut logits = vec![0.0; wanted * vocab];
        let slice = SeqSlice {
            kv: runner.kv.as_mut(),
            input: Input::Tokens(&ids),
            pos: 0,
            logits: (wanted > 0).then_some(logits.as_mut_slice()),
            tap: None,
        };
        s.engine.forward(&mut [slice], runner.scratch.as_mut(), &CancelToken::new()).map_err(text)?;
        same(&format!("the last {wanted} rows"), &all[all.len() - wanted * vocab..], &logits)?;
    }
    Ok(())
}

fn two_sessions(s: &Subject<'_>) -> Outcome {
    let (long, short) = (s.tokens(4, 60), s.tokens(5, 4));
    let (mut a, mut b) = (s.after(&long[..50])?, s.after(&short[..3])?);
    let (alone_a, alone_b) = (
        a.fork().map_err(text)?.pass(&long[50..]).map_err(text)?,
        b.fork().map_err(text)?.pass(&short[3..]).map_err(text)?,
    );
    let mut logits_a = vec![0.0; alone_a.len()];
    let mut logits_b = vec![0.0; alone_b.len()];
    let mut batch = [
        SeqSlice {
            kv: a.kv.as_mut(),
            input: Input::Tokens(&long[50..]),
            pos: 50,
            logits: Some(&mut logits_a),
            tap: None,
        },
        SeqSlice {
            kv: b.kv.as_mut(),
            input: Input::Tokens(&short[3..]),
            pos: 3,
            logits: Some(&mut logits_b),
            tap: None,
        },
    ];
    s.engine.forward(&mut batch, a.scratch.as_mut(), &CancelToken::new()).map_err(text)?;
    same("first session", &alone_a, &logits_a)?;
    same("second session", &alone_b, &logits_b)
}

fn soft_beside_tokens(s: &Subject<'_>) -> Outcome {
    let prompt = soft_prompt(s.plan);
    let Some(rows) = prompt.segments.iter().find_map(|segment| match segment {
        crate::prompt::Segment::Soft(rows) => Some(rows.as_slice()),
        crate::prompt::Segment::Tokens(_) => None,
    }) else {
        return Err("the prompt has no soft block".into());
    };
    let n = rows.len() / s.plan.spec.hidden;
    let ids = s.tokens(6, 20);
    let soft = Input::Embeddings { rows, bidirectional: true };
    let (mut a, mut b) = (s.after(&ids)?, s.after(&ids)?);
    let alone_a = a.fork().map_err(text)?.step(soft, n, &mut |_, _, _, _| ()).map_err(text)?;
    let alone_b = b.fork().map_err(text)?.pass(&ids[..5]).map_err(text)?;
    let mut logits_a = vec![0.0; alone_a.len()];
    let mut logits_b = vec![0.0; alone_b.len()];
    let mut batch = [
        SeqSlice { kv: a.kv.as_mut(), input: soft, pos: 20, logits: Some(&mut logits_a), tap: None },
        SeqSlice {
            kv: b.kv.as_mut(),
            input: Input::Tokens(&ids[..5]),
            pos: 20,
            logits: Some(&mut logits_b),
            tap: None,
        },
    ];
    s.engine.forward(&mut batch, a.scratch.as_mut(), &CancelToken::new()).map_err(text)?;
    same("the soft block", &alone_a, &logits_a)?;
    same("the session beside it", &alone_b, &logits_b)
}

fn fork(s: &Subject<'_>) -> Outcome {
    let (ids, other) = (s.tokens(7, 60), s.tokens(8, 20));
    let straight = s.runner()?.feed(&ids).map_err(text)?;
    let other_way: Vec<TokenId> = ids[..40].iter().chain(&other).copied().collect();
    let straight_other = s.runner()?.feed(&other_way).map_err(text)?;

    let mut original = s.after(&ids[..40])?;
    let mut copy = original.fork().map_err(text)?;
    let row = s.plan.spec.vocab;
    let copied = copy.pass(&other).map_err(text)?;
    same("the copy", &straight_other[40 * row..], &copied)?;
    let rest = original.pass(&ids[40..]).map_err(text)?;
    same("the original", &straight[40 * row..], &rest)
}

/// Eight tokens back: what `KvSpec::rewind` promises, after the ring went round.
fn rewind(s: &Subject<'_>) -> Outcome {
    let (ids, other) = (s.tokens(9, 150), s.tokens(10, BATCH));
    let mut runner = s.after(&ids)?;
    let to = ids.len() - kv_spec(s.kv_type).rewind;
    runner.pos = to;
    let again = runner.pass(&other).map_err(text)?;
    let straight = s.after(&ids[..to])?.pass(&other).map_err(text)?;
    same("after rewinding", &straight, &again)
}

/// After the ring went round: what its layers hold goes into a cache with larger rings, which then goes on as the first.
fn export(s: &Subject<'_>) -> Outcome {
    let (ids, next) = (s.tokens(13, 150), s.tokens(14, BATCH));
    let mut original = s.after(&ids)?;
    let larger = KvSpec { rewind: 100, ..kv_spec(s.kv_type) };
    let mut copy = s.runner()?;
    copy.kv = s.engine.new_kv(&larger).map_err(text)?;
    copy.pos = ids.len();
    for (l, layer) in s.plan.spec.layers.iter().enumerate() {
        let held = ids.len().saturating_sub(kv_spec(s.kv_type).rows(layer))..ids.len();
        let mut bytes = Vec::new();
        original.kv.export(l, held.clone(), &mut bytes).map_err(|e| e.to_string())?;
        let mut rest = &bytes[..];
        copy.kv.import(l, held, &mut rest).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err(format!("layer {l}: {} bytes of {} were not read", rest.len(), bytes.len()));
        }
    }
    same("after reading back", &original.pass(&next).map_err(text)?, &copy.pass(&next).map_err(text)?)
}

/// Layers and positions that are not there, and too few bytes.
fn export_errors(s: &Subject<'_>) -> Outcome {
    let mut runner = s.after(&s.tokens(15, 40))?;
    let (layers, sink) = (s.plan.spec.layers.len(), &mut Vec::new());
    for (layer, positions) in [(layers, 0..1), (0, 0..1000), (0, 0..400)] {
        if runner.kv.export(layer, positions.clone(), sink).is_ok() {
            return Err(format!("layer {layer}, positions {positions:?} were written"));
        }
        if runner.kv.import(layer, positions.clone(), &mut std::io::empty()).is_ok() {
            return Err(format!("layer {layer}, positions {positions:?} were read"));
        }
    }
    runner.kv.export(0, 0..40, sink).map_err(|e| e.to_string())?;
    match runner.kv.import(0, 0..40, &mut &sink[..sink.len() - 1]) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        other => Err(format!("a byte too few: {other:?}")),
    }
}

/// Cancelled while each output is shown, the pass ends with `Cancelled` (or is complete, at the end), and what came
/// before it is as it was.
fn cancel(s: &Subject<'_>) -> Outcome {
    let ids = s.tokens(11, 23);
    let (past, next) = ids.split_at(20);
    let mut runner = s.after(past)?;
    let mut shown = 0;
    let want = runner.step(Input::Tokens(next), next.len(), &mut |_, _, _, _| shown += 1).map_err(text)?;
    let mut cancelled = 0;
    for at in 0..shown {
        runner.pos = past.len();
        let (mut seen, token) = (0, runner.cancel.clone());
        let outcome = runner.step(Input::Tokens(next), next.len(), &mut |_, _, _, _| {
            if seen == at {
                token.cancel();
            }
            seen += 1;
        });
        match outcome {
            Err(Error::Cancelled) => cancelled += 1,
            Err(e) => return Err(format!("cancelled at output {at}: {e}")),
            Ok(_) => {}
        }
        runner.cancel.reset();
        runner.pos = past.len();
        same(&format!("after cancelling at output {at}"), &want, &runner.pass(next).map_err(text)?)?;
    }
    runner.pos = past.len();
    runner.cancel.cancel();
    match runner.pass(next) {
        Err(Error::Cancelled) => {}
        other => return Err(format!("cancelled before the pass: {}", outcome_text(other))),
    }
    // The outputs of the last steps may come too late to stop anything.
    if cancelled + 4 < shown { Err(format!("only {cancelled} of {shown} cancels were heard")) } else { Ok(()) }
}

fn bad_tokens(s: &Subject<'_>) -> Outcome {
    let ids = s.tokens(12, 12);
    let mut runner = s.after(&ids[..10])?;
    let vocab = s.plan.spec.vocab as TokenId;
    for bad in [vocab, vocab + 1, TokenId::MAX] {
        match runner.pass(&[ids[10], bad]) {
            Err(Error::Argument { .. }) => {}
            other => return Err(format!("token {bad} of {vocab}: {}", outcome_text(other))),
        }
    }
    let straight = s.runner()?.feed(&ids).map_err(text)?;
    same("after the bad tokens", &straight[10 * s.plan.spec.vocab..], &runner.pass(&ids[10..]).map_err(text)?)
}

fn cancel_compiling(backend: &dyn Backend) -> Outcome {
    let model = TinyModel::moe(7, DType::Q4_K);
    let compile = |cancel: &CancelToken, answer: ControlFlow<()>| {
        backend.compile(model.plan.clone(), &model.weights, cancel, &mut |_, _| answer).map(|_| ())
    };
    let token = CancelToken::new();
    expect_cancelled("a progress that answers Break", compile(&token, ControlFlow::Break(())))?;
    token.cancel();
    expect_cancelled("a triggered token", compile(&token, ControlFlow::Continue(())))
}

fn expect_cancelled(what: &str, outcome: lemmy_core::Result<()>) -> Outcome {
    match outcome {
        Err(Error::Cancelled) => Ok(()),
        other => Err(format!("{what}: {}", outcome_text(other))),
    }
}

/// A cache of 2^40 positions is beyond every address space: an error, no abort.
fn no_memory(backend: &dyn Backend) -> Outcome {
    let model = TinyModel::moe(7, DType::Q4_K);
    let engine = compile(backend, &model.plan, &model.weights).map_err(text)?;
    match engine.new_kv(&KvSpec { context: 1 << 40, ..kv_spec(KvType::F16) }) {
        Err(Error::OutOfMemory { .. }) => Ok(()),
        other => Err(outcome_text(other)),
    }
}

/// A weight that is no number ends in an error, not in numbers.
fn damaged_weights(backend: &dyn Backend) -> Outcome {
    let TinyModel { plan, weights } = TinyModel::moe(7, DType::BF16);
    let layer = Some(1);
    let matrix = weights.matrix(Role::FfnDown, layer).map_err(text)?;
    let mut bytes = matrix.bytes.as_slice().to_vec();
    bytes[..2].copy_from_slice(&half::bf16::NAN.to_le_bytes());
    let weights = weights.with_matrix(Role::FfnDown, layer, Matrix { bytes: owned(bytes), ..matrix });
    let engine = compile(backend, &plan, &weights).map_err(text)?;
    expect_numeric(Runner::new(engine.as_ref(), &plan, KvType::F32).map_err(text)?.pass(&[1, 2, 3]))
}

fn damaged_soft_tokens(backend: &dyn Backend) -> Outcome {
    let model = TinyModel::moe(7, DType::BF16);
    let engine = compile(backend, &model.plan, &model.weights).map_err(text)?;
    let mut runner = Runner::new(engine.as_ref(), &model.plan, KvType::F32).map_err(text)?;
    let mut rows = vec![0.5; 2 * model.plan.spec.hidden];
    rows[3] = f32::INFINITY;
    expect_numeric(runner.step(Input::Embeddings { rows: &rows, bidirectional: true }, 2, &mut |_, _, _, _| ()))
}

fn expect_numeric<T>(outcome: lemmy_core::Result<T>) -> Outcome {
    match outcome {
        Err(Error::Numeric { .. }) => Ok(()),
        other => Err(outcome_text(other)),
    }
}

fn outcome_text<T>(outcome: lemmy_core::Result<T>) -> String {
    match outcome {
        Ok(_) => "no error".into(),
        Err(e) => format!("the error was: {e}"),
    }
}

/// Equal bit by bit.
fn same(what: &str, want: &[f32], got: &[f32]) -> Outcome {
    if want.len() != got.len() {
        return Err(format!("{what}: {} numbers, expected {}", got.len(), want.len()));
    }
    match want.iter().zip(got).position(|(a, b)| a.to_bits() != b.to_bits()) {
        None => Ok(()),
        Some(i) => Err(format!("{what}: number {i} is {}, expected exactly {}", got[i], want[i])),
    }
}

fn text(e: Error) -> String {
    e.to_string()
}
