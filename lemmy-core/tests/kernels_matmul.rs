//! Every matmul set against the oracle, bit for bit, on every weight type and on odd sizes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use lemmy_core::ThreadPool;
use lemmy_core::backend::cpu::kernels::matmul::{self, ActKind, Acts, MatmulKernels, MatmulScratch, MatrixView};
use lemmy_core::quant::{DType, dequantize};
use lemmy_core::threads::{Window, WindowMut};

/// Every type that can be multiplied.
fn types() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|t| t.is_readable())
}

/// A small generator (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// In -1..1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    fn floats(&mut self, n: usize) -> Vec<f32> {
        // Groups of different size, so that the factors of the activations differ.
        (0..n).map(|i| self.float() * [1.0, 0.1, 0.6, 0.003, 0.3][i / 32 % 5]).collect()
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Where a block has f16 scales.
fn scales_at(dtype: DType) -> &'static [usize] {
    match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        DType::MXFP4 => &[],
        _ => &[0],
    }
}

/// Random codes, and scales of ordinary size.
fn weights(dtype: DType, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    let n = rows * cols;
    match dtype {
        DType::F32 => random.floats(n).into_iter().flat_map(f32::to_le_bytes).collect(),
        DType::BF16 => random.floats(n).into_iter().flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        DType::F16 => random.floats(n).into_iter().flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
        _ => {
            let mut bytes = random.bytes(rows * dtype.row_bytes(cols).unwrap());
            for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
                if dtype == DType::MXFP4 {
                    block[0] = 120 + block[0] % 16;
                }
                for &at in scales_at(dtype) {
                    block[at..at + 2].copy_from_slice(&half::f16::from_f32(random.float() * 0.1).to_le_bytes());
                }
            }
            bytes
        }
    }
}

fn acts(pool: &ThreadPool, set: &dyn MatmulKernels, dtype: DType, rows: usize, cols: usize, x: &[f32]) -> Acts {
    let mut acts = Acts::new(ActKind::of(dtype), rows, cols).unwrap();
    acts.fill(pool, set, rows, cols, x).unwrap();
    acts
}

/// One product: all tokens by `width` outputs from `first_row` on.
fn product(
    set: &dyn MatmulKernels,
    w: MatrixView<'_>,
    (first_row, width): (usize, usize),
    acts: &Acts,
    tokens: &[u32],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; tokens.len() * width];
    let mut window = WindowMut::whole(&mut out, width).unwrap();
    set.matmul(w, first_row, acts, tokens, &mut window, &mut MatmulScratch::default());
    out
}

/// Bits, with every NaN the same.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[track_caller]
fn assert_same(set: &dyn MatmulKernels, what: &str, expected: &[f32], found: &[f32]) {
    let differing = bits(expected).iter().zip(bits(found)).filter(|(e, f)| *e != f).count();
    let first = expected.iter().zip(found).position(|(e, f)| bits(&[*e]) != bits(&[*f])).unwrap_or(0);
    assert_eq!(
        differing,
        0,
        "{} {what}: {differing} of {} differ, number {first} is {} and should be {}",
        set.name(),
        found.len(),
        found[first],
        expected[first]
    );
}

#[test]
fn every_set_gives_the_oracles_bits_on_odd_sizes() {
    let pool = ThreadPool::new(1).unwrap();
    let oracle = matmul::scalar();
    let mut random = Random(1);
    for dtype in types() {
        for case in 0..24 {
            let blocks = 1 + random.below(if dtype.block_len() == 256 { 4 } else { 21 });
            let cols = if dtype.block_len() == 1 { 1 + random.below(150) } else { blocks * dtype.block_len() };
            let rows = 1 + random.below(40);
            let vectors = 1 + random.below(20);
            // Some matrices start at an odd address.
            let shift = case % 3;
            let mut bytes = vec![0; shift];
            bytes.extend(weights(dtype, rows, cols, &mut random));
            let w = MatrixView::new(dtype, rows, cols, &bytes[shift..]).unwrap();
            let x = random.floats(vectors * cols);
            let tokens: Vec<u32> = (0..1 + random.below(20)).map(|_| random.below(vectors) as u32).collect();
            let first_row = random.below(rows);
            let width = 1 + random.below(rows - first_row);
            let expected =
                product(&*oracle, w, (first_row, width), &acts(&pool, &*oracle, dtype, vectors, cols, &x), &tokens);
            for set in matmul::all() {
                let acts = acts(&pool, &*set, dtype, vectors, cols, &x);
                let found = product(&*set, w, (first_row, width), &acts, &tokens);
                let what = format!("{w:?}, rows {first_row}+{width}, tokens {tokens:?}");
                assert_same(&*set, &what, &expected, &found);
            }
        }
    }
}

