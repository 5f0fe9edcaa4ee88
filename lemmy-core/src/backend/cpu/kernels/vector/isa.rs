//! A vector of 16 floats, as each instruction set has it.
//!
//! Values of an [`Isa`] type prove that the CPU has its instructions, so its methods are safe. All methods give the same
//! bits on every set (up to the sign and payload of NaN), the portable one is their definition.

#![allow(clippy::indexing_slicing)] // Fixed arrays of 16, indexed by constants.

use std::fmt::Debug;

use half::f16;

use crate::quant::blocks::BlockQ8_0;

/// Lanes of a vector.
pub(super) const LANES: usize = 16;

/// An instruction set's way of computing with 16 floats at once.
pub(super) trait Isa: Copy + Debug + Send + Sync + 'static {
    /// 16 floats.
    type V: Copy;
    /// Name of the kernel set.
    const NAME: &'static str;
    /// Whether 16 vectors of sums fit into the registers, with some to spare.
    const MANY_REGISTERS: bool;

    /// Compiles a kernel for this set and runs it.
    fn run<K: Kernel>(self, kernel: K);

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, out: &mut [f32; LANES]);
    fn load_f16(self, x: &[f16; LANES]) -> Self::V;
    /// Rounds to nearest, ties to even.
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]);
    /// The half of these bits, in every lane.
    fn splat_f16(self, bits: u16) -> Self::V;
    fn load_i8(self, x: &[i8; LANES]) -> Self::V;
    /// Whole numbers from -127 to 127.
    fn store_i8(self, v: Self::V, out: &mut [i8; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`: `b` where one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`: `b` where one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest whole number, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for whole numbers from -126 to 127.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `if a < b { yes } else { no }`.
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Lane `i` of the result is the [`sum`](Self::sum) of `v[i]`.
    fn sums(self, v: [Self::V; LANES]) -> Self::V;

    /// Asks for a cache line; any address will do.
    fn prefetch(self, line: *const u8);

    /// All lanes added: lane `i` and `i + 8`, then `i` and `i + 4`, `i + 2`, `i + 1`.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        fold(self.to_array(v), |a, b| a + b)
    }
    /// The greatest lane, by the tree and the comparison of [`max`](Self::max).
    #[inline(always)]
    fn greatest(self, v: Self::V) -> f32 {
        fold(self.to_array(v), |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; LANES] {
        let mut x = [0.0; LANES];
        self.store(v, &mut x);
        x
    }
    /// Up to 16 numbers, the lanes beyond them `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        let mut whole = [fill; LANES];
        whole[..x.len()].copy_from_slice(x);
        self.load(&whole)
    }
    /// The first `out.len()` lanes, at most 16.
    #[inline(always)]
    fn store_part(self, v: Self::V, out: &mut [f32]) {
        out.copy_from_slice(&self.to_array(v)[..out.len()]);
    }
}

/// An operation that can be compiled for each instruction set.
pub(super) trait Kernel {
    /// Must be `#[inline(always)]`, as everything that it calls with `isa`: it becomes part of a function that is
    /// compiled for that set.
    fn run<I: Isa>(self, isa: I);
}

/// How a cache holds numbers: pieces of one vector or more. A row is a whole number of pieces.
pub(super) trait Element: Copy + Debug {
    /// Vectors in a piece.
    const VECTORS: usize;
    /// One vector of a piece.
    fn load<I: Isa>(&self, isa: I, vector: usize) -> I::V;
}

impl Element for [f32; LANES] {
    const VECTORS: usize = 1;
    #[inline(always)]
    fn load<I: Isa>(&self, isa: I, _vector: usize) -> I::V {
        isa.load(self)
    }
}

impl Element for [f16; LANES] {
    const VECTORS: usize = 1;
    #[inline(always)]
    fn load<I: Isa>(&self, isa: I, _vector: usize) -> I::V {
        isa.load_f16(self)
    }
}

/// `d * q` has at most 11 + 7 significant bits, so it is exact: sums are those of an f32 cache that holds the same numbers.
impl Element for BlockQ8_0 {
    const VECTORS: usize = 2;
    #[inline(always)]
    fn load<I: Isa>(&self, isa: I, vector: usize) -> I::V {
        let (codes, _) = self.qs.as_chunks::<LANES>();
        isa.mul(isa.load_i8(&codes[vector]), isa.splat_f16(self.d.get()))
    }
}

/// Plain Rust: what each operation means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Isa for Portable {
    type V = [f32; LANES];
    const NAME: &'static str = "scalar";
    const MANY_REGISTERS: bool = false;

    fn run<K: Kernel>(self, kernel: K) {
        kernel.run(self);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        *out = v;
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::V {
        x.map(f16::to_f32)
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]) {
        *out = v.map(f16::from_f32);
    }
    #[inline(always)]
    fn splat_f16(self, bits: u16) -> Self::V {
        [f16::from_bits(bits).to_f32(); LANES]
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Self::V {
        x.map(f32::from)
    }
    #[inline(always)]
    fn store_i8(self, v: Self::V, out: &mut [i8; LANES]) {
        *out = v.map(|x| x as i8);
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn pow2(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn sums(self, v: [Self::V; LANES]) -> Self::V {
        v.map(|v| self.sum(v))
    }
    #[inline(always)]
    fn prefetch(self, _line: *const u8) {}
}

/// The fixed tree.
#[inline(always)]
fn fold(mut x: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            x[i] = f(x[i], x[i + half]);
        }
    }
    x[0]
}
