//! How fast each matmul set multiplies each weight type on this machine.
//!
//! ```sh
//! cargo run --release -p lemmy-core --example kernel_rates            # the types of common files
//! cargo run --release -p lemmy-core --example kernel_rates Q4_K Q6_K  # only these
//! ```
//!
//! One core unless a row says otherwise. `T` is the number of activation vectors. "cold" cycles through more weights
//! than any cache holds and is given in GB/s of weights too; compare it with the first lines, the rate at which this
//! machine reads memory just now. The best of several runs is shown.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)] // a program for people

use std::hint::black_box;
use std::time::{Duration, Instant};

use lemmy_core::ThreadPool;
use lemmy_core::backend::cpu::kernels::matmul::{self, ActKind, Acts, MatmulKernels, MatmulScratch, MatrixView};
use lemmy_core::quant::DType;
use lemmy_core::threads::WindowMut;

const COLD_BYTES: usize = 256 << 20;
const COLD_TOKENS: [usize; 5] = [1, 2, 3, 4, 8];
const TOKENS: [usize; 8] = [1, 2, 4, 6, 8, 12, 36, 132];
const DEFAULT: [DType; 9] =
    [DType::Q4_K, DType::Q6_K, DType::Q5_0, DType::Q8_0, DType::Q5_K, DType::Q5_1, DType::BF16, DType::F32, DType::F16];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = ThreadPool::new(threads).unwrap();
    read_rates(&pool);
    println!(
        "\n{:6} {:7} {} GB/s {}  GMAC/s",
        "type",
        "set",
        COLD_TOKENS.map(|t| format!("cold {t:>5}")).concat(),
        TOKENS.map(|t| format!("{t:>6}")).concat()
    );
    for &dtype in DType::ALL.iter().filter(|t| t.is_readable()) {
        if wanted.is_empty() && DEFAULT.contains(&dtype) || wanted.iter().any(|w| w == dtype.name()) {
            type_rates(&pool, dtype);
        }
    }
}

/// Reads random 2 MB pieces, as decode reads experts.
fn read_rates(pool: &ThreadPool) {
    let memory = vec![1u64; COLD_BYTES / 8];
    let pieces: Vec<&[u64]> = memory.chunks((2 << 20) / 8).collect();
    for threads in [1, pool.threads()] {
        let each = Duration::from_millis(300);
        let seconds = best(each, || {
            let read = |worker: usize| {
                for i in 0..pieces.len() / threads {
                    let piece = pieces[(i * threads + worker) * 37 % pieces.len()];
                    black_box(piece.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)));
                }
            };
            if threads == 1 {
                read(0);
            } else {
                pool.items(threads, &|_, item| read(item)).unwrap();
            }
        });
        println!("reading memory, {threads} thread(s): {:.1} GB/s", COLD_BYTES as f64 / seconds / 1e9);
    }
}

/// The fastest of the runs that fit into `time`, in seconds; at least three.
fn best(time: Duration, mut run: impl FnMut()) -> f64 {
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 3 || start.elapsed() < time {
        let now = Instant::now();
        run();
        best = best.min(now.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Two shapes of the model: gate and up of an expert for blocks of 256, down for blocks of 32.
fn shape(dtype: DType) -> (usize, usize) {
    if dtype.block_len() == 32 { (2816, 704) } else { (1408, 2816) }
}

fn type_rates(pool: &ThreadPool, dtype: DType) {
    let (rows, cols) = shape(dtype);
    let size = rows * dtype.row_bytes(cols).unwrap();
    let copies = COLD_BYTES / size;
    // Any bits are weights, and the kernels' time does not depend on them, except for subnormal floats.
    let bytes: Vec<u8> =
        (0..copies * size).map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 & 0x3f).collect();
    let matrices: Vec<_> = bytes.chunks(size).map(|b| MatrixView::new(dtype, rows, cols, b).unwrap()).collect();
    let x: Vec<f32> = (0..132 * cols).map(|i| (i * 7 % 97) as f32 / 97.0 - 0.5).collect();
    let mut out = vec![0.0; 132 * rows];
    let mut acts = Acts::new(ActKind::of(dtype), 132, cols).unwrap();
    for set in matmul::all() {
        acts.fill(pool, &*set, 132, cols, &x).unwrap();
        if set.name() == "scalar" && matmul::all().len() > 1 {
            continue;
        }
        let mut next = 0;
        let mut cold = |pool: Option<&ThreadPool>, tokens| {
            let seconds = best(Duration::from_millis(400), || {
                for _ in 0..32 {
                    next = (next + 1) % matrices.len();
                    multiply(pool, &*set, matrices[next], &acts, tokens, &mut out);
                }
            });
            32.0 * size as f64 / seconds / 1e9
        };
        let cold = COLD_TOKENS.map(|tokens| format!("{:5.1}/{:4.1}", cold(None, tokens), cold(Some(pool), tokens)));
        let warm = TOKENS.map(|tokens| {
            let seconds =
                best(Duration::from_millis(200), || multiply(None, &*set, matrices[0], &acts, tokens, &mut out));
            format!("{:6.1}", (rows * cols * tokens) as f64 / seconds / 1e9)
        });
        println!("{:6} {:7} {} {}", dtype.name(), set.name(), cold.concat(), warm.concat());
    }
}

fn multiply(
    pool: Option<&ThreadPool>,
    set: &dyn MatmulKernels,
    w: MatrixView<'_>,
    acts: &Acts,
    tokens: usize,
    out: &mut [f32],
) {
    let tokens: Vec<u32> = (0..tokens as u32).collect();
    let out = &mut out[..tokens.len() * w.rows()];
    match pool {
        None => {
            let mut window = WindowMut::whole(out, w.rows()).unwrap();
            set.matmul(w, 0, acts, &tokens, &mut window, &mut MatmulScratch::default());
        }
        Some(pool) => pool
            .columns(out, w.rows(), matmul::ROWS, &|_, mut window| {
                let first_row = window.window().cols.start;
                set.matmul(w, first_row, acts, &tokens, &mut window, &mut MatmulScratch::default());
            })
            .unwrap(),
    }
}
