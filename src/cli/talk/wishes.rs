//! What is asked of a reply, by flags and by `/set`.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::mpsc;

use lemmy_core::{
    Constraint, GenerateOptions, Sampler, SamplerParams, StepHook, Thinking, TokenEvent, TokenId, ToolChoice,
};

use crate::cli::failure::{Failure, Result};

/// What is asked of each reply.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) sampler: SamplerParams,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) thinking: Thinking,
    pub(crate) constraint: Option<Constraint>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) speculate: Option<u8>,
}

impl Wishes {
    /// Names of what `/set` can change.
    pub(crate) const NAMES: [&str; 8] =
        ["temp", "top-k", "top-p", "min-p", "repeat-penalty", "seed", "max-tokens", "speculate"];

    /// Options of a reply, and where its tokens can be read afterwards.
    pub(crate) fn options(&self) -> (mpsc::Receiver<TokenId>, GenerateOptions) {
        let (sender, tokens) = mpsc::channel();
        let mut options = GenerateOptions::new()
            .sampler(self.sampler.clone())
            .thinking(self.thinking)
            .tool_choice(self.tool_choice.clone())
            .hook(Recorder(sender));
        options.max_tokens = self.max_tokens;
        options.stop = self.stop.clone();
        options.constraint = self.constraint.clone();
        options.speculate = self.speculate;
        (tokens, options)
    }

    /// Changes a value by its name.
    ///
    /// # Errors
    ///
    /// A usage error that lists the names, or says what is wrong with the value. Nothing is changed then.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let mut new = self.clone();
        let sampler = &mut new.sampler;
        match name {
            "temp" => sampler.temperature = parse(name, value)?,
            "top-k" => sampler.top_k = parse(name, value)?,
            "top-p" => sampler.top_p = parse(name, value)?,
            "min-p" => sampler.min_p = parse(name, value)?,
            "repeat-penalty" => sampler.repeat_penalty = parse(name, value)?,
            "seed" if value == "random" => sampler.seed = None,
            "seed" => sampler.seed = Some(parse(name, value)?),
            "max-tokens" if value == "-1" => new.max_tokens = None,
            "max-tokens" => new.max_tokens = Some(parse(name, value)?),
            "speculate" => new.speculate = Some(parse(name, value)?),
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(Failure::usage(format!("/set: found `{name}` (expected one of {names})")));
            }
        }
        Sampler::new(&new.sampler)?;
        *self = new;
        Ok(())
    }

    /// A line for each value.
    pub(crate) fn describe(&self) -> String {
        let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.into());
        let thinking = match self.thinking {
            Thinking::Off => "off".into(),
            Thinking::Budget(tokens) => format!("at most {tokens} tokens"),
            _ => "on".into(),
        };
        let sampler = &self.sampler;
        let values = [
            sampler.temperature.to_string(),
            sampler.top_k.to_string(),
            sampler.top_p.to_string(),
            sampler.min_p.to_string(),
            sampler.repeat_penalty.to_string(),
            or(sampler.seed.map(|seed| seed.to_string()), "random"),
            or(self.max_tokens.map(|n| n.to_string()), "-1"),
            self.speculate.unwrap_or(0).to_string(),
        ];
        let lines = Self::NAMES.iter().zip(&values).map(|(name, value)| format!("{name:<15} {value}\n"));
        lines.chain([format!("{:<15} {thinking}", "think")]).collect()
    }
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| Failure::usage(format!("/set {name}: found `{value}` (expected a number)")))
}

/// Whether to think, as a person writes it.
pub(crate) fn thinking(word: &str) -> Result<Thinking, String> {
    match word {
        "off" => Ok(Thinking::Off),
        "on" => Ok(Thinking::On),
        number => number.parse().map(Thinking::Budget).map_err(|_| "expected off, on, or a number of tokens".into()),
    }
}

/// Keeps the tokens of a reply.
struct Recorder(mpsc::Sender<TokenId>);

impl StepHook for Recorder {
    fn on_token(&mut self, token: &TokenEvent) -> ControlFlow<()> {
        // Nobody listens any more when the reply is dropped.
        let _ = self.0.send(token.id);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            sampler: SamplerParams::default(),
            max_tokens: None,
            stop: Vec::new(),
            thinking: Thinking::Off,
            constraint: None,
            tool_choice: ToolChoice::Auto,
            speculate: None,
        }
    }

    #[test]
    fn every_name_can_be_set() {
        for name in Wishes::NAMES {
            let mut wishes = wishes();
            wishes.set(name, "1").unwrap();
            assert!(wishes.describe().lines().any(|line| line.starts_with(name) && line.ends_with(" 1")), "{name}");
        }
    }

    #[test]
    fn a_bad_value_changes_nothing() {
        let mut wishes = wishes();
        for (name, value) in [("temp", "hot"), ("top-p", "7"), ("temperature", "1"), ("speculate", "256")] {
            let before = wishes.describe();
            assert!(wishes.set(name, value).is_err(), "{name} {value}");
            assert_eq!(wishes.describe(), before);
        }
    }

    #[test]
    fn thinking_is_a_word_or_a_number() {
        assert_eq!(thinking("off").unwrap(), Thinking::Off);
        assert_eq!(thinking("on").unwrap(), Thinking::On);
        assert_eq!(thinking("200").unwrap(), Thinking::Budget(200));
        assert!(thinking("maybe").is_err());
    }
}
