//! What the real vocabulary costs. A binary of its own: it counts every allocation.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lemmy_core::{Special, Tokenizer};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call on to the system's allocator unchanged and only counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from `System.alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MB: usize = 1_000_000;

/// 262,144 tokens and 514,906 merges.
#[test]
fn the_real_vocabulary_holds_less_than_64_mb() {
    let gguf = vocabulary::gguf();
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let (held, peak) = (LIVE.load(Relaxed) - before, PEAK.load(Relaxed) - before);
    println!("held {:.1} MB, while building {:.1} MB", held as f64 / MB as f64, peak as f64 / MB as f64);
    assert!(held < 64 * MB, "{held} bytes held");
    assert!(peak < 64 * MB, "{peak} bytes while building");

    // Encoding keeps nothing, and a short text needs little.
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    drop(tokenizer.encode("Why is the sky blue?", Special::Parse));
    assert_eq!(LIVE.load(Relaxed), before);
    assert!(PEAK.load(Relaxed) - before < 4096);
}
