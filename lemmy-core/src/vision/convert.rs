//! Every kind of pixel to RGB, and EXIF's eight ways of holding a camera.

use image::ColorType;
use image::metadata::Orientation;

use super::decode::{Alpha, Rgb};
use crate::error::{Result, try_vec};

/// 8-bit RGB of a decoder's bytes (numbers of 16 bits in the machine's order); `None` for a kind that no format here has.
pub(super) fn to_rgb(mut raw: Vec<u8>, color: ColorType, alpha: Alpha) -> Option<Vec<u8>> {
    let channels = usize::from(color.channel_count());
    match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {}
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => keep_high_bytes(&mut raw),
        _ => return None,
    }
    if alpha == Alpha::White && color.has_alpha() {
        raw.chunks_exact_mut(channels).for_each(on_white);
    }
    match channels {
        3 => Some(raw),
        4 => {
            drop_fourth(&mut raw);
            Some(raw)
        }
        _ => {
            let mut rgb = try_vec(raw.len() / channels * 3, 0, "a picture").ok()?;
            for (from, to) in raw.chunks_exact(channels).zip(rgb.chunks_exact_mut(3)) {
                to.fill(from.first().copied().unwrap_or_default());
            }
            Some(rgb)
        }
    }
}

fn keep_high_bytes(raw: &mut Vec<u8>) {
    let (words, _) = raw.as_chunks::<2>();
    let bytes: Vec<u8> = words.iter().map(|&word| (u16::from_ne_bytes(word) >> 8) as u8).collect();
    *raw = bytes;
}

/// In place, and shorter by a quarter.
fn drop_fourth(raw: &mut Vec<u8>) {
    let pixels = raw.len() / 4;
    for i in 1..pixels {
        raw.copy_within(4 * i..4 * i + 3, 3 * i);
    }
    raw.truncate(3 * pixels);
}

/// The last number of a pixel is its alpha. Rounding as Pillow's `alpha_composite` has it.
fn on_white(pixel: &mut [u8]) {
    let Some((&mut alpha, colors)) = pixel.split_last_mut() else { return };
    let alpha = u32::from(alpha);
    for color in colors {
        let sum = (u32::from(*color) * alpha + 255 * (255 - alpha) + 128) << 7;
        *color = ((((sum >> 8) + sum) >> 8) >> 7) as u8;
    }
}

pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The picture upright.
pub(super) fn turn(from: Rgb, orientation: Orientation) -> Result<Rgb> {
    use Orientation::{FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270};
    if orientation == NoTransforms {
        return Ok(from);
    }
    let swapped = swaps_sides(orientation);
    let (width, height) = if swapped { (from.height, from.width) } else { (from.width, from.height) };
    let mut data = try_vec(from.data.len(), 0, "a turned picture")?;
    // Turned by 90 degrees clockwise, what was the left edge is the top; the four with a flip mirror left and right
    // afterwards.
    let (right, down) = (from.width.saturating_sub(1), from.height.saturating_sub(1));
    let (from_right, from_bottom) = match orientation {
        Rotate90 | FlipVertical => (false, true),
        Rotate180 => (true, true),
        Rotate270 | Orientation::FlipHorizontal => (true, false),
        Rotate90FlipH => (false, false),
        _ => (true, true),
    };
    for (y, row) in data.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = if swapped { (y, x) } else { (x, y) };
            let (x, y) = (if from_right { right - x } else { x }, if from_bottom { down - y } else { y });
            let at = 3 * (y * from.width + x);
            pixel.copy_from_slice(from.data.get(at..at + 3).unwrap_or_default());
        }
    }
    Ok(Rgb { width, height, data })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Two rows of three pixels, 1 2 3 and 4 5 6.
    fn picture() -> Rgb {
        Rgb { width: 3, height: 2, data: (1..=6).flat_map(|p| [p; 3]).collect() }
    }

    /// What the standard's figure shows for each value of the tag.
    #[test]
    fn all_eight_orientations_stand_upright() {
        for (exif, width, pixels) in [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
        ] {
            let turned = turn(picture(), Orientation::from_exif(exif).unwrap()).unwrap();
            let found: Vec<u8> = turned.data.chunks(3).map(|p| p[0]).collect();
            assert_eq!(
                (turned.width, turned.height, &found[..]),
                (width, 6 / width, &pixels[..]),
                "orientation {exif}"
            );
        }
    }

    #[test]
    fn kinds_of_pixels_become_rgb() {
        let rgb = |raw: &[u8], color, alpha| to_rgb(raw.to_vec(), color, alpha);
        assert_eq!(rgb(&[7, 9], ColorType::L8, Alpha::Drop).unwrap(), [7, 7, 7, 9, 9, 9]);
        assert_eq!(rgb(&[7, 0, 9, 255], ColorType::La8, Alpha::Drop).unwrap(), [7, 7, 7, 9, 9, 9]);
        assert_eq!(rgb(&[7, 0, 9, 255], ColorType::La8, Alpha::White).unwrap(), [255, 255, 255, 9, 9, 9]);
        assert_eq!(rgb(&[1, 2, 3, 0, 4, 5, 6, 9], ColorType::Rgba8, Alpha::Drop).unwrap(), [1, 2, 3, 4, 5, 6]);
        let words: Vec<u8> = [0x1234u16, 0xff00, 0x00ff].iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(rgb(&words, ColorType::Rgb16, Alpha::Drop).unwrap(), [0x12, 0xff, 0]);
        assert_eq!(rgb(&words, ColorType::L16, Alpha::Drop).unwrap(), [0x12, 0x12, 0x12, 255, 255, 255, 0, 0, 0]);
        assert_eq!(rgb(&[0; 12], ColorType::Rgb32F, Alpha::Drop), None);
    }
}
