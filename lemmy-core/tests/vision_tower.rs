//! The vision tower against transformers in f32: every tap, the soft tokens, and the language model's logits after
//! pictures. `tests/fixtures/vision/README.md` tells where the numbers come from.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "support/mmproj.rs"]
mod mmproj;

use std::collections::HashMap;
use std::sync::OnceLock;

use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::cpu::kernels::{KernelSet, matmul, vector};
use lemmy_core::gguf::{FileBytes, Value};
use lemmy_core::quant::DType;
use lemmy_core::vision::{Patches, Rgb};
use lemmy_core::{CancelToken, Error, ErrorKind, KvType, Model, Session, ThreadPool};
use mmproj::{Golden, as_type, changed, fixture, largest_difference, text, unpacked};

/// Largest difference of a tap; values of `pooled` are sqrt(width) times larger.
const TAPS: f32 = 2e-5;
const POOLED: f32 = 5e-5;
/// Largest difference of a logit.
const LOGITS: f32 = 1e-4;

fn load(mmproj: Vec<u8>) -> Model {
    try_load(mmproj).unwrap()
}

fn try_load(mmproj: Vec<u8>) -> Result<Model, Error> {
    let pool = ThreadPool::new(2).unwrap();
    Model::builder_from_bytes(FileBytes::Owned(text())).mmproj_bytes(FileBytes::Owned(mmproj)).threads(pool).load()
}

fn bf16() -> Vec<u8> {
    static MMPROJ: OnceLock<Vec<u8>> = OnceLock::new();
    MMPROJ.get_or_init(|| unpacked("mmproj-tiny-mm.gguf.xz")).clone()
}

/// The golden picture A (12 x 9 patches) or B (15 x 12).
fn picture(golden: &Golden, name: &str) -> Patches {
    let (width, height) = if name == "A" { (192, 144) } else { (240, 192) };
    Patches::from_exact(&Rgb { width, height, data: golden.bytes(&format!("{name}.rgb_u8")).to_vec() }).unwrap()
}

fn soft(model: &Model, picture: &Patches) -> Vec<f32> {
    model.vision().unwrap().encode(picture, &CancelToken::new()).unwrap().rows().to_vec()
}

#[test]
fn every_tap_of_float_files_equals_transformers() {
    let golden = Golden::open();
    for dtype in [DType::BF16, DType::F32, DType::F16] {
        let model = load(as_type(bf16(), dtype));
        let mut worst = (0.0f32, String::new());
        for name in ["A", "B"] {
            let mut shown: HashMap<String, Vec<f32>> = HashMap::new();
            let mut tap = |tap: &'static str, layer: Option<u16>, _: usize, values: &[f32]| {
                let tap = match (tap, layer) {
                    ("layer_out", Some(l)) => format!("{name}.layer{l}"),
                    (tap, Some(l)) => format!("{name}.layer{l}.{tap}"),
                    (tap, None) => format!("{name}.{tap}"),
                };
                assert!(shown.insert(tap, values.to_vec()).is_none());
            };
            let vision = model.vision().unwrap();
            vision.encode_tapped(&picture(&golden, name), &mut tap, &CancelToken::new()).unwrap();
            assert_eq!(shown.len(), 4 + 3 * 3, "taps");
            let of_picture: Vec<&String> = shown.keys().filter(|tap| golden.has(tap)).collect();
            assert_eq!(of_picture.len(), if name == "A" { 9 } else { 2 }, "goldens");
            for tap in of_picture {
                let off = largest_difference(&shown[tap], &golden.floats(tap));
                let allowed = if tap.ends_with("pooled") { POOLED } else { TAPS };
                assert!(off <= allowed, "{dtype}: {tap} is off by {off:.1e}");
                if off > worst.0 {
                    worst = (off, tap.clone());
                }
            }
        }
        println!("{dtype}: largest difference {:.1e} ({})", worst.0, worst.1);
    }
}

#[cfg(feature = "vision")]
#[test]
fn a_picture_file_equals_transformers() {
    use lemmy_core::vision::Budget;
    let bytes = std::fs::read(fixture("images/text_1280x720.png")).unwrap();
    let budget = Budget::new(70).unwrap();
    let soft = load(bf16()).vision().unwrap().encode_file(&bytes, budget, &CancelToken::new()).unwrap();
    assert_eq!(soft.len(), 66);
    let off = largest_difference(soft.rows(), &Golden::open().floats("C.soft"));
    assert!(off <= TAPS, "off by {off:.1e}");
}

