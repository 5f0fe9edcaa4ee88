//! The walk over a matrix: which panel next, what memory to ask for, which tokens share a tile.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use crate::threads::WindowMut;

use super::super::acts::{Vector, Vectors};
use super::super::{Acts, MatrixView, ROWS};
use super::formats::{Format, Place};

/// Columns of a panel.
const COLUMNS: usize = 256;
/// Tokens whose sums are kept beside a panel; more are multiplied in turns.
const TOKENS: usize = 128;
/// Bytes that memory gives at once.
const LINE: usize = 64;
/// Longest row piece of a panel, in bytes: 8 blocks of Q8_0.
const MAX_BYTES: usize = 8 * 34;

/// 16 unpacked rows. Vectors of one number per row have a stride of 64 bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Panel {
    /// Unsigned codes, see the head of `x86`; or signed words, two columns to a lane.
    pub(super) codes: [u8; 2 * COLUMNS * ROWS],
    /// K-quants: integer scales of up to 16 groups.
    pub(super) scales: [[i32; ROWS]; 16],
    /// K-quants: pairs of 16-bit factors for the activations' sums.
    pub(super) mins: [[[i16; 2]; ROWS]; 8],
    /// Scales of the blocks.
    pub(super) d: [[f32; ROWS]; 8],
    /// Second scales of the blocks.
    pub(super) m: [[f32; ROWS]; 8],
}

impl Panel {
    /// Where block `b` of rows from `first_row` on goes, if every block takes `steps` vectors of codes.
    pub(super) fn place(&mut self, first_row: usize, b: usize, steps: usize) -> Place {
        Place {
            codes: self.codes[64 * steps * b + 4 * first_row..].as_mut_ptr(),
            // Of all lines: unpacking writes to every one of them.
            scales: self.scales.as_flattened_mut()[first_row..].as_mut_ptr().cast(),
            mins: self.mins.as_flattened_mut()[first_row..].as_mut_ptr().cast(),
            d: self.d[b][first_row..].as_mut_ptr(),
            m: self.m[b][first_row..].as_mut_ptr(),
        }
    }
}

/// What a tile multiplies: a panel with some tokens.
pub(super) struct Tile<'a> {
    pub(super) panel: &'a Panel,
    /// First block of the panel within the row.
    pub(super) block: usize,
    /// Blocks in the panel.
    pub(super) blocks: usize,
    pub(super) acts: Vectors<'a>,
    pub(super) tokens: &'a [u32],
    /// Memory to ask for meanwhile: the tile does so in [`steps`](Self::steps), to keep some of it on its way at any time.
    ahead: &'a [u8],
}

impl Tile<'_> {
    /// Steps in which a tile asks for memory: groups of 32 columns.
    fn steps(&self) -> usize {
        if self.blocks == 1 { 8 } else { self.blocks }
    }

    /// Asks for the memory of step `i`.
    #[inline(always)]
    pub(super) fn fetch(&self, i: usize) {
        let bytes = self.ahead.len().div_ceil(LINE).div_ceil(self.steps()) * LINE;
        let rest = self.ahead.get(i * bytes..).unwrap_or_default();
        for line in rest[..bytes.min(rest.len())].chunks(LINE) {
            // SAFETY: a hint; the address is even readable.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }

    /// The vectors of the first `N` tokens from the panel's first column on.
    ///
    /// # Safety
    ///
    /// There must be `N` tokens, and `BLOCK` be the length of the weights' blocks.
    #[inline(always)]
    pub(super) unsafe fn vectors<const BLOCK: usize, const N: usize>(&self) -> [Vector; N] {
        // SAFETY: the caller's word; the tokens and the block exist.
        std::array::from_fn(|t| unsafe { self.acts.at::<BLOCK>(*self.tokens.get_unchecked(t) as usize, self.block) })
    }
}

/// The sums of a token for the rows of a panel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [f32; ROWS]);

/// Working memory: a panel, its sums, and a copy of the last rows where fewer than 16 are left.
#[derive(Debug)]
pub(in super::super) struct Scratch {
    panel: Panel,
    sums: [Sums; TOKENS],
    rows: [u8; ROWS * MAX_BYTES],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            panel: Panel {
                codes: [0; _],
                scales: [[0; _]; _],
                mins: [[[0; _]; _]; _],
                d: [[0.0; _]; _],
                m: [[0.0; _]; _],
            },
            sums: [Sums([0.0; _]); _],
            rows: [0; _],
        }
    }
}

