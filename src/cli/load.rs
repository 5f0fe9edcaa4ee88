//! Flags for naming and loading a model, the same in every subcommand that runs one.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use lemmy_core::{CancelToken, LoadMode, Model, ModelBuilder, ThreadPool};

use super::failure::{Failure, Result};
use super::hub::HubArgs;
use super::locate::Place;
use super::nano;
use super::output::note;
use super::progress::{Progress, Unit};
use super::resident;
use super::signals::Signals;

/// MODEL as the first word, as `-m`, or as LEMMY_MODEL.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelName {
    /// GGUF file, folder with one, name on the hub (lemmy pull --help), or nano
    #[arg(value_name = "MODEL")]
    word: Option<String>,
    /// The same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    flag: Option<String>,
    /// The same as MODEL, for a model of the hub (also -hf)
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "flag")]
    hf_repo: Option<String>,
    #[arg(long, value_name = "MODEL", hide = true)]
    default_model: Option<String>,
    #[command(flatten)]
    hub: HubArgs,
}

impl ModelName {
    /// The model, for a command that has no other words.
    pub(crate) fn locate(&self) -> Result<Place> {
        match self.split(&[])? {
            (place, words) if words.is_empty() => Ok(place),
            _ => Err(Failure::usage("MODEL: found two (expected one, as a word or as --model)")),
        }
    }

    /// The model and the other words: with `-m` the first word is one of them. If it is downloaded for this, then
    /// without a vision tower.
    pub(crate) fn split<'a>(&'a self, words: &'a [String]) -> Result<(Place, Vec<&'a str>)> {
        let (place, words) = self.split_or_nano(words, false)?;
        let place = place.ok_or_else(|| {
            Failure::usage("MODEL: found nothing (expected the path of a .gguf file)")
                .hint("lemmy run model.gguf \"Why is the sky blue?\"")
        })?;
        Ok((place, words))
    }

    /// As [`split`](Self::split), for a command that takes Lemmy Nano if no model is named: `None`. `with_tower`:
    /// whether a download brings the vision tower too.
    pub(crate) fn split_or_nano<'a>(
        &'a self,
        words: &'a [String],
        with_tower: bool,
    ) -> Result<(Option<Place>, Vec<&'a str>)> {
        let (name, first) = match self.flag.as_ref().or(self.hf_repo.as_ref()) {
            Some(flag) => (Some(flag), self.word.as_ref()),
            None => (self.word.as_ref(), None),
        };
        let words = first.into_iter().chain(words).map(String::as_str).collect();
        let Some(name) = name.or(self.default_model.as_ref()) else { return Ok((None, words)) };
        let place =
            Place::find(name, &self.hub, with_tower).map_err(|failure| match std::env::var_os("LEMMY_MODEL") {
                Some(_) if self.flag.is_none() && self.hf_repo.is_none() && self.word.is_some() => {
                    failure.hint("without -m the first word is MODEL, also where LEMMY_MODEL is set")
                }
                _ => failure,
            })?;
        Ok((Some(place), words))
    }
}

/// How a model is loaded. Rare flags are hidden, since they would crowd every help; docs/performance.md has them.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Threads (default: one for each CPU)
    #[arg(short, long, value_name = "N", env = "LEMMY_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Read the file into memory instead of mapping it
    #[arg(long)]
    no_mmap: bool,
    /// Read all weights into memory before the first token
    #[arg(long, env = "LEMMY_PREFAULT", hide = true)]
    prefault: bool,
    /// The same, and keep them there, whatever else wants the memory
    #[arg(long, env = "LEMMY_MLOCK", hide = true)]
    mlock: bool,
    /// What computes: this build has the CPU
    #[arg(long, value_name = "NAME", default_value = "auto", hide = true, hide_possible_values = true)]
    backend: Backend,
    /// Layers for a GPU, which this build does not use
    #[arg(long, value_name = "N", hide = true, allow_negative_numbers = true)]
    ngl: Option<i64>,
}

/// What may compute.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    Auto,
    Cpu,
}

/// A model that is ready, and what that took.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) pool: ThreadPool,
    pub(crate) cancel: CancelToken,
    pub(crate) time: Duration,
}

impl LoadArgs {
    /// Loads a model that need not see; from now on a signal triggers the cancel token.
    pub(crate) fn load(&self, place: &Place, signals: &Signals) -> Result<Loaded> {
        self.load_with(place, None, signals)
    }

    /// The same, with a vision tower.
    pub(crate) fn load_with(&self, place: &Place, tower: Option<&Path>, signals: &Signals) -> Result<Loaded> {
        self.load_as(place, signals, |builder, _| match tower {
            Some(tower) => builder.mmproj(tower),
            None => builder,
        })
    }

    /// The same, with more options; the pool is the one of the model.
    pub(crate) fn load_as(
        &self,
        place: &Place,
        signals: &Signals,
        options: impl FnOnce(ModelBuilder, &ThreadPool) -> ModelBuilder,
    ) -> Result<Loaded> {
        let began = Instant::now();
        if *place == Place::Nano {
            nano::introduce()?;
        }
        if self.ngl.is_some_and(|layers| layers != 0) {
            note(format_args!("note: -ngl is left aside: this build computes on the CPU"));
        }
        let cancel = signals.watch();
        let pool = self.pool()?;
        let mut progress = Progress::bar_only("loading", Unit::Bytes);
        let model = options(self.builder(place, &pool, &cancel)?, &pool)
            .on_progress(move |p| {
                progress.set(p.done, p.total);
                ControlFlow::Continue(())
            })
            .load();
        let model = signals.name(model)?;
        signals.name(self.prefault(&model, &pool, &cancel))?;
        self.lock(&model)?;
        Ok(Loaded { model, pool, cancel, time: began.elapsed() })
    }

    /// Options for loading it so.
    pub(crate) fn builder(&self, place: &Place, pool: &ThreadPool, cancel: &CancelToken) -> Result<ModelBuilder> {
        let mode = if self.no_mmap { LoadMode::Read } else { LoadMode::Mmap };
        Ok(place.builder()?.threads(pool.clone()).load_mode(mode).cancel(cancel.clone()))
    }

    /// Reads all weights, if that was asked for.
    pub(crate) fn prefault(&self, model: &Model, pool: &ThreadPool, cancel: &CancelToken) -> lemmy_core::Result<()> {
        if self.prefault || self.mlock { resident::prefault(model.gguf(), pool, cancel) } else { Ok(()) }
    }

    /// Keeps them in memory, if that was asked for.
    pub(crate) fn lock(&self, model: &Model) -> Result<()> {
        if self.mlock { resident::lock(model.info().file_bytes) } else { Ok(()) }
    }

    /// The threads that it will use.
    pub(crate) fn pool(&self) -> Result<ThreadPool> {
        let builder = ThreadPool::builder();
        let builder = match self.threads.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => builder.threads(n),
            None => builder,
        };
        Ok(builder.build()?)
    }
}
