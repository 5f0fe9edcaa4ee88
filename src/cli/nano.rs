//! Lemmy Nano: a model of the true architecture for a small world, small enough to be part of the program.

use lemmy_core::gguf::FileBytes;

use super::failure::Result;
use super::output::note;
use super::units::bytes as size;

/// What stands for it where MODEL stands.
pub(crate) const NAME: &str = "nano";

#[cfg(feature = "nano")]
static MODEL: &[u8] = include_bytes!("../../models/lemmy-nano-q8_0.gguf");

/// The bytes of its file.
#[cfg(feature = "nano")]
#[allow(clippy::unnecessary_wraps)] // builds without it have none
pub(crate) fn bytes() -> Result<FileBytes> {
    Ok(FileBytes::Static(MODEL))
}

/// The bytes of its file: there are none.
#[cfg(not(feature = "nano"))]
pub(crate) fn bytes() -> Result<FileBytes> {
    let message = "nano: this build holds no model (expected the cargo feature `nano`)";
    Err(super::failure::Failure::not_found(message).hint("name a file: lemmy run ./model.gguf \"Hello\""))
}

/// Says what it is, so that nobody takes it for the real one.
pub(crate) fn introduce() -> Result<()> {
    let size = size(bytes()?.len() as u64);
    let next = match cfg!(feature = "pull") {
        true => "lemmy pull lemmy, then lemmy run lemmy",
        false => "download a .gguf file of lthn/lemmy-gguf from huggingface.co, then lemmy run ./FILE.gguf",
    };
    note(format_args!("Lemmy Nano, a demonstration model of {size} that knows very little; for the real one: {next}"));
    Ok(())
}
