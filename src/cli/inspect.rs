//! `lemmy inspect`: what is in a file. Reads the headers; the weights only with `--check`.

mod check;
mod digests;
mod facts;
mod keys;
mod tower;

use std::path::Path;

use lemmy_core::gguf::Gguf;
use lemmy_core::plan::{Plan, Spec, Weights};
use lemmy_core::{Error, ThreadPool};
use serde_json::{Value, json};

use super::Context;
use super::estimate;
use super::failure::{Failure, Result};
use super::load::ModelName;
use super::locate::Place;
use super::sight::TowerArgs;
use super::units::bytes;
use facts::Facts;
use tower::Tower;

/// Show what is in a GGUF file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works on any GGUF file, also one that cannot be run here. A bad file is told with the place \
where it is bad, and exit code 5.

Examples:
  lemmy inspect model.gguf
  lemmy inspect model.gguf --tensors
  lemmy inspect model.gguf --kv tokenizer.chat_template
  lemmy inspect model.gguf --mmproj mmproj.gguf    the model, and the vision tower that goes with it
  lemmy inspect model.gguf --sha256                the digest of each file, and whether the hub agrees
  lemmy inspect model.gguf --check --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// List the tensors: name, type, shape, place
    #[arg(long)]
    tensors: bool,
    /// Show the value of one key and nothing else
    #[arg(long, value_name = "KEY", conflicts_with_all = ["tensors", "check", "sha256"])]
    kv: Option<String>,
    /// Read everything: every number finite, the tokenizer sound
    #[arg(long)]
    check: bool,
    /// Show the SHA-256 of each file; a downloaded one is held against what the hub says
    #[arg(long)]
    sha256: bool,
    #[command(flatten)]
    tower: TowerArgs,
    /// Tokens of context that the memory is estimated for
    #[arg(short, long, value_name = "N", default_value_t = 4096, env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    ctx_size: u32,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let place = args.model.locate()?;
    let gguf = place.open_header()?;
    if let Some(key) = &args.kv {
        return keys::show(&gguf, key, args.json, &mut context.out);
    }
    let facts = Facts::new(&gguf);
    let named = args.tower.file()?;
    let alone = if named.is_none() { Tower::of(&gguf)? } else { None };
    let (model, tower) = match (alone, &named) {
        (Some(Ok(tower)), _) => (Err("it is a vision tower; --mmproj gives it to a model".to_owned()), Some(tower)),
        (Some(Err(reason)), _) => (Err(reason), None),
        (None, Some(file)) => (runnable(&gguf)?, Some(Tower::open(file)?)),
        (None, None) => (runnable(&gguf)?, None),
    };
    let memory = match &model {
        Ok(_) => Some(memory(&place, named.as_deref(), args.ctx_size)?),
        Err(_) => None,
    };
    let verdict = if args.check { Some(check::check(&gguf, model.is_ok(), &context.signals)?) } else { None };
    let more: Vec<_> = named.into_iter().collect();
    let digests = match args.sha256 {
        true => Some(digests::of_model(&place, gguf.parts(), &more, &context.signals)?),
        false => None,
    };
    let verdict = match (&verdict, &digests) {
        (None | Some(Ok(())), Some(digests)) => Some(digests::verdict(digests)),
        _ => verdict,
    };
    if args.json {
        let mut object = facts.json();
        let mut add = |key: &str, value: Value| object.insert(key.into(), value);
        match &model {
            Ok(spec) => add("model", facts::spec_json(spec)),
            Err(reason) => add("not_runnable", json!(reason)),
        };
        if let Some(memory) = &memory {
            add("memory", estimate::json(args.ctx_size, memory));
        }
        if let Some(tower) = &tower {
            add("tower", tower.json());
        }
        if args.tensors {
            add("tensors", facts::tensors_json(&gguf));
        }
        if let Some(digests) = &digests {
            add("sha256", digests::json(digests));
        }
        if let Some(failure) = verdict.as_ref().and_then(|verdict| verdict.as_ref().err()) {
            add("error", failure.json());
        }
        context.out.json(&object.into())?;
    } else {
        context.out.text(&facts.text())?;
        match &model {
            Ok(spec) => context.out.text(&facts::spec_text(spec))?,
            Err(reason) => context.out.text(&facts::line("not runnable", reason))?,
        }
        if let Some(tower) = &tower {
            context.out.text(&tower.text())?;
        }
        if let Some(memory) = &memory {
            let total = format!("{} with a context of {} tokens", bytes(memory.total()), args.ctx_size);
            context.out.text(&(facts::line("memory", &total) + &estimate::table(memory)))?;
        }
        if args.tensors {
            context.out.text(&facts::tensors_text(&gguf))?;
        }
        if let Some(digests) = &digests {
            context.out.text(&digests::text(digests))?;
        }
        if let (true, Some(Ok(()))) = (args.check, &verdict) {
            context.out.text(&facts::line("check", &check::passed(&gguf)))?;
        }
    }
    verdict.unwrap_or(Ok(())).map_err(|failure| if args.json { failure.told() } else { failure })
}

/// Facts of the model; the reason as text for a sound file that this build cannot run; an error for an unsound one.
fn runnable(gguf: &Gguf) -> Result<Result<Spec, String>> {
    if gguf.tensors().is_empty() {
        return Ok(Err("it holds no tensors".into()));
    }
    let spec = match Spec::from_gguf(gguf) {
        Ok(spec) => spec,
        Err(Error::Unsupported(reason)) => return Ok(Err(reason)),
        Err(e) if gguf.get("general.architecture").is_none() => return Ok(Err(e.to_string())),
        Err(e) => return Err(e.into()),
    };
    let plan = Plan::new(spec);
    match Weights::new(gguf, &plan) {
        Ok(_) => Ok(Ok(plan.spec)),
        Err(Error::Unsupported(reason)) => Ok(Err(reason)),
        Err(e) => Err(e.into()),
    }
}

fn memory(place: &Place, tower: Option<&Path>, context: u32) -> Result<lemmy_core::MemoryEstimate> {
    let mut builder = place.builder()?.threads(ThreadPool::new(1)?);
    if let Some(tower) = tower {
        builder = builder.mmproj(tower);
    }
    builder.estimate(usize::try_from(context).unwrap_or(usize::MAX)).map_err(Failure::from)
}
