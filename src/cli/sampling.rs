//! Flags for choosing the next token.

use lemmy_core::{Sampler, SamplerParams};

use super::failure::Result;

/// What a person may change of the model's own sampling defaults.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sampling (defaults: the model's own)")]
pub(crate) struct SamplingArgs {
    /// Temperature; 0: always the likeliest token
    #[arg(long, value_name = "T", env = "LEMMY_TEMP", hide_env = true, allow_negative_numbers = true)]
    temp: Option<f32>,
    /// Keep the K likeliest; 0: all
    #[arg(long, value_name = "K", env = "LEMMY_TOP_K", hide_env = true)]
    top_k: Option<u32>,
    /// Keep the likeliest that together have probability P
    #[arg(long, value_name = "P", env = "LEMMY_TOP_P", hide_env = true)]
    top_p: Option<f32>,
    /// Keep what has P times the probability of the likeliest
    #[arg(long, value_name = "P", env = "LEMMY_MIN_P", hide_env = true)]
    min_p: Option<f32>,
    /// Divide the logits of the last 64 tokens by R; 1: off
    #[arg(long, value_name = "R", env = "LEMMY_REPEAT_PENALTY", hide_env = true)]
    repeat_penalty: Option<f32>,
    /// Same seed, same text
    #[arg(long, value_name = "N", env = "LEMMY_SEED", hide_env = true)]
    seed: Option<u64>,
    /// Let tokens come that have no place in an answer
    #[arg(long)]
    no_suppress: bool,
}

impl SamplingArgs {
    /// Refuses values out of range, before a model is loaded.
    pub(crate) fn check(&self) -> Result<()> {
        Sampler::new(&self.change(SamplerParams::default()))?;
        Ok(())
    }

    /// The model's own values with these changes.
    pub(crate) fn of(&self, model: &SamplerParams) -> SamplerParams {
        let mut params = self.change(model.clone());
        if self.no_suppress {
            params.suppress.clear();
        }
        params
    }

    fn change(&self, mut params: SamplerParams) -> SamplerParams {
        params.temperature = self.temp.unwrap_or(params.temperature);
        params.top_k = self.top_k.unwrap_or(params.top_k);
        params.top_p = self.top_p.unwrap_or(params.top_p);
        params.min_p = self.min_p.unwrap_or(params.min_p);
        params.repeat_penalty = self.repeat_penalty.unwrap_or(params.repeat_penalty);
        params.seed = self.seed.or(params.seed);
        params
    }
}
