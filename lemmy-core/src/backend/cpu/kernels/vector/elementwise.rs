//! The operations that go over one or two vectors once or twice.

#![allow(clippy::indexing_slicing)] // Lengths are checked at the start of each kernel.

use half::f16;

use super::isa::{Isa, Kernel, LANES};
use super::math;
use crate::quant::blocks::{Block, BlockQ8_0};

/// See [`norm`](super::VectorKernels::norm).
pub(super) struct Norm<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: Option<&'a [f32]>,
    pub(super) eps: f32,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Norm<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, weight, eps, out } = self;
        assert_eq!(x.len(), out.len());
        let (chunks, rest) = x.as_chunks::<LANES>();
        let mut squares = isa.splat(0.0);
        for chunk in chunks {
            let x = isa.load(chunk);
            squares = isa.fma(x, x, squares);
        }
        let tail = isa.load_part(rest, 0.0);
        squares = isa.fma(tail, tail, squares);
        let scale = 1.0 / (isa.sum(squares) / x.len() as f32 + eps).sqrt();
        let scale = isa.splat(scale);

        let (out, out_rest) = out.as_chunks_mut::<LANES>();
        match weight {
            None => {
                for (out, x) in out.iter_mut().zip(chunks) {
                    isa.store(isa.mul(isa.load(x), scale), out);
                }
                isa.store_part(isa.mul(tail, scale), out_rest);
            }
            Some(weight) => {
                assert_eq!(x.len(), weight.len());
                let (weight, weight_rest) = weight.as_chunks::<LANES>();
                for ((out, x), w) in out.iter_mut().zip(chunks).zip(weight) {
                    isa.store(isa.mul(isa.mul(isa.load(x), scale), isa.load(w)), out);
                }
                let w = isa.load_part(weight_rest, 0.0);
                isa.store_part(isa.mul(isa.mul(tail, scale), w), out_rest);
            }
        }
    }
}

/// See [`gelu_mul`](super::VectorKernels::gelu_mul).
pub(super) struct GeluMul<'a> {
    pub(super) gate: &'a mut [f32],
    pub(super) up: &'a [f32],
}

impl Kernel for GeluMul<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { gate, up } = self;
        map2(isa, gate, up, GeluTimes);
    }
}

/// See [`add_scaled`](super::VectorKernels::add_scaled).
pub(super) struct AddScaled<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) x: &'a [f32],
    pub(super) scale: f32,
}

impl Kernel for AddScaled<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        map2(isa, self.out, self.x, PlusScaled(self.scale));
    }
}

/// See [`softcap`](super::VectorKernels::softcap).
pub(super) struct Softcap<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) cap: f32,
}

impl Kernel for Softcap<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let cap = isa.splat(self.cap);
        let (chunks, rest) = self.x.as_chunks_mut::<LANES>();
        for chunk in chunks {
            isa.store(softcap(isa, isa.load(chunk), cap), chunk);
        }
        isa.store_part(softcap(isa, isa.load_part(rest, 0.0), cap), rest);
    }
}

/// See [`softmax`](super::VectorKernels::softmax).
pub(super) struct Softmax<'a> {
    pub(super) x: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (chunks, rest) = self.x.as_chunks_mut::<LANES>();
        // The lanes beyond the end: e^-inf = 0.
        let tail = isa.load_part(rest, f32::NEG_INFINITY);
        let mut highest = tail;
        for chunk in &*chunks {
            highest = isa.max(highest, isa.load(chunk));
        }
        let highest = isa.splat(isa.greatest(highest));
        let mut total = isa.splat(0.0);
        for chunk in &mut *chunks {
            let e = math::exp(isa, isa.sub(isa.load(chunk), highest));
            total = isa.add(total, e);
            isa.store(e, chunk);
        }
        let tail = math::exp(isa, isa.sub(tail, highest));
        let scale = isa.splat(1.0 / isa.sum(isa.add(total, tail)));
        for chunk in chunks {
            isa.store(isa.mul(isa.load(chunk), scale), chunk);
        }
        isa.store_part(isa.mul(tail, scale), rest);
    }
}

/// See [`rope`](super::VectorKernels::rope).
pub(super) struct Rope<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
}

impl Kernel for Rope<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, cos, sin } = self;
        assert_eq!(cos.len(), sin.len());
        let (low, high) = x.split_at_mut(x.len() / 2);
        let (low, high) = (&mut low[..cos.len()], &mut high[..cos.len()]);
        let (low, low_rest) = low.as_chunks_mut::<LANES>();
        let (high, high_rest) = high.as_chunks_mut::<LANES>();
        let (cos, cos_rest) = cos.as_chunks::<LANES>();
        let (sin, sin_rest) = sin.as_chunks::<LANES>();
        for (((u, w), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            let (a, b) = turn(isa, [isa.load(u), isa.load(w)], isa.load(cos), isa.load(sin));
            isa.store(a, u);
            isa.store(b, w);
        }
        let pair = [isa.load_part(low_rest, 0.0), isa.load_part(high_rest, 0.0)];
        let (a, b) = turn(isa, pair, isa.load_part(cos_rest, 0.0), isa.load_part(sin_rest, 0.0));
        isa.store_part(a, low_rest);
        isa.store_part(b, high_rest);
    }
}

