//! Which tensor of a model gets which type.
//!
//! The rule is llama-quantize's for files without an importance matrix (llama.cpp `src/llama-quant.cpp`), so that a file
//! made here has the size and the types that its name promises everywhere.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, GgufError, Result};
use crate::gguf::Gguf;
use crate::quant::DType;

/// A recipe for the types of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)] // the names are the documentation: they are used everywhere
#[non_exhaustive]
pub enum Mixture {
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q4_K_M,
}

impl Mixture {
    /// All mixtures, the largest first.
    pub const ALL: [Self; 5] = [Self::BF16, Self::Q8_0, Self::Q6_K, Self::Q5_K_M, Self::Q4_K_M];

    /// Name in small letters, for instance `q4_k_m`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BF16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q6_K => "q6_k",
            Self::Q5_K_M => "q5_k_m",
            Self::Q4_K_M => "q4_k_m",
        }
    }

    /// Value of the key `general.file_type`.
    pub fn file_type(self) -> u32 {
        match self {
            Self::BF16 => 32,
            Self::Q8_0 => 7,
            Self::Q6_K => 18,
            Self::Q5_K_M => 17,
            Self::Q4_K_M => 15,
        }
    }

    /// Type of the tensors for which no special rule holds.
    pub fn base_type(self) -> DType {
        match self {
            Self::BF16 => DType::BF16,
            Self::Q8_0 => DType::Q8_0,
            Self::Q6_K => DType::Q6_K,
            Self::Q5_K_M => DType::Q5_K,
            Self::Q4_K_M => DType::Q4_K,
        }
    }

    /// Whether some layers get more bits.
    fn is_medium(self) -> bool {
        matches!(self, Self::Q5_K_M | Self::Q4_K_M)
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mixture {
    type Err = Error;

    /// Reads a name in small or capital letters.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name)).ok_or_else(|| Error::Argument {
            name: "mixture",
            reason: format!("found {name:?}, expected one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

/// A [`Mixture`] with the facts of one model on which its decisions rest.
#[derive(Debug, Clone)]
pub struct TypeRule {
    mixture: Mixture,
    layers: u64,
    experts: u64,
    /// Layers with a value projection of their own; "some layers" are counted among these.
    value_layers: Vec<u64>,
    /// Whether the embedding is the output matrix too.
    tied: bool,
}

impl TypeRule {
    /// The rule for a model of so many layers, experts (0 or 1: dense) and tensors of these names.
    pub fn new<'a>(mixture: Mixture, layers: u64, experts: u64, tensors: impl IntoIterator<Item = &'a str>) -> Self {
        let mut value_layers = BTreeSet::new();
        let mut tied = true;
        for name in tensors {
            tied &= name != "output.weight";
            if is_value(name) {
                value_layers.extend(layer(name));
            }
        }
        Self { mixture, layers, experts, value_layers: value_layers.into_iter().collect(), tied }
    }

    /// The rule for an opened model.
    ///
    /// # Errors
    ///
    /// [`Error::Gguf`] if the keys `general.architecture` or `*.block_count` are missing.
    pub fn of(mixture: Mixture, model: &Gguf) -> Result<Self> {
        let missing = |key: &str| model.error(GgufError::MissingKey(key.to_owned()));
        let key = "general.architecture";
        let architecture = model.get(key).and_then(|v| v.as_str()).ok_or_else(|| missing(key))?;
        let number = |name: &str| model.get(&format!("{architecture}.{name}")).and_then(|v| v.as_u64());
        let layers = number("block_count").ok_or_else(|| missing(&format!("{architecture}.block_count")))?;
        let names = model.tensors().iter().map(|t| t.name.as_str());
        Ok(Self::new(mixture, layers, number("expert_count").unwrap_or(0), names))
    }

    /// The type for a tensor; `shape` has the contiguous dimension first, `now` is the type that it has.
    pub fn tensor_type(&self, name: &str, shape: &[u64], now: DType) -> DType {
        if !now.is_readable() || !is_matrix(name, shape) {
            return now;
        }
        let row = shape.first().copied().unwrap_or(1);
        fit(self.wish(name, row), row)
    }

    /// The type for a matrix, before its rows are looked at.
    fn wish(&self, name: &str, row: u64) -> DType {
        let base = self.mixture.base_type();
        if self.mixture == Mixture::BF16 {
            return base;
        }
        let is_embedding = matches!(name, "token_embd.weight" | "per_layer_token_embd.weight");
        if name == "output.weight" || (self.tied && is_embedding) {
            let plain = self.mixture == Mixture::Q8_0 || !row.is_multiple_of(base.block_len() as u64);
            return if plain { DType::Q8_0 } else { DType::Q6_K };
        }
        // Models of eight experts have small attention matrices for their size.
        let eight = self.experts == 8;
        if is_value(name) {
            let place = layer(name).and_then(|l| self.value_layers.binary_search(&l).ok()).unwrap_or(0) as u64;
            return match () {
                () if eight => DType::Q8_0,
                () if self.mixture.is_medium() && more_bits(place, self.value_layers.len() as u64) => DType::Q6_K,
                () => base,
            };
        }
        if eight && name.contains("attn_k.weight") {
            return DType::Q8_0;
        }
        if eight && name.contains("attn_output.weight") && self.mixture == Mixture::Q4_K_M {
            return DType::Q5_K;
        }
        if name.contains("ffn_down")
            && self.mixture.is_medium()
            && layer(name).is_some_and(|l| more_bits(l, self.layers))
        {
            return DType::Q6_K;
        }
        base
    }
}

/// Whether "some layers get more bits" means layer `i` of `n`: the first and the last eighth and every third between.
fn more_bits(i: u64, n: u64) -> bool {
    let eighth = n / 8;
    i < eighth || i >= n.saturating_mul(7) / 8 || (i - eighth) % 3 == 2
}

/// Number of the layer in a name as `blk.12.attn_v.weight`.
fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Whether a tensor projects to the attention's values, alone or with others.
fn is_value(name: &str) -> bool {
    ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"].iter().any(|part| name.contains(part))
}

/// Whether a tensor is one of the large matrices that mixtures are about; norms, scales, routers and other small or
/// delicate ones keep their type.
fn is_matrix(name: &str, shape: &[u64]) -> bool {
    const KEPT: [&str; 8] = [
        "_norm.weight",
        "ffn_gate_inp.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "position_embd",
        "patch_embd",
        "token_types",
    ];
    // As in ggml, trailing dimensions of 1 do not count.
    let dimensions = shape.iter().rposition(|&n| n != 1).map_or(0, |last| last + 1);
    dimensions >= 2 && name.ends_with("weight") && !KEPT.iter().any(|part| name.contains(part))
}

/// The type itself, or one of smaller blocks and more bits if rows are no whole number of its blocks.
fn fit(wish: DType, row: u64) -> DType {
    let fits = |dtype: DType| row.is_multiple_of(dtype.block_len() as u64);
    let smaller = match wish {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        other => other,
    };
    [wish, smaller].into_iter().find(|&dtype| fits(dtype)).unwrap_or(DType::F16)
}
