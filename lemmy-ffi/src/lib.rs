//! The C ABI of Lemmy. `include/lemmy.h` is its manual and `docs/abi.md` has its rules.
//!
//! Every export is one call of a guard in `guard`: no panic crosses the boundary, whatever happens inside.
//! Parameters that may be null are `Option<&T>`, which is a pointer in C; structs whose size may differ between the
//! caller's header and this library are raw pointers and go through `versioned`.

mod guard;
pub mod error;
mod text;
mod versioned;
pub mod version;
pub mod model;

// The guard turns panics into errors. With `panic = "abort"` it could not, and the host would die of us.
#[cfg(panic = "abort")]
compile_error!("lemmy-ffi needs panic = \"unwind\": remove panic = \"abort\" from the profile");
