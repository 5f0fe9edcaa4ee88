//! The kernels on plain floats: every set gives the oracle's bits, and the oracle agrees with the formulas in f64.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::ops::Range;
use std::sync::Arc;

use half::f16;
use lemmy_core::backend::cpu::kernels::vector::{
    AttentionJob, KvRows, VectorKernels, VectorScratch, all, detect, scalar,
};
use lemmy_core::quant::blocks::BlockQ8_0;
use lemmy_core::quant::{DType, dequantize};
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// A seeded stream of numbers from -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    fn take(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.next() * scale).collect()
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    // Sets may differ in the sign and payload of NaN.
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Runs `f` with every set; all must give the oracle's bits, which are returned.
fn same_bits(f: impl Fn(&dyn VectorKernels) -> Vec<f32>) -> Vec<f32> {
    let oracle = f(&*scalar());
    for kernels in all() {
        assert_eq!(bits(&f(&*kernels)), bits(&oracle), "{}", kernels.name());
    }
    oracle
}

fn close(found: &[f32], truth: impl IntoIterator<Item = f64>, tolerance: f64) {
    for (i, (&found, truth)) in found.iter().zip(truth).enumerate() {
        let error = (f64::from(found) - truth).abs();
        assert!(error <= tolerance * truth.abs().max(1.0), "number {i}: {found}, truth {truth}");
    }
}

fn lengths() -> impl Iterator<Item = usize> {
    (0..70).chain([256, 704, 2112, 2816, 2817])
}

#[test]
fn the_fastest_set_is_chosen_and_the_oracle_is_scalar() {
    let names: Vec<_> = all().iter().map(|kernels| kernels.name()).collect();
    assert_eq!(scalar().name(), "scalar");
    assert_eq!(names.first(), Some(&"scalar"));
    assert_eq!(names.last(), Some(&detect().name()));
}

#[test]
fn norm_is_the_formula() {
    for n in lengths().skip(1) {
        let mut numbers = Numbers(n as u64);
        let (x, w) = (numbers.take(n, 3.0), numbers.take(n, 2.0));
        let square = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (square + f64::from(1e-6f32)).sqrt();
        for weight in [None, Some(&w[..])] {
            let found = same_bits(|kernels| {
                let mut out = vec![f32::NAN; n];
                kernels.norm(&x, weight, 1e-6, &mut out);
                out
            });
            let weight = |i: usize| weight.map_or(1.0, |w| f64::from(w[i]));
            close(&found, x.iter().enumerate().map(|(i, &x)| f64::from(x) * scale * weight(i)), 1e-6);
        }
    }
}

#[test]
fn elementwise_operations_are_their_formulas() {
    for n in lengths() {
        let mut numbers = Numbers(n as u64);
        let (x, y) = (numbers.take(n, 6.0), numbers.take(n, 2.0));
        let in_place = |f: &dyn Fn(&dyn VectorKernels, &mut [f32])| {
            same_bits(|kernels| {
                let mut x = x.clone();
                f(kernels, &mut x);
                x
            })
        };
        let wide = |x: &f32| f64::from(*x);
        let gelu = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());

        let found = in_place(&|kernels, x| kernels.gelu_mul(x, &y));
        close(&found, x.iter().zip(&y).map(|(x, y)| gelu(wide(x)) * wide(y)), 1e-6);
        let found = in_place(&|kernels, x| kernels.add_scaled(x, &y, 0.3));
        close(&found, x.iter().zip(&y).map(|(x, y)| wide(x) + f64::from(0.3f32) * wide(y)), 1e-7);
        let found = in_place(&|kernels, x| kernels.softcap(x, 3.0));
        close(&found, x.iter().map(|x| 3.0 * (wide(x) / 3.0).tanh()), 4e-7);
        let found = in_place(&|kernels, x| kernels.softmax(x));
        let total: f64 = x.iter().map(|x| wide(x).exp()).sum();
        close(&found, x.iter().map(|x| wide(x).exp() / total), 1e-6);

        let pairs = n / 2;
        let turned = pairs - pairs / 3;
        let (sin, cos): (Vec<f32>, Vec<f32>) = (0..turned).map(|i| (i as f32 * 0.7).sin_cos()).unzip();
        let found = in_place(&|kernels, x| kernels.rope(&mut x[..pairs * 2], &cos, &sin));
        let mut truth: Vec<f64> = x.iter().map(wide).collect();
        for i in 0..turned {
            let (u, w) = (truth[i], truth[pairs + i]);
            truth[i] = u * wide(&cos[i]) - w * wide(&sin[i]);
            truth[pairs + i] = w * wide(&cos[i]) + u * wide(&sin[i]);
        }
        close(&found, truth, 1e-6);
    }
}

