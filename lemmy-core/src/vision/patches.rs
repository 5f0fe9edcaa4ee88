//! A picture as the vision tower reads it.

use super::decode::Rgb;
use super::layout::{Budget, Layout, PATCH};
use super::resize::resize;
use crate::error::{Error, Result, try_vec};

/// Numbers in a patch: 16 x 16 pixels of three colours.
pub const PATCH_VALUES: usize = PATCH * PATCH * 3;

/// A picture cut into patches: row by row from the top left, each patch its pixels row by row, each pixel red, green,
/// blue, each number `byte / 255`.
#[derive(Clone, PartialEq)]
pub struct Patches {
    layout: Layout,
    values: Vec<f32>,
}

impl Patches {
    /// Resizes a picture to fill its budget and cuts it.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] for a size that [`Layout::new`] refuses; [`Error::OutOfMemory`].
    pub fn new(picture: &Rgb, budget: Budget) -> Result<Self> {
        let layout = Layout::new(picture.width, picture.height, budget)?;
        Self::cut(&resize(picture, layout.width(), layout.height())?, layout)
    }

    /// Cuts a picture as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] unless both sides are multiples of 48 and the picture has at most 1120 soft tokens.
    pub fn from_exact(picture: &Rgb) -> Result<Self> {
        let layout = Layout::exact(picture.width, picture.height)
            .filter(|layout| picture.data.len() == layout.width() * layout.height() * 3);
        let layout = layout.ok_or_else(|| Error::Argument {
            name: "picture",
            reason: format!("found {picture:?}, expected multiples of 48 and at most 1120 squares of that size"),
        })?;
        Self::cut(picture, layout)
    }

    fn cut(picture: &Rgb, layout: Layout) -> Result<Self> {
        const LINE: usize = 3 * PATCH;
        // The true quotient of each byte; a product with 1/255 would be off in the last bit for half of them.
        let quotients: [f32; 256] = std::array::from_fn(|byte| byte as f32 / 255.0);
        let mut values = try_vec(layout.patches() * PATCH_VALUES, 0.0, "the patches of a picture")?;
        let bands = picture.data.chunks_exact(LINE * layout.columns() * PATCH);
        for (band, patches) in bands.zip(values.chunks_exact_mut(PATCH_VALUES * layout.columns())) {
            for (py, row) in band.chunks_exact(LINE * layout.columns()).enumerate() {
                let lines = patches.chunks_exact_mut(LINE).skip(py).step_by(PATCH);
                for (line, pixels) in lines.zip(row.chunks_exact(LINE)) {
                    for (value, &byte) in line.iter_mut().zip(pixels) {
                        *value = quotients.get(usize::from(byte)).copied().unwrap_or_default();
                    }
                }
            }
        }
        Ok(Self { layout, values })
    }

    /// Sizes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// [`PATCH_VALUES`] numbers for each patch.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl std::fmt::Debug for Patches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patches").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_by_row_column_colour() {
        let (width, height) = (96, 48);
        let data: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
        let picture = Rgb { width, height, data };
        let patches = Patches::from_exact(&picture).unwrap();
        assert_eq!(patches.layout().soft_tokens(), 2);
        for (p, py, px, c) in [(0, 0, 0, 0), (7, 3, 15, 2), (17, 15, 1, 1)] {
            let (x, y) = (p % 6 * 16 + px, p / 6 * 16 + py);
            let expected = f32::from(picture.data[(y * width + x) * 3 + c]) / 255.0;
            assert_eq!(patches.values()[p * PATCH_VALUES + (py * 16 + px) * 3 + c], expected);
        }
        assert!(Patches::from_exact(&Rgb { width: 48, height: 47, data: vec![0; 48 * 47 * 3] }).is_err());
    }
}
