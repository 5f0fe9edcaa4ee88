//! `lemmy bench`: how fast a model runs here.
//!
//! As llama-bench measures it: random tokens, the prompt in one call, no sampling, a warm-up that does not count.

mod busy;
mod kernels;
mod limits;
mod phases;
mod profile;
mod random;
mod report;
mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use lemmy_core::plan::{Plan, Spec, Weights};
use lemmy_core::{Session, TokenId};

use super::Context;
use super::failure::{Failure, Result};
use super::load::{LoadArgs, Loaded, ModelName};
use super::output::note;
use super::room::CacheArgs;
use super::system;
use busy::Busy;
use kernels::TOLERANCE;
use limits::Limits;
use phases::{Phase, Phases};
use profile::{Clock, Clocked, Times};
use random::Random;
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
  lemmy bench model.gguf -d 4096 --json
  lemmy bench model.gguf --limits --profile    what bounds it, and where its time goes
  lemmy bench model.gguf --busy 4              beside four threads that take the CPU too
  lemmy bench model.gguf --kernels             whether the fastest kernels are the ones in use")]
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
    #[command(flatten)]
    cache: CacheArgs,
    /// Measure how fast weights can be read, and the share of that which decode reaches
    #[arg(long)]
    limits: bool,
    /// Show the time of each kind of step
    #[arg(long)]
    profile: bool,
    /// Instead, hold every way to multiply this model's weights against the one in use; exit 1 if it is 5 % behind
    #[arg(long, conflicts_with_all = ["limits", "profile"])]
    kernels: bool,
    /// Threads that spin beside it
    #[arg(long, value_name = "N", default_value_t = 0, env = "LEMMY_BUSY", hide_env = true,
          value_parser = clap::value_parser!(u16).range(0..=1024))]
    busy: u16,
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
    let form = if args.json { Form::Json } else { args.output };
    if form == Form::Csv && (args.limits || args.profile || args.kernels) {
        let message = "-o csv: holds the columns of llama-bench alone (expected table, md or json with this flag)";
        return Err(Failure::usage(message));
    }
    if args.kernels {
        return contest(&args, form, context);
    }
    if args.n_prompt == 0 && args.n_gen == 0 {
        return Err(Failure::usage("-p 0 -n 0: found nothing to measure (expected one of them above 0)"));
    }
    let place = args.model.locate()?;
    let clock = args.profile.then(|| Arc::new(Clock::default()));
    let loaded = args.load.load_as(&place, &context.signals, |builder, pool| match &clock {
        Some(clock) => builder.backend(Clocked::new(pool.clone(), clock.clone())),
        None => builder,
    })?;
    let facts = Facts::new(&place, &loaded, args.n_depth);
    if form == Form::Table {
        note(format_args!("{}", facts.machine()));
    }
    let busy = Busy::start(args.busy)?;
    let measured = context.signals.name(measure(&args, &loaded, clock.as_deref()))?;
    drop(busy);
    match form {
        Form::Table => context.out.text(&report::table(&facts, &measured)),
        Form::Md => context.out.text(&report::markdown(&facts, &measured)),
        Form::Csv => context.out.text(&report::csv(&facts, &measured)),
        Form::Json => context.out.json(&report::json(&facts, &measured)),
    }
}

