//! `exp` and `tanh` on vectors, the same bits on every instruction set.
//!
//! The polynomials are weighted minimax fits (Remez exchange) of our own; errors are measured in the tests below.

use super::isa::Isa;

/// `e^x`, within 1 ulp of the true value where that is a normal number. 0 below about -103.97, infinity above about
/// 88.72, NaN for NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r = 1 + r + r^2 P(r)`. `ln 2` is cut in two so that `n * LN2_HIGH` is exact.
/// The power of two is applied in two halves, as 2^n alone may be out of range.
#[inline(always)]
pub(super) fn exp<I: Isa>(isa: I, x: I::V) -> I::V {
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const P: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_378, 0.008_368_675, 0.001_381_491_8];
    // `x` stands second, so that NaN stays NaN.
    let x = isa.max(isa.splat(-104.0), isa.min(isa.splat(89.0), x));
    let n = isa.round(isa.mul(x, isa.splat(std::f32::consts::LOG2_E)));
    let r = isa.fma(n, isa.splat(-LN2_HIGH), x);
    let r = isa.fma(n, isa.splat(-LN2_LOW), r);
    let p = polynomial(isa, r, P);
    let e = isa.add(isa.fma(isa.mul(r, r), p, r), isa.splat(1.0));
    let half = isa.round(isa.mul(n, isa.splat(0.5)));
    isa.mul(isa.mul(e, isa.pow2(half)), isa.pow2(isa.sub(n, half)))
}

/// `tanh x`, within 3 ulp. NaN for NaN.
///
/// Small `x`: `x + x^3 Q(x^2)`. Others: `1 - 2 / (e^2x + 1)`, where nothing cancels.
#[inline(always)]
pub(super) fn tanh<I: Isa>(isa: I, x: I::V) -> I::V {
    const Q: [f32; 5] = [-0.333_332_75, 0.133_311_8, -0.053_715_877, 0.020_556_47, -0.005_608_400_3];
    const SMALL_SQUARED: f32 = 0.39;
    let z = isa.mul(x, x);
    let small = isa.fma(isa.mul(x, z), polynomial(isa, z, Q), x);
    let one = isa.splat(1.0);
    let e = exp(isa, isa.add(x, x));
    let large = isa.sub(one, isa.div(isa.splat(2.0), isa.add(e, one)));
    isa.select_less(z, isa.splat(SMALL_SQUARED), small, large)
}

/// The tanh form of GELU: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
///
/// As `1 + tanh y = 2 / (1 + e^-2y)` it is `x / (1 + e^-2y)`, which does not cancel for negative `x`.
#[inline(always)]
pub(super) fn gelu<I: Isa>(isa: I, x: I::V) -> I::V {
    const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    const A: f32 = (-2.0 * SQRT_2_OVER_PI) as f32;
    const B: f32 = A * 0.044_715;
    let y = isa.mul(x, isa.fma(isa.mul(x, x), isa.splat(B), isa.splat(A)));
    isa.div(x, isa.add(isa.splat(1.0), exp(isa, y)))
}

#[inline(always)]
fn polynomial<I: Isa>(isa: I, x: I::V, [c0, c1, c2, c3, c4]: [f32; 5]) -> I::V {
    let p = isa.fma(isa.splat(c4), x, isa.splat(c3));
    let p = isa.fma(p, x, isa.splat(c2));
    let p = isa.fma(p, x, isa.splat(c1));
    isa.fma(p, x, isa.splat(c0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]
mod tests {
    use super::super::isa::{LANES, Portable};
    use super::*;

    /// Every 2039th float of each sign, and the special ones.
    fn floats() -> impl Iterator<Item = f32> {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
        (0..=u32::MAX).step_by(2039).map(f32::from_bits).filter(|x| !x.is_nan()).chain(special)
    }

    fn of(f: impl Fn([f32; LANES]) -> [f32; LANES], x: f32) -> f32 {
        let y = f([x; LANES]);
        assert!(y.iter().all(|lane| lane.to_bits() == y[0].to_bits()));
        y[0]
    }

    /// Distance in units of the last place of the true value; below the normal numbers their place does not shrink.
    fn ulps(found: f32, truth: f64) -> f64 {
        let nearest = truth as f32;
        if found == nearest {
            return 0.0;
        }
        let exponent = truth.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor() as i32;
        (f64::from(found) - truth).abs() / 2f64.powi(exponent - 23)
    }

    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64, range: impl Fn(f32) -> bool) -> (f64, f32) {
        let errors = floats().filter(|&x| range(x)).map(|x| (ulps(f(x), truth(f64::from(x))), x));
        errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    #[test]
    fn exp_is_exact_to_one_ulp_everywhere() {
        let exp = |x| of(|x| exp(Portable, x), x);
        let (ulps, at) = worst(exp, f64::exp, |_| true);
        assert!(ulps <= 1.0, "{ulps} ulps at {at}");
        assert_eq!((exp(0.0), exp(-0.0), exp(f32::NEG_INFINITY), exp(f32::INFINITY)), (1.0, 1.0, 0.0, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_exact_to_three_ulps_everywhere() {
        let tanh = |x| of(|x| tanh(Portable, x), x);
        let (ulps, at) = worst(tanh, f64::tanh, |_| true);
        assert!(ulps <= 3.0, "{ulps} ulps at {at}");
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)), (1.0, -1.0, 0.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    /// Where GELU is small the rounding of its exponent shows, in proportion; the absolute error stays under 3e-8.
    #[test]
    fn gelu_is_exact_to_a_few_ulps_and_saturates() {
        let gelu = |x| of(|x| gelu(Portable, x), x);
        let truth = |x: f64| {
            let y = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x / (1.0 + (-2.0 * y).exp())
        };
        let (ulps, at) = worst(gelu, truth, |x| x > -2.0 && x < f32::MAX);
        assert!(ulps <= 8.0, "{ulps} ulps at {at}");
        for x in floats().filter(|x| (-1e12..=-2.0).contains(x)) {
            let error = (f64::from(gelu(x)) - truth(f64::from(x))).abs();
            assert!(error <= 3e-8, "{error} at {x}");
        }
        assert_eq!((gelu(f32::INFINITY), gelu(1e30), gelu(-1e30)), (f32::INFINITY, 1e30, 0.0));
        assert!(gelu(f32::NAN).is_nan());
    }
}