/// How an instruction set handles one block type.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    block: usize,
    bytes: usize,
    offset: i32,
    /// Unpacks the given number of blocks of 16 rows.
    unpack: unsafe fn(*const u8, usize, usize, &mut Panel),
    /// `tiles[n - 1]` is for `n` tokens, with as many sums.
    tiles: &'static [unsafe fn(&Tile<'_>, &mut [Sums])],
}

impl Kernel {
    pub(super) const fn new<F: Format>(
        unpack: unsafe fn(*const u8, usize, usize, &mut Panel),
        tiles: &'static [unsafe fn(&Tile<'_>, &mut [Sums])],
    ) -> Self {
        Self { block: F::BLOCK, bytes: F::BYTES, offset: F::OFFSET, unpack, tiles }
    }

    /// [`MatmulKernels::matmul`](super::super::MatmulKernels::matmul), shapes checked.
    ///
    /// # Safety
    ///
    /// The CPU must have the instructions of the functions; `w` must be of their type and the shapes fit.
    pub(super) unsafe fn matmul(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        acts: &Acts,
        tokens: &[u32],
        out: &mut WindowMut<'_, f32>,
        scratch: &mut Scratch,
    ) {
        let width = out.window().cols.len();
        let acts = acts.vectors(self.offset);
        for (turn, tokens) in tokens.chunks(TOKENS).enumerate() {
            let tiles = tokens.len().div_ceil(self.tiles.len());
            let tile = tokens.len().div_ceil(tiles);
            for first in (0..width).step_by(ROWS) {
                let rows = ROWS.min(width - first);
                // SAFETY: the caller's word; the rows exist because the window fits.
                unsafe { self.rows(w, first_row + first, rows, acts, tokens, tile, scratch) };
                for (i, sums) in scratch.sums[..tokens.len()].iter().enumerate() {
                    out.row(turn * TOKENS + i)[first..first + rows].copy_from_slice(&sums.0[..rows]);
                }
            }
        }
    }

    /// Up to 16 rows times up to [`TOKENS`] tokens, into the scratch's sums.
    ///
    /// # Safety
    ///
    /// As for `matmul`.
    #[expect(clippy::too_many_arguments, reason = "the shape of a product")]
    unsafe fn rows(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        rows: usize,
        acts: Vectors<'_>,
        tokens: &[u32],
        tile: usize,
        scratch: &mut Scratch,
    ) {
        let Scratch { panel, sums, rows: copy } = scratch;
        let sums = &mut sums[..tokens.len()];
        sums.fill(Sums([0.0; ROWS]));
        let stride = w.row_bytes;
        let bytes = &w.bytes[first_row * stride..][..rows * stride];
        let mut ahead = Ahead { rest: &w.bytes[(first_row + rows) * stride..] };
        let per_panel = COLUMNS / self.block;
        let blocks_in_row = w.cols / self.block;
        for block in (0..blocks_in_row).step_by(per_panel) {
            let blocks = per_panel.min(blocks_in_row - block);
            let piece = blocks * self.bytes;
            let mut fetched = ahead.next(ROWS * piece);
            let (src, stride) = if rows == ROWS {
                (&bytes[block * self.bytes..], stride)
            } else {
                for r in 0..rows {
                    copy[r * piece..][..piece].copy_from_slice(&bytes[r * stride + block * self.bytes..][..piece]);
                }
                (&copy[..], piece)
            };
            // SAFETY: `src` has 16 rows of `piece` bytes at this stride; the CPU has the instructions (caller's word).
            unsafe { (self.unpack)(src.as_ptr(), stride, blocks, panel) };
            for (tokens, sums) in tokens.chunks(tile).zip(sums.chunks_mut(tile)) {
                let tile = Tile { panel, block, blocks, acts, tokens, ahead: std::mem::take(&mut fetched) };
                // SAFETY: as above; the panel holds these blocks, and the tokens are rows of the activations.
                unsafe { (self.tiles[tokens.len() - 1])(&tile, sums) };
            }
        }
    }
}

/// The rows that come next, in the order of their addresses, at the pace at which these are used up.
///
/// 16 rows at once look like 16 streams to the hardware, which then fetches too little; their bytes as one stream come
/// at the memory's full rate (2.5 times as fast on a Zen 4). They go to the second-level cache: 16 rows are too much for
/// the first.
struct Ahead<'a> {
    rest: &'a [u8],
}

impl<'a> Ahead<'a> {
    fn next(&mut self, bytes: usize) -> &'a [u8] {
        let (now, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        now
    }
}
