//! `lemmy estimate`: how much memory a model will take.

use lemmy_core::plan::Spec;
use lemmy_core::{KvType, MemoryEstimate, ModelBuilder, ThreadPool};
use serde_json::{Value, json};

use super::Context;
use super::failure::Result;
use super::load::ModelName;
use super::locate::Place;
use super::room::CacheArgs;
use super::sight::TowerArgs;
use super::system::available_memory;
use super::units::bytes;

/// Show how much memory a model takes, from its headers alone
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy estimate model.gguf
  lemmy estimate model.gguf --mmproj mmproj.gguf
  lemmy estimate model.gguf -c 32768 --parallel 4 --kv-type q8_0    for lemmy serve with the same flags
  lemmy estimate model.gguf -c 131072 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Tokens of context
    #[arg(short, long, value_name = "N", default_value_t = 4096, env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    ctx_size: u32,
    /// Conversations side by side, each with that context
    #[arg(long, value_name = "N", default_value_t = 1, env = "LEMMY_PARALLEL", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    tower: TowerArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let place = args.model.locate()?;
    let mut builder = place.builder()?.threads(ThreadPool::new(1)?);
    if let Some(tower) = args.tower.file()? {
        builder = builder.mmproj(tower);
    }
    let wish = Wish { kv_type: args.cache.kv_type(), sessions: args.parallel.into() };
    let estimate = wish.estimate(&builder, usize::try_from(args.ctx_size).unwrap_or(usize::MAX))?;
    let free = available_memory();
    let fits = free.map(|free| wish.total(&estimate) <= free);
    let largest = match free {
        Some(free) => Some(wish.largest_context(&place, &builder, free)?),
        None => None,
    };
    if args.json {
        let mut object = json(args.ctx_size, &estimate);
        if let Some(object) = object.as_object_mut() {
            object.insert("sessions".into(), json!(wish.sessions));
            object.insert("total_bytes".into(), json!(wish.total(&estimate)));
            object.insert("available_bytes".into(), json!(free));
            object.insert("fits".into(), json!(fits));
            object.insert("largest_context".into(), json!(largest));
        }
        return context.out.json(&object);
    }
    let each = if wish.sessions == 1 { String::new() } else { format!(", {} times", wish.sessions) };
    let text = format!("for a context of {} tokens{each}\n{}", args.ctx_size, lines(&estimate, wish.sessions));
    context.out.text(&text)?;
    match (free, fits, largest) {
        (Some(free), Some(true), Some(most)) => {
            context.out.text(&format!("fits into {} free; a context of {most} still does\n", bytes(free)))
        }
        (Some(free), Some(false), Some(0)) => {
            context.out.text(&format!("does not fit into {} free, with no context\n", bytes(free)))
        }
        (Some(free), Some(false), Some(most)) => {
            context.out.text(&format!("does not fit into {} free; a context of {most} does\n", bytes(free)))
        }
        _ => Ok(()),
    }
}

/// What the cache is to be.
struct Wish {
    kv_type: KvType,
    sessions: u64,
}

impl Wish {
    fn estimate(&self, builder: &ModelBuilder, size: usize) -> Result<MemoryEstimate> {
        Ok(builder.estimate_with(size, self.kv_type)?)
    }

    /// Sessions that run in one batch share the working memory; each has a cache.
    fn total(&self, estimate: &MemoryEstimate) -> u64 {
        total(estimate, self.sessions)
    }

    /// The largest context, in steps of 1024 tokens, that fits; 0 if none does.
    fn largest_context(&self, place: &Place, builder: &ModelBuilder, free: u64) -> Result<usize> {
        const STEP: usize = 1024;
        let own = Spec::from_gguf(&place.open_header()?)?.context;
        let fits = |size: usize| -> Result<bool> { Ok(self.total(&self.estimate(builder, size)?) <= free) };
        if fits(own)? {
            return Ok(own);
        }
        let (mut low, mut high) = (0, own.div_ceil(STEP));
        while low + 1 < high {
            let middle = (low + high) / 2;
            if fits(middle * STEP)? { low = middle } else { high = middle }
        }
        Ok(low * STEP)
    }
}

fn total(estimate: &MemoryEstimate, sessions: u64) -> u64 {
    let others = estimate.kv_per_session.saturating_mul(sessions.saturating_sub(1));
    estimate.total().saturating_add(others)
}

/// An object for programs, for one session.
pub(crate) fn json(context: u32, estimate: &MemoryEstimate) -> Value {
    json!({
        "context": context,
        "weights_bytes": estimate.weights,
        "engine_bytes": estimate.engine,
        "kv_bytes": estimate.kv_per_session,
        "scratch_bytes": estimate.scratch,
        "picture_bytes": estimate.picture,
        "total_bytes": estimate.total(),
    })
}

/// A line for each kind of memory, for one session.
pub(crate) fn table(estimate: &MemoryEstimate) -> String {
    lines(estimate, 1)
}

fn lines(estimate: &MemoryEstimate, sessions: u64) -> String {
    let line = |name, n| format!("  {name:<8} {:>10}\n", bytes(n));
    let cache =
        if sessions == 1 { String::new() } else { format!(", {sessions} of {}", bytes(estimate.kv_per_session)) };
    let caches = line("cache", estimate.kv_per_session.saturating_mul(sessions));
    line("weights", estimate.weights)
        + &line("engine", estimate.engine)
        + caches.trim_end()
        + &cache
        + "\n"
        + &line("scratch", estimate.scratch)
        + &Some(estimate.picture).filter(|&n| n > 0).map_or(String::new(), |n| line("picture", n))
        + &line("total", total(estimate, sessions))
}