/// The numbers that the quantised activations stand for, in f64, as [`ActKind`] describes them.
fn quantised(x: &[f32], dtype: DType) -> Vec<f64> {
    let max_of = |x: &[f32]| x.iter().fold(0f32, |max, x| max.max(x.abs()));
    let rounded = |x: &[f32], inverse: f32, d: f32| -> Vec<f64> {
        x.iter().map(|x| f64::from((x * inverse).round_ties_even()) * f64::from(d)).collect()
    };
    let kind = ActKind::of(dtype);
    let blocks = x.chunks(kind.block_len());
    match kind {
        ActKind::F32 => x.iter().map(|&x| x.into()).collect(),
        ActKind::Q8x32 => blocks.flat_map(|x| rounded(x, 127.0 / max_of(x), max_of(x) / 127.0)).collect(),
        ActKind::Q16x32 => blocks.flat_map(|x| rounded(x, 32767.0 / max_of(x), max_of(x) / 32767.0)).collect(),
        ActKind::Q8x256 => blocks
            .flat_map(|block| {
                let max = max_of(block);
                block.chunks(32).flat_map(move |x| {
                    let factor = (max_of(x) * (8.0 / max)).ceil().clamp(1.0, 8.0);
                    rounded(x, 1016.0 / max / factor, factor * (max / 1016.0))
                })
            })
            .collect(),
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn the_oracle_is_the_dot_of_what_the_blocks_stand_for() {
    let pool = ThreadPool::new(1).unwrap();
    let oracle = matmul::scalar();
    let mut random = Random(5);
    for dtype in types() {
        let (rows, cols, vectors) = (9, 1280, 2);
        let bytes = weights(dtype, rows, cols, &mut random);
        let w = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
        let x = random.floats(vectors * cols);
        let acts = acts(&pool, &*oracle, dtype, vectors, cols, &x);
        let found = product(&*oracle, w, (0, rows), &acts, &[0, 1]);
        for (i, x) in x.chunks(cols).enumerate() {
            let x = quantised(x, dtype);
            for r in 0..rows {
                let mut row = vec![0.0; cols];
                dequantize(dtype, w.row(r), &mut row).unwrap();
                let row: Vec<f64> = row.into_iter().map(f64::from).collect();
                let exact: f64 = row.iter().zip(&x).map(|(w, x)| w * x).sum();
                let error = (f64::from(found[i * rows + r]) - exact).abs() / (norm(&row) * norm(&x));
                assert!(error < 1e-6, "{dtype} row {r}: {} should be {exact}, off by {error:e}", found[i * rows + r]);
            }
        }
    }
}

#[test]
fn golden_rows_give_the_golden_dots() {
    let fixture = |name: &str| {
        let path = format!("{}/../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let x: Vec<f32> =
        fixture("matmul/source_x.f32").chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let pool = ThreadPool::new(1).unwrap();
    for line in String::from_utf8(fixture("matmul/dots.txt")).unwrap().lines() {
        let [name, _, _, exact, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let dtype = types().find(|t| t.name() == name).unwrap();
        let exact: f64 = exact.parse().unwrap();
        let bytes = fixture(&format!("quants/{name}.quantised.bin"));
        let w = MatrixView::new(dtype, 1, x.len(), &bytes).unwrap();
        let mut row = vec![0.0; x.len()];
        dequantize(dtype, &bytes, &mut row).unwrap();
        let row: Vec<f64> = row.into_iter().map(f64::from).collect();
        // What rounding the activations costs on this row; floats cost the rounding of the sums alone.
        let limit = match ActKind::of(dtype) {
            ActKind::F32 => 1e-6,
            ActKind::Q16x32 => 1e-5,
            ActKind::Q8x32 | ActKind::Q8x256 => 2e-4,
        };
        for set in matmul::all() {
            let acts = acts(&pool, &*set, dtype, 1, x.len(), &x);
            let found = product(&*set, w, (0, 1), &acts, &[0])[0];
            let norms = norm(&row) * norm(&quantised(&x, DType::F32));
            let error = (f64::from(found) - exact).abs() / norms;
            assert!(error < limit, "{} {dtype}: {found} should be {exact}, off by {error:e}", set.name());
        }
    }
}

#[test]
fn many_tokens_and_whole_panels() {
    let pool = ThreadPool::new(2).unwrap();
    let oracle = matmul::scalar();
    let mut random = Random(2);
    for dtype in types() {
        let (rows, cols, vectors) = (32, 512, 141);
        let bytes = weights(dtype, rows, cols, &mut random);
        let w = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
        let x = random.floats(vectors * cols);
        let tokens: Vec<u32> = (0..vectors as u32).rev().collect();
        let all = acts(&pool, &*oracle, dtype, vectors, cols, &x);
        let expected = product(&*oracle, w, (0, rows), &all, &tokens);
        for set in matmul::all() {
            let all = acts(&pool, &*set, dtype, vectors, cols, &x);
            assert_same(&*set, &format!("{w:?}"), &expected, &product(&*set, w, (0, rows), &all, &tokens));
        }
    }
}

/// Weights often end where a mapped file ends, and the page behind it cannot be read.
#[cfg(unix)]
#[test]
fn nothing_is_read_before_or_behind_the_weights() {
    let pool = ThreadPool::new(1).unwrap();
    let mut random = Random(8);
    for dtype in types() {
        for (rows, tokens) in [(1, 1), (8, 1), (9, 4), (16, 2), (17, 5), (33, 9)] {
            let cols = 512;
            let bytes = weights(dtype, rows, cols, &mut random);
            let fence = Fence::around(&bytes);
            let all: Vec<u32> = (0..tokens as u32).collect();
            let x = random.floats(tokens * cols);
            for set in matmul::all() {
                let acts = acts(&pool, &*set, dtype, tokens, cols, &x);
                let plain = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
                let expected = product(&*set, plain, (0, rows), &acts, &all);
                for fenced in [fence.at_start(), fence.at_end()] {
                    let fenced = MatrixView::new(dtype, rows, cols, fenced).unwrap();
                    assert_same(
                        &*set,
                        &format!("{plain:?}"),
                        &expected,
                        &product(&*set, fenced, (0, rows), &acts, &all),
                    );
                }
            }
        }
    }
}

/// Two copies of some bytes, one right behind a page that cannot be read, one right before one.
#[cfg(unix)]
struct Fence {
    start: *mut u8,
    pages: usize,
    len: usize,
}

#[cfg(unix)]
impl Fence {
    const PAGE: usize = 65_536; // a multiple of every page size in use

    fn around(bytes: &[u8]) -> Self {
        let pages = bytes.len().div_ceil(Self::PAGE);
        let size = (2 * pages + 3) * Self::PAGE;
        // SAFETY: a new private mapping; its pages are used by this struct alone.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0).cast::<u8>();
            assert_ne!(start.cast(), libc::MAP_FAILED);
            let fence = Self { start, pages, len: bytes.len() };
            for copy in [fence.first(), fence.second()] {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                assert_eq!(libc::mprotect(copy.cast(), pages * Self::PAGE, access), 0);
            }
            fence.first().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let at_end = pages * Self::PAGE - bytes.len();
            fence.second().add(at_end).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            fence
        }
    }
    fn first(&self) -> *mut u8 {
        self.start.wrapping_add(Self::PAGE)
    }
    fn second(&self) -> *mut u8 {
        self.start.wrapping_add((self.pages + 2) * Self::PAGE)
    }
    fn at_start(&self) -> &[u8] {
        // SAFETY: written in `around`, and mapped until the drop.
        unsafe { std::slice::from_raw_parts(self.first(), self.len) }
    }
    fn at_end(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.second().add(self.pages * Self::PAGE - self.len), self.len) }
    }
}

#[cfg(unix)]
impl Drop for Fence {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `around`; nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast(), (2 * self.pages + 3) * Self::PAGE) };
    }
}

