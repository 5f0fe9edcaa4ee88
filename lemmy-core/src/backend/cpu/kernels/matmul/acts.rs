//! Activations in the form that a weight type wants.

mod quantise;

use crate::error::{Error, Result, try_vec};
use crate::quant::DType;
use crate::threads::ThreadPool;

use super::MatmulKernels;
pub(super) use quantise::quantise;

/// The form in which activations meet a weight type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActKind {
    /// f32, for F32, F16 and BF16 weights.
    F32,
    /// int8 with one f32 scale per 32 numbers, for the types with blocks of 32 and up to 5 bits.
    Q8x32,
    /// int16 with one f32 scale per 32 numbers, for Q8_0: bytes times bytes would waste what its 8 bits hold, and on
    /// AVX2 words times words cost no more.
    Q16x32,
    /// int8 with one f32 scale per 256 numbers and a factor of 1 to 8 per 32 of them, for the types with blocks of 256.
    /// The factor halves the rounding error where a group is smaller than its block, and keeps every sum an integer.
    Q8x256,
}

impl ActKind {
    /// The partner of a weight type.
    pub fn of(dtype: DType) -> Self {
        match dtype.block_len() {
            _ if dtype == DType::Q8_0 => Self::Q16x32,
            256 => Self::Q8x256,
            32 => Self::Q8x32,
            _ => Self::F32,
        }
    }

    /// Numbers that share a scale.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Q8x32 | Self::Q16x32 => 32,
            Self::Q8x256 => 256,
        }
    }

    /// What the fast kernels add to signed weight codes to make them unsigned. For each the activations carry the
    /// correction `-offset * (sum of a group's codes)`.
    fn offsets(self) -> &'static [i32] {
        match self {
            Self::F32 | Self::Q16x32 => &[],
            Self::Q8x32 => &[8, 16],
            Self::Q8x256 => &[32],
        }
    }

    /// Numbers in a group of the corrections: the run of weights that shares one (sub-)scale.
    fn group_len(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Q8x32 | Self::Q16x32 => 32,
            Self::Q8x256 => 16,
        }
    }
}

/// Activation vectors in the form that a weight type wants: made once per step, shared by every product.
///
/// The buffers are reserved once for the largest use; [`fill`](Self::fill) allocates nothing.
#[derive(Debug)]
pub struct Acts {
    kind: ActKind,
    rows: usize,
    cols: usize,
    floats: Vec<f32>,
    codes: Vec<i8>,
    words: Vec<i16>,
    scales: Vec<f32>,
    factors: Vec<i32>,
    sums: Vec<i16>,
    half_sums: Vec<i16>,
    corrections: Vec<i32>,
}

