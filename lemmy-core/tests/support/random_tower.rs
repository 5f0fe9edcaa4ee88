//! A vision tower of any size with random weights, scaled so that activations stay of the order of 1.

use lemmy_core::gguf::{Array, GgufWriter, Value};
use lemmy_core::quant::{DType, quantize};

/// Sizes of a tower. Heads are of 72 numbers.
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    pub(crate) ffn: usize,
    pub(crate) layers: usize,
    pub(crate) positions: usize,
    pub(crate) output: usize,
}

/// An mmproj file whose matrices are of this type; where rows are no whole blocks they are F16, as converters do.
pub(crate) fn random_tower(s: &Sizes, dtype: DType) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", "clip").key("clip.has_vision_encoder", true);
    writer.key("clip.vision.projector_type", "gemma4v").key("clip.vision.attention.layer_norm_epsilon", 1e-6f32);
    for (key, value) in [
        ("projection_dim", s.output),
        ("image_size", 224),
        ("patch_size", 16),
        ("embedding_length", s.hidden),
        ("feed_forward_length", s.ffn),
        ("block_count", s.layers),
        ("attention.head_count", s.hidden / 72),
    ] {
        writer.key(format!("clip.vision.{key}"), value as u32);
    }
    for (key, value) in [("image_mean", 0.0f32), ("image_std", 1.0)] {
        writer.key(format!("clip.vision.{key}"), Value::Array(Array::from(&[value; 3][..])));
    }

    // Name, shape, mean, deviation.
    let (d, f) = (s.hidden as u64, s.ffn as u64);
    let by = |inputs: u64| (inputs as f32).sqrt().recip();
    let mut tensors = vec![
        ("v.patch_embd.weight".to_owned(), vec![16, 16, 3, d], 0.0, 0.06),
        ("v.position_embd.weight".to_owned(), vec![d, s.positions as u64, 2], 0.0, 0.4),
        ("v.std_bias".to_owned(), vec![d], 0.0, 3.0),
        ("v.std_scale".to_owned(), vec![d], 0.1, 0.02),
        ("mm.input_projection.weight".to_owned(), vec![d, s.output as u64], 0.0, by(d)),
    ];
    for l in 0..s.layers {
        for (name, shape, mean, deviation) in [
            ("ln1", vec![d], 0.9, 0.2),
            ("ln2", vec![d], 0.9, 0.2),
            ("attn_post_norm", vec![d], 0.9, 0.2),
            ("ffn_post_norm", vec![d], 0.9, 0.2),
            ("attn_q_norm", vec![72], 0.45, 0.08),
            ("attn_k_norm", vec![72], 0.45, 0.08),
            ("attn_q", vec![d, d], 0.0, by(d)),
            ("attn_k", vec![d, d], 0.0, by(d)),
            ("attn_v", vec![d, d], 0.0, by(d)),
            ("attn_out", vec![d, d], 0.0, by(d)),
            ("ffn_gate", vec![d, f], 0.0, by(d)),
            ("ffn_up", vec![d, f], 0.0, by(d)),
            ("ffn_down", vec![f, d], 0.0, by(f)),
        ] {
            tensors.push((format!("v.blk.{l}.{name}.weight"), shape, mean, deviation));
        }
    }
    let type_of = |shape: &[u64]| match shape {
        [cols, _] if dtype.row_bytes(*cols as usize).is_some() => dtype,
        [_, _] => DType::F16,
        _ => DType::F32,
    };
    for (name, shape, ..) in &tensors {
        writer.tensor(name, type_of(shape), shape).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    let mut state = 7u64;
    for (_, shape, mean, deviation) in &tensors {
        let rows: u64 = shape[1..].iter().product();
        let mut row = vec![0.0f32; shape[0] as usize];
        let dtype = type_of(shape);
        let mut bytes = vec![0; dtype.row_bytes(row.len()).unwrap()];
        for _ in 0..rows {
            for x in &mut row {
                // Uniform with this deviation: numbers do not have to be Gaussian.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *x = mean + deviation * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 3f32.sqrt();
            }
            quantize(dtype, &row, &mut bytes).unwrap();
            data.write(&bytes).unwrap();
        }
    }
    data.finish().unwrap()
}
