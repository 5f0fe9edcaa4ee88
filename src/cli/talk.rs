//! What `run` and `chat` share: flags, a model with a session, and how an answer is shown while it comes.

mod answer;
mod context;
mod stage;
mod thoughts;
mod wishes;

use std::path::PathBuf;
use std::time::Duration;

use lemmy_core::chat::{Image, Part, tools_from_json};
use lemmy_core::{Chat, Constraint, FinishReason, Message, Model, Session, SessionBuilder, Source, Tool, ToolChoice};

use super::failure::{Failure, Result};
use super::input::file_text;
use super::load::LoadArgs;
use super::locate::Place;
use super::output::Output;
use super::room::RoomArgs;
use super::sampling::SamplingArgs;
use super::sight::{SightArgs, picture};
use super::signals::Signals;
pub(crate) use answer::Answer;
pub(crate) use stage::{Form, Stage};
pub(crate) use thoughts::Visibility;
pub(crate) use wishes::{Wishes, thinking};

/// Flags of a conversation.
#[derive(Debug, clap::Args)]
pub(crate) struct TalkArgs {
    /// Instructions for the whole conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "load_session")]
    system: Option<String>,
    /// The same, from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["system", "load_session"])]
    system_file: Option<String>,
    /// Think before the answer: off, on, or at most so many tokens
    #[arg(long, value_name = "off|on|N", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = thinking, env = "LEMMY_THINK", hide_env = true)]
    think: Option<lemmy_core::Thinking>,
    /// The answer is a JSON object, or JSON that fits a schema
    #[arg(long, value_name = "json|SCHEMA.json")]
    format: Option<String>,
    /// Tools that may be called; calls come as JSON Lines
    #[arg(long, value_name = "TOOLS.json", conflicts_with = "load_session")]
    tools: Option<String>,
    /// auto, none, required, or the name of a tool
    #[arg(long, value_name = "CHOICE")]
    tool_choice: Option<String>,
    /// Most tokens of an answer; -1: as many as it likes
    #[arg(short = 'n', long, value_name = "N", default_value = "-1", allow_negative_numbers = true,
          env = "LEMMY_MAX_TOKENS", hide_env = true, hide_default_value = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    max_tokens: i64,
    /// End before this text (may be given several times)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    #[command(flatten)]
    room: RoomArgs,
    /// Guess up to N tokens ahead; the answer stays the same
    #[arg(long, value_name = "N", env = "LEMMY_SPECULATE", hide_env = true)]
    speculate: Option<u8>,
    /// Go on with what --save-session kept, room and cache too
    #[arg(long, value_name = "FILE")]
    load_session: Option<PathBuf>,
    /// Keep the conversation at the end
    #[arg(long, value_name = "FILE")]
    save_session: Option<PathBuf>,
    #[command(flatten)]
    sight: SightArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Thoughts on stderr: auto (on a terminal), hide, fold or show
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        env = "LEMMY_SHOW_THINKING",
        hide_env = true,
        hide_possible_values = true,
        hide_default_value = true,
        help_heading = "Output"
    )]
    show_thinking: Visibility,
    /// Thoughts on stdout, between <think> and </think>
    #[arg(long, conflicts_with = "show_thinking", help_heading = "Output")]
    thinking_to_stdout: bool,
    /// Show speed at the end (default: on a terminal)
    #[arg(long, overrides_with = "no_stats", help_heading = "Output")]
    stats: bool,
    /// Do not show speed at the end
    #[arg(long, overrides_with = "stats", help_heading = "Output")]
    no_stats: bool,
}

/// Texts and pictures of the files that flags name; read before a model is loaded.
#[derive(Debug)]
pub(crate) struct Texts {
    system: Option<String>,
    constraint: Option<Constraint>,
    tools: Vec<Tool>,
    tool_choice: ToolChoice,
    pictures: Vec<Image>,
}

