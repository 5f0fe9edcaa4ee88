//! `lemmy doctor`: whether all is well here, and what to do where it is not.

mod checks;

use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::hub::PlaceArgs;

/// Look for what is wrong or slow on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with exit code 1 if something fails; a warning is no failure.

Examples:
  lemmy doctor
  lemmy doctor --offline --json")]
pub(crate) struct Args {
    /// Do not ask whether the hub answers
    #[arg(long)]
    offline: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// What to do about it.
    next: Option<String>,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), next: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, state: State::Warn, found: found.into(), next: Some(next.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, state: State::Fail, found: found.into(), next: Some(next.into()) }
    }
}

pub(crate) fn execute(args: &Args, context: &mut Context) -> Result<()> {
    let findings = checks::all(args, &context.signals);
    let failed = findings.iter().filter(|finding| finding.state == State::Fail).count();
    if args.json {
        let checks: Vec<_> = findings
            .iter()
            .map(|f| json!({ "name": f.name, "state": f.state.name(), "found": f.found, "next": f.next }))
            .collect();
        context.out.json(&json!({ "ok": failed == 0, "checks": checks }))?;
    } else {
        for finding in &findings {
            context.out.text(&format!("{:<4}  {:<12} {}\n", finding.state.name(), finding.name, finding.found))?;
            if let Some(next) = &finding.next {
                context.out.text(&format!("{:19}-> {next}\n", ""))?;
            }
        }
    }
    context.out.flush()?;
    let failure = || Failure::failed("doctor", format!("{failed} of {} checks failed", findings.len()));
    match failed {
        0 => Ok(()),
        _ if args.json => Err(failure().told()),
        _ => Err(failure()),
    }
}