/// One vector of [`Acts`], to be written.
#[derive(Debug)]
pub enum ActsRow<'a> {
    /// Of kind F32.
    Floats(&'a mut [f32]),
    /// Of kind Q16x32.
    Words {
        /// -32767..=32767.
        words: &'a mut [i16],
        /// Per block.
        scales: &'a mut [f32],
    },
    /// Of an int8 kind.
    Quantised {
        /// Which one.
        kind: ActKind,
        /// -127..=127.
        codes: &'a mut [i8],
        /// Per block.
        scales: &'a mut [f32],
        /// Factor of the codes, per 32 numbers; only for blocks of 256.
        factors: &'a mut [i32],
        /// Sum of the codes times their factor, per 32 numbers.
        sums: &'a mut [i16],
        /// The same per 16 numbers; only for blocks of 256.
        half_sums: &'a mut [i16],
        /// Per offset of the kind: a plane of a number per group.
        corrections: [&'a mut [i32]; 2],
    },
}

impl Acts {
    /// Room for `rows` vectors of `cols` numbers of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the allocation fails.
    pub fn new(kind: ActKind, rows: usize, cols: usize) -> Result<Self> {
        let n = rows.saturating_mul(cols.next_multiple_of(kind.block_len()));
        let what = "activations";
        let bytes = matches!(kind, ActKind::Q8x32 | ActKind::Q8x256);
        let if_so = |yes: bool, n: usize| if yes { n } else { 0 };
        Ok(Self {
            kind,
            rows: 0,
            cols: 0,
            floats: try_vec(if_so(kind == ActKind::F32, n), 0.0, what)?,
            codes: try_vec(if_so(bytes, n), 0, what)?,
            words: try_vec(if_so(kind == ActKind::Q16x32, n), 0, what)?,
            scales: try_vec(if_so(kind != ActKind::F32, n / kind.block_len()), 0.0, what)?,
            factors: try_vec(if_so(kind == ActKind::Q8x256, n / 32), 0, what)?,
            sums: try_vec(if_so(bytes, n / 32), 0, what)?,
            half_sums: try_vec(if_so(kind == ActKind::Q8x256, n / 16), 0, what)?,
            corrections: try_vec(kind.offsets().len() * (n / kind.group_len()), 0, what)?,
        })
    }

    /// Bytes that such room takes.
    pub fn size(kind: ActKind, rows: usize, cols: usize) -> u64 {
        let n = rows.saturating_mul(cols.next_multiple_of(kind.block_len())) as u64;
        let per_block = n / kind.block_len() as u64;
        let sums = kind.offsets().len() as u64 * 4 * (n / kind.group_len() as u64);
        match kind {
            ActKind::F32 => 4 * n,
            ActKind::Q16x32 => 2 * n + 4 * per_block,
            ActKind::Q8x32 => n + 4 * per_block + 2 * (n / 32) + sums,
            ActKind::Q8x256 => n + 4 * per_block + (4 + 2) * (n / 32) + 2 * (n / 16) + sums,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let bytes = size_of_val(&*self.floats)
            + size_of_val(&*self.codes)
            + size_of_val(&*self.words)
            + size_of_val(&*self.scales)
            + size_of_val(&*self.factors)
            + size_of_val(&*self.sums)
            + size_of_val(&*self.half_sums)
            + size_of_val(&*self.corrections);
        bytes as u64
    }

    /// The form.
    pub fn kind(&self) -> ActKind {
        self.kind
    }
    /// Vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Numbers in a vector.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Makes it the `rows` vectors of `cols` numbers in `x`, row after row.
    ///
    /// A vector with NaN or an infinity gets a scale that is not finite, so that every product with it is not finite.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if it does not fit what was reserved, if `x` has another length or if `cols` is no whole
    /// number of blocks; the pool's own errors.
    pub fn fill(
        &mut self,
        pool: &ThreadPool,
        kernels: &dyn MatmulKernels,
        rows: usize,
        cols: usize,
        x: &[f32],
    ) -> Result<()> {
        self.reset(rows, cols)?;
        if x.len() != rows * cols {
            return Err(Error::Internal(format!("{} numbers for {rows} x {cols} activations", x.len())));
        }
        // Below this a second thread costs more than it brings.
        const WORTH_SHARING: usize = 16 * 1024;
        let rows_ptr = RowsPtr::of(self);
        let one = |r: usize| {
            // SAFETY: each row is asked for once, by one thread, while `self` is borrowed exclusively.
            kernels.quantise(&x[r * cols..][..cols], unsafe { rows_ptr.row(r) });
        };
        if x.len() < WORTH_SHARING {
            (0..rows).for_each(one);
            return Ok(());
        }
        pool.ranges(rows, 1, &|_, range| range.for_each(one))
    }

    fn reset(&mut self, rows: usize, cols: usize) -> Result<()> {
        let kind = self.kind;
        let room = match kind {
            ActKind::F32 => self.floats.len(),
            ActKind::Q16x32 => self.words.len(),
            ActKind::Q8x32 | ActKind::Q8x256 => self.codes.len(),
        };
        let n = rows.checked_mul(cols).filter(|&n| n <= room && cols.is_multiple_of(kind.block_len()));
        if n.is_none() {
            return Err(Error::Internal(format!("{rows} x {cols} activations of {kind:?} where {room} have room")));
        }
        (self.rows, self.cols) = (rows, cols);
        Ok(())
    }

    /// The numbers of a row of kind F32.
    pub(super) fn floats(&self, row: usize) -> &[f32] {
        &self.floats[row * self.cols..][..self.cols]
    }
    /// The codes of a row of kind Q16x32.
    pub(super) fn words(&self, row: usize) -> &[i16] {
        &self.words[row * self.cols..][..self.cols]
    }
    /// The codes of a row of an int8 kind.
    pub(super) fn codes(&self, row: usize) -> &[i8] {
        &self.codes[row * self.cols..][..self.cols]
    }
    /// Where the codes of a row begin, bytes or words.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn code_bytes(&self, row: usize) -> *const i8 {
        match self.kind {
            ActKind::Q16x32 => self.words(row).as_ptr().cast(),
            _ => self.codes(row).as_ptr(),
        }
    }
    /// The factors of a row's codes, by 32; none unless blocks are of 256.
    pub(super) fn factors(&self, row: usize) -> &[i32] {
        let n = if self.kind == ActKind::Q8x256 { self.cols / 32 } else { 0 };
        &self.factors[row * n..][..n]
    }
    /// The sums of a row's codes, by 32.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn sums(&self, row: usize) -> &[i16] {
        let n = if self.sums.is_empty() { 0 } else { self.cols / 32 };
        &self.sums[row * n..][..n]
    }
    /// The sums of a row's codes, by 16; none unless blocks are of 256.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn half_sums(&self, row: usize) -> &[i16] {
        let n = if self.kind == ActKind::Q8x256 { self.cols / 16 } else { 0 };
        &self.half_sums[row * n..][..n]
    }
    /// The scales of a row, one per block.
    pub(super) fn scales(&self, row: usize) -> &[f32] {
        let n = self.cols / self.kind.block_len();
        &self.scales[row * n..][..n]
    }

    /// Where the fast kernels find rows of a quantised kind; the corrections are those for `offset`, of which there are none
    /// if no weight type of the kind has it.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn vectors(&self, offset: i32) -> Vectors<'_> {
        let plane = self.kind.offsets().iter().position(|&o| o == offset);
        let groups = self.cols / self.kind.group_len();
        Vectors {
            acts: self,
            corrections: plane.map_or(&[], |p| &self.corrections[p * self.rows * groups..][..self.rows * groups]),
        }
    }
}

