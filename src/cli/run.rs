//! `lemmy run`: continues a text.

mod answer;
mod context;
mod prompt;
mod stops;

use std::io::IsTerminal;

use lemmy_core::Sampler;

use super::Context;
use super::failure::Result;
use super::load::{KvArg, LoadArgs, ModelName};
use super::sampling::SamplingArgs;
use answer::{Answer, Finish, Limits};
use stops::Stops;

/// Continue a text with a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The text goes to the model as it is, without a chat template: this continues a text.

Examples:
  lemmy run model.gguf \"Once upon a time\" -n 100
  lemmy run model.gguf \"Summary:\" < notes.txt      the text of stdin follows, after a blank line
  lemmy run model.gguf -f prompt.txt --temp 0       always the likeliest token
  lemmy run model.gguf \"1, 2, 3,\" --stop 10 --json  text, tokens, timings as one object")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Words of the text
    #[arg(value_name = "PROMPT")]
    words: Vec<String>,
    #[command(flatten)]
    prompt: prompt::PromptArgs,
    /// Most tokens of the answer; -1: until the model ends or the context is full
    #[arg(short = 'n', long, value_name = "N", default_value = "-1", allow_negative_numbers = true,
          env = "LEMMY_MAX_TOKENS", hide_env = true, hide_default_value = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    max_tokens: i64,
    /// End before this text (may be given several times)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Room for prompt and answer, in tokens (default: the model's own, at most 32768)
    #[arg(short, long, value_name = "N", env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    ctx_size: Option<u32>,
    /// Number type of the cache
    #[arg(long, value_name = "TYPE", default_value = "f16", env = "LEMMY_KV_TYPE", hide_env = true)]
    kv_type: KvArg,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// One JSON object at the end instead of text as it comes
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Show speed at the end (default: on a terminal)
    #[arg(long, overrides_with = "no_stats", help_heading = "Output")]
    stats: bool,
    /// Do not show speed at the end
    #[arg(long, overrides_with = "stats", help_heading = "Output")]
    no_stats: bool,
}

impl Args {
    fn max_tokens(&self) -> usize {
        usize::try_from(self.max_tokens).unwrap_or(usize::MAX)
    }
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let stops = Stops::new(&args.stop)?;
    args.sampling.check()?;
    let (path, words) = args.model.split(&args.words)?;
    let prompt = args.prompt.read(&words, &context.signals)?;

    let loaded = args.load.load(&path, &context.signals)?;
    let (model, tokenizer) = (&loaded.model, loaded.model.tokenizer());
    let ids = tokenizer.encode_prompt(&prompt, args.prompt.special());
    let size = context::size(model, args.ctx_size, args.kv_type.into());
    let session = model.session().context(size).kv_type(args.kv_type.into()).cancel(loaded.cancel.clone());
    let mut session = context.signals.name(session.build())?;
    if ids.len() > session.capacity() {
        return Err(context::full(ids.len(), session.capacity(), model.info().context));
    }
    let mut sampler: Sampler = args.sampling.sampler(model)?;
    let limits = Limits { tokens: args.max_tokens(), stops };
    let streamed = if args.json { None } else { Some(&mut context.out) };
    let mut answer = Answer::generate(&mut session, &mut sampler, &ids, limits, streamed)?;
    answer.load = loaded.time;

    let outcome = match answer.finish {
        Finish::Interrupted => Err(context.signals.failure()),
        Finish::Context => Err(context::full(session.capacity(), session.capacity(), model.info().context)),
        Finish::Stop | Finish::Length => Ok(()),
    };
    if args.json {
        context.out.json(&answer.json(&model.info().name, outcome.as_ref().err()))?;
    } else if !answer.text.ends_with('\n') {
        context.out.text("\n")?;
    }
    context.out.flush()?;
    if args.stats || !args.no_stats && !args.json && std::io::stderr().is_terminal() {
        super::output::note(format_args!("{}", answer.statistics()));
    }
    outcome.map_err(|failure| if args.json { failure.told() } else { failure })
}