#[cfg(not(feature = "vision"))]
#[test]
fn a_build_without_decoders_refuses_files_and_says_what_is_missing() {
    use lemmy_core::GenerateOptions;
    use lemmy_core::chat::{Image, Part};
    let bytes = std::fs::read(fixture("images/square_256.png")).unwrap();
    let mut session = load(bf16()).session().context(600).build().unwrap();
    let error = session.begin(vec![Part::Image(Image::from_bytes(bytes))], GenerateOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("feature `vision`"), "{error}");
}

/// Logits of a prompt of the golden, pictures from the tower where their soft tokens stand (id 7).
fn logits(session: &mut Session, ids: &[u32], pictures: &[Vec<f32>]) -> Vec<f32> {
    let mut pictures = pictures.iter();
    let mut logits = Vec::new();
    for run in ids.chunk_by(|a, b| (*a == 7) == (*b == 7)) {
        let rows = if run[0] == 7 {
            let rows = pictures.next().unwrap();
            assert_eq!(rows.len(), run.len() * 256);
            session.forward_soft(rows).unwrap()
        } else {
            session.forward_all(run).unwrap()
        };
        logits.extend(rows.rows().flatten());
    }
    assert!(pictures.next().is_none());
    logits
}

fn session(model: &Model, batch: usize) -> Session {
    model.session().context(256).batch(batch).kv_type(KvType::F32).build().unwrap()
}

#[test]
fn logits_after_pictures_equal_transformers_at_any_batch() {
    let golden = Golden::open();
    let prompts: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture("prompts.json")).unwrap()).unwrap();
    let numbers = |prompt: &str, what: &str| -> Vec<u32> {
        prompts[prompt][what].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
    };
    let model = load(bf16());
    let [a, b] = ["A", "B"].map(|name| soft(&model, &picture(&golden, name)));
    for (name, pictures) in
        [("text", vec![]), ("imgA", vec![a.clone()]), ("imgB", vec![b.clone()]), ("imgAB", vec![a, b])]
    {
        let ids = numbers(name, "ids");
        let whole = logits(&mut session(&model, 64), &ids, &pictures);
        let off = largest_difference(&whole, &golden.floats(&format!("lm.{name}.logits")));
        println!("{name}: largest difference of a logit {off:.1e}");
        assert!(off <= LOGITS, "{name}: logits are off by {off:.1e}");
        let best: Vec<u32> = whole.chunks(256).map(lemmy_conformance::judge::best).collect();
        assert_eq!(best, numbers(name, "argmax"), "{name}");
        for batch in [1, 7, 16] {
            let cut = logits(&mut session(&model, batch), &ids, &pictures);
            assert!(same_bits(&whole, &cut), "{name} in batches of {batch}");
        }
    }
}

#[test]
fn the_largest_picture_enters_a_session_of_small_batches() {
    let model = load(bf16());
    let rows: Vec<f32> = (0..1120 * 256).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let run = |batch: usize| {
        let mut s = model.session().context(1300).batch(batch).build().unwrap();
        s.prefill(&[2, 208, 219], &mut |_, _| {}).unwrap();
        s.forward_soft(&rows).unwrap();
        assert_eq!(s.tokens().len(), 1123);
        s.forward(&[9, 47]).unwrap().last().to_vec()
    };
    assert!(same_bits(&run(32), &run(1123)));
    let mut small = model.session().context(500).batch(32).build().unwrap();
    assert!(matches!(small.forward_soft(&rows), Err(Error::Argument { name: "rows", .. })));
}

#[test]
fn threads_and_instruction_sets_do_not_change_a_bit() {
    let golden = Golden::open();
    let b = picture(&golden, "B");
    let reference = soft(&load(bf16()), &b);
    let with = |threads: usize, kernels: KernelSet| {
        let backend = CpuBackend::with_kernels(ThreadPool::new(threads).unwrap(), kernels);
        let text = FileBytes::Owned(text());
        let mmproj = FileBytes::Owned(bf16());
        let model = Model::builder_from_bytes(text).mmproj_bytes(mmproj).backend(backend).load().unwrap();
        soft(&model, &b)
    };
    for threads in [1, 3, 8] {
        assert!(same_bits(&with(threads, KernelSet::detect()), &reference), "{threads} threads");
    }
    for set in vector::all() {
        let name = set.name();
        let kernels = KernelSet { matmul: matmul::detect(), vector: set };
        assert!(same_bits(&with(2, kernels), &reference), "{name}");
    }
}

