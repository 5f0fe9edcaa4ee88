//! Pillow's bicubic resampling, bit by bit: integer weights, the horizontal pass first, each pass rounded to bytes.

use super::decode::Rgb;
use crate::error::{Error, Result, try_vec};

/// Bits after the point of the weights.
const BITS: u32 = 22;

/// The picture in another size, stretched to it.
///
/// # Errors
///
/// [`Error::Argument`] if a side is 0 or `picture.data` is not as long as its sides say; [`Error::OutOfMemory`].
pub fn resize(picture: &Rgb, width: usize, height: usize) -> Result<Rgb> {
    let sides = [picture.width, picture.height, width, height];
    let bytes = picture.width.checked_mul(picture.height).and_then(|pixels| pixels.checked_mul(3));
    if sides.contains(&0) || bytes != Some(picture.data.len()) {
        let reason = format!("{picture:?} of {} bytes to {width} x {height}", picture.data.len());
        return Err(Error::Argument { name: "picture", reason });
    }
    let across;
    let wide = if picture.width == width {
        picture
    } else {
        across = horizontal(picture, width)?;
        &across
    };
    if wide.height == height { Ok(wide.clone()) } else { vertical(wide, height) }
}

/// The weights of the pixels `first..first + weights.len()` in one pixel of the result.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of every pixel of a side of `to` pixels that had `from`.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let spread = scale.max(1.0);
    let support = 2.0 * spread;
    let narrow = 1.0 / spread;
    let one = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        // Casts cut the fraction off, and make what is below 0 a 0.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let shares: Vec<f64> = (first..end).map(|j| cubic((j as f64 - center + 0.5) * narrow)).collect();
        // In order, as the rounding of the sum counts.
        let sum = shares.iter().fold(0.0, |sum, share| sum + share);
        let fixed = |share: &f64| (share / sum * f64::from(1 << BITS) + 0.5f64.copysign(*share)) as i32;
        Taps { first, weights: shares.iter().map(fixed).collect() }
    };
    (0..to).map(one).collect()
}

/// Keys' cubic convolution kernel with a = -1/2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn horizontal(from: &Rgb, width: usize) -> Result<Rgb> {
    let taps = taps(from.width, width);
    let mut data = try_vec(width * from.height * 3, 0, "a picture in another width")?;
    let rows = from.data.chunks_exact(3 * from.width).zip(data.chunks_exact_mut(3 * width));
    for (from, to) in rows {
        let pixels = from.as_chunks::<3>().0;
        for (taps, to) in taps.iter().zip(to.as_chunks_mut::<3>().0) {
            let pixels = pixels.get(taps.first..).unwrap_or_default();
            let mut sums = [HALF; 3];
            for (weight, pixel) in taps.weights.iter().zip(pixels) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(value);
                }
            }
            *to = sums.map(byte);
        }
    }
    Ok(Rgb { width, height: from.height, data })
}

fn vertical(from: &Rgb, height: usize) -> Result<Rgb> {
    let row_len = 3 * from.width;
    let mut data = try_vec(row_len * height, 0, "a picture in another height")?;
    let mut sums = try_vec(row_len, 0, "a row of sums")?;
    for (taps, to) in taps(from.height, height).iter().zip(data.chunks_exact_mut(row_len)) {
        sums.fill(HALF);
        let rows = from.data.chunks_exact(row_len).skip(taps.first);
        for (weight, row) in taps.weights.iter().zip(rows) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(value);
            }
        }
        for (to, &sum) in to.iter_mut().zip(&sums) {
            *to = byte(sum);
        }
    }
    Ok(Rgb { width: from.width, height, data })
}

/// So that the shift rounds. Sums stay within 32 bits: the weights' magnitudes add up to less than 1.5.
const HALF: i32 = 1 << (BITS - 1);

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn weights_are_one_together_and_cannot_overflow(from in 1usize..3000, to in 1usize..3000) {
            for taps in taps(from, to) {
                let sum: i64 = taps.weights.iter().map(|&w| i64::from(w)).sum();
                let all: i64 = taps.weights.iter().map(|&w| i64::from(w).abs()).sum();
                prop_assert!((sum - (1 << BITS)).abs() <= taps.weights.len() as i64);
                prop_assert!(255 * all + i64::from(HALF) <= i64::from(i32::MAX));
                prop_assert!(taps.first + taps.weights.len() <= from);
            }
        }

        #[test]
        fn one_colour_stays_that_colour(w in 1usize..40, h in 1usize..40, to_w in 1usize..90, to_h in 1usize..90, c: u8) {
            let picture = Rgb { width: w, height: h, data: vec![c; w * h * 3] };
            let resized = resize(&picture, to_w, to_h).unwrap();
            prop_assert_eq!(resized.data, vec![c; to_w * to_h * 3]);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let picture = Rgb { width: 2, height: 2, data: vec![0; 11] };
        assert!(matches!(resize(&picture, 1, 1), Err(Error::Argument { .. })));
        let picture = Rgb { width: 2, height: 2, data: vec![0; 12] };
        assert!(matches!(resize(&picture, 0, 1), Err(Error::Argument { .. })));
    }
}
