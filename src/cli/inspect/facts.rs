//! What the headers say, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use lemmy_core::gguf::{Gguf, TensorInfo};
use lemmy_core::plan::{Spec, ValueSource};
use serde_json::{Map, Value, json};

use crate::cli::units::{bytes, count};

/// Facts of any GGUF file.
#[derive(Debug)]
pub(super) struct Facts {
    file: String,
    version: u32,
    bytes: u64,
    parts: usize,
    keys: usize,
    tensors: usize,
    parameters: u64,
    /// Type, bytes, tensors; most bytes first.
    types: Vec<(&'static str, u64, usize)>,
    architecture: Option<String>,
    name: Option<String>,
    tokenizer: Option<String>,
    vocabulary: Option<usize>,
    bos: Option<u64>,
    eos: Option<u64>,
    template_bytes: Option<usize>,
}

impl Facts {
    pub(super) fn new(gguf: &Gguf) -> Self {
        let mut types = BTreeMap::new();
        for tensor in gguf.tensors() {
            let (bytes, tensors) = types.entry(tensor.dtype.name()).or_insert((0_u64, 0_usize));
            *bytes += tensor.bytes;
            *tensors += 1;
        }
        let mut types: Vec<_> = types.into_iter().map(|(name, (bytes, tensors))| (name, bytes, tensors)).collect();
        types.sort_by_key(|&(_, bytes, _)| std::cmp::Reverse(bytes));
        let text = |key| Some(gguf.get(key)?.as_str()?.to_owned());
        Self {
            file: gguf.name().into(),
            version: gguf.version(),
            bytes: gguf.file_bytes(),
            parts: gguf.parts(),
            keys: gguf.keys().count(),
            tensors: gguf.tensors().len(),
            parameters: gguf.tensors().iter().map(TensorInfo::numbers).sum(),
            types,
            architecture: text("general.architecture"),
            name: text("general.name"),
            tokenizer: text("tokenizer.ggml.model"),
            vocabulary: gguf.get("tokenizer.ggml.tokens").and_then(|v| Some(v.as_array()?.len())),
            bos: gguf.get("tokenizer.ggml.bos_token_id").and_then(|v| v.as_u64()),
            eos: gguf.get("tokenizer.ggml.eos_token_id").and_then(|v| v.as_u64()),
            template_bytes: gguf.get("tokenizer.chat_template").and_then(|v| Some(v.as_str()?.len())),
        }
    }

    pub(super) fn json(&self) -> Map<String, Value> {
        let types = self.types.iter().map(|(name, bytes, n)| json!({ "type": name, "bytes": bytes, "tensors": n }));
        let object = json!({
            "file": self.file,
            "gguf_version": self.version,
            "file_bytes": self.bytes,
            "parts": self.parts,
            "keys": self.keys,
            "tensor_count": self.tensors,
            "architecture": self.architecture,
            "name": self.name,
            "parameters": self.parameters,
            "types": types.collect::<Vec<_>>(),
            "tokenizer": {
                "model": self.tokenizer,
                "tokens": self.vocabulary,
                "bos": self.bos,
                "eos": self.eos,
            },
            "chat_template_bytes": self.template_bytes,
        });
        if let Value::Object(map) = object { map } else { Map::new() }
    }

