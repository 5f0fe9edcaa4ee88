//! `lemmy bench`: how fast a model runs here.
//!
//! As llama-bench measures it: random tokens, the prompt in one call, no sampling, a warm-up that does not count.

mod report;

use std::time::Instant;

use clap::ValueEnum;
use lemmy_core::{Session, TokenId};

use super::Context;
use super::failure::{Failure, Result};
use super::load::{KvArg, LoadArgs, Loaded, ModelName};
use super::output::note;
use super::system;
use report::{Facts, Measured};

/// Prompt of the measurement of the first token.
const FIRST_PROMPT: usize = 16;

/// Measure how fast a model runs here
#[derive(Debug, clap::Args)]
#[command(after_help = "\
ppN is reading a prompt of N tokens, tgN is generating N tokens one by one; `@ dN`: after N \
tokens that are there already.

Examples:
  lemmy bench model.gguf
  lemmy bench model.gguf -p 128 -n 32 -t 4 -r 3
  lemmy bench model.gguf -d 4096 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Tokens of the prompt; 0: do not measure
    #[arg(short = 'p', long, value_name = "N", default_value_t = 512, env = "LEMMY_N_PROMPT", hide_env = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    n_prompt: u32,
    /// Tokens to generate; 0: do not measure
    #[arg(short, long, value_name = "N", default_value_t = 128, env = "LEMMY_N_GEN", hide_env = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    n_gen: u32,
    /// Tokens that are there before
    #[arg(short = 'd', long, value_name = "N", default_value_t = 0, env = "LEMMY_N_DEPTH", hide_env = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    n_depth: u32,
    /// Repeats
    #[arg(short, long, value_name = "N", default_value_t = 5, env = "LEMMY_REPETITIONS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Tokens that go through the model at once
    #[arg(short, long, value_name = "N", default_value_t = 512, env = "LEMMY_BATCH_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Seed of the random tokens
    #[arg(long, value_name = "N", default_value_t = 1, env = "LEMMY_SEED", hide_env = true)]
    seed: u64,
    /// Number type of the cache
    #[arg(long, value_name = "TYPE", default_value = "f16", env = "LEMMY_KV_TYPE", hide_env = true)]
    kv_type: KvArg,
    #[command(flatten)]
    load: LoadArgs,
    /// Form of the report
    #[arg(short, long, value_name = "FORM", default_value = "table", env = "LEMMY_OUTPUT", hide_env = true)]
    output: Form,
    /// The same as -o json
    #[arg(long)]
    json: bool,
}

/// Forms of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Csv,
    Md,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    if args.n_prompt == 0 && args.n_gen == 0 {
        return Err(Failure::usage("-p 0 -n 0: found nothing to measure (expected one of them above 0)"));
    }
    let form = if args.json { Form::Json } else { args.output };
    let place = args.model.locate()?;
    let loaded = args.load.load(&place, &context.signals)?;
    let facts = Facts::new(&place, &loaded, args.n_depth);
    if form == Form::Table {
        note(format_args!("{}", facts.machine()));
    }
    let measured = context.signals.name(measure(&args, &loaded))?;
    match form {
        Form::Table => context.out.text(&report::table(&facts, &measured)),
        Form::Md => context.out.text(&report::markdown(&facts, &measured)),
        Form::Csv => context.out.text(&report::csv(&facts, &measured)),
        Form::Json => context.out.json(&report::json(&facts, &measured)),
    }
}

fn measure(args: &Args, loaded: &Loaded) -> lemmy_core::Result<Measured> {
    let (prompt, generate, depth) = (size(args.n_prompt), size(args.n_gen), size(args.n_depth));
    let context = (depth + prompt.max(generate)).max(FIRST_PROMPT);
    let load_average = system::load_average();
    let vocabulary = loaded.model.plan().spec.vocab;
    let mut ids = RandomIds { state: args.seed, vocabulary: vocabulary.try_into().unwrap_or(TokenId::MAX) };

    let began = Instant::now();
    let session = loaded.model.session().context(context).batch(size(args.batch_size)).kv_type(args.kv_type.into());
    let mut session = session.cancel(loaded.cancel.clone()).build()?;
    session.forward(&ids.take(FIRST_PROMPT))?;
    let first_token_s = began.elapsed().as_secs_f64();

    session.rewind(0)?;
    if depth > 0 {
        session.prefill(&ids.take(depth), &mut |_, _| {})?;
    }
    let mut base = Base { session, depth };
    let mut repeat = |n: usize, run: fn(&mut Session, &[TokenId]) -> lemmy_core::Result<()>| {
        let mut speeds = Vec::new();
        // The first one warms up caches, pages and clocks.
        for round in 0..if n == 0 { 0 } else { args.repetitions + 1 } {
            let tokens = ids.take(n);
            let time = base.time(|session| run(session, &tokens))?;
            if round > 0 {
                speeds.push(f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / time);
            }
        }
        Ok::<_, lemmy_core::Error>(speeds)
    };
    let pp = repeat(prompt, |session, tokens| session.forward(tokens).map(|_| ()))?;
    let tg = repeat(generate, |session, tokens| tokens.chunks(1).try_for_each(|id| session.forward(id).map(|_| ())))?;
    Ok(Measured { prompt, generate, pp, tg, first_token_s, load_average })
}

/// A session with the tokens that are there before each measurement.
struct Base {
    session: Session,
    depth: usize,
}

impl Base {
    /// Seconds that `run` takes on a session with just these tokens.
    fn time(&mut self, run: impl FnOnce(&mut Session) -> lemmy_core::Result<()>) -> lemmy_core::Result<f64> {
        // Rewinding to 0 is always possible; to a depth only as far as the sliding windows reach, so a copy is used.
        let mut copy = if self.depth > 0 { Some(self.session.fork()?) } else { None };
        let session = match &mut copy {
            Some(copy) => copy,
            None => {
                self.session.rewind(0)?;
                &mut self.session
            }
        };
        let began = Instant::now();
        run(session)?;
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Token ids from SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct RandomIds {
    state: u64,
    vocabulary: TokenId,
}

impl RandomIds {
    fn take(&mut self, n: usize) -> Vec<TokenId> {
        (0..n).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> TokenId {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let below = u64::from(self.vocabulary.max(1));
        TokenId::try_from((z ^ (z >> 31)) % below).unwrap_or_default()
    }
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::RandomIds;

    #[test]
    fn ids_repeat_with_the_seed_and_stay_in_the_vocabulary() {
        let ids = |state| RandomIds { state, vocabulary: 384 }.take(1000);
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert!(ids(1).iter().all(|&id| id < 384));
        assert!((0..384).all(|id| ids(3).contains(&id) || ids(4).contains(&id) || ids(5).contains(&id)));
    }
}
