//! What a product means, in plain Rust: the oracle of every other set, and their fallback.

mod blocks;

use half::{bf16, f16};

use crate::quant::DType;
use crate::threads::WindowMut;

use super::{ActKind, Acts, MatmulKernels, MatmulScratch, MatrixView, check};
use blocks::Block;

/// Plain Rust, no intrinsics.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

impl MatmulKernels for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn matmul(
        &self,
        w: MatrixView<'_>,
        first_row: usize,
        acts: &Acts,
        tokens: &[u32],
        out: &mut WindowMut<'_, f32>,
        _: &mut MatmulScratch,
    ) {
        check(&w, first_row, acts, tokens, out);
        for c in 0..out.window().cols.len() {
            let row = w.row(first_row + c);
            if acts.kind() == ActKind::F32 {
                for (i, &t) in tokens.iter().enumerate() {
                    out.row(i)[c] = dot_floats(w.dtype(), row, acts.floats(t as usize));
                }
            } else {
                dot_blocks(w.dtype(), row, acts, tokens, c, out);
            }
        }
    }
}

/// A row of blocks times quantised activation vectors, to column `c` of the window.
fn dot_blocks(dtype: DType, row: &[u8], acts: &Acts, tokens: &[u32], c: usize, out: &mut WindowMut<'_, f32>) {
    let len = dtype.block_len();
    let mut block = Block::default();
    (0..tokens.len()).for_each(|i| out.row(i)[c] = 0.0);
    for (b, bytes) in row.chunks_exact(dtype.block_bytes()).enumerate() {
        block.read(dtype, bytes);
        for (i, &t) in tokens.iter().enumerate() {
            let d_x = acts.scales(t as usize)[b];
            let acc = &mut out.row(i)[c];
            *acc = match acts.kind() {
                ActKind::Q16x32 => add_block(&block, &acts.words(t as usize)[b * len..][..len], &[], d_x, *acc),
                _ => {
                    let factors = acts.factors(t as usize).get(b * len / 32..).unwrap_or_default();
                    add_block(&block, &acts.codes(t as usize)[b * len..][..len], factors, d_x, *acc)
                }
            };
        }
    }
}

fn add_block<T: Copy + Into<i32>>(block: &Block, codes: &[T], factors: &[i32], d_x: f32, acc: f32) -> f32 {
    let (mut isum, mut imin) = (0i32, 0i32);
    for (g, a) in codes.as_chunks::<16>().0.iter().enumerate() {
        let q = &block.codes[g * 16..][..16];
        let dot: i32 = q.iter().zip(a).map(|(&q, &a)| i32::from(q) * a.into()).sum();
        let factor = factors.get(g / 2).copied().unwrap_or(1);
        isum += i32::from(block.scales[g]) * factor * dot;
        imin += i32::from(block.mins[g]) * factor * a.iter().map(|&a| a.into()).sum::<i32>();
    }
    let acc = (block.d * d_x).mul_add(isum as f32, acc);
    if block.has_min { (block.m * d_x).mul_add(imin as f32, acc) } else { acc }
}

/// A row of floats times a vector of f32.
fn dot_floats(dtype: DType, row: &[u8], x: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (c, (w, &x)) in row.chunks_exact(dtype.block_bytes()).zip(x).enumerate() {
        sums[c % 16] = read_float(dtype, w).mul_add(x, sums[c % 16]);
    }
    for step in [8, 4, 2, 1] {
        for i in 0..step {
            sums[i] += sums[i + step];
        }
    }
    sums[0]
}

fn read_float(dtype: DType, b: &[u8]) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        DType::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
        _ => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
    }
}
