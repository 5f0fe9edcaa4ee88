//! `--kernels`: every way in which this CPU can multiply the model's weights, against the one that is in use.
//!
//! A way is a set of kernels, given all tokens at once, or a few at a time, or more than there are: a set goes another
//! way inside with few tokens than with many, and the last two show where that should change.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lemmy_core::backend::cpu::kernels::matmul::{self, ActKind, Acts, MatmulKernels, MatmulScratch, MatrixView};
use lemmy_core::plan::{Matrix, Plan, Role, Shape, WeightSource};
use lemmy_core::quant::DType;
use lemmy_core::threads::WindowMut;
use lemmy_core::{CancelToken, Error, Result, ThreadPool};

use super::random::Random;
use crate::cli::system;

/// Tokens that a product is made for.
const TOKENS: [usize; 8] = [1, 2, 4, 6, 8, 12, 36, 132];
/// From here on a product is bound by arithmetic wherever its weights are; above it nobody waits for the plain set.
const MANY: usize = 12;
/// Rows that are taken of a matrix: enough for a measurement.
const ROWS: usize = 4096;
/// Weights of one shape that are read in turns, from memory.
const COLD: usize = 256 << 20;
/// Time of a contest.
const TIME: Duration = Duration::from_millis(60);
/// A call shorter than this is repeated before the clock is read again.
const CALL: Duration = Duration::from_micros(50);
/// The choice may be slower than the best by this much.
pub(super) const TOLERANCE: f64 = 0.05;

/// How a set is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    /// So many tokens at a time.
    Parts(usize),
    /// The last token again, until there are so many.
    Padded(usize),
}

/// A product, and who is how fast at it.
#[derive(Debug)]
pub(super) struct Contest {
    pub(super) dtype: DType,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) tokens: usize,
    /// Whether the weights come from memory, and not from a cache of the processor.
    pub(super) is_cold: bool,
    /// Bytes of weights of one product.
    pub(super) bytes: usize,
    /// Fastest first.
    pub(super) entries: Vec<Entry>,
}

/// One way, and its best time.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) seconds: f64,
    /// Whether a forward pass goes this way.
    pub(super) is_chosen: bool,
}

impl Contest {
    /// By which share of the best time the choice is slower.
    pub(super) fn behind(&self) -> f64 {
        let chosen = self.entries.iter().find(|entry| entry.is_chosen);
        match (self.entries.first(), chosen) {
            (Some(best), Some(chosen)) => chosen.seconds / best.seconds - 1.0,
            _ => 0.0,
        }
    }

    /// Where the weights are.
    pub(super) fn place(&self) -> &'static str {
        if self.is_cold { "memory" } else { "cache" }
    }

    /// What a contest is about, for a message.
    pub(super) fn title(&self) -> String {
        let tokens = if self.tokens == 1 { "1 token".into() } else { format!("{} tokens", self.tokens) };
        format!("{} {} x {}, {tokens}, weights from {}", self.dtype, self.rows, self.cols, self.place())
    }

    /// Weights in 10^9 bytes a second.
    #[allow(clippy::cast_precision_loss)] // a rate for people
    pub(super) fn gb_s(&self, entry: &Entry) -> f64 {
        self.bytes as f64 / entry.seconds / 1e9
    }

    /// Products in 10^9 a second.
    #[allow(clippy::cast_precision_loss)] // a rate for people
    pub(super) fn gmac_s(&self, entry: &Entry) -> f64 {
        (self.rows.min(ROWS) * self.cols * self.tokens) as f64 / entry.seconds / 1e9
    }
}

/// Holds every contest that the model's products call for.
pub(super) fn contests(plan: &Plan, weights: &dyn WeightSource, cancel: &CancelToken) -> Result<Vec<Contest>> {
    let pool = ThreadPool::new(1)?;
    let cache = system::last_level_cache().unwrap_or(32 << 20);
    let mut contests = Vec::new();
    for ((dtype, rows, cols), pieces) in shapes(plan, weights)? {
        let mut arena = Arena::new(dtype, rows.min(ROWS), cols, pieces, &pool)?;
        let is_large = arena.total() as u64 > cache.saturating_mul(2);
        for tokens in TOKENS {
            for is_cold in [true, false] {
                if is_cold && (!is_large || tokens >= MANY) {
                    continue;
                }
                let entries = arena.contest(tokens, is_cold, cancel)?;
                let bytes = arena.piece_bytes();
                contests.push(Contest { dtype, rows, cols, tokens, is_cold, bytes, entries });
            }
        }
    }
    Ok(contests)
}

