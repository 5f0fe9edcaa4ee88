//! What numbers in options mean.

use crate::error::Failure;

/// `LEMMY_DEFAULT`.
pub(crate) const DEFAULT: u32 = u32::MAX;
/// `LEMMY_DEFAULT_64`.
pub(crate) const DEFAULT_64: u64 = u64::MAX;
/// `LEMMY_ALL_TOKENS`.
pub(crate) const ALL_TOKENS: u32 = u32::MAX - 1;
/// `LEMMY_NO_TOKEN`.
pub(crate) const NO_TOKEN: u32 = u32::MAX;

/// A number that may be left to the library.
pub(crate) fn set(value: u32) -> Option<u32> {
    (value != DEFAULT).then_some(value)
}

/// The same, with 64 bits.
pub(crate) fn set_64(value: u64) -> Option<u64> {
    (value != DEFAULT_64).then_some(value)
}

/// 0 or 1.
pub(crate) fn flag(name: &'static str, value: u32) -> Result<bool, Failure> {
    choice(name, value, &[false, true])
}

/// One of several, by its number.
pub(crate) fn choice<T: Copy>(name: &'static str, value: u32, all: &[T]) -> Result<T, Failure> {
    let found = all.get(value as usize).copied();
    found
        .ok_or_else(|| Failure::argument(name, format!("found {value}, expected 0 to {}", all.len().saturating_sub(1))))
}

/// A sum of bits.
pub(crate) fn bits(name: &'static str, value: u32, known: u32) -> Result<u32, Failure> {
    match value & !known {
        0 => Ok(value),
        unknown => Err(Failure::argument(name, format!("found the unknown bits {unknown:#x}"))),
    }
}

/// A count of the interface as one of this machine.
pub(crate) fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
