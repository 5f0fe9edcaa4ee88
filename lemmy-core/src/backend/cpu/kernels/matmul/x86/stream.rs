//! Few tokens: weights pass once, from memory, and nothing is kept of them.
//!
//! Eight rows are walked side by side, a block at a time. A block is unpacked into registers and meets every token there;
//! its exact integer sums, spread over the lanes of a vector, are gathered from the eight rows into one vector with a lane
//! per row, where scales and the running sums are. Memory is asked for in the order of its addresses: the next eight rows
//! are fetched as one stream while these eight are used up, since eight rows at once look like eight streams to the
//! hardware, which then fetches too little.

pub(super) mod avx2;
pub(super) mod avx512;

use std::arch::x86_64::*;

use crate::threads::WindowMut;

use super::super::{ActKind, Acts, MatrixView};

/// Most tokens that stream; more are cheaper with panels: unpacking costs as much as two tokens, and each one more a third
/// of what it does here.
pub(super) const TOKENS: usize = 2;
/// Rows walked side by side; a matrix with fewer cannot stream.
pub(super) const ROWS: usize = 8;

/// What a block's minimum is multiplied with.
#[derive(PartialEq, Eq)]
pub(super) enum Min {
    /// There is none.
    Without,
    /// The sum of the activations' codes.
    Whole,
    /// The sums of groups of 32, with a factor each.
    Grouped,
}

/// A block type in the hands of an instruction set.
///
/// # Safety
///
/// Every method needs the instruction set of the implementing type and is inlined into a function that has it; pointers
/// must have a whole block, or the activations of one, behind them.
pub(super) trait Stream {
    const BLOCK: usize;
    const BYTES: usize;
    const MIN: Min;
    /// What was added to signed codes to make them unsigned, unless `dot` takes it back itself; 0 if nothing.
    const OFFSET: i32;
    /// Whether no integer of `dot` is above 4 * 31 * 127, so that two of them add up within 16 bits.
    const SMALL: bool = false;
    /// An unpacked block.
    type W: Copy;
    /// The activations of a block.
    type X: Copy;

    unsafe fn unpack(block: *const u8) -> Self::W;
    /// `codes` of the block (bytes, or words where the kind has them), their sums by 16 and their factors by 32 (for blocks of 256).
    unsafe fn load(codes: *const i8, half_sums: *const i16, factors: *const i32) -> Self::X;
    /// Integers that add up to the block's sum.
    unsafe fn dot(w: &Self::W, x: &Self::X) -> __m256i;
    /// Factors of the groups' sums, for [`Min::Grouped`].
    #[inline(always)]
    unsafe fn mins(_: &Self::W) -> __m128i {
        // SAFETY: the caller's word.
        unsafe { _mm_setzero_si128() }
    }
    /// Bits of the scale and of the minimum's scale: the first two words of a block unless it says otherwise.
    #[inline(always)]
    unsafe fn scales(block: *const u8) -> (u16, u16) {
        // SAFETY: the caller's word; every block has more than four bytes.
        unsafe { (block.cast::<u16>().read_unaligned(), block.add(2).cast::<u16>().read_unaligned()) }
    }
}

/// [`matmul`] for one block type, compiled for an instruction set.
pub(super) type Streamed = unsafe fn(MatrixView<'_>, usize, &Acts, &[u32], &mut WindowMut<'_, f32>);

/// All columns of the window, eight rows at a time.
///
/// # Safety
///
/// The CPU must have the instructions of `S` besides AVX2, FMA and F16C; `w` must be of its type, have at least [`ROWS`]
/// rows, and fit the activations and the window; `tokens` are at most [`TOKENS`].
#[inline(always)]
pub(super) unsafe fn matmul<S: Stream>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: &[u32],
    out: &mut WindowMut<'_, f32>,
) {
    // SAFETY: the caller's word.
    unsafe {
        match *tokens {
            [a] => groups::<S, 1>(w, first_row, acts, [a], out),
            [a, b] => groups::<S, 2>(w, first_row, acts, [a, b], out),
            _ => {}
        }
    }
}

