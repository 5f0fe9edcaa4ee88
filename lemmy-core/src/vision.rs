//! Pictures: from a file's bytes to the patches that the vision tower reads.
//!
//! [`Layout`] says how large a picture becomes and how many soft tokens it takes: the one place where that is worked
//! out. [`decode`] turns bytes into pixels (feature `vision`), [`Patches::new`] resizes and cuts them, [`SoftCache`]
//! keeps what the tower made of them. The tower itself is [`plan::VisionPlan`](crate::plan::VisionPlan).

#![forbid(unsafe_code)]

mod cache;
#[cfg(feature = "vision")]
mod convert;
mod decode;
mod layout;
mod patches;
mod resize;

pub use self::cache::{ImageKey, SoftCache, SoftTokens};
pub use self::decode::{Alpha, Rgb, decode, size};
pub use self::layout::{Budget, Layout, PATCH, POOL};
pub use self::patches::{PATCH_VALUES, Patches};
pub use self::resize::resize;
