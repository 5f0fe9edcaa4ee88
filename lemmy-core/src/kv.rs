//! Bookkeeping of positions: which row of a cache holds which token. Owns no floats; the backend owns the memory.

#![forbid(unsafe_code)]

use std::ops::Range;

use half::f16;

use crate::error::{Error, Result};
use crate::plan::LayerSpec;
use crate::quant::blocks::{Block, BlockQ8_0};

/// Number type of cached keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 32-bit floats: exact, twice the memory.
    F32,
    /// Blocks of 32 numbers of 8 bits with one 16-bit scale: little more than half the memory. For heads that are
    /// multiples of 32.
    Q8_0,
}

impl KvType {
    /// Bytes of a row of so many numbers; saturates.
    pub fn row_bytes(self, numbers: usize) -> usize {
        match self {
            Self::F16 => numbers.saturating_mul(size_of::<f16>()),
            Self::F32 => numbers.saturating_mul(size_of::<f32>()),
            Self::Q8_0 => numbers.div_ceil(BlockQ8_0::LEN).saturating_mul(size_of::<BlockQ8_0>()),
        }
    }
}

/// Size of a session's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvSpec {
    /// Positions that the session may hold.
    pub context: usize,
    /// Largest batch of one forward pass, in tokens.
    pub batch: usize,
    /// Tokens that can be rewound although sliding layers keep only their window.
    pub rewind: usize,
    /// Number type.
    pub kv_type: KvType,
}

/// Attention reads keys in blocks of this many positions, aligned to it; rings are whole numbers of blocks, so a block
/// never wraps and sums come out the same however a prompt was cut.
pub const KEY_BLOCK: usize = 64;

impl KvSpec {
    /// Tokens that go through the model at once when the caller says nothing else.
    pub const DEFAULT_BATCH: usize = 512;
    /// Slack for rewinding when the caller says nothing else. After complete passes the batch's rows are slack as well,
    /// so that a turn of 896 tokens can be edited, or a thought of that length dropped, and nothing before it is read
    /// again. A token of slack costs 200 KiB in 25 sliding layers with 8 heads of 256 in f16.
    pub const DEFAULT_REWIND: usize = 384;

    /// A cache for `context` positions, all else as usual.
    pub fn with_context(context: usize) -> Self {
        Self {
            context,
            batch: Self::DEFAULT_BATCH.min(context),
            rewind: Self::DEFAULT_REWIND.min(context),
            kv_type: KvType::default(),
        }
    }

    /// Rows of a layer's cache: position `p` lives in row `p % rows`.
    ///
    /// A sliding layer keeps its window, the batch being written, and the slack for rewinding; never more than the
    /// context. Sizes that no machine holds saturate, so that an estimate of them is too large as well.
    pub fn rows(&self, layer: &LayerSpec) -> usize {
        let needed = match layer.window {
            Some(window) => window.saturating_add(self.batch).saturating_add(self.rewind).min(self.context),
            None => self.context,
        };
        needed.checked_next_multiple_of(KEY_BLOCK).unwrap_or(usize::MAX / KEY_BLOCK * KEY_BLOCK)
    }
}

/// Which positions of a session are filled and which of them the rings still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// Positions filled.
    len: usize,
    /// One past the highest position ever written since the last clear.
    written: usize,
    /// Positions that the session may hold.
    capacity: usize,
    /// Rows and window of the sliding layers, each combination once.
    rings: Vec<Ring>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ring {
    rows: usize,
    window: usize,
}

impl Positions {
    /// Nothing filled yet.
    pub fn new(spec: &KvSpec, layers: &[LayerSpec]) -> Self {
        let mut rings = Vec::new();
        for layer in layers {
            if let Some(window) = layer.window {
                let ring = Ring { rows: spec.rows(layer), window };
                if !rings.contains(&ring) {
                    rings.push(ring);
                }
            }
        }
        Self { len: 0, written: 0, capacity: spec.context, rings }
    }

    /// As they were: `len` filled, `written` the highest one ever written and one more. `None` if that cannot be.
    pub fn restored(spec: &KvSpec, layers: &[LayerSpec], len: usize, written: usize) -> Option<Self> {
        let positions = Self { len, written, ..Self::new(spec, layers) };
        let fits = len <= written && written <= spec.context && positions.oldest_rewind() <= len;
        fits.then_some(positions)
    }

    /// Positions filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions that the session may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// One past the highest position ever written since the last clear.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The positions that a ring of so many rows still holds.
    pub fn held(&self, rows: usize) -> Range<usize> {
        self.written.saturating_sub(rows).min(self.len)..self.len
    }

    /// Whether `requested` more fit.
    pub fn check_room(&self, requested: usize) -> Result<()> {
        if requested <= self.capacity - self.len {
            return Ok(());
        }
        Err(Error::ContextFull { used: self.len, requested, capacity: self.capacity })
    }

    /// A batch of `n` is about to be written: even if it fails, its rows are no longer what they were.
    pub fn writing(&mut self, n: usize) {
        self.written = self.written.max(self.len + n);
    }

