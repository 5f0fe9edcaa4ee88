//! A session as bytes.
//!
//! Little-endian; texts are UTF-8 behind their length; all numbers have 64 bits but for the version and the tokens:
//!
//! | Field | |
//! |---|---|
//! | magic, version | `LemmySes`; 2 if there are pictures among the tokens, else 1 (32 bits) |
//! | model | [`Model::fingerprint`] |
//! | layout | text; [`KvStore::layout`](crate::backend::KvStore::layout) |
//! | context, batch, rewind, KV type | the session's options |
//! | start | what a reply begins with |
//! | written | one past the highest position ever written; at least the number of tokens |
//! | tokens | count, then 32 bits each |
//! | unread token | 1 if a reply's last token was said but not evaluated, else 0; then the token |
//! | pictures | version 2 only: [`Vision::fingerprint`](crate::Vision::fingerprint) of the tower, count, of each: position, [key](ImageKey), width and height in pixels |
//! | chat | thinking, preserve thinking, messages (JSON text), number of tools, of each: name, description, parameters, strict |
//! | rows | layer by layer what the cache still holds, in pieces of 256 positions, as [`KvStore::export`](crate::backend::KvStore::export) writes them |
//! | checksum | SHA-256 of everything before it |
//!
//! Nothing of it is trusted when it is read: every count has a bound, and memory is touched as bytes arrive.

#![forbid(unsafe_code)]

mod file;
mod pictures;
mod stream;

use std::io::{Read, Write};
use std::ops::Range;

use self::stream::{In, Out, failed, hex, refused};
use super::{Session, SessionBuilder, with_blocks};
use crate::TokenId;
use crate::chat::{Chat, StartState, Tool, messages_from_json, messages_to_json};
use crate::error::{Error, Result};
use crate::kv::{KvSpec, KvType, Positions};
use crate::limits;
use crate::model::Model;

const MAGIC: [u8; 8] = *b"LemmySes";
/// Without pictures; older builds read it.
const TEXT: u32 = 1;
/// With pictures.
const PICTURES: u32 = 2;
/// Positions of a layer that are written, or read, at once.
const PIECE: usize = 256;

impl Session {
    /// Writes the session so that [`Model::restore`] brings it back, in this process or another: options, tokens, the
    /// conversation, and the rows that the cache holds. A reply in the making is not saved, as with
    /// [`fork`](Self::fork). Bytes written; it flushes at the end, and does best with a buffered writer.
    ///
    /// ```no_run
    /// use lemmy_core::{GenerateOptions, Model};
    ///
    /// let model = Model::open("model.gguf")?;
    /// let mut session = model.session().build()?;
    /// session.send("My name is Ada.", GenerateOptions::new())?.text()?;
    /// session.save_file("ada.session")?;
    ///
    /// let mut later = model.restore_file("ada.session")?;
    /// println!("{}", later.send("What is my name?", GenerateOptions::new())?.text()?);
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the writer refuses, [`Error::FileChanged`] if the model's file is no longer the one that was
    /// loaded, [`Error::Argument`] for a conversation beyond the [`limits`].
    pub fn save(&self, to: &mut dyn Write) -> Result<u64> {
        self.model.gguf().check_unchanged()?;
        let mut out = Out::new(to);
        out.raw(&MAGIC)?;
        let version = if self.pictures.is_empty() { TEXT } else { PICTURES };
        out.raw(&version.to_le_bytes())?;
        out.raw(self.model.fingerprint())?;
        out.text(self.cache.layout())?;
        for size in [self.kv.context, self.kv.batch, self.kv.rewind] {
            out.number(size as u64)?;
        }
        out.number(number_of(KV_TYPES, self.kv.kv_type)?)?;
        out.number(number_of(STARTS, self.start)?)?;
        out.number(self.positions.written() as u64)?;
        out.number(self.tokens.len() as u64)?;
        self.tokens.iter().try_for_each(|id| out.raw(&id.to_le_bytes()))?;
        out.number(self.unread.iter().len() as u64)?;
        self.unread.iter().try_for_each(|id| out.raw(&id.to_le_bytes()))?;
        if version == PICTURES {
            pictures::write(&mut out, &self.model, &self.pictures)?;
        }
        write_chat(&mut out, &self.chat)?;
        for layer in 0..self.model.plan().spec.layers.len() {
            for piece in pieces(self.held(layer)) {
                self.cache.export(layer, piece, &mut out).map_err(refused)?;
            }
        }
        out.finish()
    }

