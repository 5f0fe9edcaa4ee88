//! Thousands of damaged model files through the whole stack: each is refused with an error that says where, or gives
//! finite logits for a token.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter};
use lemmy_core::quant::DType;
use lemmy_core::{Error, Model, Result, ThreadPool};

#[path = "support/mutate.rs"]
mod mutate;

use mutate::Mutants;

#[test]
fn mutants_are_refused_or_give_finite_logits() {
    let tiny = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf")).unwrap();
    let small = small(&tiny);
    let pool = ThreadPool::new(1).unwrap();
    let mut total = 0;
    // The small model's header has everything that the real one's has; the tiny model has quantised blocks.
    for (name, seed, wanted) in [("small", small, 6_000), ("tiny", tiny, 3_000)] {
        run(seed.clone(), &pool).unwrap_or_else(|e| panic!("{name} is sound: {e}"));
        let mutants = Mutants::new(&seed, 1);
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for i in (0..wanted).map(|i| i * mutants.len() / wanted) {
            let (mutant, bytes) = mutants.get(i);
            let outcome = catch_unwind(AssertUnwindSafe(|| run(bytes, &pool)))
                .unwrap_or_else(|_| panic!("{name}, mutant {mutant}: panicked"));
            *outcomes.entry(judge(outcome, &format!("{name}, mutant {mutant}"))).or_default() += 1;
            total += 1;
        }
        println!("{name}: {outcomes:?}");
        assert!(outcomes["finite logits"] > wanted / 100 && outcomes["Gguf"] > wanted / 100, "{outcomes:?}");
    }
    assert!(total >= 5_000);
}

/// Loads and evaluates one token.
fn run(file: Vec<u8>, pool: &ThreadPool) -> Result<Vec<f32>> {
    let model = Model::builder_from_bytes(FileBytes::Owned(file)).threads(pool.clone()).load()?;
    let mut session = model.session().context(16).batch(2).build()?;
    Ok(session.forward(&[1])?.last().to_vec())
}

/// Name of the outcome, if it is one that may be.
fn judge(outcome: Result<Vec<f32>>, name: &str) -> String {
    match outcome {
        Ok(logits) => {
            assert!(logits.iter().all(|l| l.is_finite()), "{name}: {logits:?}");
            "finite logits".into()
        }
        Err(e) => {
            let text = e.to_string();
            let says_where =
                ["at byte", "key `", "tensor `", "split:", "step ", "architecture", "tokenizer", "(gemma4."];
            assert!(says_where.iter().any(|s| text.contains(s)), "{name}: {text}");
            assert!(matches!(e, Error::Gguf { .. } | Error::Unsupported(_) | Error::Numeric { .. }), "{name}: {e:?}");
            format!("{:?}", e.kind())
        }
    }
}

/// A model of a few kilobytes: one sliding and one global layer of width 32, with the tiny model's vocabulary.
fn small(tiny: &[u8]) -> Vec<u8> {
    let tiny = Gguf::from_bytes(FileBytes::Owned(tiny.to_vec())).unwrap();
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", "gemma4");
    for (key, value) in [
        ("block_count", 2u32),
        ("context_length", 64),
        ("embedding_length", 32),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 32),
        ("attention.key_length_swa", 16),
        ("attention.sliding_window", 8),
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 32),
    ] {
        writer.key(format!("gemma4.{key}"), value);
    }
    writer.key("gemma4.attention.sliding_window_pattern", Array::from(&[true, false][..]));
    writer.key("gemma4.attention.layer_norm_rms_epsilon", 1e-6f32).key("gemma4.final_logit_softcapping", 30f32);
    writer.key("gemma4.rope.freq_base", 1e6f32).key("gemma4.rope.freq_base_swa", 1e4f32);
    for (key, value) in tiny.keys().filter(|(key, _)| key.starts_with("tokenizer.")) {
        writer.key(key, value.clone());
    }
    let vocab = tiny.tensor("token_embd.weight").unwrap().shape[1];
    writer.tensor("token_embd.weight", DType::Q8_0, &[32, vocab]).unwrap();
    writer.tensor("output_norm.weight", DType::F32, &[32]).unwrap();
    for (l, head) in [16, 32].into_iter().enumerate() {
        let mut vector =
            |name: &str, len: u64| _ = writer.tensor(format!("blk.{l}.{name}"), DType::F32, &[len]).unwrap();
        for norm in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_ffw_norm_1"] {
            vector(&format!("{norm}.weight"), 32);
        }
        for norm in ["pre_ffw_norm_2.weight", "post_ffw_norm_2.weight", "ffn_gate_inp.scale"] {
            vector(norm, 32);
        }
        vector("attn_q_norm.weight", head);
        vector("attn_k_norm.weight", head);
        let mut matrix = |name: &str, dtype, shape: &[u64]| {
            _ = writer.tensor(format!("blk.{l}.{name}.weight"), dtype, shape).unwrap();
        };
        matrix("attn_q", DType::Q8_0, &[32, 2 * head]);
        matrix("attn_k", DType::Q5_0, &[32, head]);
        if l == 0 {
            matrix("attn_v", DType::F16, &[32, head]);
        }
        matrix("attn_output", DType::Q4_1, &[2 * head, 32]);
        matrix("ffn_gate", DType::BF16, &[32, 32]);
        matrix("ffn_up", DType::Q5_1, &[32, 32]);
        matrix("ffn_down", DType::IQ4_NL, &[32, 32]);
        matrix("ffn_gate_inp", DType::F32, &[32, 4]);
        matrix("ffn_gate_exps", DType::MXFP4, &[32, 32, 4]);
        matrix("ffn_up_exps", DType::Q4_0, &[32, 32, 4]);
        matrix("ffn_down_exps", DType::Q8_0, &[32, 32, 4]);
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    while let Some(bytes) = data.current().map(|tensor| tensor.bytes) {
        // Small numbers of every type: about 0.01 or 1 as f16, 0.01 as f32.
        let pattern: Vec<u8> = [0x18, 0x22, 0x34, 0x3c].into_iter().cycle().take(bytes as usize).collect();
        data.write(&pattern).unwrap();
    }
    data.finish().unwrap()
}
