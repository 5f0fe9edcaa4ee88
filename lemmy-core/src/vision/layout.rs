//! How large a picture becomes, and how many soft tokens that is.

use crate::error::{Error, Result};
use crate::limits;

/// Side of a patch, in pixels.
pub const PATCH: usize = 16;
/// Patches along one side of a soft token.
pub const POOL: usize = 3;
/// Side of a soft token, in pixels.
const TOKEN: usize = PATCH * POOL;

/// Most soft tokens that a picture may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget(u16);

impl Budget {
    /// Every budget that the model was trained for, least first.
    pub const ALL: [Self; 5] = [Self(70), Self(140), Self(280), Self(560), Self(1120)];
    /// The largest.
    pub const MAX: Self = Self(1120);

    /// A budget of 70, 140, 280, 560 or 1120 soft tokens; [`Error::Argument`] for another number.
    pub fn new(soft_tokens: u16) -> Result<Self> {
        Self::ALL.into_iter().find(|budget| budget.0 == soft_tokens).ok_or_else(|| Error::Argument {
            name: "budget",
            reason: format!("found {soft_tokens} soft tokens, allowed 70, 140, 280, 560, 1120"),
        })
    }

    /// Soft tokens.
    pub fn soft_tokens(self) -> usize {
        self.0.into()
    }
}

impl Default for Budget {
    /// 280.
    fn default() -> Self {
        Self(280)
    }
}

/// What becomes of a picture: its new size in pixels, in patches and in soft tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    width: usize,
    height: usize,
}

impl Layout {
    /// The layout of a picture of `width` x `height` pixels under a budget.
    ///
    /// The picture is stretched or shrunk to fill the budget: both sides by the same factor, then down to whole soft
    /// tokens (48 pixels). Where that leaves nothing of the short side it becomes one soft token wide. (Facts:
    /// `get_aspect_ratio_preserving_size` of transformers' Gemma 4, in f64.)
    ///
    /// ```
    /// use lemmy_core::vision::{Budget, Layout};
    ///
    /// let layout = Layout::new(640, 427, Budget::default())?;
    /// assert_eq!((layout.width(), layout.height(), layout.soft_tokens()), (960, 624, 260));
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Image`] if a side is 0 or more than [`limits::IMAGE_SIDE`], or the pixels are more than
    /// [`limits::IMAGE_PIXELS`].
    pub fn new(width: usize, height: usize, budget: Budget) -> Result<Self> {
        check_size(width as u64, height as u64)?;
        let most = budget.soft_tokens() * TOKEN;
        let target = (budget.soft_tokens() * TOKEN * TOKEN) as f64;
        let factor = (target / (width * height) as f64).sqrt();
        let fit = |side: usize| (factor * side as f64 / TOKEN as f64).floor() as usize * TOKEN;
        let (wide, high) = match (fit(width), fit(height)) {
            (_, 0) => ((width / height * TOKEN).min(most), TOKEN),
            (0, _) => (TOKEN, (height / width * TOKEN).min(most)),
            sides => sides,
        };
        Ok(Self { width: wide, height: high })
    }

    /// The layout of a picture that is whole soft tokens already and is to stay as it is.
    pub(crate) fn exact(width: usize, height: usize) -> Option<Self> {
        let whole = |side: usize| side > 0 && side.is_multiple_of(TOKEN);
        let fits = |layout: &Self| layout.soft_tokens() <= Budget::MAX.soft_tokens();
        Some(Self { width, height }).filter(|_| whole(width) && whole(height)).filter(fits)
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Patches from left to right.
    pub fn columns(&self) -> usize {
        self.width / PATCH
    }

    /// Patches from top to bottom.
    pub fn rows(&self) -> usize {
        self.height / PATCH
    }

    /// Patches.
    pub fn patches(&self) -> usize {
        self.columns() * self.rows()
    }

    /// Soft tokens: positions that the picture takes in a context, without the marks before and after it.
    pub fn soft_tokens(&self) -> usize {
        (self.width / TOKEN) * (self.height / TOKEN)
    }
}

/// Refuses a size that no picture has or that would take too much memory.
pub(super) fn check_size(width: u64, height: u64) -> Result<()> {
    let side = 1..=limits::IMAGE_SIDE;
    if !side.contains(&width) || !side.contains(&height) {
        let most = limits::IMAGE_SIDE;
        return Err(Error::Image(format!("found {width} x {height} pixels, allowed 1..={most} on each side")));
    }
    if width * height > limits::IMAGE_PIXELS {
        let most = limits::IMAGE_PIXELS;
        return Err(Error::Image(format!("found {width} x {height} pixels, at most {most} are read")));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn budgets_are_those_of_the_model() {
        assert_eq!(Budget::new(280).unwrap(), Budget::default());
        assert!(matches!(Budget::new(281), Err(Error::Argument { name: "budget", .. })));
        assert_eq!(Budget::ALL.last(), Some(&Budget::MAX));
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for (w, h) in [(0, 5), (5, 0), (65_536, 1), (1, 1 << 40), (65_535, 65_535), (usize::MAX, usize::MAX)] {
            assert!(matches!(Layout::new(w, h, Budget::default()), Err(Error::Image(_))), "{w} x {h}");
        }
    }

    proptest! {
        #[test]
        fn every_picture_fills_its_budget_and_no_more(w in 1usize..=65_535, h in 1usize..=1000, b in 0usize..5) {
            let budget = Budget::ALL.into_iter().nth(b).unwrap();
            let layout = Layout::new(w, h, budget).unwrap();
            prop_assert!((1..=budget.soft_tokens()).contains(&layout.soft_tokens()));
            prop_assert_eq!(layout.patches(), 9 * layout.soft_tokens());
            prop_assert_eq!(Layout::exact(layout.width(), layout.height()), Some(layout));
        }
    }
}
