//! Speed of the kernels on plain floats, one thread, per instruction set: attention in multiplications per second,
//! the others in time per number; and the cost of a call of the thread pool.
//!
//! `cargo run --release -p lemmy-core --example vector_rates [SET...]`
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use half::f16;
use lemmy_core::ThreadPool;
use lemmy_core::backend::cpu::kernels::vector::{self, AttentionJob, KvRows, VectorKernels, VectorScratch};
use lemmy_core::quant::blocks::BlockQ8_0;

/// Name, queries per token, tokens, keys, numbers in a key row, a value row and a query.
type Shape = (&'static str, usize, usize, usize, usize, usize, usize);

const SHAPES: [Shape; 8] = [
    ("sliding, decode", 2, 1, 1024, 256, 256, 256),
    ("sliding, prefill", 2, 16, 1024, 256, 256, 256),
    ("sliding, prefill", 2, 64, 1024, 256, 256, 256),
    ("global, decode", 8, 1, 1024, 128, 512, 512),
    ("global, decode", 8, 1, 4096, 128, 512, 512),
    ("global, decode", 8, 1, 16384, 128, 512, 512),
    ("global, prefill", 8, 4, 4096, 128, 512, 512),
    ("global, prefill", 8, 16, 4096, 128, 512, 512),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for kernels in vector::all() {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == kernels.name()) {
            continue;
        }
        println!("{}", kernels.name());
        for shape in SHAPES {
            attention(&*kernels, shape);
        }
        elementwise(&*kernels);
    }
    pool();
}

fn attention(kernels: &dyn VectorKernels, shape: Shape) {
    attention_of(kernels, 1, "cached", shape);
    // As many caches as it takes that decode reads from memory, as it does in a model of many layers.
    let bytes = shape.3 * (shape.4 + shape.5);
    if shape.2 == 1 {
        attention_of(kernels, (64 << 20) / bytes, "from memory", shape);
    }
}

fn attention_of(kernels: &dyn VectorKernels, caches: usize, place: &str, shape: Shape) {
    let (name, heads, tokens, keys, key_dim, value_dim, query_dim) = shape;
    let row = |n: usize| (0..n).map(|i| (i % 61) as f32 / 61.0 - 0.5).collect::<Vec<_>>();
    let (k, v) = (row(caches * keys * key_dim), row(caches * keys * value_dim));
    let halves = [&k, &v].map(|x| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>());
    let blocks = [&k, &v].map(|x| {
        let mut blocks = vec![BlockQ8_0 { d: 0.into(), qs: [0; 32] }; x.len() / 32];
        kernels.store_q8_0(x, &mut blocks);
        blocks
    });
    let queries: Vec<f32> = (0..heads * tokens * query_dim).map(|i| (i % 53) as f32 / 53.0 - 0.5).collect();
    let spans: Vec<_> = (0..heads * tokens).map(|i| 0..keys - tokens + 1 + i / heads).collect();
    let mut out = vec![0.0; heads * tokens * value_dim];
    let mut scratch = VectorScratch::default();
    let mut rate = |kind: &str, rows: &[KvRows<'_>]| {
        let mut next = rows.iter().cycle();
        let time = time(|| {
            let kv = *next.next().unwrap();
            let job = AttentionJob { rows: keys, kv, key_dim, value_dim, query_dim, queries: &queries, spans: &spans };
            kernels.attention(black_box(&job), &mut out, &mut scratch);
        });
        let macs = (heads * tokens * keys * (query_dim + value_dim)) as f64;
        println!(
            "  {name:16} {:3} queries x {keys:5} keys, {kind:4}, {place:11}: {:6.2} GMAC/s, {:.3} us per key",
            heads * tokens,
            macs / time / 1e9,
            time * 1e6 / keys as f64
        );
    };
    let ([k, v], widths) = (&halves, [key_dim, value_dim].map(|dim| keys * dim));
    let rows = |i| KvRows::F16(part(k, i, widths[0]), part(v, i, widths[1]));
    rate("f16", &(0..caches).map(rows).collect::<Vec<_>>());
    let ([k, v], widths) = (&blocks, widths.map(|width| width / 32));
    let rows = |i| KvRows::Q8_0(part(k, i, widths[0]), part(v, i, widths[1]));
    rate("q8_0", &(0..caches).map(rows).collect::<Vec<_>>());
}

/// Piece `i` of pieces of `len`.
fn part<T>(whole: &[T], i: usize, len: usize) -> &[T] {
    &whole[i * len..][..len]
}

fn elementwise(kernels: &dyn VectorKernels) {
    const N: usize = 2112;
    let x: Vec<f32> = (0..N).map(|i| (i % 97) as f32 / 12.0 - 4.0).collect();
    let mut y = x.clone();
    let mut half = vec![f16::ZERO; N];
    let mut blocks = vec![BlockQ8_0 { d: 0.into(), qs: [0; 32] }; N / 32];
    let print = |name: &str, time: f64| println!("  {name:10} {:.3} ns per number", time * 1e9 / N as f64);
    print("norm", time(|| kernels.norm(black_box(&x), Some(&x), 1e-6, &mut y)));
    print(
        "gelu_mul",
        time(|| {
            y.copy_from_slice(&x);
            kernels.gelu_mul(black_box(&mut y), &x);
        }),
    );
    print("softcap", time(|| kernels.softcap(black_box(&mut y), 30.0)));
    print("softmax", time(|| kernels.softmax(black_box(&mut y))));
    print("add_scaled", time(|| kernels.add_scaled(black_box(&mut y), &x, 0.0)));
    print("rope", time(|| kernels.rope(black_box(&mut y), &x[..N / 2], &x[..N / 2])));
    print("store_f16", time(|| kernels.store_f16(black_box(&x), &mut half)));
    print("store_q8_0", time(|| kernels.store_q8_0(black_box(&x), &mut blocks)));
}

fn pool() {
    for threads in [1, 2] {
        let pool = ThreadPool::new(threads).unwrap();
        let empty = time(|| pool.ranges(64, 1, &|_, range| assert!(!black_box(range).is_empty())).unwrap());
        // The mean and not the best: it shows what waiting costs on a busy machine.
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(1) {
            pool.ranges(64, 1, &|_, range| range.for_each(|_| work())).unwrap();
            calls += 1;
        }
        let full = start.elapsed().as_secs_f64() / f64::from(calls);
        println!(
            "pool of {threads}: {:.2} us per empty call, mean of a call with work {:.1} us",
            empty * 1e6,
            full * 1e6
        );
    }
}

/// A few microseconds.
fn work() {
    for i in 0..5000 {
        black_box(i);
    }
}

/// Seconds per call: the best of many short bursts, so that a busy machine does not show.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < Duration::from_millis(300) {
        let (burst, mut calls) = (Instant::now(), 0);
        while burst.elapsed() < Duration::from_millis(2) {
            f();
            calls += 1;
        }
        best = best.min(burst.elapsed().as_secs_f64() / f64::from(calls));
    }
    best
}