    pub(super) fn text(&self) -> String {
        let unknown = || "unknown".to_owned();
        let parts = if self.parts > 1 { format!(", {} parts", self.parts) } else { String::new() };
        let types = self.types.iter().map(|(name, size, n)| format!("{name} {} ({n})", bytes(*size)));
        let template = self.template_bytes.map_or_else(|| "none".to_owned(), |n| format!("{n} bytes"));
        let id = |id: Option<u64>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let vocabulary = self.vocabulary.map(|n| {
            let model = self.tokenizer.as_deref().unwrap_or("unknown");
            format!("{model}, {n} tokens, BOS {}, EOS {}", id(self.bos), id(self.eos))
        });
        line("file", &self.file)
            + &line(
                "format",
                &format!(
                    "GGUF v{}, {}{parts}, {} keys, {} tensors",
                    self.version,
                    bytes(self.bytes),
                    self.keys,
                    self.tensors
                ),
            )
            + &line("architecture", &self.architecture.clone().unwrap_or_else(unknown))
            + &line("name", &self.name.clone().unwrap_or_else(unknown))
            + &line("parameters", &count(self.parameters))
            + &line("types", &types.collect::<Vec<_>>().join(", "))
            + &line("tokenizer", &vocabulary.unwrap_or_else(|| "none".into()))
            + &line("template", &template)
    }
}

/// One fact for people.
pub(super) fn line(name: &str, value: &str) -> String {
    format!("{name:<13} {value}\n")
}

/// Facts that only a model has which this build runs.
pub(super) fn spec_text(spec: &Spec) -> String {
    let mut text = line("context", &format!("{} tokens", spec.context));
    text += &line("width", &format!("{}, vocabulary {}", spec.hidden, spec.vocab));
    let sliding: Vec<_> = spec.layers.iter().filter_map(|layer| layer.window).collect();
    let global: Vec<_> =
        (0..).zip(&spec.layers).filter(|(_, l)| l.window.is_none()).map(|(i, _): (usize, _)| i).collect();
    let mut layers = format!("{}", spec.layers.len());
    if let Some(window) = sliding.first() {
        let _ = write!(layers, ": {} see {window} tokens back", sliding.len());
        let _ = write!(layers, ", {} see all {global:?}", global.len());
    }
    text += &line("layers", &layers);
    for (name, windowed) in [("sliding", true), ("global", false)] {
        if let Some(layer) = spec.layers.iter().find(|layer| layer.window.is_some() == windowed) {
            let values =
                if layer.values == ValueSource::SharedWithKey { ", values from the key projection" } else { "" };
            let heads = format!("{} heads, {} for keys, size {}{values}", layer.heads, layer.kv_heads, layer.head_dim);
            text += &line(name, &heads);
        }
    }
    if let Some(layer) = spec.layers.first() {
        text += &line("MLP", &format!("width {}", layer.ffn));
        if let Some(moe) = &layer.moe {
            text += &line("experts", &format!("{}, {} for each token, width {}", moe.experts, moe.used, moe.width));
        }
    }
    text
}

/// The same for programs.
pub(super) fn spec_json(spec: &Spec) -> Value {
    let layers = spec.layers.iter().map(|layer| {
        json!({
            "window": layer.window,
            "heads": layer.heads,
            "kv_heads": layer.kv_heads,
            "head_dim": layer.head_dim,
            "values_from_keys": layer.values == ValueSource::SharedWithKey,
            "ffn": layer.ffn,
            "experts": layer.moe.as_ref().map(|moe| json!({
                "count": moe.experts, "used": moe.used, "width": moe.width,
            })),
        })
    });
    json!({
        "context": spec.context,
        "hidden": spec.hidden,
        "vocabulary": spec.vocab,
        "logit_softcap": spec.logit_softcap,
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// A line for each tensor.
pub(super) fn tensors_text(gguf: &Gguf) -> String {
    let width = gguf.tensors().iter().map(|t| t.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for tensor in gguf.tensors() {
        let shape = shape(tensor).iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        let _ = writeln!(
            text,
            "{:<width$}  {:<6} {shape:<22} {:>12} bytes at {}",
            tensor.name,
            tensor.dtype.name(),
            tensor.bytes,
            tensor.offset
        );
    }
    text
}

/// An object for each tensor.
pub(super) fn tensors_json(gguf: &Gguf) -> Value {
    let tensors = gguf.tensors().iter().map(|tensor| {
        json!({
            "name": tensor.name,
            "type": tensor.dtype.name(),
            "shape": shape(tensor),
            "part": tensor.part,
            "offset": tensor.offset,
            "bytes": tensor.bytes,
        })
    });
    tensors.collect()
}

/// The dimensions that are written in the file, the contiguous one first.
fn shape(tensor: &TensorInfo) -> &[u64] {
    let dims = usize::try_from(tensor.dims).unwrap_or_default();
    tensor.shape.get(..dims).unwrap_or(&tensor.shape)
}