/// `--kernels`: the report, and an error if the choice is behind.
fn contest(args: &Args, form: Form, context: &mut Context) -> Result<()> {
    let gguf = args.model.locate()?.open_header()?;
    let plan = Plan::new(Spec::from_gguf(&gguf)?);
    let weights = Weights::new(&gguf, &plan)?;
    let cancel = context.signals.watch();
    let busy = Busy::start(args.busy)?;
    let contests = context.signals.name(kernels::contests(&plan, &weights, &cancel))?;
    drop(busy);
    let lost: Vec<_> = contests.iter().filter(|contest| contest.behind() > TOLERANCE).collect();
    let failure = lost.first().map(|first| {
        let message = format!(
            "{} of {} products: the kernels in use are more than 5 % behind others; {}: {:.0} % behind {}",
            lost.len(),
            contests.len(),
            first.title(),
            100.0 * first.behind(),
            first.entries.first().map_or("", |entry| &entry.name)
        );
        Failure::failed("kernels", message)
            .hint("repeat it on a quiet machine; docs/adding-a-kernel.md tells how they are chosen")
    });
    match form {
        Form::Json => {
            let mut object = report::kernels_json(&contests);
            if let (Some(object), Some(failure)) = (object.as_object_mut(), &failure) {
                object.insert("error".into(), failure.json());
            }
            context.out.json(&object)?;
        }
        Form::Md => context.out.text(&report::kernels(&contests).markdown())?,
        _ => context.out.text(&report::kernels(&contests).plain())?,
    }
    context.out.flush()?;
    match failure {
        Some(failure) if form == Form::Json => Err(failure.told()),
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn measure(args: &Args, loaded: &Loaded, clock: Option<&Clock>) -> lemmy_core::Result<Measured> {
    let (model, pool) = (&loaded.model, &loaded.pool);
    let (prompt, generate, depth) = (size(args.n_prompt), size(args.n_gen), size(args.n_depth));
    let context = (depth + prompt.max(generate)).max(FIRST_PROMPT);
    let load_average = system::load_average();
    let plan = model.plan();
    let weights = Weights::new(model.gguf(), plan)?;
    let traffic = traffic::traffic(plan, &weights, args.cache.kv_type(), depth + generate / 2)?;
    let limits = || args.limits.then(|| Limits::measure(model, pool, &loaded.cancel)).transpose();
    let mut random = Random(args.seed);
    let mut ids = |n| random.tokens(n, plan.spec.vocab);

    let began = Instant::now();
    let session = model.session().context(context).batch(size(args.batch_size)).kv_type(args.cache.kv_type());
    let mut session = session.cancel(loaded.cancel.clone()).build()?;
    session.forward(&ids(FIRST_PROMPT))?;
    let first_token_s = began.elapsed().as_secs_f64();

    session.rewind(0)?;
    if depth > 0 {
        session.prefill(&ids(depth), &mut |_, _| {})?;
    }
    let before = limits()?;
    let mut base = Base { session, depth };
    let mut repeat = |n: usize, run: fn(&mut Session, &[TokenId]) -> lemmy_core::Result<()>| {
        let mut repeats = Repeats::default();
        // The first one warms up caches, pages and clocks.
        for round in 0..if n == 0 { 0 } else { args.repetitions + 1 } {
            let tokens = ids(n);
            let time = base.time(|session| run(session, &tokens))?;
            let times = clock.map(Clock::take).unwrap_or_default();
            if round > 0 {
                repeats.add(n, time, times);
            }
        }
        Ok::<_, lemmy_core::Error>(repeats)
    };
    let pp = repeat(prompt, |session, tokens| session.forward(tokens).map(|_| ()))?;
    let tg = repeat(generate, |session, tokens| tokens.chunks(1).try_for_each(|id| session.forward(id).map(|_| ())))?;
    // A machine's rate changes by the minute: on both sides of the test, the better one.
    let limits = before.zip(limits()?).map(|(before, after)| before.or_better(after));
    Ok(Measured {
        prompt,
        generate,
        first_token_s,
        load_average,
        token_bytes: traffic.values().sum(),
        limits,
        phases: clock.map(|_| Phases { pp: pp.phase(), tg: tg.phase(), traffic }),
        pp: pp.speeds,
        tg: tg.speeds,
        busy: args.busy,
    })
}

/// What the repeats of a test gave.
#[derive(Debug, Default)]
struct Repeats {
    /// Tokens a second of each.
    speeds: Vec<f64>,
    total: Duration,
    tokens: usize,
    times: Times,
}

impl Repeats {
    fn add(&mut self, tokens: usize, time: Duration, times: Times) {
        self.speeds.push(f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) / time.as_secs_f64());
        self.total += time;
        self.tokens += tokens;
        for (kind, time) in times {
            *self.times.entry(kind).or_default() += time;
        }
    }

    fn phase(&self) -> Option<Phase> {
        Phase::new(self.total, self.tokens, self.times.clone())
    }
}

/// A session with the tokens that are there before each measurement.
struct Base {
    session: Session,
    depth: usize,
}

impl Base {
    /// Time that `run` takes on a session with just these tokens.
    fn time(&mut self, run: impl FnOnce(&mut Session) -> lemmy_core::Result<()>) -> lemmy_core::Result<Duration> {
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
        Ok(began.elapsed())
    }
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
