//! `lemmy pull`: a model from the hub into the cache.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::hub::{
    Cache, Companion, Endpoint, Hub, HubName, Manner, Pick, PlaceArgs, Plan, RemoteFile, RepoFolder, Step, Token,
    Trouble, Watcher, cached, is_offline,
};
use super::output::{Output, note};
use super::progress::{Progress, Unit};
use super::units::bytes;

/// Download a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names: ORG/REPO, ORG/REPO:TAG (a number type, or a word of the file's name) and
ORG/REPO:FILE.gguf, each also with @REVISION and with hf.co/ in front; the address of a
repository or file; lemmy for lthn/lemmy-gguf. Files go to the cache that huggingface_hub and
llama.cpp use too. What was interrupted goes on where it stopped.

Every command that takes a MODEL takes these names, and -hf NAME, -hff FILE, --offline, --update
(ask for a newer version), --yes (download more than 1 GiB without asking), --cache-dir, --hf-token;
run, chat and serve also --no-mmproj. Only these three download the projector with the model.

Environment: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY.

Examples:
  lemmy pull lemmy                                  the model that this program is for
  lemmy pull hf.co/lthn/lemmy-gguf:Q8_0
  lemmy pull -hf org/repo:Q4_K_M --no-mmproj --limit-rate 5M
  lemmy pull org/repo --all-quants --dry-run")]
pub(crate) struct Args {
    /// Names of models
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    /// The same as MODEL
    #[arg(short = 'm', long = "model", alias = "hf-repo", value_name = "MODEL")]
    also: Vec<String>,
    /// File of the repository
    #[arg(long, value_name = "FILE")]
    hf_file: Option<String>,
    /// Projector to take: a file, or a number type
    #[arg(long, value_name = "FILE|TAG", conflicts_with = "no_mmproj")]
    mmproj: Option<String>,
    /// Take no projector
    #[arg(long)]
    no_mmproj: bool,
    /// All models of the repository
    #[arg(long)]
    all_quants: bool,
    /// Only show what would be downloaded
    #[arg(long)]
    dry_run: bool,
    /// Connections for each file (default: 4 above 1 GiB, else 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    connections: Option<u8>,
    /// Bytes a second at most, such as 500k or 5M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_rate: Option<u64>,
    /// Ask no hub: only say where it is
    #[arg(long)]
    offline: bool,
    /// JSON Lines: progress and results
    #[arg(long)]
    json: bool,
    /// Token for the hub; better in HF_TOKEN, where `ps` does not show it
    #[arg(long, value_name = "TOKEN")]
    hf_token: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Bytes a second, with k, M or G.
fn rate(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => 0,
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|rate| *rate > 0);
    rate.ok_or_else(|| "expected bytes a second, such as 500k or 5M".into())
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let names: Vec<_> = args.models.iter().chain(&args.also).map(|name| args.name(name)).collect::<Result<_>>()?;
    if names.is_empty() {
        return Err(Failure::usage("MODEL: found nothing (expected the name of a model)").hint("lemmy pull lemmy"));
    }
    let cache = Cache::open(args.place.cache_dir.as_deref())?;
    if args.offline || is_offline() {
        return names.iter().try_for_each(|name| offline(&cache.repo(&name.repo), name, &args, &mut context.out));
    }
    let hub = Arc::new(Hub::new(Endpoint::from_environment()?, Token::find(args.hf_token.as_deref())?));
    for name in &names {
        let folder = cache.repo(&name.repo);
        let plan = Plan::new(&hub, &folder, name, &args.companion(), args.all_quants);
        match plan {
            Ok(plan) if args.dry_run => show(&plan, &folder, args.json, &mut context.out)?,
            Ok(plan) => download(&plan, &hub, &folder, &args, context)?,
            Err(Trouble::Unreachable(failure)) => match cached(&folder, name) {
                Ok(Some(path)) => {
                    note(format_args!("using the cached copy of {name}: the hub cannot be reached"));
                    tell(&path, args.json, &mut context.out)?;
                }
                _ => return Err(failure),
            },
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
    }
    Ok(())
}

impl Args {
    fn name(&self, text: &str) -> Result<HubName> {
        let name = HubName::parse(text)?;
        let mut name = name.ok_or_else(|| {
            Failure::usage(format!("{text}: found no name of a model of the hub (expected such as org/repo:Q4_K_M)"))
        })?;
        if let Some(file) = &self.hf_file {
            name.pick = Pick::File(file.clone());
        }
        Ok(name)
    }

