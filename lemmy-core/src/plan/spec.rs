//! Facts of a model. This is the only place that looks at a file's metadata.

#![forbid(unsafe_code)]

use super::keys::Keys;
use crate::error::{Error, GgufError, Result};
use crate::gguf::Gguf;
use crate::limits;
use crate::quant::{self, DType};

/// Facts of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `general.architecture`.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Context that the model was trained for.
    pub context: usize,
    /// Epsilon of every RMS norm.
    pub rms_eps: f32,
    /// Factor of token embeddings (not of soft tokens).
    pub embed_scale: f32,
    /// `logit = cap * tanh(logit / cap)`.
    pub logit_softcap: Option<f32>,
    /// The layers in order.
    pub layers: Vec<LayerSpec>,
}

/// Facts of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Size of one head.
    pub head_dim: usize,
    /// Positions that a query sees, its own included; `None`: all.
    pub window: Option<usize>,
    /// Rotary position embedding.
    pub rope: RopeSpec,
    /// Factor of the scores before the softmax.
    pub score_scale: f32,
    /// Where V comes from.
    pub values: ValueSource,
    /// Whether soft tokens of one block see each other in both directions here.
    pub bidirectional_blocks: bool,
    /// Width of the dense MLP.
    pub ffn: usize,
    /// Routed experts beside the dense MLP.
    pub moe: Option<MoeSpec>,
}

/// How positions turn queries and keys: pair `i` (dims `i` and `i + head_dim / 2`) by `position * frequencies[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Radians per position of the pairs `0..frequencies.len()`; later pairs do not turn.
    pub frequencies: Vec<f64>,
}

/// Where a layer's values (V) come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// A projection of their own, used as it is.
    Own,
    /// A projection of their own, then an RMS norm without weight.
    OwnNormed,
    /// The key projection before its norm and RoPE, then an RMS norm without weight.
    SharedWithKey,
}

/// The routed experts of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct MoeSpec {
    /// Experts.
    pub experts: usize,
    /// Experts that each token uses.
    pub used: usize,
    /// Width of one expert.
    pub width: usize,
}

impl Spec {
    /// Reads and checks the facts of a model file. Touches the metadata and the tensor table, and of the weights only
    /// `rope_freqs.weight`.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let architecture = Keys::new(gguf, "general").str("architecture")?;
        match architecture.as_str() {
            "gemma4" => gemma4(gguf),
            "gemma3" => gemma3(gguf),
            other => Err(Error::Unsupported(format!(
                "{}: architecture `{other}` (this build runs gemma4 and gemma3)",
                gguf.name()
            ))),
        }
    }
}

/// Gemma 4: the mixture-of-experts 26B-A4B, and its dense sister without routed experts.
fn gemma4(gguf: &Gguf) -> Result<Spec> {
    let keys = Keys::new(gguf, "gemma4");
    for (key, what) in [
        ("embedding_length_per_layer_input", "per-layer embeddings"),
        ("attention.shared_kv_layers", "layers that share their cache"),
    ] {
        if keys.usize_or(key, 0, 0..=u64::MAX)? != 0 {
            return Err(Error::Unsupported(format!("{}: gemma4 with {what} ({})", gguf.name(), keys.name(key))));
        }
    }
    let count = keys.usize("block_count", 1..=limits::LAYERS)?;
    let hidden = keys.usize("embedding_length", 1..=limits::HIDDEN)?;
    let heads = keys.per_layer("attention.head_count", count, 1..=limits::HEADS)?;
    let kv_heads = keys.per_layer("attention.head_count_kv", count, 1..=limits::HEADS)?;
    let ffn = keys.per_layer("feed_forward_length", count, 1..=limits::FFN)?;
    let sliding = keys.pattern("attention.sliding_window_pattern", count, None)?;
    let window = keys.usize("attention.sliding_window", 1..=limits::CONTEXT)?;
    let moe = moe(&keys)?;
    let kinds = [
        head(&keys, "", keys.positive("rope.freq_base")?, rope_factors(gguf)?)?,
        head(&keys, "_swa", keys.positive("rope.freq_base_swa")?, None)?,
    ];
    let layers = (0..count).map(|l| {
        let is_sliding = at(&sliding, l)?;
        let [global, local] = &kinds;
        let (head_dim, rope) = if is_sliding { local } else { global };
        let prefix = format!("blk.{l}.");
        let own_values =
            ["attn_v.weight", "attn_qkv.weight"].iter().any(|n| gguf.tensor(&format!("{prefix}{n}")).is_some());
        checked_heads(&keys, at(&heads, l)?, at(&kv_heads, l)?)?;
        Ok(LayerSpec {
            heads: at(&heads, l)?,
            kv_heads: at(&kv_heads, l)?,
            head_dim: *head_dim,
            window: is_sliding.then_some(window),
            rope: rope.clone(),
            score_scale: 1.0,
            values: if is_sliding || own_values { ValueSource::OwnNormed } else { ValueSource::SharedWithKey },
            bidirectional_blocks: is_sliding,
            ffn: at(&ffn, l)?,
            moe: moe.clone(),
        })
    });
    with_layers(&keys, "gemma4", hidden, layers.collect::<Result<_>>()?)
}