/// See [`Acts::vectors`].
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Vectors<'a> {
    acts: &'a Acts,
    corrections: &'a [i32],
}

/// A vector from some block on.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector {
    /// Bytes, or the words of kind Q16x32.
    pub(super) codes: *const i8,
    /// Per block.
    pub(super) scales: *const f32,
    /// Of 32 codes each; only for blocks of 256.
    pub(super) factors: *const i32,
    /// Of 32 codes each.
    pub(super) sums: *const i16,
    /// Of 16 codes each; only for blocks of 256.
    pub(super) half_sums: *const i16,
    /// `-offset * (sum of the codes)` of each group, without factor: 32 numbers, or 16 where blocks have 256.
    pub(super) corrections: *const i32,
}

#[cfg(target_arch = "x86_64")]
impl Vectors<'_> {
    /// Row `row` from block `block` of `BLOCK` numbers on.
    ///
    /// # Safety
    ///
    /// Both must exist, and `BLOCK` be the kind's.
    #[inline(always)]
    pub(super) unsafe fn at<const BLOCK: usize>(&self, row: usize, block: usize) -> Vector {
        let (acts, group) = (self.acts, if BLOCK == 32 { 32 } else { 16 });
        let at = row * acts.cols + block * BLOCK;
        // SAFETY: `at` is a place in the codes (caller's word), and the others have a number for each so many of them.
        // Sums that a kind lacks are not dereferenced, so for them any address will do.
        unsafe {
            Vector {
                codes: match acts.kind {
                    ActKind::Q16x32 => acts.words.as_ptr().add(at).cast(),
                    _ => acts.codes.as_ptr().add(at),
                },
                scales: acts.scales.as_ptr().add(at / BLOCK),
                factors: acts.factors.as_ptr().wrapping_add(at / 32),
                sums: acts.sums.as_ptr().wrapping_add(at / 32),
                half_sums: acts.half_sums.as_ptr().wrapping_add(at / 16),
                corrections: self.corrections.as_ptr().wrapping_add(at / group),
            }
        }
    }
}

