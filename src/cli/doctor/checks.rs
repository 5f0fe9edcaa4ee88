//! What is looked at.

use std::fs;
use std::path::Path;
use std::time::Instant;

use lemmy_core::{CancelToken, Event, GenerateOptions, SamplerParams};

use super::{Args, Finding};
use crate::cli::failure::Result;
use crate::cli::hub::Cache;
use crate::cli::locate::Place;
use crate::cli::signals::Signals;
use crate::cli::system;
use crate::cli::units::bytes;

/// What the real model takes in its usual number type, with its cache.
const USUAL_MODEL: u64 = 18_000_000_000;

pub(super) fn all(args: &Args, signals: &Signals) -> Vec<Finding> {
    let mut findings = vec![version(), processor(), threads(), memory()];
    findings.extend(address_space());
    findings.extend(huge_pages());
    findings.extend(governor());
    findings.extend(load());
    findings.extend(cache(args));
    findings.extend(hub(args));
    findings.extend(self_test(signals));
    findings
}

fn version() -> Finding {
    let features =
        [("nano", cfg!(feature = "nano")), ("grammar", cfg!(feature = "grammar")), ("pull", cfg!(feature = "pull"))];
    let features: Vec<_> = features.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect();
    Finding::ok("version", format!("lemmy {} (features: {})", env!("CARGO_PKG_VERSION"), features.join(", ")))
}

fn processor() -> Finding {
    let isa = system::isa();
    let found = format!("{}, kernels: {isa}", system::cpu().unwrap_or_else(|| std::env::consts::ARCH.into()));
    if isa == "scalar" {
        return Finding::warn(
            "processor",
            found,
            "without AVX2 everything is several times slower; another machine helps",
        );
    }
    Finding::ok("processor", found)
}

fn threads() -> Finding {
    match std::thread::available_parallelism() {
        Ok(threads) => Finding::ok("threads", format!("{threads} may run at once")),
        Err(e) => Finding::warn("threads", format!("unknown: {e}"), "--threads N names how many"),
    }
}

fn memory() -> Finding {
    match system::available_memory() {
        Some(free) if free < USUAL_MODEL => {
            let found = format!("{} free; the 26B model in Q4_K_M takes {}", bytes(free), bytes(USUAL_MODEL));
            Finding::warn("memory", found, "close other programs, or see what fits: lemmy estimate MODEL")
        }
        Some(free) => Finding::ok("memory", format!("{} free", bytes(free))),
        None => Finding::ok("memory", "the system does not tell"),
    }
}

fn address_space() -> Option<Finding> {
    let limit = system::address_space_limit()?;
    Some(Finding::warn("limits", format!("an address space of {}", bytes(limit)), "ulimit -v unlimited"))
}

/// The word in brackets of a file such as `always [madvise] never`.
fn chosen(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn huge_pages() -> Option<Finding> {
    let chosen = chosen("/sys/kernel/mm/transparent_hugepage/enabled")?;
    if chosen == "never" {
        let next = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
        return Some(Finding::warn("huge pages", "never: more time goes to looking up addresses", next));
    }
    Some(Finding::ok("huge pages", chosen))
}

fn governor() -> Option<Finding> {
    let governor = system::governor()?;
    if governor == "powersave" {
        let next = "sudo cpupower frequency-set -g performance, if figures vary";
        return Some(Finding::warn("governor", governor, next));
    }
    Some(Finding::ok("governor", governor))
}

fn load() -> Option<Finding> {
    let load = system::load_average()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!("{load:.1} programs want to run, on {threads} processors");
    let is_busy = u32::try_from(threads).is_ok_and(|threads| load > f64::from(threads));
    if is_busy {
        return Some(Finding::warn("load", found, "close what is busy; with company an answer comes slower"));
    }
    Some(Finding::ok("load", found))
}

/// The folder of models: whether it can be written, how much room there is, and what lies about in it.
fn cache(args: &Args) -> Vec<Finding> {
    let cache = match Cache::open(args.place.cache_dir.as_deref()) {
        Ok(cache) => cache,
        Err(_) => {
            return vec![Finding::warn(
                "cache",
                "no HOME, HF_HOME or HF_HUB_CACHE",
                "--cache-dir FOLDER for lemmy pull",
            )];
        }
    };
    let mut findings = vec![writable(cache.root())];
    findings.extend(room(cache.root()));
    match left_over(&cache) {
        Ok((_, 0)) => {}
        Ok((size, count)) => {
            let found = format!("downloads that did not end: {count}, with {}", bytes(size));
            findings.push(Finding::warn(
                "parts",
                found,
                "lemmy list names them; lemmy pull NAME goes on, lemmy cache prune removes",
            ));
        }
        Err(_) => findings.push(Finding::warn(
            "parts",
            "the cache cannot be read",
            format!("ls -la {}", cache.root().display()),
        )),
    }
    if let Some(other) = std::env::var_os("LLAMA_CACHE") {
        findings.push(Finding::ok("LLAMA_CACHE", format!("{}: not looked into", other.display())));
    }
    findings
}

fn writable(root: &Path) -> Finding {
    let existing = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(root);
    let probe = existing.join(format!(".lemmy-doctor-{}", std::process::id()));
    let written = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::ok("cache", format!("{}", root.display())),
        Err(e) => {
            let found = format!("{}: {e}", root.display());
            Finding::fail("cache", found, "chown it, or name another by HF_HUB_CACHE or --cache-dir")
        }
    }
}