    fn companion(&self) -> Companion {
        match &self.mmproj {
            Some(wish) => Companion::Named(wish.clone()),
            None if self.no_mmproj => Companion::None,
            None => Companion::Usual,
        }
    }
}

fn download(plan: &Plan, hub: &Arc<Hub>, folder: &RepoFolder, args: &Args, context: &mut Context) -> Result<()> {
    let connections = args.connections.map(usize::from);
    let manner = Manner { connections, rate: args.limit_rate, cancel: context.signals.watch() };
    let mut shown = if args.json { Shown::json(&mut context.out) } else { Shown::lines() };
    let done = plan.execute(hub, folder, &manner, &mut shown);
    drop(shown);
    match done {
        Ok(path) if args.json => {
            let (name, commit) = (plan.name.to_string(), &plan.commit);
            let line = json!({ "event": "model", "name": name, "commit": commit, "path": path.display().to_string() });
            context.out.json(&line)?;
        }
        Ok(path) => tell(&path, false, &mut context.out)?,
        Err(_) if manner.cancel.is_cancelled() => {
            note(format_args!("stopped; what is there stays, and `lemmy pull {}` goes on with it", plan.name));
            return Err(context.signals.failure());
        }
        Err(trouble) => return Err(trouble.into()),
    }
    context.out.flush()
}

fn offline(folder: &RepoFolder, name: &HubName, args: &Args, out: &mut Output) -> Result<()> {
    match cached(folder, name)? {
        Some(path) => tell(&path, args.json, out),
        None => Err(Failure::not_found(format!("{name}: not downloaded, and --offline asks no hub"))
            .hint(format!("lemmy pull {name}"))),
    }
}

fn tell(path: &Path, json: bool, out: &mut Output) -> Result<()> {
    let path = path.display().to_string();
    if json { out.json(&json!({ "event": "model", "path": path })) } else { out.text(&format!("{path}\n")) }
}

/// What `--dry-run` says.
fn show(plan: &Plan, folder: &RepoFolder, json: bool, out: &mut Output) -> Result<()> {
    for file in &plan.files {
        if json {
            out.json(&json!({ "event": "file", "file": file.path, "total": file.size, "sha256": sha256(file) }))?;
        } else {
            out.text(&format!("{:>10}  {}\n", bytes(file.size), file.path))?;
        }
    }
    if json {
        let path = plan.path(folder).display().to_string();
        return out.json(&json!({ "event": "plan", "total": plan.size(), "missing": plan.missing, "path": path }));
    }
    out.text(&format!("{:>10}  together, {} to download\n", bytes(plan.size()), bytes(plan.missing)))
}

fn sha256(file: &RemoteFile) -> Option<&str> {
    (file.etag.len() == 64).then_some(&file.etag)
}

/// How far a download is: a bar or lines on stderr, or JSON Lines on stdout.
pub(crate) struct Shown<'o> {
    json: Option<&'o mut Output>,
    progress: Option<Progress>,
    hundredths: u64,
}

impl<'o> Shown<'o> {
    pub(crate) fn lines() -> Self {
        Self { json: None, progress: None, hundredths: 0 }
    }

    fn json(out: &'o mut Output) -> Self {
        Self { json: Some(out), progress: None, hundredths: 0 }
    }
}

impl Watcher for Shown<'_> {
    fn begin(&mut self, _: &RemoteFile) {
        self.progress = None;
        self.hundredths = 0;
    }

    fn step(&mut self, file: &RemoteFile, step: Step) {
        let (event, done) = match step {
            Step::Download(done) => ("progress", done),
            Step::Verify(done) => ("verify", done),
        };
        if let Some(out) = &mut self.json {
            let now = done.saturating_mul(100).checked_div(file.size).unwrap_or(100);
            if now > self.hundredths {
                self.hundredths = now;
                let line = json!({ "event": event, "file": file.path, "done": done, "total": file.size });
                // A reader that has gone away ends the command with the next line that must arrive.
                let _ = out.json(&line).and_then(|()| out.flush());
            }
            return;
        }
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let progress = self.progress.get_or_insert_with(|| Progress::bar_or_lines(name, Unit::Bytes));
        progress.set(done, file.size);
    }

    fn end(&mut self, file: &RemoteFile, path: &Path, was_there: bool) -> Result<()> {
        self.progress = None;
        match &mut self.json {
            Some(out) => {
                let path = path.display().to_string();
                let line = json!({
                    "event": "done", "file": file.path, "path": path, "sha256": sha256(file), "bytes": file.size,
                    "cached": was_there,
                });
                out.json(&line).and_then(|()| out.flush())
            }
            None if was_there => Ok(()),
            None => {
                note(format_args!("{}: {}, verified", file.path, bytes(file.size)));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates() {
        assert_eq!(rate("5M"), Ok(5_000_000));
        assert_eq!(rate("500k"), Ok(500_000));
        assert_eq!(rate("7"), Ok(7));
        for text in ["", "0", "5x", "M", "-1", "99999999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