/// # Safety
///
/// As for `matmul`.
#[inline(always)]
unsafe fn groups<S: Stream, const T: usize>(
    w: MatrixView<'_>,
    first_row: usize,
    acts: &Acts,
    tokens: [u32; T],
    out: &mut WindowMut<'_, f32>,
) {
    let width = out.width();
    for first in (0..width).step_by(ROWS) {
        let count = ROWS.min(width - first);
        // The last group may begin earlier, over rows that are done already or lie before the window.
        let row = (first_row + first).min(w.rows() - ROWS);
        let skip = first_row + first - row;
        // SAFETY: the caller's word; rows `row..row + ROWS` exist.
        let sums = unsafe { eight::<S, T>(w, row, acts, tokens) };
        for (t, sums) in sums.iter().enumerate() {
            out.row(t)[first..first + count].copy_from_slice(&sums[skip..skip + count]);
        }
    }
}

/// Rows `row..row + ROWS` times the tokens.
///
/// # Safety
///
/// As for `matmul`.
#[inline(always)]
unsafe fn eight<S: Stream, const T: usize>(
    w: MatrixView<'_>,
    row: usize,
    acts: &Acts,
    tokens: [u32; T],
) -> [[f32; ROWS]; T] {
    let codes = tokens.map(|t| acts.code_bytes(t as usize));
    let code_bytes = if acts.kind() == ActKind::Q16x32 { 2 } else { 1 };
    let scales = tokens.map(|t| acts.scales(t as usize));
    let sums = tokens.map(|t| acts.sums(t as usize).as_ptr());
    let half_sums = tokens.map(|t| acts.half_sums(t as usize).as_ptr());
    let factors = tokens.map(|t| acts.factors(t as usize).as_ptr());
    let start = w.row(row).as_ptr();
    let mut ahead = Ahead::new(&w, row + ROWS);
    // SAFETY: the caller's word: the rows have `cols / BLOCK` blocks, the activations as many.
    unsafe {
        let mut acc = [_mm256_setzero_ps(); T];
        for b in 0..w.cols() / S::BLOCK {
            let blocks: [*const u8; ROWS] = std::array::from_fn(|r| start.add(r * w.row_bytes + b * S::BYTES));
            let x: [S::X; T] = std::array::from_fn(|t| {
                let at = b * S::BLOCK;
                let (half_sums, factors) = (half_sums[t].wrapping_add(at / 16), factors[t].wrapping_add(at / 32));
                S::load(codes[t].add(at * code_bytes), half_sums, factors)
            });
            let mut dots = [[_mm256_setzero_si256(); ROWS]; T];
            let mut mins = [_mm_setzero_si128(); ROWS];
            let mut bits = [[0u16; ROWS]; 2];
            for r in 0..ROWS {
                // Row by row, since many requests at once would wait for each other; but small blocks all at once, since
                // asking costs more than they hold.
                match S::BLOCK {
                    32 if r > 0 => {}
                    32 => ahead.advance(ROWS * S::BYTES),
                    _ => ahead.advance(S::BYTES),
                }
                let unpacked = S::unpack(blocks[r]);
                for t in 0..T {
                    dots[t][r] = S::dot(&unpacked, &x[t]);
                }
                if S::MIN == Min::Grouped {
                    mins[r] = S::mins(&unpacked);
                }
                (bits[0][r], bits[1][r]) = S::scales(blocks[r]);
            }
            let d = halves(&bits[0]);
            let m = halves(&bits[1]);
            for t in 0..T {
                let d_x = _mm256_set1_ps(scales[t][b]);
                let group_sums = sums[t].wrapping_add(b * S::BLOCK / 32);
                let mut isum = if S::SMALL { small_row_sums(&dots[t]) } else { row_sums(&dots[t]) };
                if S::OFFSET != 0 {
                    isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(S::OFFSET * i32::from(*group_sums)));
                }
                acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(d, d_x), _mm256_cvtepi32_ps(isum), acc[t]);
                let imin = match S::MIN {
                    Min::Without => continue,
                    Min::Whole => _mm256_set1_epi32(i32::from(*group_sums)),
                    Min::Grouped => min_sums(&mins, _mm_loadu_si128(group_sums.cast())),
                };
                acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(m, d_x), _mm256_cvtepi32_ps(imin), acc[t]);
            }
        }
        acc.map(|acc| {
            let mut lanes = [0.0; ROWS];
            _mm256_storeu_ps(lanes.as_mut_ptr(), acc);
            lanes
        })
    }
}

