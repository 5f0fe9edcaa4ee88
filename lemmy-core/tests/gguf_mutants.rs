//! Tens of thousands of damaged files: each is opened with a typed error or can be read through and through, within
//! bounds of time and memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lemmy_core::Error;
use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter};
use lemmy_core::quant::DType;

#[path = "support/mutate.rs"]
mod mutate;

use mutate::Mutants;

/// Counts bytes that are allocated, to find the peak. The only test of this program runs alone.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the same arguments; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise; the pointer came from `System.alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Beyond the file, for opening and reading one mutant.
const MOST_MEMORY: usize = 64 << 20;
const MOST_TIME: Duration = Duration::from_secs(1);

#[test]
fn mutants_are_refused_or_sound() {
    let (mut mutants, mut opened, mut largest, mut slowest) = (0, 0, 0, Duration::ZERO);
    for (number, seed) in seeds().iter().enumerate() {
        assert!(read_through(seed.clone()).is_ok(), "seed {number} is sound");
        let all = Mutants::new(seed, number as u64);
        for i in 0..all.len() {
            let (name, bytes) = all.get(i);
            let before = NOW.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let start = Instant::now();
            let outcome = read_through(bytes);
            let (time, memory) = (start.elapsed(), PEAK.load(Ordering::Relaxed) - before);
            assert!(time < MOST_TIME, "seed {number}, mutant {name}: {time:?}");
            assert!(memory < MOST_MEMORY, "seed {number}, mutant {name}: {memory} bytes");
            (largest, slowest) = (largest.max(memory), slowest.max(time));
            match outcome {
                Ok(()) => opened += 1,
                Err(e) => check_error(&e, &format!("seed {number}, mutant {name}")),
            }
            mutants += 1;
        }
    }
    println!("{mutants} mutants, {opened} opened; most memory {largest} bytes, longest time {slowest:?}");
    assert!(mutants >= 5_000);
    assert!(opened > mutants / 100, "mutants get past the header: {opened} of {mutants}");
    assert!(opened < mutants * 9 / 10, "mutants are noticed: {opened} of {mutants} opened");
}

/// Opens a file and reads all that is in it.
fn read_through(bytes: Vec<u8>) -> Result<(), Error> {
    let file_len = bytes.len() as u64;
    let gguf = Gguf::from_bytes(FileBytes::Owned(bytes))?;
    for (key, value) in gguf.keys() {
        assert!(std::ptr::eq(gguf.get(key).unwrap(), value));
        if let Some(array) = value.as_array() {
            read_array(array);
        }
    }
    let mut ends = Vec::new();
    for tensor in gguf.tensors() {
        assert_eq!(gguf.tensor(&tensor.name), Some(tensor));
        assert!(tensor.offset + tensor.bytes <= file_len);
        assert_eq!(gguf.tensor_bytes(tensor).len() as u64, tensor.bytes);
        assert_eq!(
            tensor.numbers() / tensor.dtype.block_len() as u64 * tensor.dtype.block_bytes() as u64,
            tensor.bytes
        );
        ends.push((tensor.offset, tensor.offset + tensor.bytes));
    }
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "disjoint");
    Ok(())
}

fn read_array(array: &Array) {
    let counts = [
        array.strings().map(|items| items.map(<[u8]>::len).count()),
        array.integers().map(|items| items.map(std::hint::black_box).count()),
        array.floats().map(|items| items.map(std::hint::black_box).count()),
    ];
    assert!(counts.iter().flatten().all(|&n| n == array.len()));
    assert!(counts.iter().any(Option::is_some));
}

fn check_error(error: &Error, name: &str) {
    assert!(matches!(error, Error::Gguf { .. }), "{name}: {error:?}");
    let text = error.to_string();
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{name}: {text}");
    assert!(text.contains("expected") || text.contains("missing"), "{name}: {text}");
}

/// Small files that together have every type of value and many types of tensors.
fn seeds() -> Vec<Vec<u8>> {
    let mut all_values = GgufWriter::new();
    all_values.key("general.architecture", "gemma4").key("u8", 1u8).key("i8", -1i8).key("u16", 300u16);
    all_values.key("i16", -300i16).key("u32", 70_000u32).key("i32", -70_000i32).key("f32", 1e-6f32).key("bool", true);
    all_values.key("u64", 1u64 << 40).key("i64", -(1i64 << 40)).key("f64", 30.0f64).key("general.alignment", 64u32);
    all_values.key("strings", Array::from_strings(["<pad>", "", "a", "\u{2581}the", "x y"]));
    all_values.key("i32s", Array::from(&[8, 8, 2, 2, -1][..])).key("bools", Array::from(&[true, false, true][..]));
    all_values.key("f32s", Array::from(&[-1000f32, 0.0][..])).key("none", Array::from(&[0u64; 0][..]));
    all_values.tensor("norm", DType::F32, &[7]).unwrap();
    all_values.tensor("matrix", DType::BF16, &[8, 5]).unwrap();
    all_values.tensor("experts", DType::Q8_0, &[32, 2, 3]).unwrap();

    let mut many_types = GgufWriter::new();
    many_types.key("general.architecture", "gemma4").key("split.no", 0u16).key("split.count", 1u16);
    many_types.key("split.tensors.count", DType::ALL.len() as i32);
    for dtype in DType::ALL {
        many_types.tensor(format!("{dtype}"), *dtype, &[dtype.block_len() as u64, 1, 1, 2]).unwrap();
    }

    let mut tokenizer = GgufWriter::new();
    tokenizer.key("general.architecture", "gemma4").key("tokenizer.ggml.model", "gemma4");
    tokenizer.key("tokenizer.ggml.tokens", Array::from_strings((0..60).map(|i| format!("t{i}"))));
    tokenizer.key("tokenizer.ggml.token_type", Array::from(&[1i32; 60][..]));

    [all_values, many_types, tokenizer].into_iter().map(finished).collect()
}

/// The file, with tensors of a pattern.
fn finished(writer: GgufWriter) -> Vec<u8> {
    let mut data = writer.begin(Vec::new()).unwrap();
    while let Some(bytes) = data.current().map(|t| t.bytes) {
        data.write(&vec![0x3c; bytes as usize]).unwrap();
    }
    data.finish().unwrap()
}