#[cfg(feature = "pull")]
fn room(root: &Path) -> Option<Finding> {
    let existing = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(root);
    let free = crate::cli::hub::free_space(existing)?;
    if free < USUAL_MODEL {
        let found = format!("{} free; the 26B model in Q4_K_M takes 17 GB", bytes(free));
        return Some(Finding::warn("disk", found, "lemmy rm NAME frees what is not needed"));
    }
    Some(Finding::ok("disk", format!("{} free", bytes(free))))
}

#[cfg(not(feature = "pull"))]
fn room(_: &Path) -> Option<Finding> {
    None
}

/// Bytes and number of downloads that did not end.
fn left_over(cache: &Cache) -> Result<(u64, usize)> {
    let (mut size, mut count) = (0, 0);
    for folder in cache.repos()? {
        for (_, facts) in folder.parts()? {
            size += facts.len();
            count += 1;
        }
    }
    Ok((size, count))
}

#[cfg(feature = "pull")]
fn hub(args: &Args) -> Option<Finding> {
    use crate::cli::hub::{Endpoint, Hub, is_offline};

    if args.offline || is_offline() {
        return None;
    }
    let endpoint = match Endpoint::from_environment() {
        Ok(endpoint) => endpoint,
        Err(_) => return Some(Finding::fail("hub", "HF_ENDPOINT is no address", "unset HF_ENDPOINT")),
    };
    let address = endpoint.as_str().to_owned();
    match Hub::new(endpoint, None).ping() {
        Ok(()) => Some(Finding::ok("hub", format!("{address} answers"))),
        Err(_) => {
            let next = "models that are there work; else check the network, HTTPS_PROXY and SSL_CERT_FILE";
            Some(Finding::warn("hub", format!("{address} does not answer"), next))
        }
    }
}

#[cfg(not(feature = "pull"))]
fn hub(_: &Args) -> Option<Finding> {
    None
}

/// Lets Lemmy Nano answer a question.
fn self_test(signals: &Signals) -> Option<Finding> {
    if cfg!(not(feature = "nano")) {
        return None;
    }
    let began = Instant::now();
    let cancel = signals.watch();
    Some(match answer(&cancel) {
        Ok(text) if text.trim() == "42" => {
            Finding::ok("self test", format!("Lemmy Nano adds 12 and 30 in {:.1} s", began.elapsed().as_secs_f64()))
        }
        Ok(text) => Finding::fail(
            "self test",
            format!("12 + 30: found {text:?} (expected 42)"),
            "please report this, with lemmy --version",
        ),
        Err(failure) => {
            let found = failure.json().get("message").map(ToString::to_string).unwrap_or_default();
            Finding::fail("self test", found, "please report this, with lemmy --version")
        }
    })
}

fn answer(cancel: &CancelToken) -> Result<String> {
    let model = Place::Nano.builder()?.cancel(cancel.clone()).load()?;
    let mut session = model.session().context(512).cancel(cancel.clone()).build()?;
    let mut greedy = SamplerParams::default();
    greedy.temperature = 0.0;
    let options = GenerateOptions::new().sampler(greedy);
    let mut text = String::new();
    for event in session.send("What is 12 + 30?", options.max_tokens(32))? {
        if let Event::Text(piece) = event? {
            text.push_str(&piece);
        }
    }
    Ok(text)
}