/// Gemma 3, text. Facts from llama.cpp's reader of this architecture: every sixth layer is global, sliding layers turn
/// with base 10,000, and the 27B (62 layers) scales its scores by the width per head instead of the head size.
fn gemma3(gguf: &Gguf) -> Result<Spec> {
    const LAYERS_OF_27B: usize = 62;
    let keys = Keys::new(gguf, "gemma3");
    let count = keys.usize("block_count", 1..=limits::LAYERS)?;
    let hidden = keys.usize("embedding_length", 1..=limits::HIDDEN)?;
    let heads = keys.usize("attention.head_count", 1..=limits::HEADS)?;
    let kv_heads = keys.usize("attention.head_count_kv", 1..=limits::HEADS)?;
    checked_heads(&keys, heads, kv_heads)?;
    let ffn = keys.usize("feed_forward_length", 1..=limits::FFN)?;
    let sliding = keys.pattern("attention.sliding_window_pattern", count, Some(6))?;
    let window = keys.usize("attention.sliding_window", 1..=limits::CONTEXT)?;
    let linear = linear_rope_scaling(&keys)?;
    let (head_dim, global) = head(&keys, "", keys.positive("rope.freq_base")?, None)?;
    let global = RopeSpec { frequencies: global.frequencies.iter().map(|f| f / linear).collect() };
    let local = rope(head_dim, keys.positive_or_none("rope.freq_base_swa")?.unwrap_or(10_000.0), None);
    let per_head = if count == LAYERS_OF_27B { hidden as f64 / heads as f64 } else { head_dim as f64 };
    let layers = sliding.iter().map(|&is_sliding| LayerSpec {
        heads,
        kv_heads,
        head_dim,
        window: is_sliding.then_some(window),
        rope: if is_sliding { local.clone() } else { global.clone() },
        score_scale: per_head.sqrt().recip() as f32,
        values: ValueSource::Own,
        bidirectional_blocks: false,
        ffn,
        moe: None,
    });
    with_layers(&keys, "gemma3", hidden, layers.collect())
}

/// The facts that every architecture of the family writes alike, around its layers.
fn with_layers(keys: &Keys<'_>, architecture: &str, hidden: usize, layers: Vec<LayerSpec>) -> Result<Spec> {
    Ok(Spec {
        architecture: architecture.into(),
        hidden,
        vocab: vocab(keys.gguf())?,
        context: keys.usize("context_length", 1..=limits::CONTEXT)?,
        rms_eps: keys.positive("attention.layer_norm_rms_epsilon")? as f32,
        embed_scale: (hidden as f32).sqrt(),
        logit_softcap: keys.positive_or_none("final_logit_softcapping")?.map(|c| c as f32),
        layers,
    })
}

fn moe(keys: &Keys<'_>) -> Result<Option<MoeSpec>> {
    let experts = keys.usize_or("expert_count", 0, 0..=limits::EXPERTS)?;
    if experts == 0 {
        return Ok(None);
    }
    Ok(Some(MoeSpec {
        experts,
        used: keys.usize("expert_used_count", 1..=experts as u64)?,
        width: keys.usize("expert_feed_forward_length", 1..=limits::FFN)?,
    }))
}

/// Size and RoPE of the heads of one kind of layer; `suffix` is "" for global and "_swa" for sliding ones.
fn head(keys: &Keys<'_>, suffix: &str, base: f64, factors: Option<Vec<f32>>) -> Result<(usize, RopeSpec)> {
    let length = format!("attention.key_length{suffix}");
    let head_dim = keys.usize(&length, 2..=limits::HEAD_DIM)?;
    let dim = head_dim as u64;
    if head_dim % 2 != 0 {
        return Err(keys.error(&length, head_dim.to_string(), "an even number"));
    }
    keys.usize_or(&format!("attention.value_length{suffix}"), head_dim, dim..=dim)?;
    keys.usize_or(&format!("rope.dimension_count{suffix}"), head_dim, dim..=dim)?;
    if let Some(factors) = &factors
        && factors.len() != head_dim / 2
    {
        return Err(keys.gguf().error(GgufError::Tensor {
            tensor: ROPE_FREQS.into(),
            found: format!("{} numbers", factors.len()),
            expected: format!("{}, half the head size of the global layers", head_dim / 2),
        }));
    }
    Ok((head_dim, rope(head_dim, base, factors)))
}

