//! Sound containers around unusable models: every key and every tensor that the model needs, absent, mistyped, out of
//! range, misshapen or damaged, gives an error that names it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "support/parts.rs"]
mod parts;

use lemmy_core::gguf::{Array, FileBytes, Value};
use lemmy_core::quant::DType;
use lemmy_core::{Error, Model, Result, ThreadPool};
use parts::{Part, Parts};

fn sound() -> Parts {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    Parts::read(std::fs::read(path).unwrap())
}

/// Loads and evaluates three tokens.
fn run(parts: &Parts) -> Result<Vec<f32>> {
    let pool = ThreadPool::new(1)?;
    let model = Model::builder_from_bytes(FileBytes::Owned(parts.bytes())).threads(pool).load()?;
    let mut session = model.session().context(16).batch(4).build()?;
    let logits = session.forward_all(&[2, 7, 500])?;
    Ok(logits.rows().flatten().copied().collect())
}

/// The error, which must name `what`.
fn refused(parts: &Parts, what: &str, case: &str) -> Error {
    let error = match run(parts) {
        Err(error) => error,
        Ok(_) => panic!("{what}, {case}: accepted"),
    };
    assert!(error.to_string().contains(what), "{what}, {case}: the error does not name it: {error}");
    error
}

fn runs(parts: &Parts, case: &str) {
    let logits = run(parts).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(logits.iter().all(|l| l.is_finite()), "{case}");
}

#[test]
fn a_file_put_together_again_is_sound() {
    runs(&sound(), "unchanged");
}

#[test]
fn integer_keys() {
    let sound = sound();
    for key in [
        "gemma4.block_count",
        "gemma4.context_length",
        "gemma4.embedding_length",
        "gemma4.feed_forward_length",
        "gemma4.attention.head_count",
        "gemma4.attention.head_count_kv",
        "gemma4.attention.key_length",
        "gemma4.attention.key_length_swa",
        "gemma4.attention.sliding_window",
        "gemma4.expert_used_count",
        "gemma4.expert_feed_forward_length",
    ] {
        assert!(matches!(refused(&sound.without(key), key, "absent"), Error::Gguf { .. }));
        let bad: [(&str, Value); 8] = [
            ("0", 0u32.into()),
            ("-1", (-1i32).into()),
            ("least i64", i64::MIN.into()),
            ("greatest u32", u32::MAX.into()),
            ("greatest u64", u64::MAX.into()),
            ("a float", 4.0f32.into()),
            ("a string", "4".into()),
            ("an array of strings", Array::from_strings(["4"]).into()),
        ];
        for (case, value) in bad {
            assert!(matches!(refused(&sound.with(key, value), key, case), Error::Gguf { .. }));
        }
    }
}

/// A value length or a number of turning dims that is not the head's size, and parts of the family that this build does
/// not run.
#[test]
fn optional_integer_keys() {
    let sound = sound();
    for key in [
        "gemma4.attention.value_length",
        "gemma4.attention.value_length_swa",
        "gemma4.rope.dimension_count",
        "gemma4.rope.dimension_count_swa",
        "gemma4.attention.shared_kv_layers",
        "gemma4.embedding_length_per_layer_input",
    ] {
        runs(&sound.without(key), key);
        for value in [Value::from(2u32), u64::MAX.into(), (-1i32).into(), "64".into(), 64.0f32.into()] {
            refused(&sound.with(key, value.clone()), key, &format!("{value:?}"));
        }
    }
}

