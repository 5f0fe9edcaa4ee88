//! The seam of the vision tower: a [`VisionPlan`](crate::plan::VisionPlan) and its weights go in, a [`VisionEngine`]
//! comes out.

#![forbid(unsafe_code)]

use super::Tap;
use crate::error::Result;
use crate::threads::CancelToken;
use crate::vision::{Layout, Patches, SoftTokens};

/// A compiled tower. Pictures are looked at one at a time; several threads may do so at once.
pub trait VisionEngine: Send + Sync {
    /// Bytes held beside the file's.
    fn bytes(&self) -> u64;
    /// Working memory that a picture of this layout takes while it is looked at.
    fn scratch(&self, layout: Layout) -> u64;
    /// A picture's soft tokens. `tap` sees every step's output; [`Error::Cancelled`](crate::Error::Cancelled) soon after
    /// `cancel` is triggered.
    fn encode(&self, picture: &Patches, tap: Option<&mut Tap<'_>>, cancel: &CancelToken) -> Result<SoftTokens>;
}