    /// Positions whose rows the cache of a layer holds.
    fn held(&self, layer: usize) -> Range<usize> {
        let rows = self.model.plan().spec.layers.get(layer).map_or(0, |layer| self.kv.rows(layer));
        self.positions.held(rows)
    }
}

impl Model {
    /// Brings a saved session back without reading its tokens again; it goes on bit by bit as the one that was saved.
    /// Options and conversation are those of the saved one, but for the cancel token, which is new
    /// ([`SessionBuilder::restore`] takes one).
    ///
    /// # Errors
    ///
    /// [`Error::Session`] if the bytes are damaged, cut short, of another model or (with pictures) of another tower, or of a
    /// version that this build does not know; [`Error::Io`] if the reader fails; [`Error::OutOfMemory`].
    pub fn restore(&self, from: &mut dyn Read) -> Result<Session> {
        self.session().restore(from)
    }
}

impl SessionBuilder {
    /// As [`Model::restore`], with this builder's cancel token; its other options give way to the saved ones.
    ///
    /// # Errors
    ///
    /// As [`Model::restore`].
    pub fn restore(mut self, from: &mut dyn Read) -> Result<Session> {
        self.model.gguf().check_unchanged()?;
        let mut from = In::new(from);
        let version = check_model(&mut from, &self.model)?;
        let layout = from.text("layout of the cache", 64)?;
        self.kv = read_options(&mut from)?;
        let start = item_of(STARTS, &mut from, "start of a reply")?;
        let context = self.kv.context as u64;
        let written = from.number("positions written", 0, context)? as usize;
        let vocab = self.model.plan().spec.vocab;
        let tokens = read_tokens(&mut from, "tokens", written as u64, vocab)?;
        let unread = read_tokens(&mut from, "unread token", 1, vocab)?.pop();
        let pictures = match version {
            PICTURES => pictures::read(&mut from, &self.model, &tokens)?,
            _ => Vec::new(),
        };
        self.chat = read_chat(&mut from)?;

        let blocks = with_blocks(&self.kv, self.block(&self.kv));
        let positions = Positions::restored(&blocks, &self.model.plan().spec.layers, tokens.len(), written)
            .ok_or_else(|| {
                let expected = format!("as many as go with {} tokens", tokens.len());
                Error::Session { what: "positions written", found: written.to_string(), expected }
            })?;
        let mut session = self.build()?;
        if layout != session.cache.layout() {
            let expected = session.cache.layout().to_owned();
            return Err(Error::Session { what: "layout of the cache", found: layout, expected });
        }
        (session.tokens, session.positions, session.pictures) = (tokens, positions, pictures);
        (session.start, session.unread) = (start, unread);
        for layer in 0..session.model.plan().spec.layers.len() {
            for piece in pieces(session.held(layer)) {
                session.cache.import(layer, piece, &mut from).map_err(|e| failed("rows of the cache", e))?;
            }
        }
        from.finish()?;
        Ok(session)
    }
}

/// Refuses other files, other versions, other models; the version.
fn check_model(from: &mut In<'_>, model: &Model) -> Result<u32> {
    let magic: [u8; 8] = from.array("magic")?;
    if magic != MAGIC {
        let found = format!("\"{}\"", magic.escape_ascii());
        return Err(Error::Session { what: "magic", found, expected: format!("\"{}\"", MAGIC.escape_ascii()) });
    }
    let version = u32::from_le_bytes(from.array("version")?);
    if ![TEXT, PICTURES].contains(&version) {
        let expected = format!("{TEXT} or {PICTURES}");
        return Err(Error::Session { what: "version", found: version.to_string(), expected });
    }
    let fingerprint: [u8; 32] = from.array("fingerprint of the model")?;
    if &fingerprint != model.fingerprint() {
        let (found, expected) = (hex(&fingerprint), format!("{} ({})", hex(model.fingerprint()), model.info().name));
        return Err(Error::Session { what: "fingerprint of the model", found, expected });
    }
    Ok(version)
}