#[test]
fn float_keys() {
    let sound = sound();
    for (key, optional) in [
        ("gemma4.attention.layer_norm_rms_epsilon", false),
        ("gemma4.rope.freq_base", false),
        ("gemma4.rope.freq_base_swa", false),
        ("gemma4.final_logit_softcapping", true),
    ] {
        if optional {
            runs(&sound.without(key), key);
        } else {
            refused(&sound.without(key), key, "absent");
        }
        let floats = [0.0f32, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(Value::from);
        let others = [Value::from(1e300f64), "1".into(), Array::from(&[1.0f32][..]).into()];
        for value in floats.into_iter().chain(others) {
            refused(&sound.with(key, value.clone()), key, &format!("{value:?}"));
        }
    }
}

#[test]
fn arrays_have_exactly_the_length_of_the_layers() {
    let sound = sound();
    for len in [0, 1, 5, 7, 1000] {
        let case = format!("{len} elements");
        let key = "gemma4.attention.head_count_kv";
        refused(&sound.with(key, Array::from(&vec![1i32; len][..])), key, &case);
        let key = "gemma4.attention.sliding_window_pattern";
        refused(&sound.with(key, Array::from(&vec![true; len][..])), key, &case);
    }
    let key = "gemma4.attention.head_count_kv";
    for bad in [0, -1, 3, i32::MAX] {
        refused(&sound.with(key, Array::from(&[2, 2, 2, 2, 2, bad][..])), key, &format!("{bad} in an array"));
    }
}

#[test]
fn llama_cpp_25821_block_count_0_and_more_than_the_file_has() {
    let sound = sound();
    refused(&sound.with("gemma4.block_count", 0u32), "gemma4.block_count", "0");
    refused(&sound.with("gemma4.block_count", 1025u32), "gemma4.block_count", "1025");
    let more = sound
        .with("gemma4.block_count", 7u32)
        .with("gemma4.attention.head_count_kv", 1u32)
        .with("gemma4.attention.sliding_window_pattern", Array::from(&[false; 7][..]));
    assert!(matches!(run(&more), Err(Error::Gguf { .. })));
}

#[test]
fn cve_2025_0312_head_count_0() {
    refused(&sound().with("gemma4.attention.head_count", 0u32), "gemma4.attention.head_count", "0");
}

#[test]
fn heads_that_the_kv_heads_do_not_divide() {
    refused(&sound().with("gemma4.attention.head_count_kv", 3u32), "gemma4.attention.head_count_kv", "3 of 4");
}

#[test]
fn more_experts_used_than_there_are() {
    refused(&sound().with("gemma4.expert_used_count", 11u32), "gemma4.expert_used_count", "11 of 10");
}

#[test]
fn other_architectures() {
    let error = refused(&sound().with("general.architecture", "llama"), "llama", "another architecture");
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    refused(&sound().without("general.architecture"), "general.architecture", "absent");
    refused(&sound().with("general.architecture", 4u32), "general.architecture", "a number");
}

#[test]
fn every_tensor_absent() {
    let sound = sound();
    for Part { name, .. } in &sound.tensors {
        let absent = sound.with_tensor(name, |_| None);
        let optional = ["rope_freqs.weight", "ffn_down_exps.scale", "layer_output_scale.weight"];
        if optional.iter().any(|end| name.ends_with(end)) {
            runs(&absent, name);
        } else {
            // A joined tensor is missed under the name of its first part.
            let missed = name.replace("gate_up", "gate");
            assert!(matches!(refused(&absent, &missed, "absent"), Error::Gguf { .. }));
        }
    }
}

#[test]
fn every_tensor_with_another_shape() {
    let sound = sound();
    for Part { name, .. } in &sound.tensors {
        let change = |f: fn(&mut Vec<u64>)| {
            sound.with_tensor(name, |mut part| {
                f(&mut part.shape);
                Some(part)
            })
        };
        let last = |shape: &mut Vec<u64>| *shape.last_mut().unwrap() += 1;
        refused(&change(last), name, "one more");
        refused(&change(|shape| shape.push(2)), name, "one dimension more");
        if sound.tensors.iter().any(|t| t.name == *name && t.shape.len() > 1) {
            refused(&change(|shape| shape.truncate(1)), name, "one row");
        }
    }
}

#[test]
fn every_tensor_with_a_type_that_it_cannot_have() {
    let sound = sound();
    for Part { name, shape, .. } in &sound.tensors {
        for dtype in [DType::I32, DType::F64, DType::I8] {
            let changed = sound.with_tensor(name, |part| Some(Part { dtype, ..part }));
            refused(&changed, name, dtype.name());
        }
        // Norms, scales and the router are floats in every file.
        if (shape.len() == 1 || name.ends_with("gate_inp.weight")) && shape[0] % 32 == 0 {
            let changed = sound.with_tensor(name, |part| Some(Part { dtype: DType::Q8_0, ..part }));
            refused(&changed, name, "Q8_0");
        }
    }
}

/// A strange file, but a sound one: its global layers know no positions.
#[test]
fn rope_factors_that_turn_no_pair() {
    let still = sound().with_tensor("rope_freqs.weight", |mut part| {
        part.data = 1e30f32.to_le_bytes().repeat(64);
        Some(part)
    });
    runs(&still, "factors of 1e30");
}

/// All bits set: NaN as a number and as a block's scale. Vectors are refused when they are loaded, matrices when they
/// are used.
#[test]
fn every_tensor_full_of_nan() {
    let sound = sound();
    for Part { name, shape, .. } in &sound.tensors {
        let damaged = sound.with_tensor(name, |mut part| {
            part.data.fill(0xff);
            Some(part)
        });
        if shape.len() == 1 {
            refused(&damaged, name, "NaN");
        } else {
            let error = run(&damaged).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Numeric { .. }), "{name}: {error}");
            let layer = name.strip_prefix("blk.").map_or(0, |rest| rest[..1].parse().unwrap());
            let found = if let Error::Numeric { layer, .. } = error { layer } else { None };
            assert!(found.is_none_or(|found| found == layer), "{name}: found in layer {found:?}");
        }
    }
}
