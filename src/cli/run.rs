//! `lemmy run`: one answer. Without a prompt and with a person at the terminal: a conversation.

mod prompt;

use std::io::IsTerminal;

use lemmy_core::Source;
use lemmy_core::chat::{Prompt, StartState};

use super::Context;
use super::chat;
use super::failure::{Failure, Result};
use super::load::ModelName;
use super::locate::Place;
use super::output::note;
use super::talk::{Form, Stage, Talk, TalkArgs};

/// Answer a question, or converse
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy run model.gguf \"Why is the sky blue?\"
  lemmy run model.gguf \"Sum up:\" < notes.txt        the text of stdin follows, after a blank line
  lemmy run model.gguf                              converse, as lemmy chat does
  lemmy run model.gguf --mmproj mmproj.gguf --image cat.jpg \"What is this?\"
  lemmy run model.gguf --raw \"Once upon a time\"     continue a text
  lemmy run model.gguf --think=500 --json -f q.txt  answer, thoughts and timings as one object
  lemmy run -p \"What is 12 + 30?\"                   no model named: Lemmy Nano, which is built in")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Words of the prompt
    #[arg(value_name = "PROMPT")]
    words: Vec<String>,
    #[command(flatten)]
    prompt: prompt::PromptArgs,
    #[command(flatten)]
    talk: TalkArgs,
    /// One JSON object at the end instead of text as it comes
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// JSON Lines: every event as it comes
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    stream_json: bool,
}

impl Args {
    fn form(&self) -> Form {
        match (self.json, self.stream_json) {
            (true, _) => Form::Whole,
            (_, true) => Form::Events,
            _ => Form::Text,
        }
    }
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let texts = args.talk.read()?;
    let (place, words) = args.model.split_or_nano(&args.words, args.talk.wants_tower())?;
    let place = place.unwrap_or(Place::Nano);
    let prompt = args.prompt.read(&words, args.talk.has_pictures(), &context.signals)?;
    let form = args.form();
    if prompt.is_none() && (args.prompt.raw || form != Form::Text) {
        return Err(Failure::usage("PROMPT: found no text (expected words, -p, -f or stdin)"));
    }

    let talk = args.talk.begin(&place, texts, &context.signals)?;
    match prompt {
        Some(prompt) => answer(&args, talk, &prompt, form, context),
        None => chat::converse(&args.talk, talk, true, context),
    }
}

/// The answer to one prompt.
fn answer(args: &Args, mut talk: Talk, prompt: &str, form: Form, context: &mut Context) -> Result<()> {
    let source = source(args, &mut talk, prompt)?;
    let mut stage = Stage::new(form, args.talk.visibility(), talk.load);
    let answer = talk.reply(source, &mut stage, &mut context.out);
    stage.end_line(&mut context.out)?;
    let answer = answer?;

    let outcome = talk.outcome(&answer, &context.signals).and_then(|()| talk.keep());
    if form == Form::Whole {
        context.out.json(&answer.json(&talk.model.info().name, talk.load, outcome.as_ref().err()))?;
        context.out.flush()?;
    }
    if args.talk.shows_stats(form == Form::Text && std::io::stderr().is_terminal()) {
        note(format_args!("{}; loaded in {:.1} s", answer.statistics(), talk.load.as_secs_f64()));
    }
    outcome.map_err(|failure| if form == Form::Whole { failure.told() } else { failure })
}

/// The prompt as a turn of a conversation, or as a text to continue.
fn source(args: &Args, talk: &mut Talk, prompt: &str) -> Result<Source> {
    if !args.prompt.raw {
        if talk.can_converse() {
            return Ok(talk.message(prompt).into());
        }
        if let Some(flag) = args.talk.needs_template() {
            let message = format!("{flag}: found no chat template in the file (expected a model that converses)");
            return Err(Failure::usage(message));
        }
        note(format_args!("note: the file has no chat template, so the text is continued as it is (--raw)"));
    } else if let Some(flag) = args.talk.needs_template() {
        return Err(Failure::usage(format!("{flag}: cannot be used with --raw, which continues a text")));
    }
    let tokenizer = talk.model.tokenizer();
    let special = args.prompt.special();
    Ok(match talk.session.tokens() {
        [] => Source::Prompt(Prompt::new(tokenizer.encode_prompt(prompt, special), StartState::Answer)),
        _ => Source::Tokens(tokenizer.encode(prompt, special)),
    })
}
