//! `lemmy estimate`: how much memory a model will take.

use lemmy_core::plan::Spec;
use lemmy_core::{MemoryEstimate, ModelBuilder, ThreadPool};
use serde_json::{Value, json};

use super::Context;
use super::failure::Result;
use super::load::ModelName;
use super::locate::Place;
use super::sight::TowerArgs;
use super::system::available_memory;
use super::units::bytes;

/// Show how much memory a model takes, from its headers alone
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy estimate model.gguf
  lemmy estimate model.gguf --mmproj mmproj.gguf
  lemmy estimate model.gguf -c 131072 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Tokens of context
    #[arg(short, long, value_name = "N", default_value_t = 4096, env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    ctx_size: u32,
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
    let estimate = builder.estimate(usize::try_from(args.ctx_size).unwrap_or(usize::MAX))?;
    let free = available_memory();
    let fits = free.map(|free| estimate.total() <= free);
    let largest = match free {
        Some(free) => Some(largest_context(&place, &builder, free)?),
        None => None,
    };
    if args.json {
        let mut object = json(args.ctx_size, &estimate);
        if let Some(object) = object.as_object_mut() {
            object.insert("available_bytes".into(), json!(free));
            object.insert("fits".into(), json!(fits));
            object.insert("largest_context".into(), json!(largest));
        }
        return context.out.json(&object);
    }
    context.out.text(&format!("for a context of {} tokens\n{}", args.ctx_size, table(&estimate)))?;
    match (free, fits, largest) {
        (Some(free), Some(true), Some(most)) => {
            context.out.text(&format!("fits into {} free; a context of {most} still does\n", bytes(free)))
        }
        (Some(free), Some(false), Some(most)) => {
            context.out.text(&format!("does not fit into {} free; a context of {most} does\n", bytes(free)))
        }
        _ => Ok(()),
    }
}

/// An object for programs.
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

/// A line for each kind of memory.
pub(crate) fn table(estimate: &MemoryEstimate) -> String {
    let line = |name, n| format!("  {name:<8} {:>10}\n", bytes(n));
    line("weights", estimate.weights)
        + &line("engine", estimate.engine)
        + &line("cache", estimate.kv_per_session)
        + &line("scratch", estimate.scratch)
        + &Some(estimate.picture).filter(|&n| n > 0).map_or(String::new(), |n| line("picture", n))
        + &line("total", estimate.total())
}

/// The largest context, in steps of 1024 tokens, that fits; 0 if none does.
fn largest_context(place: &Place, builder: &ModelBuilder, free: u64) -> Result<usize> {
    const STEP: usize = 1024;
    let own = Spec::from_gguf(&place.open_header()?)?.context;
    let fits = |size: usize| -> Result<bool> { Ok(builder.estimate(size)?.total() <= free) };
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
