//! `lemmy quantize`: a model file with smaller numbers.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lemmy_core::requantize::{Mixture, Requantize};
use lemmy_core::{Error, ThreadPool};
use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::hub::HubArgs;
use super::locate::{Place, kind_of, locate, part_number};
use super::progress::{Progress, Unit};
use super::units::bytes;

/// Make a model file with smaller numbers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each tensor gets the type that llama-quantize gives it. OUT appears when it is complete; until \
then the work is in OUT.part, which goes away when the work fails or is interrupted. An older OUT \
is replaced.

Examples:
  lemmy quantize model-bf16.gguf model-q4_k_m.gguf q4_k_m
  lemmy quantize model-bf16.gguf model-q8_0.gguf q8_0 -t 8")]
pub(crate) struct Args {
    /// GGUF file of f32, f16 or bf16 numbers
    #[arg(value_name = "IN")]
    input: String,
    /// File to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// bf16, q8_0, q6_k, q5_k_m or q4_k_m
    #[arg(value_name = "TYPE", value_parser = mixture)]
    mixture: Mixture,
    /// Threads (default: one for each CPU)
    #[arg(short, long, value_name = "N", env = "LEMMY_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Take a file that is quantised already; the errors add up
    #[arg(long)]
    allow_requantize: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn mixture(name: &str) -> Result<Mixture, String> {
    let known = Mixture::ALL.into_iter().find(|mixture| mixture.name().eq_ignore_ascii_case(name));
    known.ok_or_else(|| format!("expected one of {}", Mixture::ALL.map(Mixture::name).join(", ")))
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let began = Instant::now();
    let input = locate(&args.input, &HubArgs::default(), false)?;
    let part = Part::name_for(&args.output);
    for path in [&args.output, &part] {
        check_not_the_source(&input, path)?;
    }
    check_replaceable(&args.output, &std::fs::metadata(&args.output))?;
    check_replaceable(&part, &std::fs::symlink_metadata(&part))?;
    let cancel = context.signals.watch();
    context.signals.ignore_second();
    let source = Place::File(input.clone()).open_header()?;
    let pool = match args.threads.and_then(|n| usize::try_from(n).ok()) {
        Some(threads) => ThreadPool::new(threads)?,
        None => ThreadPool::builder().build()?,
    };
    let work = Requantize::new(&source, args.mixture)?.from_quantized(args.allow_requantize);
    let mut progress = Progress::bar_or_lines("quantising", Unit::Bytes);
    let part = Part::create(part)?;
    let out = BufWriter::with_capacity(1 << 20, &part.file);
    let written = work.write(out, &pool, &cancel, &mut |done, total| {
        progress.set(done, total);
        ControlFlow::Continue(())
    });
    drop(progress);
    let is_quantized = matches!(&written, Err(Error::Argument { name: "source", .. }));
    let written = context.signals.name(written).map_err(|failure| match is_quantized {
        true => failure.hint("--allow-requantize takes it nevertheless"),
        false => failure,
    });
    written?.flush().map_err(|e| part.failure(&e))?;
    let size = part.finish(&args.output)?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        context.out.json(&json!({
            "file": args.output.display().to_string(),
            "type": args.mixture.name(),
            "source_bytes": source.file_bytes(),
            "bytes": size,
            "seconds": seconds,
        }))
    } else {
        let (file, from, to) = (args.output.display(), bytes(source.file_bytes()), bytes(size));
        context.out.text(&format!("{file}: {from} -> {to}, {}, {seconds:.1} s\n", args.mixture.name()))
    }
}

/// The file that is being written. Removed when dropped, unless it was finished.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Part {
    /// `OUT.part`.
    fn name_for(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".part");
        name.into()
    }

    /// Creates it, or takes over one that a killed process left; refuses one that is being written.
    ///
    /// Between opening and locking, the process that wrote it may have given it its final name: to empty it then would
    /// destroy a finished file. So the name must still lead to what was locked.
    fn create(path: PathBuf) -> Result<Self> {
        let fail = |e: io::Error| Failure::io(format_args!("cannot create {}", path.display()), &e);
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        let locked_by_other = matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock));
        if locked_by_other || !leads_to(&path, &file) {
            let message = format!("{}: another process is writing it", path.display());
            return Err(Failure::failed("in_use", message));
        }
        file.set_len(0).map_err(fail)?;
        Ok(Self { path, file, finished: false })
    }

    /// Makes it durable and gives it its name; the answer is its size.
    fn finish(mut self, output: &Path) -> Result<u64> {
        self.file.sync_all().map_err(|e| self.failure(&e))?;
        let size = self.file.metadata().map_err(|e| self.failure(&e))?.len();
        std::fs::rename(&self.path, output).map_err(|e| {
            Failure::io(format_args!("cannot rename {} to {}", self.path.display(), output.display()), &e)
        })?;
        self.finished = true;
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The new name is durable when its folder is; systems that cannot do that for folders say so here.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(size)
    }

    fn failure(&self, e: &io::Error) -> Failure {
        Failure::io(format_args!("cannot write {}", self.path.display()), e)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Refuses to write over the input or over another part of it.
fn check_not_the_source(input: &Path, output: &Path) -> Result<()> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sibling = match (part_number(&name(input)), part_number(&name(output))) {
        (Some((_, parts)), Some((_, same))) if parts == same => input.parent().map(|folder| folder.join(name(output))),
        _ => None,
    };
    if same_file(input, output) || sibling.is_some_and(|sibling| same_file(&sibling, output)) {
        let message = format!("{}: found the input itself (expected another file to write)", output.display());
        return Err(Failure::usage(message));
    }
    Ok(())
}

/// Refuses a name that anything but an ordinary file has: the new file would take the place of a device, and opening a
/// pipe for writing waits for a reader. The facts of OUT are those behind links, since a link is replaced; those of
/// OUT.part are its own, since what a link leads to would be written over.
fn check_replaceable(path: &Path, facts: &io::Result<Metadata>) -> Result<()> {
    match facts {
        Ok(facts) if !facts.is_file() => {
            let found = kind_of(facts);
            Err(Failure::usage(format!("{}: found {found} (expected a file to write)", path.display())))
        }
        _ => Ok(()),
    }
}

/// Whether two paths lead to the same file, also by links.
fn same_file(a: &Path, b: &Path) -> bool {
    let (Ok(a_facts), Ok(b_facts)) = (std::fs::metadata(a), std::fs::metadata(b)) else { return false };
    #[cfg(unix)]
    {
        is_same(&a_facts, &b_facts)
    }
    #[cfg(not(unix))]
    {
        let _ = (a_facts, b_facts);
        std::fs::canonicalize(a).ok() == std::fs::canonicalize(b).ok()
    }
}

/// Whether a path leads to an open file. Where files have no number, a locked one cannot be renamed either.
fn leads_to(path: &Path, file: &File) -> bool {
    #[cfg(unix)]
    {
        matches!((std::fs::metadata(path), file.metadata()), (Ok(a), Ok(b)) if is_same(&a, &b))
    }
    #[cfg(not(unix))]
    {
        let _ = (path, file);
        true
    }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