#[test]
fn special_numbers_give_the_same_bits() {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-42, -1e-42, 88.8, -104.5, 3e38, -3e38];
    for n in [1, 16, 37] {
        for start in 0..special.len() {
            let x: Vec<f32> = special.iter().cycle().skip(start).take(n).copied().collect();
            for operation in 0..5 {
                same_bits(|kernels| {
                    let mut x = x.clone();
                    match operation {
                        0 => kernels.gelu_mul(&mut x, &vec![1.5; n]),
                        1 => kernels.softcap(&mut x, 30.0),
                        2 => kernels.softmax(&mut x),
                        3 => kernels.add_scaled(&mut x, &vec![2.0; n], 0.5),
                        _ => kernels.norm(&vec![2.0; n], Some(&x.clone()), 1e-6, &mut x),
                    }
                    x
                });
            }
        }
    }
}

#[test]
fn nan_comes_through_everything() {
    for kernels in all() {
        let one_nan = || {
            let mut x = vec![1.0; 40];
            x[33] = f32::NAN;
            x
        };
        let mut x = one_nan();
        kernels.softmax(&mut x);
        assert!(x.iter().all(|x| x.is_nan()), "{}", kernels.name());
        kernels.norm(&one_nan(), None, 1e-6, &mut x);
        assert!(x.iter().all(|x| x.is_nan()));
        let mut x = one_nan();
        kernels.softcap(&mut x, 30.0);
        kernels.gelu_mul(&mut x, &[1.0; 40]);
        assert!(x[33].is_nan() && x.iter().filter(|x| x.is_nan()).count() == 1);
    }
}

#[test]
fn f16_is_rounded_to_nearest_even() {
    // All halves, the middle between each and the next (a tie), and its neighbours.
    let x: Vec<f32> = (0..=u16::MAX)
        .map(f16::from_bits)
        .filter(|x| x.is_finite())
        .flat_map(|x| {
            let (x, next) = (x.to_f32(), f16::from_bits(x.to_bits() ^ 1).to_f32());
            let middle = (x + next) / 2.0;
            [x, middle, f32::from_bits(middle.to_bits() + 1), f32::from_bits(middle.to_bits().saturating_sub(1))]
        })
        .chain([65504.0, 65519.9, 65520.0, 1e9, -1e9, f32::INFINITY, 1e-9, 0.0, -0.0])
        .filter(|x| !x.is_nan())
        .collect();
    let truth: Vec<f16> = x.iter().map(|&x| f16::from_f32(x)).collect();
    for kernels in all() {
        for n in [x.len(), 0, 5, 16, 33] {
            let mut out = vec![f16::NAN; n];
            kernels.store_f16(&x[..n], &mut out);
            assert!(out.iter().zip(&truth).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", kernels.name());
        }
        let mut out = [f16::ZERO; 1];
        kernels.store_f16(&[f32::NAN], &mut out);
        assert!(out[0].is_nan());
    }
}

/// Cache, queries and spans of an attention.
#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    key_dim: usize,
    value_dim: usize,
    query_dim: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<f32>,
    spans: Vec<Range<usize>>,
}

