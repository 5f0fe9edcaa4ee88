//! Flags for naming and loading a model, the same in every subcommand that runs one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use lemmy_core::gguf::Gguf;
use lemmy_core::{CancelToken, KvType, LoadMode, Model, ThreadPool};

use super::failure::{Failure, Result};
use super::locate::locate;
use super::progress::{Progress, Unit};
use super::signals::Signals;

/// MODEL as the first word, as `-m`, or as LEMMY_MODEL.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelName {
    /// GGUF file, folder with one, or first part of a split model
    #[arg(value_name = "MODEL")]
    word: Option<String>,
    /// The same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    flag: Option<String>,
}

impl ModelName {
    /// The file, for a command that has no other words.
    pub(crate) fn locate(&self) -> Result<PathBuf> {
        match self.split(&[]) {
            Ok((path, words)) if words.is_empty() => Ok(path),
            Ok(_) => Err(Failure::usage("MODEL: found two (expected one, as a word or as --model)")),
            Err(e) => Err(e),
        }
    }

    /// The file and the other words: with `-m` the first word is one of them.
    pub(crate) fn split<'a>(&'a self, words: &'a [String]) -> Result<(PathBuf, Vec<&'a str>)> {
        let (name, first) = match &self.flag {
            Some(flag) => (Some(flag), self.word.as_ref()),
            None => (self.word.as_ref(), None),
        };
        let name = name.cloned().or_else(|| std::env::var("LEMMY_MODEL").ok()).ok_or_else(|| {
            Failure::usage("MODEL: found nothing (expected the path of a .gguf file)")
                .hint("lemmy run model.gguf \"Once upon a time\"")
        })?;
        let path = locate(&name).map_err(|failure| match std::env::var_os("LEMMY_MODEL") {
            Some(_) if self.flag.is_none() && self.word.is_some() => {
                failure.hint("without -m the first word is MODEL, also where LEMMY_MODEL is set")
            }
            _ => failure,
        })?;
        Ok((path, first.into_iter().chain(words).map(String::as_str).collect()))
    }
}

/// How a model is loaded.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Threads (default: one for each CPU)
    #[arg(short, long, value_name = "N", env = "LEMMY_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Read the file into memory instead of mapping it
    #[arg(long)]
    no_mmap: bool,
}

/// Number type of the cache of keys and values.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KvArg {
    F16,
    F32,
}

impl From<KvArg> for KvType {
    fn from(arg: KvArg) -> Self {
        match arg {
            KvArg::F16 => Self::F16,
            KvArg::F32 => Self::F32,
        }
    }
}

/// A model that is ready, and what that took.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) pool: ThreadPool,
    pub(crate) cancel: CancelToken,
    pub(crate) time: Duration,
}

impl LoadArgs {
    /// Loads; from now on a signal triggers the cancel token.
    pub(crate) fn load(&self, path: &PathBuf, signals: &Signals) -> Result<Loaded> {
        let began = Instant::now();
        let cancel = signals.watch();
        let pool = self.pool()?;
        let mode = if self.no_mmap { LoadMode::Read } else { LoadMode::Mmap };
        let mut progress = Progress::bar_only("loading", Unit::Bytes);
        let model = Model::builder(path)
            .threads(pool.clone())
            .load_mode(mode)
            .cancel(cancel.clone())
            .on_progress(move |p| {
                progress.set(p.done, p.total);
                ControlFlow::Continue(())
            })
            .load();
        let model = signals.name(model)?;
        Ok(Loaded { model, pool, cancel, time: began.elapsed() })
    }

    fn pool(&self) -> Result<ThreadPool> {
        let builder = ThreadPool::builder();
        let builder = match self.threads.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => builder.threads(n),
            None => builder,
        };
        Ok(builder.build()?)
    }
}

/// Opens a file for its keys and tensor table; its weights are not read.
pub(crate) fn open_header(path: &std::path::Path) -> Result<Gguf> {
    let go_on = &mut |_, _| ControlFlow::Continue(());
    Ok(Gguf::open(path, LoadMode::Mmap, &CancelToken::new(), go_on)?)
}