#[test]
fn extreme_codes_do_not_overflow() {
    let pool = ThreadPool::new(1).unwrap();
    let oracle = matmul::scalar();
    for dtype in types().filter(|t| t.block_len() > 1) {
        for code in [0x00, 0xff, 0x7f, 0x80, 0x55] {
            for x in [1.0, -1.0] {
                let (rows, cols) = (16, 512);
                let mut bytes = vec![code; rows * dtype.row_bytes(cols).unwrap()];
                for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
                    for &at in scales_at(dtype) {
                        block[at..at + 2].copy_from_slice(&half::f16::from_f32(0.01).to_le_bytes());
                    }
                }
                let w = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
                let x = vec![x; cols];
                let expected = product(&*oracle, w, (0, rows), &acts(&pool, &*oracle, dtype, 1, cols, &x), &[0]);
                for set in matmul::all() {
                    let found = product(&*set, w, (0, rows), &acts(&pool, &*set, dtype, 1, cols, &x), &[0]);
                    assert_same(&*set, &format!("{dtype} codes {code:#x}"), &expected, &found);
                }
            }
        }
    }
}

#[test]
fn any_bits_are_survived() {
    let pool = ThreadPool::new(1).unwrap();
    let oracle = matmul::scalar();
    let mut random = Random(3);
    for dtype in types() {
        for _ in 0..20 {
            let (rows, cols, vectors) = (17, 256, 3);
            let bytes = random.bytes(rows * dtype.row_bytes(cols).unwrap());
            let w = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
            let mut x = random.floats(vectors * cols);
            x[5] = f32::from_bits(random.next() as u32);
            x[cols + 5] = f32::NAN;
            let expected =
                product(&*oracle, w, (0, rows), &acts(&pool, &*oracle, dtype, vectors, cols, &x), &[0, 1, 2]);
            assert!(expected[rows..2 * rows].iter().all(|x| !x.is_finite()), "{dtype}: a NaN went unseen");
            for set in matmul::all() {
                let acts = acts(&pool, &*set, dtype, vectors, cols, &x);
                assert_same(&*set, &format!("{w:?}"), &expected, &product(&*set, w, (0, rows), &acts, &[0, 1, 2]));
            }
        }
    }
}