    /// The batch of `n` is complete.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Forgets everything from `to` on, if the rings still hold what a query at `to` looks back on.
    pub fn rewind(&mut self, to: usize) -> Result<()> {
        if to > self.len {
            return Err(Error::Argument {
                name: "to",
                reason: format!("{to} is past the {} positions filled", self.len),
            });
        }
        let oldest = self.oldest_rewind();
        if to != 0 && to < oldest {
            return Err(Error::RewindTooFar { to, oldest });
        }
        self.len = to;
        if to == 0 {
            self.written = 0;
        }
        Ok(())
    }

    /// Whether writing a batch of `n` would make `to` the first place that can no longer be rewound to, or later ones too.
    pub fn would_lose(&self, to: usize, n: usize) -> bool {
        self.oldest_after(self.written.max(self.len + n)) > to
    }

    /// Tokens that can be taken back if all calls succeed; `usize::MAX` without sliding layers.
    pub fn slack(&self) -> usize {
        self.rings.iter().map(|ring| ring.rows.saturating_sub(ring.window)).min().unwrap_or(usize::MAX)
    }

    /// Goes back to `to`: the rings hold again what queries from `low` on look back on, and nothing older.
    pub fn restore(&mut self, low: usize, to: usize) {
        let written = |ring: &Ring| (low + 1).saturating_sub(ring.window) + ring.rows;
        self.len = to;
        self.written = self.rings.iter().map(written).max().unwrap_or(to).max(to);
    }

    /// Whether [`rewind`](Self::rewind) to `to` would succeed.
    pub fn can_rewind(&self, to: usize) -> bool {
        to == 0 || (self.oldest_rewind()..=self.len).contains(&to)
    }

    /// Lowest position besides 0 that can be rewound to.
    pub fn oldest_rewind(&self) -> usize {
        self.oldest_after(self.written)
    }

    fn oldest_after(&self, written: usize) -> usize {
        let oldest = |ring: &Ring| match written.saturating_sub(ring.rows) {
            0 => 0,
            lost => lost + ring.window - 1,
        };
        self.rings.iter().map(oldest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::{RopeSpec, ValueSource};

    fn layer(window: Option<usize>) -> LayerSpec {
        LayerSpec {
            heads: 1,
            kv_heads: 1,
            head_dim: 2,
            window,
            rope: RopeSpec { frequencies: vec![] },
            score_scale: 1.0,
            values: ValueSource::Own,
            bidirectional_blocks: false,
            ffn: 1,
            moe: None,
        }
    }

    fn spec(context: usize) -> KvSpec {
        KvSpec { context, batch: 64, rewind: 0, kv_type: KvType::F16 }
    }

    #[test]
    fn a_ring_holds_window_and_batch_in_whole_blocks_and_no_more_than_the_context() {
        assert_eq!(spec(100_000).rows(&layer(Some(1000))), 1088);
        assert_eq!(spec(100).rows(&layer(Some(1000))), 128);
        assert_eq!(spec(100_000).rows(&layer(None)), 100_032);
        assert_eq!(spec(usize::MAX).rows(&layer(None)), usize::MAX - 63);
        assert_eq!(spec(usize::MAX).rows(&layer(Some(1000))), 1088);
    }

    #[test]
    fn what_the_ring_has_lost_cannot_be_rewound_to() {
        let mut p = Positions::new(&spec(10_000), &[layer(Some(64)), layer(None)]);
        p.writing(200);
        p.advance(200);
        // 128 rows: positions 72..200 are there; a query at 135 looks back to 72.
        assert!(matches!(p.rewind(134), Err(Error::RewindTooFar { to: 134, oldest: 135 })));
        p.rewind(135).unwrap();
        assert!(matches!(p.check_room(9_866), Err(Error::ContextFull { used: 135, .. })));
        p.rewind(0).unwrap();
        assert_eq!((p.len(), p.oldest_rewind()), (0, 0));
    }

    #[test]
    fn what_is_held_goes_on_where_it_was() {
        let (spec, layers) = (spec(10_000), [layer(Some(64)), layer(None)]);
        let mut p = Positions::new(&spec, &layers);
        p.writing(200);
        p.advance(200);
        p.rewind(140).unwrap();
        assert_eq!((p.held(128), p.held(10_048)), (72..140, 0..140));
        assert_eq!(Positions::restored(&spec, &layers, 140, 200), Some(p));
        for (len, written) in [(201, 200), (134, 200), (0, 200), (140, 10_001)] {
            assert_eq!(Positions::restored(&spec, &layers, len, written), None, "{len} of {written}");
        }
    }

    #[test]
    fn without_sliding_layers_everything_can_be_rewound() {
        let mut p = Positions::new(&spec(10_000), &[layer(None)]);
        p.writing(5_000);
        p.advance(5_000);
        p.rewind(1).unwrap();
        assert!(matches!(p.rewind(2), Err(Error::Argument { name: "to", .. })));
    }
}