impl TalkArgs {
    /// Refuses what can be refused before a model is loaded.
    pub(crate) fn read(&self) -> Result<Texts> {
        self.sampling.check()?;
        let system = match (&self.system, &self.system_file) {
            (None, Some(file)) => Some(file_text(file)?.trim_end().to_owned()),
            (text, _) => text.clone(),
        };
        let constraint = match self.format.as_deref() {
            None => None,
            Some("json") => Some(Constraint::JsonSchema(r#"{"type":"object"}"#.into())),
            Some(file) => Some(Constraint::JsonSchema(file_text(file)?)),
        };
        let tools = match &self.tools {
            None => Vec::new(),
            Some(file) => tools_from_json(&file_text(file)?).map_err(|e| Failure::usage(format!("{file}: {e}")))?,
        };
        let tool_choice = match self.tool_choice.as_deref() {
            None | Some("auto") => ToolChoice::Auto,
            Some("none") => ToolChoice::None,
            Some("required") => ToolChoice::Required,
            Some(name) => ToolChoice::Named(name.into()),
        };
        Ok(Texts { system, constraint, tools, tool_choice, pictures: self.sight.read()? })
    }

    /// The first flag that only a conversation can honour, if one is given.
    pub(crate) fn needs_template(&self) -> Option<&'static str> {
        let given = [
            ("--system", self.system.is_some()),
            ("--system-file", self.system_file.is_some()),
            ("--think", self.think.is_some()),
            ("--tools", self.tools.is_some()),
            ("--tool-choice", self.tool_choice.is_some()),
            ("--image", self.sight.is_shown()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// Whether the model may get a vision tower.
    pub(crate) fn wants_tower(&self) -> bool {
        self.sight.wants_tower()
    }

    /// Whether there are pictures to talk about, so that no text is needed.
    pub(crate) fn has_pictures(&self) -> bool {
        self.sight.is_shown()
    }

    /// Whether speed is shown, if nothing else is said: `usual`.
    pub(crate) fn shows_stats(&self, usual: bool) -> bool {
        self.stats || !self.no_stats && usual
    }

    /// How thoughts are shown.
    pub(crate) fn visibility(&self) -> Visibility {
        if self.thinking_to_stdout { Visibility::Stdout } else { self.show_thinking }
    }

    /// Loads the model and makes the session.
    pub(crate) fn begin(&self, place: &Place, texts: Texts, signals: &Signals) -> Result<Talk> {
        let tower = self.sight.tower(place)?;
        let loaded = self.load.load_with(place, tower.as_deref(), signals)?;
        let model = loaded.model;
        let wishes = Wishes {
            sampler: self.sampling.of(&model.info().sampling),
            max_tokens: usize::try_from(self.max_tokens).ok(),
            stop: self.stop.clone(),
            thinking: self.think.unwrap_or_default(),
            constraint: texts.constraint,
            tool_choice: texts.tool_choice,
            speculate: self.speculate,
        };
        let builder = model.session().cancel(loaded.cancel).kv_type(self.room.kv_type());
        let (builder, session) = match &self.load_session {
            Some(file) => (builder.clone(), builder.restore_file(file)),
            None => {
                let builder = builder.context(self.room.size(&model, 1)).tools(texts.tools);
                let begun = texts.system.map_or(builder.clone(), |system| builder.clone().system(system));
                (builder, begun.build())
            }
        };
        let session = signals.name(session)?;
        Ok(Talk {
            session,
            model,
            builder,
            wishes,
            load: loaded.time,
            save: self.save_session.clone(),
            pictures: texts.pictures,
            image_tokens: self.sight.image_tokens(),
        })
    }
}

/// A model, a conversation with it, and what is asked of each reply.
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) model: Model,
    pub(crate) wishes: Wishes,
    pub(crate) load: Duration,
    /// Options of a session without instructions.
    builder: SessionBuilder,
    save: Option<PathBuf>,
    /// Pictures that go before the next message.
    pub(crate) pictures: Vec<Image>,
    /// Most tokens of a picture.
    image_tokens: u16,
}

impl Talk {
    /// What the person says, behind the pictures that wait for it.
    pub(crate) fn message(&mut self, text: &str) -> Message {
        let text = Some(text).filter(|text| !text.is_empty());
        let pictures = std::mem::take(&mut self.pictures).into_iter().map(Part::Image);
        Message::User(pictures.chain(text.map(|text| Part::Text(text.into()))).collect())
    }

    /// Has a picture wait for the next message.
    pub(crate) fn attach(&mut self, file: &str) -> Result<()> {
        if self.model.vision().is_none() {
            let failure = Failure::usage("/image: found no vision tower for the model (expected --mmproj FILE)");
            return Err(failure.hint("lemmy chat model.gguf --mmproj mmproj.gguf"));
        }
        self.pictures.push(picture(file, self.image_tokens)?);
        Ok(())
    }

    /// Whether the model was made for conversations: its file has a template, or its vocabulary the marks of turns.
    pub(crate) fn can_converse(&self) -> bool {
        let model = &self.model;
        model.gguf().get("tokenizer.chat_template").is_some() || model.tokenizer().find("<|turn>").is_some()
    }

    /// One reply, shown on `stage` while it comes.
    pub(crate) fn reply(&mut self, source: impl Into<Source>, stage: &mut Stage, out: &mut Output) -> Result<Answer> {
        let (tokens, options) = self.wishes.options();
        let own = self.model.info().context;
        let reply = self.session.send(source, options).map_err(|e| context::name(e, own))?;
        let mut answer = Answer::default();
        for event in reply {
            let event = event.map_err(|e| context::name(e, own))?;
            stage.show(&event, out)?;
            answer.take(event);
        }
        answer.tokens = tokens.try_iter().collect();
        Ok(answer)
    }

    /// What an answer's end means for whoever waits for it.
    pub(crate) fn outcome(&self, answer: &Answer, signals: &Signals) -> Result<()> {
        let capacity = self.session.capacity();
        match answer.reason() {
            Some(FinishReason::Cancelled) => Err(signals.failure()),
            Some(FinishReason::ContextFull) => Err(context::full(capacity, capacity, self.model.info().context)),
            _ => Ok(()),
        }
    }

    /// Keeps the conversation, if that was asked for.
    pub(crate) fn keep(&self) -> Result<()> {
        match &self.save {
            Some(file) => self.session.save_file(file).map(drop).map_err(Failure::from),
            None => Ok(()),
        }
    }

    /// Goes on with a conversation that was kept.
    pub(crate) fn restore(&mut self, file: &str) -> Result<()> {
        self.session = self.builder.clone().restore_file(file)?;
        Ok(())
    }

    /// Makes this the session's conversation, without a reply.
    pub(crate) fn synchronise(&mut self, chat: &Chat) -> Result<()> {
        if self.session.chat().messages == chat.messages {
            return Ok(());
        }
        if chat.messages.iter().any(|message| matches!(message, Message::User(_))) {
            self.session.sync(chat.clone(), &mut |_, _| {})?;
            return Ok(());
        }
        let builder = self.builder.clone().context(self.session.capacity()).tools(chat.tools.clone());
        let begun = match chat.messages.first() {
            Some(Message::System(text)) => builder.system(text),
            _ => builder,
        };
        self.session = begun.build()?;
        Ok(())
    }
}
