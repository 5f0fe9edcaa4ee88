//! From a conversation to ids.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::marks::{Marked, Segment, used};
use super::template::{TURN_END, generation_prompt, variables};
use super::{Chat, ChatTemplate, Image, Message, Part};
use crate::TokenId;
use crate::error::Result;
use crate::tokenizer::{Special, Tokenizer};

/// A prompt, ready to be read by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Its tokens, BOS included.
    pub ids: Vec<TokenId>,
    /// Index in [`ids`](Self::ids) of each picture's place (`<|image|>`), in the order of the messages. A session puts the
    /// picture's soft tokens there, and the marks `<|image>` and `<image|>` around them.
    pub images: Vec<usize>,
    /// The pictures, one for each place.
    pub pictures: Vec<Image>,
    /// What the model's reply begins with.
    pub start: StartState,
    /// What a person should know: messages that had to be repaired, a stale template.
    pub warnings: Vec<String>,
}

impl Prompt {
    /// A prompt of the caller's own making.
    pub fn new(ids: Vec<TokenId>, start: StartState) -> Self {
        Self { ids, images: Vec::new(), pictures: Vec::new(), start, warnings: Vec::new() }
    }
}

/// Where a prompt ends, so what a reply begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartState {
    /// In a fresh model turn: the model may open a thought.
    #[default]
    Model,
    /// After an empty thought that is closed already: thinking is off.
    ClosedThought,
    /// Inside a thought.
    OpenThought,
    /// In the middle of an answer, or of a text that is no conversation: space counts from the first token on.
    Answer,
}

impl ChatTemplate {
    /// The conversation as tokens, up to where the model is to speak. What users, tools and earlier replies said cannot
    /// become a control token, whatever it is.
    ///
    /// # Errors
    ///
    /// As [`render`](Self::render).
    pub fn prompt(&self, tokenizer: &Tokenizer, chat: &Chat) -> Result<Prompt> {
        let normal = self.normalise(chat)?;
        let mut characters = BTreeSet::new();
        for json in normal.messages.iter().chain(&normal.tools) {
            used(json, &mut characters);
        }
        let own;
        let marked = match self.marked(tokenizer, &characters)? {
            Ok(marked) => marked,
            Err(fresh) => {
                own = fresh;
                &own
            }
        };
        let spell = |text: &str| marked.marks().spell(text, tokenizer);

        let control = |id: Option<TokenId>| id.map(|id| spell(&String::from_utf8_lossy(tokenizer.piece(id))));
        let bos = control(tokenizer.bos()).unwrap_or_default();
        let eos = control(tokenizer.find(EOS)).unwrap_or_default();
        let variables = variables(chat, normal.messages, normal.tools, true, &bos, &eos);
        let mut text = marked.render(&variables)?;
        if text.ends_with(&spell(TURN_END)) {
            text.push_str(&spell(generation_prompt(chat.thinking)));
        }

        let segments = marked.marks().cut(&text);
        let image = tokenizer.find(IMAGE);
        let mut prompt = Prompt {
            ids: Vec::with_capacity(text.len() / 4 + 16),
            images: Vec::new(),
            pictures: pictures(chat).cloned().collect(),
            start: start(&segments, tokenizer),
            warnings: self.warning().into_iter().chain(normal.warnings).chain(marked.warning()).collect(),
        };
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        if let Some(bos) = bos.filter(|&bos| segments.first() != Some(&Segment::Control(bos))) {
            prompt.ids.push(bos);
        }
        for segment in segments {
            match segment {
                Segment::Text(text) => prompt.ids.extend(tokenizer.encode(text, Special::Text)),
                Segment::Control(id) => {
                    if Some(id) == image {
                        prompt.images.push(prompt.ids.len());
                    }
                    prompt.ids.push(id);
                }
            }
        }
        Ok(prompt)
    }

    /// The template with marks that do for this vocabulary and conversation: the one that is kept, or a fresh one if the
    /// conversation holds characters that serve as marks, or the vocabulary is another.
    fn marked(&self, tokenizer: &Tokenizer, used: &BTreeSet<char>) -> Result<Result<&Marked, Marked>> {
        let bos = tokenizer.bos().map(|id| String::from_utf8_lossy(tokenizer.piece(id))).unwrap_or_default();
        let trusted = [&bos, EOS, TURN_END, generation_prompt(false)];
        let source = self.source();
        let mark = |used: &BTreeSet<char>| {
            let mut marked = Marked::new(source, &trusted, tokenizer, used)?;
            marked.compare(self.engine(), tokenizer);
            Ok(marked)
        };
        if self.kept().get().is_none() {
            let marked = mark(&BTreeSet::new())?;
            self.kept().get_or_init(|| marked);
        }
        match self.kept().get().filter(|kept| kept.fits(source, &trusted, tokenizer, used)) {
            Some(kept) => Ok(Ok(kept)),
            None => mark(used).map(Err),
        }
    }
}

const EOS: &str = "<eos>";
const IMAGE: &str = "<|image|>";

/// The pictures of a conversation, in order.
fn pictures(chat: &Chat) -> impl Iterator<Item = &Image> {
    let parts = chat.messages.iter().flat_map(|message| match message {
        Message::User(parts) => parts.as_slice(),
        _ => &[],
    });
    parts.filter_map(|part| if let Part::Image(image) = part { Some(image) } else { None })
}

fn start(segments: &[Segment<'_>], tokenizer: &Tokenizer) -> StartState {
    let open = tokenizer.find("<|channel>").map(Segment::Control);
    let close = tokenizer.find("<channel|>").map(Segment::Control);
    let label = |segment: &Segment<'_>| *segment == Segment::Text("thought\n");
    match segments {
        [.., a, b, c] if Some(*a) == open && label(b) && Some(*c) == close => StartState::ClosedThought,
        [.., a, b] if Some(*a) == open && label(b) => StartState::OpenThought,
        _ => StartState::Model,
    }
}