impl Case {
    fn new(rows: usize, [key_dim, value_dim, query_dim]: [usize; 3], spans: Vec<Range<usize>>, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        // Rounded to halves, so that both kinds of cache hold the same numbers.
        let mut halves =
            |n, scale| numbers.take(n, scale).iter().map(|&x| f16::from_f32(x).to_f32()).collect::<Vec<_>>();
        Self {
            rows,
            key_dim,
            value_dim,
            query_dim,
            keys: halves(rows * key_dim, 1.0),
            values: halves(rows * value_dim, 1.0),
            // Scores of a few units, as in a trained model.
            queries: halves(spans.len() * query_dim, 6.0 / (query_dim as f32).sqrt()),
            spans,
        }
    }

    fn run(&self, kernels: &dyn VectorKernels, f16_cache: bool, scratch: &mut VectorScratch) -> Vec<f32> {
        let half = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
        let (keys, values) = (half(&self.keys), half(&self.values));
        let kv = if f16_cache { KvRows::F16(&keys, &values) } else { KvRows::F32(&self.keys, &self.values) };
        self.run_rows(kernels, kv, scratch)
    }

    fn run_rows(&self, kernels: &dyn VectorKernels, kv: KvRows<'_>, scratch: &mut VectorScratch) -> Vec<f32> {
        let job = AttentionJob {
            rows: self.rows,
            kv,
            key_dim: self.key_dim,
            value_dim: self.value_dim,
            query_dim: self.query_dim,
            queries: &self.queries,
            spans: &self.spans,
        };
        let mut out = vec![f32::NAN; self.spans.len() * self.value_dim];
        kernels.attention(&job, &mut out, scratch);
        out
    }

    /// The same query alone.
    fn only(&self, query: usize) -> Self {
        Self {
            queries: self.queries[query * self.query_dim..][..self.query_dim].to_vec(),
            spans: vec![self.spans[query].clone()],
            ..self.clone()
        }
    }

    /// The definition, in f64.
    fn truth(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for (query, span) in self.queries.chunks_exact(self.query_dim).zip(&self.spans) {
            let rows: Vec<_> = span.clone().map(|position| position % self.rows).collect();
            let score = |&row: &usize| -> f64 {
                let key = &self.keys[row * self.key_dim..][..self.key_dim];
                let value = &self.values[row * self.value_dim..][..self.value_dim];
                let rest = if self.query_dim > self.key_dim { &value[self.key_dim..] } else { &[] };
                query.iter().zip(key.iter().chain(rest)).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum()
            };
            let scores: Vec<f64> = rows.iter().map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..self.value_dim {
                let value = |row: &usize| f64::from(self.values[row * self.value_dim + i]);
                out.push(weights.iter().zip(&rows).map(|(w, row)| w * value(row)).sum::<f64>() / total);
            }
        }
        out
    }

    /// All sets and both kinds of cache give the same bits, near the truth, and each query gives them alone too.
    fn check(&self) {
        let mut scratch = VectorScratch::default();
        let oracle = self.run(&*scalar(), false, &mut scratch);
        close(&oracle, self.truth(), 1e-5);
        for kernels in all() {
            for f16_cache in [false, true] {
                let found = self.run(&*kernels, f16_cache, &mut scratch);
                assert_eq!(bits(&found), bits(&oracle), "{}, f16 {f16_cache}", kernels.name());
            }
        }
        for query in 0..self.spans.len() {
            let alone = self.only(query).run(&*detect(), true, &mut scratch);
            assert_eq!(bits(&alone), bits(&oracle[query * self.value_dim..][..self.value_dim]), "query {query} alone");
        }
        if self.key_dim.is_multiple_of(32) && self.value_dim.is_multiple_of(32) {
            self.check_blocks(&mut scratch);
        }
    }