/// Hands out rows of an exclusively borrowed [`Acts`] to several threads.
struct RowsPtr {
    kind: ActKind,
    rows: usize,
    cols: usize,
    floats: *mut f32,
    codes: *mut i8,
    words: *mut i16,
    scales: *mut f32,
    factors: *mut i32,
    sums: *mut i16,
    half_sums: *mut i16,
    corrections: *mut i32,
}

// SAFETY: it is only a way to reach disjoint rows; `row` puts the duty on its caller.
unsafe impl Sync for RowsPtr {}

impl RowsPtr {
    fn of(acts: &mut Acts) -> Self {
        Self {
            kind: acts.kind,
            rows: acts.rows,
            cols: acts.cols,
            floats: acts.floats.as_mut_ptr(),
            codes: acts.codes.as_mut_ptr(),
            words: acts.words.as_mut_ptr(),
            scales: acts.scales.as_mut_ptr(),
            factors: acts.factors.as_mut_ptr(),
            sums: acts.sums.as_mut_ptr(),
            half_sums: acts.half_sums.as_mut_ptr(),
            corrections: acts.corrections.as_mut_ptr(),
        }
    }

    /// # Safety
    ///
    /// The `Acts` must be borrowed exclusively for `'a`, and nobody else may hold row `r`.
    unsafe fn row<'a>(&self, r: usize) -> ActsRow<'a> {
        assert!(r < self.rows);
        let (kind, cols) = (self.kind, self.cols);
        // SAFETY: `reset` saw that rows * cols numbers have room in every buffer, `r` is one of these rows, and the
        // caller holds it alone.
        unsafe {
            if kind == ActKind::F32 {
                return ActsRow::Floats(slice(self.floats, r, cols));
            }
            let scales = slice(self.scales, r, cols / kind.block_len());
            if kind == ActKind::Q16x32 {
                return ActsRow::Words { words: slice(self.words, r, cols), scales };
            }
            let groups = cols / kind.group_len();
            let halves = if kind == ActKind::Q8x256 { cols / 16 } else { 0 };
            let plane = |i: usize| {
                let n = if i < kind.offsets().len() { groups } else { 0 };
                slice(self.corrections.add(i * self.rows * n), r, n)
            };
            ActsRow::Quantised {
                kind,
                codes: slice(self.codes, r, cols),
                scales,
                factors: slice(self.factors, r, halves / 2),
                sums: slice(self.sums, r, cols / 32),
                half_sums: slice(self.half_sums, r, halves),
                corrections: [plane(0), plane(1)],
            }
        }
    }
}