fn read_options(from: &mut In<'_>) -> Result<KvSpec> {
    let context = from.number("context", 1, limits::CONTEXT)?;
    Ok(KvSpec {
        context: context as usize,
        batch: from.number("batch", 1, context.min(limits::BATCH as u64))? as usize,
        rewind: from.number("rewind", 0, context)? as usize,
        kv_type: item_of(KV_TYPES, from, "KV type")?,
    })
}

fn read_tokens(from: &mut In<'_>, what: &'static str, most: u64, vocab: usize) -> Result<Vec<TokenId>> {
    let count = from.number(what, 0, most)?;
    let bytes = from.bytes(what, count * size_of::<TokenId>() as u64)?;
    let tokens: Vec<_> = bytes.as_chunks().0.iter().map(|&id| TokenId::from_le_bytes(id)).collect();
    let is_token = |&id: &TokenId| id == Session::SOFT || (id as usize) < vocab;
    match tokens.iter().find(|id| !is_token(id)) {
        None => Ok(tokens),
        Some(id) => Err(Error::Session { what, found: id.to_string(), expected: format!("less than {vocab}") }),
    }
}

fn write_chat(out: &mut Out<'_>, chat: &Chat) -> Result<()> {
    out.number(chat.thinking.into())?;
    out.number(chat.preserve_thinking.into())?;
    let messages = messages_to_json(&chat.messages)?;
    for (what, found, most) in
        [("bytes of messages", messages.len(), limits::CHAT_JSON_BYTES), ("tools", chat.tools.len(), limits::TOOLS)]
    {
        if found > most {
            return Err(Error::Argument {
                name: "chat",
                reason: format!("{found} {what}, at most {most} can be saved"),
            });
        }
    }
    out.text(&messages)?;
    out.number(chat.tools.len() as u64)?;
    for tool in &chat.tools {
        out.text(&tool.name)?;
        out.text(&tool.description)?;
        out.text(&tool.parameters_json)?;
        out.number(tool.strict.into())?;
    }
    Ok(())
}

fn read_chat(from: &mut In<'_>) -> Result<Chat> {
    const MOST: u64 = limits::CHAT_JSON_BYTES as u64;
    let (thinking, preserve_thinking) = (from.flag("thinking")?, from.flag("preserve thinking")?);
    let json = from.text("messages", MOST)?;
    let messages = messages_from_json(&json).map_err(|e| Error::Session {
        what: "messages",
        found: e.to_string(),
        expected: "what was written".into(),
    })?;
    let count = from.number("number of tools", 0, limits::TOOLS as u64)?;
    let tool = |_| {
        Ok(Tool {
            name: from.text("name of a tool", MOST)?,
            description: from.text("description of a tool", MOST)?,
            parameters_json: from.text("parameters of a tool", MOST)?,
            strict: from.flag("strict tool")?,
        })
    };
    let tools = (0..count).map(tool).collect::<Result<_>>()?;
    Ok(Chat { messages, tools, thinking, preserve_thinking })
}

/// The positions in pieces.
fn pieces(positions: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    positions.clone().step_by(PIECE).map(move |start| start..(start + PIECE).min(positions.end))
}

/// The numbers of options in a file; never reused.
const KV_TYPES: &[(u64, KvType)] = &[(1, KvType::F16), (2, KvType::F32), (3, KvType::Q8_0)];
const STARTS: &[(u64, StartState)] =
    &[(1, StartState::Model), (2, StartState::ClosedThought), (3, StartState::OpenThought), (4, StartState::Answer)];

fn number_of<T: Copy + PartialEq + std::fmt::Debug>(table: &[(u64, T)], item: T) -> Result<u64> {
    let found = table.iter().find(|(_, other)| *other == item).map(|(number, _)| *number);
    found.ok_or_else(|| Error::Internal(format!("{item:?} has no number in saved sessions")))
}

fn item_of<T: Copy>(table: &[(u64, T)], from: &mut In<'_>, what: &'static str) -> Result<T> {
    let number = from.number(what, 1, table.len() as u64)?;
    let found = table.iter().find(|(other, _)| *other == number).map(|(_, item)| *item);
    found.ok_or_else(|| Error::Internal(format!("no {what} has the number {number}")))
}
