//! Arguments in, exit code out. One file per subcommand; the rest is what they share.

#![deny(unsafe_code)] // not `forbid`: `closed` and `terminal` call the system

mod bench;
mod cache;
mod chat;
mod closed;
mod completions;
mod config;
mod detokenize;
mod devices;
mod digest;
mod doctor;
mod estimate;
mod failure;
mod hub;
mod input;
mod inspect;
mod list;
mod load;
mod locate;
mod logits;
mod nano;
mod output;
mod perplexity;
mod progress;
#[cfg(feature = "pull")]
mod pull;
mod quantize;
mod question;
mod resident;
mod rm;
mod room;
mod run;
mod sampling;
mod sight;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod system;
mod talk;
mod terminal;
mod tokenize;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::{Failure, Result};
use output::{Colour, Output};
use signals::Signals;

/// Run Lemmy / Gemma 4 26B-A4B from its GGUF files
#[derive(Parser)]
#[command(
    name = "lemmy",
    color = clap::ColorChoice::Never,
    args_override_self = true,
    after_help = "\
Examples:
  lemmy run model.gguf \"Why is the sky blue?\"  answer a question
  lemmy chat model.gguf                        converse
  lemmy chat                                   with Lemmy Nano, a small model that is built in
  lemmy serve model.gguf                       a web page and an API over HTTP
  lemmy pull lemmy; lemmy chat lemmy           download the real model, and converse with it
  lemmy inspect model.gguf                     what is in a file
  lemmy bench model.gguf                       how fast it runs here

Answers go to stdout, everything else to stderr. A flag such as --ctx-size 8192 can
also be set in the environment, LEMMY_CTX_SIZE=8192, and in ~/.config/lemmy/config.toml,
ctx-size = 8192, there also for one command in a table such as [chat]. All commands have
--color auto|always|never.
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 no memory or disk space, 5 bad
file, 130 interrupted, 143 terminated."
)]
struct Cli {
    /// Colours and moving bars
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide = true)]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Chat(chat::Args),
    #[cfg(feature = "serve")]
    Serve(Box<serve::Args>),
    Inspect(inspect::Args),
    Estimate(estimate::Args),
    Tokenize(tokenize::Args),
    Detokenize(detokenize::Args),
    Bench(bench::Args),
    Quantize(quantize::Args),
    Logits(logits::Args),
    Perplexity(perplexity::Args),
    #[cfg(feature = "pull")]
    Pull(pull::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Rm(rm::Args),
    Cache(cache::Args),
    Devices(devices::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(completions::ManArgs),
}

/// What every subcommand works with.
struct Context {
    out: Output,
    signals: Signals,
}

/// Parses the arguments, runs the subcommand, reports what went wrong.
pub(crate) fn main() -> ExitCode {
    let asks_json = |arguments: &[OsString]| {
        arguments.iter().take_while(|&a| a != "--").any(|a| a == "--json" || a == "--stream-json")
    };
    let mut arguments = spelled(std::env::args_os());
    match start(&mut arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(asks_json(&arguments)),
    }
}

/// Spells what people's fingers know as the parser knows it: `--think on` as `--think=on`, so that the word behind a
/// bare `--think` can be the prompt, and llama.cpp's flags of several letters behind one dash.
fn spelled(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::new();
    let mut is_over = false;
    let mut is_fused = false;
    for argument in arguments {
        is_over |= argument == "--";
        let was_fused = std::mem::take(&mut is_fused);
        let is_thinking =
            |word: &str| matches!(word, "on" | "off") || !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        match spelled.last_mut() {
            Some(last) if !is_over && last == "--think" && argument.to_str().is_some_and(is_thinking) => {
                last.push("=");
                last.push(argument);
            }
            _ if !is_over && argument == "-sys" => spelled.push("--system".into()),
            _ if !is_over && argument == "-hf" => spelled.push("--hf-repo".into()),
            _ if !is_over && argument == "-hff" => spelled.push("--hf-file".into()),
            _ if !is_over && (argument == "-ctk" || argument == "-ctv") => spelled.push("--kv-type".into()),
            _ if !is_over && argument == "-ngl" => spelled.push("--ngl".into()),
            // Templates and fused attention are always on here.
            _ if !is_over && argument == "--jinja" => {}
            _ if !is_over && argument == "-fa" => is_fused = true,
            _ if was_fused && ["on", "off", "auto", "0", "1"].iter().any(|word| argument == *word) => {}
            _ if !is_over && argument == "-np" => spelled.push("--parallel".into()),
            _ => spelled.push(argument),
        }
    }
    spelled
}

/// `arguments` get the values of the environment and the settings.
fn start(arguments: &mut Vec<OsString>) -> Result<()> {
    let signals = Signals::install()?;
    let mut out = Output::stdout(&signals);
    config::add_defaults(&Cli::command(), arguments)?;
    let arguments = arguments.as_slice();
    match parse(arguments) {
        Ok(cli) => {
            output::set_colour(cli.color);
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
            Self::Chat(args) => chat::execute(args, context),
            #[cfg(feature = "serve")]
            Self::Serve(args) => serve::execute(*args, context),
            Self::Inspect(args) => inspect::execute(args, context),
            Self::Estimate(args) => estimate::execute(args, context),
            Self::Tokenize(args) => tokenize::execute(args, context),
            Self::Detokenize(args) => detokenize::execute(args, context),
            Self::Bench(args) => bench::execute(args, context),
            Self::Quantize(args) => quantize::execute(args, context),
            Self::Logits(args) => logits::execute(args, context),
            Self::Perplexity(args) => perplexity::execute(args, context),
            #[cfg(feature = "pull")]
            Self::Pull(args) => pull::execute(args, context),
            Self::List(args) => list::execute(args, context),
            Self::Rm(args) => rm::execute(args, context),
            Self::Cache(args) => cache::execute(&args, context),
            Self::Devices(args) => devices::execute(&args, context),
            Self::Doctor(args) => doctor::execute(&args, context),
            Self::Completions(args) => completions::execute(&args, context),
            Self::Man(args) => completions::man(&args, context),
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

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn spellings_of_others() {
        let spell = |words: &[&str]| -> Vec<String> {
            spelled(words.iter().map(Into::into)).into_iter().filter_map(|word| word.into_string().ok()).collect()
        };
        assert_eq!(spell(&["--think", "on", "x"]), ["--think=on", "x"]);
        assert_eq!(spell(&["--think", "200"]), ["--think=200"]);
        assert_eq!(spell(&["--think", "Why?"]), ["--think", "Why?"]);
        assert_eq!(spell(&["-sys", "a"]), ["--system", "a"]);
        assert_eq!(spell(&["-hf", "a/b", "-hff", "c"]), ["--hf-repo", "a/b", "--hf-file", "c"]);
        assert_eq!(spell(&["-ctk", "f16", "-ngl", "9"]), ["--kv-type", "f16", "--ngl", "9"]);
        assert_eq!(spell(&["--jinja", "-fa", "on", "on"]), ["on"]);
        assert_eq!(spell(&["-fa", "why", "on"]), ["why", "on"]);
        assert_eq!(spell(&["-np", "4"]), ["--parallel", "4"]);
        assert_eq!(spell(&["--", "--think", "on", "-sys"]), ["--", "--think", "on", "-sys"]);
    }
}