#[test]
fn windows_are_written_and_nothing_else() {
    let pool = ThreadPool::new(1).unwrap();
    let mut random = Random(4);
    for set in matmul::all() {
        for dtype in [DType::Q4_K, DType::Q8_0, DType::BF16, DType::Q3_K] {
            let (rows, cols) = (40, 256);
            let bytes = weights(dtype, rows, cols, &mut random);
            let w = MatrixView::new(dtype, rows, cols, &bytes).unwrap();
            let acts = acts(&pool, &*set, dtype, 3, cols, &random.floats(3 * cols));
            let all = product(&*set, w, (0, rows), &acts, &[2, 0]);
            let stride = 50;
            let mut out = vec![7.0; 4 * stride];
            let windows = [Window { rows: 1..3, cols: 3..24 }];
            pool.windows(&mut out, stride, &windows, &|_, _, mut window| {
                set.matmul(w, 19, &acts, &[2, 0], &mut window, &mut MatmulScratch::default());
            })
            .unwrap();
            for (i, &found) in out.iter().enumerate() {
                let (row, col) = (i / stride, i % stride);
                let inside = (1..3).contains(&row) && (3..24).contains(&col);
                let expected = if inside { all[(row - 1) * rows + 19 + col - 3] } else { 7.0 };
                assert_eq!(found.to_bits(), expected.to_bits(), "{} {dtype} at {row}, {col}", set.name());
            }
        }
    }
}
