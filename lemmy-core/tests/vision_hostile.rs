//! Broken pictures and bombs: a typed error or a picture, within bounds of memory, never a panic.

#![cfg(feature = "vision")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use lemmy_core::vision::{Alpha, decode, size};
use lemmy_core::{Error, limits};

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

/// The outcome, and the bytes that it took at most.
fn outcome(bytes: &[u8]) -> (Result<usize, Error>, usize) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let picture = decode(bytes, Alpha::Drop).map(|picture| picture.data.len());
    (picture, PEAK.load(Ordering::Relaxed) - before)
}

fn refused(name: &str, bytes: &[u8]) {
    let (outcome, memory) = outcome(bytes);
    match outcome {
        Err(Error::Image(_) | Error::OutOfMemory { .. }) => {}
        other => panic!("{name}: {other:?}"),
    }
    assert!(memory < 4 << 20, "{name}: {memory} bytes before it was refused");
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vision").join(name)).unwrap()
}

/// The same at other bytes.
fn with(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// A PNG that says it is of another size, with a sound checksum.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let bytes = with(fixture("kinds/rgb.png"), 16, &sizes);
    let crc = bytes[12..29].iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    });
    with(bytes, 29, &(!crc).to_be_bytes())
}

fn bombs() {
    refused("png of 60000 x 60000", &png_of(60_000, 60_000));
    refused("png of 2^31 x 1", &png_of(1 << 31, 1));
    refused("png of nothing", &png_of(0, 40));
    refused("gif of 65535 x 65535", &with(fixture("kinds/rgb.gif"), 6, &[0xff; 4]));
    refused(
        "bmp of 2^31 - 1 squared",
        &with(fixture("kinds/rgb.bmp"), 18, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]),
    );
    refused("bmp of -2^31 rows", &with(fixture("kinds/rgb.bmp"), 22, &i32::MIN.to_le_bytes()));
    let jpeg = fixture("kinds/baseline444.jpg");
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    refused("jpeg of 65535 x 65535", &with(jpeg, frame + 5, &[0xff; 4]));
    let mut canvas = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
    canvas.extend([0xff; 6]);
    refused("webp of 2^24 squared", &canvas);
    refused("nothing", b"");
    refused("text", b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    refused("more bytes than a picture has", &vec![0x89; limits::IMAGE_BYTES + 1]);
    let message = decode(&png_of(60_000, 60_000), Alpha::Drop).unwrap_err().to_string();
    assert!(message.contains("60000 x 60000"), "{message}");

    // 50 million grey pixels in a few kilobytes are a picture, and take no more than they must.
    let mut bomb = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bomb);
    let pixels = vec![0; 50_000_000];
    image::ImageEncoder::write_image(encoder, &pixels, 10_000, 5_000, image::ExtendedColorType::L8).unwrap();
    drop(pixels);
    assert!(bomb.len() < 300_000, "{} bytes", bomb.len());
    let (decoded, memory) = outcome(&bomb);
    assert_eq!(decoded.unwrap(), 150_000_000);
    assert!(memory < 210 << 20, "{memory} bytes");
}

/// Cuts and flips of each file; what is still a picture has the size that its header says.
fn mutants() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vision/kinds");
    let (mut broken, mut sound) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        let cuts = (0..40).map(|i| bytes[..bytes.len() * i / 40].to_vec());
        let step = (bytes.len() * 8 / 300).max(1);
        let flips = (0..bytes.len() * 8).step_by(step | 1).map(|bit| {
            let mut mutant = bytes.clone();
            mutant[bit / 8] ^= 1 << (bit % 8);
            mutant
        });
        let runs = (0..40).map(|i| {
            let at = bytes.len() * i / 40;
            let mut mutant = bytes.clone();
            mutant[at..].iter_mut().take(1 + i % 7).for_each(|byte| *byte = 0xff);
            mutant
        });
        for (i, mutant) in cuts.chain(flips).chain(runs).enumerate() {
            let (outcome, memory) = outcome(&mutant);
            assert!(memory < limits::IMAGE_MEMORY as usize * 2, "{file:?}, mutant {i}: {memory} bytes");
            match outcome {
                Ok(len) => {
                    let (width, height) = size(&mutant).unwrap();
                    assert_eq!(len, width * height * 3, "{file:?}, mutant {i}");
                    sound += 1;
                }
                Err(Error::Image(message)) => {
                    assert!(!message.is_empty());
                    broken += 1;
                }
                Err(Error::OutOfMemory { .. }) => broken += 1,
                Err(other) => panic!("{file:?}, mutant {i}: {other:?}"),
            }
        }
    }
    assert!(broken > 2000 && sound > 500, "{broken} broken, {sound} sound");
}

#[test]
fn bombs_and_mutants() {
    bombs();
    mutants();
}
