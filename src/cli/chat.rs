//! `lemmy chat`: a conversation, on a terminal or line by line.

mod command;
mod commands;
mod editor;
mod history;
mod lines;
mod transcript;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use lemmy_core::chat::Part;
use lemmy_core::{Chat, FinishReason, Message};

use super::Context;
use super::failure::{Failure, Result};
use super::load::ModelName;
use super::locate::Place;
use super::output::note;
use super::talk::{Answer, Form, Stage, Talk, TalkArgs};
use command::{Said, read};
use editor::{Heard, Listener};

/// Converse with a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
/help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves. Without a terminal each line of
stdin is one message, and a blank line stands between answers.

Examples:
  lemmy chat model.gguf
  lemmy chat model.gguf --system \"Answer in German.\" --think=on
  lemmy chat model.gguf --load-session ada.session --save-session ada.session
  lemmy chat model.gguf --mmproj mmproj.gguf        /image cat.jpg shows it a picture
  lemmy chat                                        no model named: Lemmy Nano, which is built in")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    #[command(flatten)]
    talk: TalkArgs,
    /// Neither read nor write the file of earlier messages
    #[arg(long, env = "LEMMY_NO_HISTORY", hide_env = true)]
    no_history: bool,
}

/// Two interrupts at an empty prompt within this time leave.
const TWICE: Duration = Duration::from_secs(2);

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let texts = args.talk.read()?;
    let (place, words) = args.model.split_or_nano(&[], args.talk.wants_tower())?;
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("found `{word}` behind --model (expected nothing: chat asks by itself)")));
    }
    let talk = args.talk.begin(&place.unwrap_or(Place::Nano), texts, &context.signals)?;
    converse(&args.talk, talk, !args.no_history, context)
}

/// Converses until the person leaves.
pub(crate) fn converse(args: &TalkArgs, talk: Talk, has_history: bool, context: &mut Context) -> Result<()> {
    if !talk.can_converse() {
        let message = format!("{}: found no chat template (expected a model that converses)", talk.model.info().name);
        return Err(Failure::usage(message).hint("lemmy run MODEL --raw \"Once upon a time\" continues a text"));
    }
    context.signals.ignore_second();
    let is_terminal = std::io::stdin().is_terminal();
    let mut listener = Listener::new(has_history, context.out.is_terminal())?;
    let mut conversation = Conversation {
        chat: talk.session.chat().clone(),
        stage: Stage::new(Form::Text, args.visibility(), talk.load),
        talk,
        shows_stats: args.shows_stats(std::io::stderr().is_terminal() && is_terminal),
        is_terminal,
        answers: 0,
        last: None,
        context,
    };
    if is_terminal {
        note(format_args!("{}. /help lists commands, Ctrl-D leaves.", conversation.talk.model.info().name));
    }
    conversation.run(&mut listener)?;
    conversation.talk.synchronise(&conversation.chat)?;
    conversation.talk.keep()
}

/// A conversation and where it is shown.
struct Conversation<'c> {
    talk: Talk,
    /// What was said. The session follows with the next answer: what a command took back is still in its cache.
    chat: Chat,
    stage: Stage,
    shows_stats: bool,
    /// Whether a person types.
    is_terminal: bool,
    answers: usize,
    last: Option<Answer>,
    context: &'c mut Context,
}

impl Conversation<'_> {
    fn run(&mut self, listener: &mut Listener) -> Result<()> {
        let mut interrupted: Option<Instant> = None;
        loop {
            let line = match listener.listen(&self.context.signals)? {
                Heard::Line(line) => line,
                Heard::End => return Ok(()),
                Heard::Interrupt if interrupted.is_some_and(|before| before.elapsed() < TWICE) => {
                    return Err(Failure::signal(false));
                }
                Heard::Interrupt => {
                    interrupted = Some(Instant::now());
                    note(format_args!("press Ctrl-C again or Ctrl-D to leave"));
                    continue;
                }
            };
            interrupted = None;
            let done = match read(&line) {
                Said::Nothing => Ok(()),
                Said::Message(text) => {
                    let message = self.talk.message(text);
                    self.say(message)
                }
                Said::Command(command, _) if command.leaves() => return Ok(()),
                Said::Command(command, rest) => self.perform(command, rest),
                Said::Unknown(word) => Err(Failure::usage(format!(
                    "/{word}: found no such command (expected one of {})",
                    command::names()
                ))),
            };
            match done {
                Err(failure) if failure.ends_conversation() => return Err(failure),
                Err(failure) if !self.is_terminal => return Err(failure),
                Err(failure) => failure.tell(),
                Ok(()) => {}
            }
        }
    }

    /// Says something, and shows the answer.
    fn say(&mut self, message: Message) -> Result<()> {
        if !self.context.signals.forget_interrupt() {
            return Err(self.context.signals.failure());
        }
        if !self.is_terminal && self.answers > 0 {
            self.context.out.text("\n")?;
        }
        self.answers += 1;
        let mut chat = self.chat.clone();
        chat.messages.push(message);
        let answer = self.talk.reply(chat, &mut self.stage, &mut self.context.out);
        if matches!(&answer, Ok(answer) if answer.reason() == Some(FinishReason::Cancelled)) {
            // The terminal has shown `^C` by itself.
            note(format_args!(" (stopped)"));
        }
        self.stage.end_line(&mut self.context.out)?;
        let answer = answer?;
        let is_cancelled = answer.reason() == Some(FinishReason::Cancelled);
        if !(is_cancelled && answer.is_empty()) {
            self.chat = self.talk.session.chat().clone();
        }
        let outcome = self.talk.outcome(&answer, &self.context.signals);
        if self.shows_stats && !is_cancelled {
            note(format_args!("{}", answer.statistics()));
        }
        self.last = Some(answer);
        // A person goes on after an answer that was stopped.
        let goes_on = is_cancelled && self.is_terminal && self.context.signals.forget_interrupt();
        if goes_on { Ok(()) } else { outcome }
    }

    /// Takes back the last thing that the person said, and all that followed.
    fn take_back(&mut self) -> Result<Message> {
        let messages = &mut self.chat.messages;
        let last = messages.iter().rposition(|message| matches!(message, Message::User(_)));
        let taken = last.and_then(|at| messages.drain(at..).next());
        taken.ok_or_else(|| Failure::usage("found no message of yours (expected one to take back)"))
    }
}

/// The text of a person's message.
fn text_of(message: &Message) -> String {
    let Message::User(parts) = message else { return String::new() };
    parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}
