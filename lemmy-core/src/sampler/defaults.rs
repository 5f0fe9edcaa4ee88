//! What a model recommends.

use super::{SamplerParams, Stage};
use crate::gguf::{Gguf, Value};

impl SamplerParams {
    /// The defaults of a model: its file's `general.sampling.*` where they make sense, else what its architecture
    /// recommends, else neutral.
    ///
    /// Never fails: a recommendation that is out of range or of the wrong type is passed over. `suppress` stays empty,
    /// since which tokens a model must not say depends on its vocabulary: see
    /// [`Tokenizer::suppressed`](crate::Tokenizer::suppressed).
    pub fn from_gguf(gguf: &Gguf) -> Self {
        let key = |name: &str| gguf.get(&format!("general.sampling.{name}"));
        Self::from_keys(
            gguf.get("general.architecture").and_then(Value::as_str),
            |name| key(name).and_then(Value::as_f64),
            key("sequence").and_then(Value::as_str),
        )
    }

    fn from_keys(architecture: Option<&str>, number: impl Fn(&str) -> Option<f64>, sequence: Option<&str>) -> Self {
        let mut params = match architecture {
            // generation_config.json of Google's Gemma 4 releases.
            Some("gemma4") => Self { temperature: 1.0, top_k: 64, top_p: 0.95, ..Self::default() },
            _ => Self::default(),
        };
        type Set = fn(&mut SamplerParams, f64);
        let keys: [(&str, Set); 6] = [
            ("temp", |p, x| p.temperature = x as f32),
            ("top_k", |p, x| p.top_k = x.max(0.0) as u32),
            ("top_p", |p, x| p.top_p = x as f32),
            ("min_p", |p, x| p.min_p = x as f32),
            ("penalty_repeat", |p, x| p.repeat_penalty = x as f32),
            ("penalty_last_n", |p, x| p.repeat_last = if x < 0.0 { u32::MAX } else { x as u32 }),
        ];
        for (name, set) in keys {
            if let Some(value) = number(name).filter(|value| value.is_finite()) {
                let mut changed = params.clone();
                set(&mut changed, value);
                if changed.validate().is_ok() {
                    params = changed;
                }
            }
        }
        if let Some(order) = sequence.map(stages).filter(|order| !order.is_empty()) {
            params.order = order;
        }
        params
    }
}

/// Reads an order as llama.cpp writes it, `penalties;top_k;temperature`. Stages that we do not have are passed over,
/// and a stage counts where it is named first.
fn stages(sequence: &str) -> Vec<Stage> {
    let mut order = Vec::new();
    for name in sequence.split(';') {
        let stage = match name.trim() {
            "penalties" => Stage::Penalties,
            "top_k" => Stage::TopK,
            "top_p" => Stage::TopP,
            "min_p" => Stage::MinP,
            "temperature" => Stage::Temperature,
            _ => continue,
        };
        if !order.contains(&stage) {
            order.push(stage);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(architecture: &str, keys: &[(&str, f64)], sequence: Option<&str>) -> SamplerParams {
        SamplerParams::from_keys(
            Some(architecture),
            |name| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| *value),
            sequence,
        )
    }

    #[test]
    fn architecture_recommends() {
        let gemma = read("gemma4", &[], None);
        assert_eq!((gemma.temperature, gemma.top_k, gemma.top_p), (1.0, 64, 0.95));
        assert_eq!(read("gemma3", &[], None), SamplerParams::default());
        assert_eq!(SamplerParams::from_keys(None, |_| None, None), SamplerParams::default());
    }

    #[test]
    fn file_wins() {
        let keys = [
            ("temp", 0.5),
            ("top_k", 20.0),
            ("top_p", 0.75),
            ("min_p", 0.25),
            ("penalty_repeat", 1.5),
            ("penalty_last_n", -1.0),
        ];
        let params = read("gemma4", &keys, Some("temperature; top_k;dry;top_p;top_k"));
        let expected = SamplerParams {
            temperature: 0.5,
            top_k: 20,
            top_p: 0.75,
            min_p: 0.25,
            repeat_penalty: 1.5,
            repeat_last: u32::MAX,
            order: vec![Stage::Temperature, Stage::TopK, Stage::TopP],
            ..SamplerParams::default()
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn nonsense_is_passed_over() {
        let keys = [
            ("temp", f64::NAN),
            ("top_k", -7.0),
            ("top_p", 1.5),
            ("min_p", -1.0),
            ("penalty_repeat", 0.0),
            ("penalty_last_n", f64::INFINITY),
        ];
        let params = read("gemma4", &keys, Some("mirostat"));
        assert_eq!(params, SamplerParams { top_k: 0, top_p: 0.95, ..SamplerParams::default() });
    }
}