    /// A cache of 8-bit blocks gives the bits of an f32 cache that holds what the blocks stand for.
    fn check_blocks(&self, scratch: &mut VectorScratch) {
        let (keys, values) = (blocks(&*scalar(), &self.keys), blocks(&*scalar(), &self.values));
        let same_numbers = Self { keys: numbers(&keys), values: numbers(&values), ..self.clone() };
        let oracle = same_numbers.run(&*scalar(), false, scratch);
        for kernels in all() {
            let found = self.run_rows(&*kernels, KvRows::Q8_0(&keys, &values), scratch);
            assert_eq!(bits(&found), bits(&oracle), "{}, q8_0", kernels.name());
        }
    }
}

fn blocks(kernels: &dyn VectorKernels, numbers: &[f32]) -> Vec<BlockQ8_0> {
    let mut blocks = vec![BlockQ8_0 { d: 0.into(), qs: [0; 32] }; numbers.len() / 32];
    kernels.store_q8_0(numbers, &mut blocks);
    blocks
}

/// What blocks stand for, by the definition of the format.
fn numbers(blocks: &[BlockQ8_0]) -> Vec<f32> {
    let mut numbers = vec![0.0; blocks.len() * 32];
    dequantize(DType::Q8_0, blocks.as_bytes(), &mut numbers).unwrap();
    numbers
}

#[test]
fn eight_bit_blocks_are_within_half_a_step_and_the_same_on_every_set() {
    for scale in [1e-9, 1e-7, 1e-5, 1e-3, 1.0, 4000.0] {
        let x = Numbers(7).take(32 * 64, scale);
        let oracle = blocks(&*scalar(), &x);
        for (x, (block, back)) in x.chunks(32).zip(oracle.iter().zip(numbers(&oracle).chunks(32))) {
            let step = x.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
            // The scale is rounded to a half, which below 2^-14 has steps of 2^-24.
            let d = f16::from_bits(block.d.get()).to_f32();
            assert!((d - step).abs() <= (step * 2f32.powi(-11)).max(2f32.powi(-25)), "{d} for {step}");
            if step > 1e-6 {
                assert!(x.iter().zip(back).all(|(x, y)| (x - y).abs() <= 0.52 * step), "scale {scale}");
            }
        }
        for kernels in all() {
            assert_eq!(blocks(&*kernels, &x).as_bytes(), oracle.as_bytes(), "{}", kernels.name());
        }
    }
    let zero = blocks(&*detect(), &[0.0, -0.0].repeat(16));
    assert_eq!(numbers(&zero), [0.0; 32]);
}

#[test]
fn a_block_with_a_number_that_is_not_finite_is_not_finite() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9] {
        for at in [0, 15, 16, 31] {
            let mut x = vec![0.5; 96];
            x[32 + at] = poison;
            let oracle = blocks(&*scalar(), &x);
            let back = numbers(&oracle);
            assert!(back[32..64].iter().all(|x| !x.is_finite()), "{poison}");
            assert!(back[..32].iter().chain(&back[64..]).all(|x| (x - 0.5).abs() < 1e-3), "{poison}");
            for kernels in all() {
                assert_eq!(blocks(&*kernels, &x).as_bytes(), oracle.as_bytes(), "{}", kernels.name());
            }
        }
    }
}

/// Ordinary layers, layers whose keys are their values, and sizes that are not multiples of 16.
const DIMS: [[usize; 3]; 8] = [
    [64, 64, 64],
    [32, 128, 128],
    [16, 16, 16],
    [256, 256, 256],
    [128, 512, 512],
    [48, 80, 48],
    [10, 10, 10],
    [8, 36, 36],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_is_its_formula_on_every_set(
        dims in 0..DIMS.len(),
        blocks in 1usize..5,
        base in 0usize..1000,
        spans in prop::collection::vec((0usize..320, 1usize..320, 1usize..4), 1..6),
        seed: u64,
    ) {
        // Spans of every alignment within one turn of the ring, some of them several times in a row.
        let rows = blocks * 64;
        let mut list = Vec::new();
        for (start, len, times) in spans {
            let start = start % rows;
            let len = 1 + (len - 1) % (rows - start);
            list.extend(vec![base + start..base + start + len; times]);
        }
        Case::new(rows, DIMS[dims], list, seed).check();
    }
}