#[inline(always)]
fn turn<I: Isa>(isa: I, [u, w]: [I::V; 2], cos: I::V, sin: I::V) -> (I::V, I::V) {
    let minus_sin = isa.sub(isa.splat(0.0), sin);
    (isa.fma(u, cos, isa.mul(w, minus_sin)), isa.fma(w, cos, isa.mul(u, sin)))
}

/// See [`store_f16`](super::VectorKernels::store_f16).
pub(super) struct StoreF16<'a> {
    pub(super) x: &'a [f32],
    pub(super) out: &'a mut [f16],
}

impl Kernel for StoreF16<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, out } = self;
        assert_eq!(x.len(), out.len());
        let (x, x_rest) = x.as_chunks::<LANES>();
        let (out, out_rest) = out.as_chunks_mut::<LANES>();
        for (out, x) in out.iter_mut().zip(x) {
            isa.store_f16(isa.load(x), out);
        }
        let mut last = [f16::ZERO; LANES];
        isa.store_f16(isa.load_part(x_rest, 0.0), &mut last);
        out_rest.copy_from_slice(&last[..x_rest.len()]);
    }
}

pub(super) struct StoreQ8<'a> {
    pub(super) x: &'a [f32],
    pub(super) out: &'a mut [BlockQ8_0],
}

impl Kernel for StoreQ8<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, out } = self;
        assert_eq!(x.len(), out.len() * BlockQ8_0::LEN);
        for (out, x) in out.iter_mut().zip(x.as_chunks::<{ BlockQ8_0::LEN }>().0) {
            let [low, high] = [isa.load(&x.as_chunks().0[0]), isa.load(&x.as_chunks().0[1])];
            let zero = isa.splat(0.0);
            let greatest = isa.greatest(isa.max(magnitude(isa, low), magnitude(isa, high)));
            // 0 * x is 0 for finite numbers alone. What is not finite comes back as NaN.
            let is_finite = isa.sum(isa.fma(low, zero, isa.mul(high, zero))) == 0.0;
            let scale = if is_finite { f16::from_f32(greatest / 127.0) } else { f16::NAN };
            let inverse = 1.0 / scale.to_f32();
            let inverse = isa.splat(if inverse.is_finite() { inverse } else { 0.0 });
            out.d.set(scale.to_bits());
            let (codes, _) = out.qs.as_chunks_mut::<LANES>();
            isa.store_i8(code(isa, low, inverse), &mut codes[0]);
            isa.store_i8(code(isa, high, inverse), &mut codes[1]);
        }
    }
}

#[inline(always)]
fn magnitude<I: Isa>(isa: I, v: I::V) -> I::V {
    isa.max(v, isa.sub(isa.splat(0.0), v))
}

/// A scale among the smallest halves may be far from the one that was wanted, so a code may be too large.
#[inline(always)]
fn code<I: Isa>(isa: I, v: I::V, inverse: I::V) -> I::V {
    let code = isa.round(isa.mul(v, inverse));
    isa.max(isa.min(code, isa.splat(127.0)), isa.splat(-127.0))
}

#[inline(always)]
fn softcap<I: Isa>(isa: I, x: I::V, cap: I::V) -> I::V {
    isa.mul(cap, math::tanh(isa, isa.div(x, cap)))
}

/// A function of two vectors. (A closure would not reliably become part of the compiled kernel.)
trait Function2: Copy {
    fn of<I: Isa>(self, isa: I, x: I::V, y: I::V) -> I::V;
}

#[derive(Clone, Copy)]
struct GeluTimes;

impl Function2 for GeluTimes {
    #[inline(always)]
    fn of<I: Isa>(self, isa: I, x: I::V, y: I::V) -> I::V {
        isa.mul(math::gelu(isa, x), y)
    }
}

#[derive(Clone, Copy)]
struct PlusScaled(f32);

impl Function2 for PlusScaled {
    #[inline(always)]
    fn of<I: Isa>(self, isa: I, x: I::V, y: I::V) -> I::V {
        isa.fma(isa.splat(self.0), y, x)
    }
}

/// `x = f(x, y)`.
#[inline(always)]
fn map2<I: Isa>(isa: I, x: &mut [f32], y: &[f32], f: impl Function2) {
    assert_eq!(x.len(), y.len());
    let (x, x_rest) = x.as_chunks_mut::<LANES>();
    let (y, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x.iter_mut().zip(y) {
        isa.store(f.of(isa, isa.load(x), isa.load(y)), x);
    }
    isa.store_part(f.of(isa, isa.load_part(x_rest, 0.0), isa.load_part(y_rest, 0.0)), x_rest);
}
