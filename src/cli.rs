//! Arguments in, exit code out. One file per subcommand; the rest is what they share.

#![deny(unsafe_code)] // not `forbid`: `closed` needs one attribute

mod bench;
mod closed;
mod detokenize;
mod estimate;
mod failure;
mod input;
mod inspect;
mod load;
mod locate;
mod logits;
mod output;
mod progress;
mod quantize;
mod run;
mod sampling;
mod signals;
mod system;
mod tokenize;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::{Failure, Result};
use output::Output;
use signals::Signals;

/// Run Lemmy / Gemma 4 26B-A4B from its GGUF files
#[derive(Parser)]
#[command(
    name = "lemmy",
    color = clap::ColorChoice::Never,
    args_override_self = true,
    after_help = "\
Examples:
  lemmy run model.gguf \"Once upon a time\"      continue a text
  lemmy inspect model.gguf                     what is in a file
  lemmy bench model.gguf                       how fast it runs here

Answers go to stdout, everything else to stderr. A flag such as --ctx-size 8192 can
also be set in the environment: LEMMY_CTX_SIZE=8192.
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 no memory or disk space, 5 bad
file, 130 interrupted, 143 terminated."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Inspect(inspect::Args),
    Estimate(estimate::Args),
    Tokenize(tokenize::Args),
    Detokenize(detokenize::Args),
    Bench(bench::Args),
    Quantize(quantize::Args),
    Logits(logits::Args),
}

/// What every subcommand works with.
struct Context {
    out: Output,
    signals: Signals,
}

/// Parses the arguments, runs the subcommand, reports what went wrong.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = arguments.iter().take_while(|&a| a != "--").any(|a| a == "--json");
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn start(arguments: &[OsString]) -> Result<()> {
    let signals = Signals::install()?;
    let mut out = Output::stdout(&signals);
    match parse(arguments) {
        Ok(cli) => {
            let mut context = Context { out, signals };
            cli.command.execute(&mut context)?;
            context.out.flush()
        }
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let text = e.render().to_string();
            let short = arguments.iter().any(|a| a == "-h");
            out.text(if short { without_examples(&text) } else { &text })?;
            out.flush()
        }
        Err(e) => Err(usage(&e, arguments)),
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let version = format!("{} (cpu: {})", env!("CARGO_PKG_VERSION"), system::isa());
    Cli::from_arg_matches(&Cli::command().version(version).try_get_matches_from(arguments)?)
}

impl Command {
    fn execute(self, context: &mut Context) -> Result<()> {
        match self {
            Self::Run(args) => run::execute(args, context),
            Self::Inspect(args) => inspect::execute(args, context),
            Self::Estimate(args) => estimate::execute(args, context),
            Self::Tokenize(args) => tokenize::execute(args, context),
            Self::Detokenize(args) => detokenize::execute(args, context),
            Self::Bench(args) => bench::execute(args, context),
            Self::Quantize(args) => quantize::execute(args, context),
            Self::Logits(args) => logits::execute(args, context),
        }
    }
}

/// `-h` is the short help: everything up to the examples.
fn without_examples(help: &str) -> &str {
    help.find("\nExamples:").and_then(|at| help.get(..at)).unwrap_or(help)
}

/// Puts clap's report, which has several paragraphs, into our two lines.
fn usage(e: &clap::Error, arguments: &[OsString]) -> Failure {
    let text = e.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = match (e.kind(), paragraphs.next().unwrap_or_default()) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            "no command (expected run, inspect, bench, …)".into()
        }
        (_, first) => first.strip_prefix("error: ").unwrap_or(&first).to_owned(),
    };
    let tip = paragraphs.find_map(|p| p.strip_prefix("tip: ").map(str::to_owned));
    Failure::usage(message).hint(tip.unwrap_or_else(|| {
        let words = arguments.get(1).and_then(|word| word.to_str());
        match words.filter(|word| Cli::command().find_subcommand(word).is_some()) {
            Some(command) => format!("lemmy {command} --help"),
            None => "lemmy --help".into(),
        }
    }))
}