#[test]
fn quantised_files_are_exact_to_their_own_numbers_and_near_to_the_floats() {
    let float = mmproj::random_tower(288, 320, 2, DType::F32);
    let quantised = mmproj::random_tower(288, 320, 2, DType::Q8_0);
    let same = as_type(quantised.clone(), DType::F32);
    let golden = Golden::open();
    let a = picture(&golden, "A");
    let [float, quantised, same] = [float, quantised, same].map(|file| soft(&load(file), &a));
    assert!(same_bits(&quantised, &same));
    let rms = (float.iter().map(|x| x * x).sum::<f32>() / float.len() as f32).sqrt();
    let off = largest_difference(&quantised, &float) / rms;
    println!("q8_0: largest difference {off:.1e} of the rms of the soft tokens");
    assert!(off > 1e-4 && off < 0.1, "{off}");
}

#[test]
fn a_cancelled_picture_stops_and_the_next_one_is_whole() {
    let model = load(bf16());
    let vision = model.vision().unwrap();
    let a = picture(&Golden::open(), "A");
    let token = CancelToken::new();
    let mut last = None;
    let mut tap = |name: &'static str, layer: Option<u16>, _: usize, _: &[f32]| {
        if layer == Some(1) {
            token.cancel();
        }
        last = Some((name, layer));
    };
    assert!(matches!(vision.encode_tapped(&a, &mut tap, &token), Err(Error::Cancelled)));
    assert_eq!(last, Some(("attn", Some(1))));
    assert!(matches!(vision.encode(&a, &token), Err(Error::Cancelled)));
    token.reset();
    vision.encode(&a, &token).unwrap();
}

#[test]
fn memory_is_told_before_it_is_taken() {
    let builder = || Model::builder_from_bytes(FileBytes::Owned(text()));
    let blind = builder().estimate(256).unwrap();
    let seeing = builder().mmproj_bytes(FileBytes::Owned(bf16())).estimate(256).unwrap();
    assert_eq!(blind.picture, 0);
    assert!(seeing.picture > 1 << 20);
    assert!(seeing.weights > blind.weights + 1_600_000 && seeing.engine > blind.engine);
    let limit = |bytes| builder().mmproj_bytes(FileBytes::Owned(bf16())).memory_limit(bytes).load();
    let needed = seeing.weights + seeing.engine;
    assert!(matches!(limit(needed / 2), Err(Error::OutOfMemory { .. })));
}

#[test]
fn files_that_are_no_such_tower_are_refused_by_name() {
    let refused = |file: Vec<u8>, kind: ErrorKind, part: &str| match try_load(file) {
        Ok(_) => panic!("{part}: loaded"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "`{error}` says nothing of {part}");
        }
    };
    let key = |name: &str, value: Value| changed(bf16(), |k, v| if k == name { value.clone() } else { v }, Some);
    let unsupported = ErrorKind::Unsupported;
    refused(text(), unsupported, "gemma4");
    refused(key("clip.vision.projector_type", Value::String("gemma4uv".into())), unsupported, "gemma4uv");
    for (name, value) in [("projection_dim", 128), ("patch_size", 14), ("block_count", 0), ("attention.head_count", 5)]
    {
        refused(key(&format!("clip.vision.{name}"), Value::U32(value)), ErrorKind::Gguf, name);
    }
    refused(key("clip.vision.block_count", Value::U32(4)), ErrorKind::Gguf, "v.blk.3");
    refused(key("clip.vision.feed_forward_length", Value::U32(209)), ErrorKind::Gguf, "ffn_gate");
    for tensor in ["v.patch_embd.weight", "v.position_embd.weight", "v.blk.1.attn_out.weight", "v.std_scale"] {
        let without = changed(bf16(), |_, v| v, |t| (t != tensor).then_some(t));
        refused(without, ErrorKind::Gguf, tensor);
    }
    let clipped = |t: String| Some(if t == "v.std_bias" { "v.blk.0.attn_q.input_min".into() } else { t });
    refused(changed(bf16(), |_, v| v, clipped), unsupported, "clipped");
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
