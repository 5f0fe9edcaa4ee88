//! Another library in Rust, with a panic hook of its own.

use std::panic::catch_unwind;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

static PANICS: AtomicI32 = AtomicI32::new(0);

/// Panics inside, once more; how often that was.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> i32 {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| _ = PANICS.fetch_add(1, Ordering::Relaxed))));
    assert!(catch_unwind(|| panic!("on purpose")).is_err());
    PANICS.load(Ordering::Relaxed)
}