/// Row `r` of a matrix of `n` columns.
///
/// # Safety
///
/// The row must exist, be initialised and be held by nobody else for `'a`.
unsafe fn slice<'a, T>(start: *mut T, r: usize, n: usize) -> &'a mut [T] {
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts_mut(start.add(r * n), n) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_and_sums_are_theirs() {
        let x: Vec<f32> = (0..512).map(|i| ((i * 37 % 211) as f32 - 105.0) * 0.013).collect();
        for (kind, block) in [(ActKind::Q8x32, 32), (ActKind::Q8x256, 256)] {
            let mut acts = Acts::new(kind, 1, 512).unwrap();
            acts.reset(1, 512).unwrap();
            // SAFETY: the only row, held by nobody else.
            quantise(&x, unsafe { RowsPtr::of(&mut acts).row(0) });
            let factor = |i: usize| if block == 256 { acts.factors(0)[i / 32] } else { 1 };
            for (i, (&q, &x)) in acts.codes(0).iter().zip(&x).enumerate() {
                let d = acts.scales(0)[i / block] * factor(i) as f32;
                assert!(x.abs() <= d * 127.0 * 1.000_001);
                assert!((f32::from(q) * d - x).abs() <= d * 0.500_01, "{kind:?} {i}: {q} * {d} for {x}");
            }
            let sum = |i: usize, n: usize| {
                acts.codes(0)[i * n..][..n].iter().map(|&q| i32::from(q)).sum::<i32>() * factor(i * n)
            };
            assert!((0..16).all(|i| i32::from(acts.sums[i]) == sum(i, 32)));
            if kind == ActKind::Q8x256 {
                assert!((0..32).all(|i| i32::from(acts.half_sums[i]) == sum(i, 16)));
                assert!((0..32).all(|i| acts.corrections[i] * factor(i * 16) == -32 * sum(i, 16)));
            } else {
                assert!((0..16).all(|i| acts.corrections[16 + i] == -16 * sum(i, 32)));
            }
        }
    }

    #[test]
    fn zero_tiny_and_broken_blocks_have_a_defined_form() {
        let mut x = [0.0f32; 128];
        x[32] = 1e-40;
        x[64] = f32::NAN;
        (x[96], x[97]) = (f32::NEG_INFINITY, 1.0);
        let mut acts = Acts::new(ActKind::Q8x32, 1, 256).unwrap();
        acts.reset(1, 128).unwrap();
        // SAFETY: the only row, held by nobody else.
        quantise(&x, unsafe { RowsPtr::of(&mut acts).row(0) });
        assert_eq!(acts.scales(0)[..2], [0.0, 0.0]);
        assert!(acts.codes(0)[..64].iter().all(|&q| q == 0));
        assert!(acts.scales(0)[2].is_nan() && acts.scales(0)[3] == f32::INFINITY);
        assert!(acts.codes(0).iter().all(|&q| q >= -127));
    }

    #[test]
    fn the_size_is_what_is_held() {
        for kind in [ActKind::F32, ActKind::Q8x32, ActKind::Q16x32, ActKind::Q8x256] {
            assert_eq!(Acts::size(kind, 3, 512), Acts::new(kind, 3, 512).unwrap().bytes(), "{kind:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut acts = Acts::new(ActKind::Q8x256, 2, 256).unwrap();
        assert!(acts.reset(2, 256).is_ok());
        assert!(acts.reset(3, 256).is_err());
        assert!(acts.reset(1, 128).is_err());
        assert!(Acts::new(ActKind::Q8x32, 2, 256).unwrap().reset(4, 128).is_ok());
        assert!(Acts::new(ActKind::F32, 2, 2).unwrap().reset(usize::MAX, 2).is_err());
    }

    #[test]
    fn words_are_the_nearest() {
        let x: Vec<f32> = (0..64).map(|i| ((i * 37 % 61) as f32 - 30.0) * 0.013).collect();
        let mut acts = Acts::new(ActKind::Q16x32, 1, 64).unwrap();
        acts.reset(1, 64).unwrap();
        // SAFETY: the only row, held by nobody else.
        quantise(&x, unsafe { RowsPtr::of(&mut acts).row(0) });
        for (i, (&q, &x)) in acts.words(0).iter().zip(&x).enumerate() {
            let d = acts.scales(0)[i / 32];
            assert!((f32::from(q) * d - x).abs() <= d * 0.51, "{i}: {q} * {d} for {x}");
        }
        assert_eq!(acts.words(0).iter().map(|q| q.abs()).max(), Some(32767));
    }
}