/// `base^(-2i / head_dim)`, divided by the factors; pairs with a factor of 1e20 or more do not turn.
fn rope(head_dim: usize, base: f64, factors: Option<Vec<f32>>) -> RopeSpec {
    const STANDS_STILL: f32 = 1e20;
    let pairs = head_dim / 2;
    let factors = factors.unwrap_or_else(|| vec![1.0; pairs]);
    let mut frequencies: Vec<f64> = (0..pairs)
        .zip(factors)
        .map(|(i, factor)| {
            let frequency = base.powf(-2.0 * i as f64 / head_dim as f64);
            if factor >= STANDS_STILL { 0.0 } else { frequency / f64::from(factor) }
        })
        .collect();
    let turning = frequencies.iter().rposition(|&f| f != 0.0).map_or(0, |last| last + 1);
    frequencies.truncate(turning);
    RopeSpec { frequencies }
}

const ROPE_FREQS: &str = "rope_freqs.weight";

fn rope_factors(gguf: &Gguf) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = gguf.tensor(ROPE_FREQS) else { return Ok(None) };
    let bad = |found: String, expected: &str| {
        gguf.error(GgufError::Tensor { tensor: ROPE_FREQS.into(), found, expected: expected.into() })
    };
    if tensor.dtype != DType::F32 || tensor.numbers() > limits::HEAD_DIM {
        return Err(bad(format!("{} {:?}", tensor.dtype, tensor.shape), "F32, half a head long"));
    }
    let mut factors = vec![0.0; tensor.numbers() as usize];
    quant::dequantize(tensor.dtype, gguf.tensor_bytes(tensor).as_slice(), &mut factors)?;
    match factors.iter().find(|&f| !(f.is_finite() && *f > 0.0)) {
        Some(f) => Err(bad(f.to_string(), "finite numbers above 0")),
        None => Ok(Some(factors)),
    }
}

/// Gemma 3 from 4B up stretches the positions of its global layers.
fn linear_rope_scaling(keys: &Keys<'_>) -> Result<f64> {
    match keys.str_or_none("rope.scaling.type")?.as_deref() {
        None | Some("none") => Ok(1.0),
        Some("linear") => keys.positive("rope.scaling.factor"),
        Some(other) => Err(keys.error("rope.scaling.type", format!("`{other}`"), "none or linear")),
    }
}

fn checked_heads(keys: &Keys<'_>, heads: usize, kv_heads: usize) -> Result<()> {
    if heads.is_multiple_of(kv_heads) {
        return Ok(());
    }
    Err(keys.error("attention.head_count_kv", kv_heads.to_string(), &format!("a divisor of the {heads} query heads")))
}

/// Tokens in the vocabulary: the rows of the embedding.
fn vocab(gguf: &Gguf) -> Result<usize> {
    const EMBEDDING: &str = "token_embd.weight";
    let tensor = gguf.tensor(EMBEDDING).ok_or_else(|| gguf.error(GgufError::MissingTensor(EMBEDDING.into())))?;
    let [_, rows, ..] = tensor.shape;
    if !(2..=limits::VOCAB).contains(&rows) {
        return Err(gguf.error(GgufError::Tensor {
            tensor: EMBEDDING.into(),
            found: format!("{rows} rows"),
            expected: format!("2..={}", limits::VOCAB),
        }));
    }
    Ok(rows as usize)
}

fn at<T: Copy>(values: &[T], layer: usize) -> Result<T> {
    values.get(layer).copied().ok_or_else(|| Error::Internal(format!("no fact for layer {layer}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn sliding_heads_turn_every_pair() {
        let r = rope(256, 10_000.0, None);
        assert_eq!(r.frequencies.len(), 128);
        assert_eq!(r.frequencies[0], 1.0);
        assert!((r.frequencies[64] - 0.01).abs() < 1e-15);
    }

    #[test]
    fn proportional_heads_turn_the_first_quarter_with_the_whole_head_as_divisor() {
        let factors = (0..256).map(|i| if i < 64 { 1.0 } else { 1e30 }).collect();
        let r = rope(512, 1e6, Some(factors));
        assert_eq!(r.frequencies.len(), 64);
        assert!((r.frequencies[32] - 1e6f64.powf(-64.0 / 512.0)).abs() < 1e-15);
    }
}
