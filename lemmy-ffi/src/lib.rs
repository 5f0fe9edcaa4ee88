//! The C ABI of Lemmy. `include/lemmy.h` is its manual and `docs/abi.md` has its rules.
//!
//! Every export is one call of a guard in `guard`: no panic crosses the boundary, whatever happens inside.
//!
//! Modules stand in the order in which they may use each other. The first six are what pointers of C become: `handle`
//! for objects, `versioned` for structs whose size may differ between the caller's header and this library, `text` for
//! texts, arrays and answers, `value` for numbers with a meaning. Then comes one module for each object of the header;
//! `answer` has what exports of the same kind share.

mod guard;
pub mod error;
mod value;
mod handle;
mod text;
mod versioned;
pub mod version;
pub mod buffer;
mod answer;
pub mod cancel;
pub mod pool;
pub mod devices;
pub mod image;
pub mod model;
pub mod chat;
pub mod tokenizer;
pub mod decoder;
pub mod sampler;
pub mod session;
pub mod reply;
pub mod generate;
pub mod raw;
pub mod save;
pub mod memory;

// The guard turns panics into errors. With `panic = "abort"` it could not, and the host would die of us.
#[cfg(panic = "abort")]
compile_error!("lemmy-ffi needs panic = \"unwind\": remove panic = \"abort\" from the profile");

// The structs of the header are laid out without padding for pointers of 64 bits.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("lemmy-ffi is laid out for 64-bit machines: others need their padding spelled out in the header");
