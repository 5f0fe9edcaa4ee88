//! What a C program may hand in: messages, texts, sizes of structs and arrays, numbers in options. Pointers are true, as
//! they must be; nothing else is.

#![no_main]
#![allow(missing_docs, unused, unexpected_cfgs)]

// The C ABI is no Rust library, so its modules become this program's.
#[path = "../../lemmy-ffi/src/guard.rs"]
mod guard;
#[path = "../../lemmy-ffi/src/error.rs"]
pub mod error;
#[path = "../../lemmy-ffi/src/value.rs"]
mod value;
#[path = "../../lemmy-ffi/src/handle.rs"]
mod handle;
#[path = "../../lemmy-ffi/src/text.rs"]
mod text;
#[path = "../../lemmy-ffi/src/versioned.rs"]
mod versioned;
#[path = "../../lemmy-ffi/src/buffer.rs"]
pub mod buffer;
#[path = "../../lemmy-ffi/src/answer.rs"]
mod answer;
#[path = "../../lemmy-ffi/src/cancel.rs"]
pub mod cancel;
#[path = "../../lemmy-ffi/src/pool.rs"]
pub mod pool;
#[path = "../../lemmy-ffi/src/image.rs"]
pub mod image;
#[path = "../../lemmy-ffi/src/model.rs"]
pub mod model;
#[path = "../../lemmy-ffi/src/chat.rs"]
pub mod chat;
#[path = "../../lemmy-ffi/src/tokenizer.rs"]
pub mod tokenizer;
#[path = "../../lemmy-ffi/src/sampler.rs"]
pub mod sampler;

use std::ffi::c_char;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lemmy-nano-q8_0.gguf\0");
/// The largest struct that is believed.
const STRUCT: usize = 4096;

/// A model that lives as long as the process.
fn model() -> *mut model::LemmyModel {
    static LOADED: OnceLock<usize> = OnceLock::new();
    *LOADED.get_or_init(|| {
        let mut model = null_mut();
        // SAFETY: the path ends with a NUL, the rest may be null or is ours.
        assert_eq!(unsafe { model::lemmy_model_load(MODEL.as_ptr().cast(), null(), &mut model, null_mut()) }, 0);
        model as usize
    }) as *mut _
}

fuzz_target!(|input: (u8, u16, u32, &[u8])| {
    let (which, size, number, bytes) = input;
    let text: (*const c_char, usize) = (bytes.as_ptr().cast(), bytes.len());
    match which % 6 {
        0 => render(text),
        1 => tokens(text, number, size.into()),
        2 => options(size.into(), bytes),
        3 => facts(size.into(), bytes),
        4 => picture_file(bytes),
        _ => pixels(size, number, bytes),
    }
});

fn render((text, len): (*const c_char, usize)) {
    let (mut buffer, mut error) = (null_mut(), null_mut());
    // SAFETY: the text has so many bytes; the places are ours; what is made is freed once.
    unsafe {
        let status = chat::lemmy_model_render_chat(model(), text, len, null(), &mut buffer, &mut error);
        assert_eq!((status == 0, status == 0), (!buffer.is_null(), error.is_null()));
        assert_ne!(status, 900);
        buffer::lemmy_buffer_free(buffer);
        error::lemmy_error_free(error);
    }
}

fn tokens((text, len): (*const c_char, usize), flags: u32, capacity: usize) {
    let (mut ids, mut count) = (vec![7; capacity], 0);
    // SAFETY: the text has so many bytes, the array so many entries.
    let status = unsafe {
        let ids = ids.as_mut_ptr();
        tokenizer::lemmy_model_tokenize(model(), text, len, flags, ids, capacity, &mut count, null_mut())
    };
    assert!(status != 0 || count <= capacity);
    assert_ne!(status, 900);
}

/// A struct of the caller's, of any size and content.
fn scribbled(size: usize, bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; STRUCT / 8];
    for (word, bytes) in words.iter_mut().skip(1).zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    words[0] = size as u64;
    words
}

fn options(size: usize, bytes: &[u8]) {
    let mut options = scribbled(size, bytes);
    inits(size, &options);
    // The three pointers: what they point to could only be wrong.
    for word in [11, 12, 14] {
        options[word] = 0;
    }
    let mut sampler = null_mut();
    // SAFETY: sizes beyond these bytes are refused, pointers in it are null; the sampler is freed once.
    unsafe {
        let status = sampler::lemmy_sampler_new(options.as_ptr().cast(), &mut sampler, null_mut());
        assert_eq!(status == 0, !sampler.is_null());
        assert_ne!(status, 900);
        sampler::lemmy_sampler_free(sampler);
    }
}

/// Each `_init` function writes a whole struct of a size that it may have, or nothing, and never more.
fn inits(size: usize, before: &[u64]) {
    type Init = unsafe extern "C" fn(*mut u64, usize) -> i32;
    // SAFETY: pointers to whatever struct are passed alike.
    let all: [Init; 5] = unsafe {
        [
            std::mem::transmute(pool::lemmy_pool_options_init as *const ()),
            std::mem::transmute(model::lemmy_model_options_init as *const ()),
            std::mem::transmute(chat::lemmy_chat_options_init as *const ()),
            std::mem::transmute(image::lemmy_image_options_init as *const ()),
            std::mem::transmute(sampler::lemmy_sampler_options_init as *const ()),
        ]
    };
    for init in all {
        let mut out = before.to_vec();
        // SAFETY: sizes beyond these bytes are refused.
        let status = unsafe { init(out.as_mut_ptr(), size) };
        let written = if status == 0 { size.div_ceil(8) } else { 0 };
        assert_eq!(out[written..], before[written..]);
        assert!(status == 0 && out[0] == size as u64 || status == 850);
    }
}

fn facts(size: usize, bytes: &[u8]) {
    let mut out = scribbled(size, bytes);
    let before = out.clone();
    // SAFETY: sizes beyond these bytes are refused.
    let status = unsafe { model::lemmy_model_info(model(), out.as_mut_ptr().cast(), null_mut()) };
    let written = if status == 0 { size.div_ceil(8) } else { 0 };
    assert_eq!(out[written..], before[written..]);
}

fn picture_file(bytes: &[u8]) {
    let mut image = null_mut();
    // SAFETY: so many bytes are there; the picture is released once.
    unsafe {
        let status = image::lemmy_image_from_bytes(bytes.as_ptr(), bytes.len(), null(), &mut image, null_mut());
        assert_eq!(status == 0, !image.is_null());
        assert_ne!(status, 900);
        image::lemmy_image_release(image);
    }
}

fn pixels(size: u16, number: u32, bytes: &[u8]) {
    let [width, height] = size.to_le_bytes().map(u32::from);
    let stride = number as usize;
    // What is promised: as many bytes as these numbers speak of.
    if stride.saturating_mul(height as usize) > bytes.len() {
        return;
    }
    let mut image = null_mut();
    // SAFETY: the pixels are there; the picture is released once.
    unsafe {
        let status = image::lemmy_image_from_rgb(bytes.as_ptr(), width, height, stride, null(), &mut image, null_mut());
        assert_eq!(status == 0, !image.is_null());
        assert_ne!(status, 900);
        image::lemmy_image_release(image);
    }
}