/// Some rows of a matrix.
struct Piece {
    matrix: Matrix,
    index: usize,
    first_row: usize,
}

/// Type, outputs and inputs of every product, with pieces of the weights that have them.
fn shapes(plan: &Plan, weights: &dyn WeightSource) -> Result<BTreeMap<(DType, usize, usize), Vec<Piece>>> {
    let mut shapes: BTreeMap<_, Vec<Piece>> = BTreeMap::new();
    for (role, layer, shape) in plan.roles() {
        // The embedding is looked up and not multiplied.
        if role == Role::TokenEmbd || !matches!(shape, Shape::Matrix { .. }) {
            continue;
        }
        let matrix = weights.matrix(role, layer)?;
        let pieces = shapes.entry((matrix.dtype, matrix.rows, matrix.cols)).or_default();
        for index in 0..matrix.count {
            let height = matrix.rows.min(ROWS);
            let firsts = (0..matrix.rows / height).map(|i| i * height);
            pieces.extend(firsts.map(|first_row| Piece { matrix: matrix.clone(), index, first_row }));
        }
    }
    Ok(shapes)
}

/// All that products of one shape need.
struct Arena {
    dtype: DType,
    rows: usize,
    cols: usize,
    pieces: Vec<Piece>,
    next: usize,
    acts: Acts,
    out: Vec<f32>,
    scratch: MatmulScratch,
}

impl Arena {
    fn new(dtype: DType, rows: usize, cols: usize, pieces: Vec<Piece>, pool: &ThreadPool) -> Result<Self> {
        let most = TOKENS.into_iter().max().unwrap_or(1);
        let x: Vec<f32> = (0_u16..97).cycle().take(most * cols).map(|i| f32::from(i) / 97.0 - 0.5).collect();
        let mut acts = Acts::new(ActKind::of(dtype), most, cols)?;
        acts.fill(pool, &*matmul::detect(), most, cols, &x)?;
        let bytes = dtype.row_bytes(cols).unwrap_or(1) * rows;
        let pieces = Random(1).some(pieces, (COLD / bytes.max(1)).max(1));
        Ok(Self {
            dtype,
            rows,
            cols,
            pieces,
            next: 0,
            acts,
            out: vec![0.0; most * rows],
            scratch: MatmulScratch::default(),
        })
    }

    fn piece_bytes(&self) -> usize {
        self.dtype.row_bytes(self.cols).unwrap_or_default() * self.rows
    }

    fn total(&self) -> usize {
        self.pieces.len() * self.piece_bytes()
    }

    /// All ways in turns. Where the choice seems to be behind, it and what is about as fast get a second, longer one.
    fn contest(&mut self, tokens: usize, is_cold: bool, cancel: &CancelToken) -> Result<Vec<Entry>> {
        let mut candidates: Vec<_> = candidates(tokens).into_iter().map(|c| (c, f64::INFINITY)).collect();
        self.rounds(&mut candidates, tokens, is_cold, TIME, cancel)?;
        let (best, chosen) = best_and_chosen(&candidates);
        if chosen > best * (1.0 + TOLERANCE) {
            let mut again: Vec<_> = candidates
                .extract_if(.., |(c, seconds)| c.is_chosen || *seconds <= best * (1.0 + 2.0 * TOLERANCE))
                .map(|(candidate, _)| (candidate, f64::INFINITY))
                .collect();
            self.rounds(&mut again, tokens, is_cold, 4 * TIME, cancel)?;
            candidates.extend(again);
        }
        let mut entries: Vec<_> = candidates
            .into_iter()
            .map(|(c, seconds)| Entry { name: c.name(), seconds, is_chosen: c.is_chosen })
            .collect();
        entries.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        Ok(entries)
    }

    /// Times the candidates in turns; who takes more than twice the best time is out after his first one.
    fn rounds(
        &mut self,
        candidates: &mut [(Candidate, f64)],
        tokens: usize,
        is_cold: bool,
        time: Duration,
        cancel: &CancelToken,
    ) -> Result<()> {
        let (began, mut round) = (Instant::now(), 0);
        while round < 3 || began.elapsed() < time {
            let (best, _) = best_and_chosen(candidates);
            for (candidate, seconds) in candidates.iter_mut() {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                if round == 0 || *seconds <= 2.0 * best {
                    *seconds = seconds.min(self.time(candidate, tokens, is_cold)?);
                }
            }
            round += 1;
        }
        Ok(())
    }

