//! `--limits`: the rate at which this machine reads the model's own weights, in the minute of the bench. Decode can be
//! no faster than that rate divided by the bytes that a token reads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lemmy_core::gguf::SharedBytes;
use lemmy_core::{CancelToken, Error, Model, ThreadPool};
use serde_json::{Value, json};

use super::random::Random;
use super::report::Table;
use crate::cli::units::bytes;

/// Bytes of a pass: more than any cache holds, and few enough to stay in memory where the model does not.
const PASS: usize = 1 << 30;
/// Least time of a measurement, and least passes.
const TIME: Duration = Duration::from_millis(300);
const PASSES: usize = 3;
/// Bytes of a block where the model has no experts.
const BLOCK: usize = 1 << 20;
/// Weights below this may come from a cache of the processor.
const SMALL: u64 = 128 << 20;

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// Of one thread.
    pub(super) one: f64,
    /// Of all threads of the bench together.
    pub(super) all: f64,
}

/// How fast weights can be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    pub(super) sequence: Rates,
    /// Blocks of the size of an expert's matrix, in no order.
    pub(super) random: Rates,
    pub(super) block: usize,
    is_small: bool,
}

impl Limits {
    /// Reads a part of the model's file, several times; the best pass counts.
    pub(super) fn measure(model: &Model, pool: &ThreadPool, cancel: &CancelToken) -> lemmy_core::Result<Self> {
        let block = block(model);
        let blocks = blocks(model, block);
        let most = (PASS / block).max(1);
        let start = (blocks.len().saturating_sub(most)) / 2;
        let sequence: Vec<_> = blocks.iter().skip(start).take(most).cloned().collect();
        let random = Random(1).some(blocks, most);
        Ok(Self {
            sequence: rates(&sequence, true, pool, cancel)?,
            random: rates(&random, false, pool, cancel)?,
            block,
            is_small: model.info().file_bytes < SMALL,
        })
    }

    /// The better of two measurements, each for itself: a limit is what was possible.
    pub(super) fn or_better(self, other: Self) -> Self {
        let better = |a: Rates, b: Rates| Rates { one: a.one.max(b.one), all: a.all.max(b.all) };
        Self { sequence: better(self.sequence, other.sequence), random: better(self.random, other.random), ..self }
    }

    /// The share of what all threads read in random blocks that decode reached, at so many tokens a second.
    #[allow(clippy::cast_precision_loss)] // a share for people
    pub(super) fn share(&self, token_bytes: u64, tokens: f64) -> f64 {
        token_bytes as f64 * tokens / self.random.all
    }

    /// Lines for people.
    pub(super) fn text(&self, threads: usize) -> String {
        let mut text = self.table(threads).plain();
        if self.is_small {
            text += "the file is small: a cache of the processor may have held it\n";
        }
        text
    }

    pub(super) fn table(&self, threads: usize) -> Table {
        let row = |name: String, rates: Rates| {
            vec![name, format!("{:.1}", rates.one / 1e9), format!("{:.1}", rates.all / 1e9)]
        };
        let threads = if threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        Table(vec![
            vec!["reading weights, GB/s".into(), "1 thread".into(), threads],
            row("in sequence".into(), self.sequence),
            row(format!("in random blocks of {}", bytes(self.block as u64)), self.random),
        ])
    }

    /// The same for programs.
    pub(super) fn json(&self, token_bytes: u64) -> Value {
        let rates = |rates: Rates| json!({ "one_thread_gb_s": rates.one / 1e9, "all_threads_gb_s": rates.all / 1e9 });
        json!({
            "sequence": rates(self.sequence),
            "random": rates(self.random),
            "block_bytes": self.block,
            "token_bytes": token_bytes,
            "may_be_cached": self.is_small,
        })
    }
}

/// Bytes of one expert's matrix.
fn block(model: &Model) -> usize {
    let gate = model.gguf().tensors().iter().find(|tensor| tensor.name.contains("_exps.weight"));
    let moe = model.plan().spec.layers.iter().find_map(|layer| layer.moe.as_ref());
    match (gate, moe) {
        (Some(tensor), Some(moe)) => usize::try_from(tensor.bytes).unwrap_or(BLOCK) / moe.experts.max(1),
        _ => BLOCK,
    }
    .max(1)
}

/// All whole blocks of the file's tensors, in its order.
fn blocks(model: &Model, block: usize) -> Vec<SharedBytes> {
    let gguf = model.gguf();
    let mut blocks = Vec::new();
    for tensor in gguf.tensors() {
        let whole = gguf.tensor_bytes(tensor);
        let piece = block.min(whole.len()).max(1);
        blocks.extend((0..whole.len() / piece).filter_map(|i| whole.slice(i * piece, piece)));
    }
    blocks
}

fn rates(blocks: &[SharedBytes], in_order: bool, pool: &ThreadPool, cancel: &CancelToken) -> lemmy_core::Result<Rates> {
    let one = best(blocks, cancel, &|| {
        blocks.iter().for_each(read);
        Ok(())
    })?;
    if pool.threads() == 1 {
        return Ok(Rates { one, all: one });
    }
    let all = best(blocks, cancel, &|| match in_order {
        true => pool.ranges(blocks.len(), 1, &|_, range| blocks.get(range).into_iter().flatten().for_each(read)),
        false => pool.items(blocks.len(), &|_, i| blocks.get(i).into_iter().for_each(read)),
    })?;
    Ok(Rates { one, all })
}

/// Bytes a second of the best pass. The first one brings pages into memory and does not count.
#[allow(clippy::cast_precision_loss)] // a rate for people
fn best(
    blocks: &[SharedBytes],
    cancel: &CancelToken,
    pass: &dyn Fn() -> lemmy_core::Result<()>,
) -> lemmy_core::Result<f64> {
    let bytes: usize = blocks.iter().map(SharedBytes::len).sum();
    pass()?;
    let (began, mut best, mut passes) = (Instant::now(), f64::INFINITY, 0);
    while passes < PASSES || began.elapsed() < TIME {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let now = Instant::now();
        pass()?;
        best = best.min(now.elapsed().as_secs_f64());
        passes += 1;
    }
    Ok(bytes as f64 / best)
}

/// Reads every word, and makes the compiler believe that somebody wants the sum.
fn read(block: &SharedBytes) {
    let (words, _) = block.as_slice().as_chunks::<8>();
    black_box(words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(one: f64, all: f64) -> Limits {
        let rates = Rates { one, all };
        Limits { sequence: rates, random: rates, block: 1_140_480, is_small: false }
    }

    #[test]
    fn each_rate_counts_at_its_best() {
        let better = limits(20e9, 30e9).or_better(limits(19e9, 36e9));
        assert_eq!(better, limits(20e9, 36e9));
    }

    #[test]
    fn decode_is_measured_by_what_it_reads() {
        let share = limits(20e9, 36e9).share(2_600_000_000, 11.0);
        assert!((share - 28.6 / 36.0).abs() < 1e-9);
    }

    #[test]
    fn lines_for_people() {
        let text = limits(20.04e9, 36e9).text(2);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "reading weights, GB/s        1 thread  2 threads",
                "in sequence                  20.0      36.0",
                "in random blocks of 1.14 MB  20.0      36.0",
            ]
        );
    }
}