#[test]
fn every_start_and_length_within_two_blocks() {
    let spans = (0..64).step_by(3).flat_map(|start| (1..=64).step_by(7).map(move |len| 40 + start..40 + start + len));
    Case::new(256, [16, 32, 16], spans.collect(), 1).check();
}

#[test]
fn a_prompt_tile_of_a_sliding_layer_across_the_end_of_the_ring() {
    // Positions 250..266 of a ring of 256 rows with a window of 200, 2 heads.
    let spans = (250..266).flat_map(|position| vec![position - 199..position + 1; 2]).collect();
    Case::new(256, [64, 64, 64], spans, 2).check();
}

#[test]
fn a_prompt_tile_of_a_global_layer_with_8_heads() {
    let spans = (120..127).flat_map(|position| vec![0..position + 1; 8]).collect();
    Case::new(192, [32, 128, 128], spans, 3).check();
}

#[test]
fn rows_outside_of_the_span_do_not_matter() {
    let mut case = Case::new(128, [32, 64, 32], vec![5..20, 5..20, 7..100], 4);
    let before = case.run(&*detect(), false, &mut VectorScratch::default());
    for row in (0..5).chain(100..128) {
        case.keys[row * 32..][..32].fill(f32::NAN);
        case.values[row * 64..][..64].fill(f32::INFINITY);
    }
    for kernels in all() {
        let after = case.run(&*kernels, false, &mut VectorScratch::default());
        assert_eq!(bits(&after), bits(&before), "{}", kernels.name());
    }
}

#[test]
fn nan_and_infinity_inside_of_the_span_are_seen() {
    for poison in [f32::NAN, f32::INFINITY] {
        let mut case = Case::new(128, [32, 64, 32], vec![0..80, 0..70, 80..90], 5);
        case.keys[75 * 32 + 3] = poison;
        case.queries[3] = 1.0;
        for kernels in all() {
            let out = case.run(&*kernels, false, &mut VectorScratch::default());
            let (sees, others) = out.split_at(64);
            assert!(sees.iter().all(|x| x.is_nan()), "{}", kernels.name());
            assert!(others.iter().all(|x| x.is_finite()), "{}", kernels.name());
        }
    }
}

#[test]
fn scratch_that_was_reserved_does_not_grow() {
    let case = Case::new(128, [32, 64, 64], vec![0..80; 11], 8);
    let mut scratch = VectorScratch::default();
    scratch.reserve(11, 64).unwrap();
    let bytes = scratch.bytes();
    assert!(bytes >= 11 * 64 * 4);
    case.run(&*detect(), true, &mut scratch);
    assert_eq!(scratch.bytes(), bytes);
    assert_eq!(scratch.reserve(usize::MAX, 64).unwrap_err().kind(), lemmy_core::ErrorKind::OutOfMemory);
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(64, [16, 16, 16], std::iter::once(0..64).collect(), 6);
    case.queries.iter_mut().for_each(|q| *q *= 1000.0);
    case.check();
}

#[test]
fn sizes_that_do_not_fit_are_refused_by_a_panic_and_not_read() {
    let case = Case::new(64, [16, 32, 16], std::iter::once(0..10).collect(), 7);
    let wrong: [fn(&mut Case); 5] = [
        |case| case.rows = 60,
        |case| case.key_dim = 17,
        |case| case.query_dim = 24,
        |case| case.queries.push(0.0),
        |case| case.values.truncate(case.values.len() - 1),
    ];
    for change in wrong {
        let mut case = case.clone();
        change(&mut case);
        let kernels: Arc<dyn VectorKernels> = detect();
        let run = || case.run(&*kernels, false, &mut VectorScratch::default());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}