    /// Seconds of a product.
    fn time(&mut self, candidate: &Candidate, tokens: usize, is_cold: bool) -> Result<f64> {
        let (began, mut calls) = (Instant::now(), 0_u32);
        while calls == 0 || began.elapsed() < CALL {
            if is_cold {
                self.next = (self.next + 1) % self.pieces.len().max(1);
            }
            self.multiply(candidate, tokens)?;
            calls += 1;
        }
        Ok(began.elapsed().as_secs_f64() / f64::from(calls))
    }

    fn multiply(&mut self, candidate: &Candidate, tokens: usize) -> Result<()> {
        let Some(piece) = self.pieces.get(self.next) else { return Ok(()) };
        let matrix = &piece.matrix;
        let view = MatrixView::new(self.dtype, matrix.rows, self.cols, matrix.matrix(piece.index))?;
        let last = tokens.saturating_sub(1);
        let (all, at_once) = match candidate.way {
            Way::Whole => (tokens, tokens),
            Way::Parts(part) => (tokens, part),
            Way::Padded(padded) => (padded, padded),
        };
        let ids: Vec<u32> = (0..all).filter_map(|i| u32::try_from(i.min(last)).ok()).collect();
        for (part, out) in ids.chunks(at_once.max(1)).zip(self.out.chunks_mut(at_once.max(1) * self.rows)) {
            let out = out.get_mut(..part.len() * self.rows).unwrap_or_default();
            let mut window = WindowMut::whole(out, self.rows)?;
            candidate.set.matmul(view, piece.first_row, &self.acts, part, &mut window, &mut self.scratch);
        }
        black_box(&self.out);
        Ok(())
    }
}

/// Seconds of the best, and of the choice.
fn best_and_chosen(candidates: &[(Candidate, f64)]) -> (f64, f64) {
    let best = candidates.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min);
    let chosen = candidates.iter().find(|(candidate, _)| candidate.is_chosen);
    (best, chosen.map_or(f64::INFINITY, |(_, seconds)| *seconds))
}

/// A way to make a product.
#[derive(Debug, Clone)]
struct Candidate {
    set: Arc<dyn MatmulKernels>,
    way: Way,
    is_chosen: bool,
}

impl Candidate {
    fn name(&self) -> String {
        let set = self.set.name();
        match self.way {
            Way::Whole => set.into(),
            Way::Parts(tokens) => format!("{set}, {tokens} at a time"),
            Way::Padded(tokens) => format!("{set}, as for {tokens}"),
        }
    }
}

/// Every way to multiply with so many tokens, the choice first.
fn candidates(tokens: usize) -> Vec<Candidate> {
    let sets = matmul::all();
    let is_alone = sets.len() == 1;
    let mut candidates = Vec::new();
    for (i, set) in sets.into_iter().enumerate() {
        let is_plain = set.name() == matmul::scalar().name();
        if is_plain && !is_alone && tokens > MANY {
            continue;
        }
        let mut ways = vec![Way::Whole];
        if !is_plain && tokens <= MANY {
            ways.extend([1, 2, 4].into_iter().filter(|part| *part < tokens).map(Way::Parts));
            ways.extend([3, 5].into_iter().filter(|padded| *padded > tokens).map(Way::Padded));
        }
        let candidate = |way| Candidate { set: set.clone(), way, is_chosen: i == 0 && way == Way::Whole };
        candidates.extend(ways.into_iter().map(candidate));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_is_the_choice_and_it_is_what_the_backend_takes() {
        for tokens in TOKENS {
            let candidates = candidates(tokens);
            let chosen: Vec<_> = candidates.iter().filter(|candidate| candidate.is_chosen).collect();
            assert!(
                matches!(chosen.as_slice(), [one] if one.name() == matmul::detect().name()),
                "{tokens}: {chosen:?}"
            );
        }
    }

    #[test]
    fn how_far_the_choice_is_behind() {
        let entry = |name: &str, seconds, is_chosen| Entry { name: name.into(), seconds, is_chosen };
        let entries = vec![entry("b", 1.0, false), entry("a", 1.25, true)];
        let contest =
            Contest { dtype: DType::Q4_K, rows: 8, cols: 256, tokens: 4, is_cold: false, bytes: 1152, entries };
        assert!((contest.behind() - 0.25).abs() < 1e-12);
    }
}