/// # Safety
///
/// Needs F16C.
#[inline(always)]
unsafe fn halves(bits: &[u16; ROWS]) -> __m256 {
    // SAFETY: the caller's word; 16 bytes are there.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast())) }
}

/// Lane `r` becomes the sum of the lanes of `parts[r]`.
///
/// # Safety
///
/// Needs AVX2.
#[inline(always)]
unsafe fn row_sums(p: &[__m256i; ROWS]) -> __m256i {
    // SAFETY: the caller's word.
    unsafe {
        let four = |a, b, c, d| _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        join_halves(four(p[0], p[1], p[2], p[3]), four(p[4], p[5], p[6], p[7]))
    }
}

/// [`row_sums`] of small numbers: narrowing two vectors into one and adding pairs in it are cheaper than `vphaddd`.
///
/// # Safety
///
/// Needs AVX2.
#[inline(always)]
unsafe fn small_row_sums(p: &[__m256i; ROWS]) -> __m256i {
    // SAFETY: the caller's word.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let two = |a, b| _mm256_madd_epi16(_mm256_packs_epi32(a, b), ones);
        let four = |a, b, c, d| two(two(a, b), two(c, d));
        join_halves(four(p[0], p[1], p[2], p[3]), four(p[4], p[5], p[6], p[7]))
    }
}

/// Four sums in either half of `low`, and of `high`, to be added: eight sums.
///
/// # Safety
///
/// Needs AVX2.
#[inline(always)]
unsafe fn join_halves(low: __m256i, high: __m256i) -> __m256i {
    // SAFETY: the caller's word.
    unsafe {
        _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
    }
}

/// Lane `r` becomes the sum of `mins[r]`'s eight factors times the groups' sums.
///
/// # Safety
///
/// Needs AVX2.
#[inline(always)]
unsafe fn min_sums(mins: &[__m128i; ROWS], sums: __m128i) -> __m256i {
    // SAFETY: the caller's word.
    unsafe {
        let sums = _mm256_broadcastsi128_si256(sums);
        let pair = |r: usize| {
            _mm256_madd_epi16(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(mins[r]), mins[r + 4]), sums)
        };
        _mm256_hadd_epi32(_mm256_hadd_epi32(pair(0), pair(1)), _mm256_hadd_epi32(pair(2), pair(3)))
    }
}

/// The twelve packed bytes of Q4_K and Q5_K: eight scales and eight minimums of 6 bits, as bytes.
///
/// # Safety
///
/// Twelve bytes must be readable.
#[inline(always)]
unsafe fn scales_mins(packed: *const u8) -> (u64, u64) {
    const LOW_6: u32 = 0x3f3f_3f3f;
    const LOW_4: u32 = 0x0f0f_0f0f;
    const HIGH_2: u32 = 0x3030_3030;
    // SAFETY: the caller's word.
    let [a, b, c] = unsafe { packed.cast::<[u32; 3]>().read_unaligned() };
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    (join(a & LOW_6, c & LOW_4 | a >> 2 & HIGH_2), join(b & LOW_6, c >> 4 & LOW_4 | b >> 2 & HIGH_2))
}

/// Asks for memory in the order of its addresses.
struct Ahead {
    next: *const u8,
    /// Bytes that have been used up without being replaced.
    owed: usize,
    /// Bytes until the matrix ends.
    left: usize,
}

impl Ahead {
    fn new(w: &MatrixView<'_>, row: usize) -> Self {
        // Short rows: memory answers after more bytes than eight of them hold.
        const LEAST: usize = 8192;
        let rest = w.bytes().get(row * w.row_bytes + LEAST.saturating_sub(ROWS * w.row_bytes)..).unwrap_or_default();
        Self { next: rest.as_ptr(), owed: 0, left: rest.len() }
    }

    #[inline(always)]
    fn advance(&mut self, bytes: usize) {
        const LINE: usize = 64;
        self.owed += bytes.min(self.left);
        self.left -= bytes.min(self.left);
        while self.owed >= LINE {
            // SAFETY: a hint, which any address may be given.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.next.cast()) };
            self.next = self.next.wrapping_add(LINE);
            self.owed -= LINE;
        }
    }
}
