//! The engine: grammars are compiled by llguidance, which also follows the text.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::ParserFactory;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob};

use super::{Constraint, call, schema, vocabulary};
use crate::TokenId;
use crate::chat::{Controls, Tool};
use crate::error::{Error, Result};
use crate::limits;
use crate::sampler::TokenMask;
use crate::tokenizer::Tokenizer;

/// Stack of the thread that compiles. The engine recurses over rules and properties, as deep as the bounds on grammars
/// let it.
const STACK: usize = 64 << 20;

/// A vocabulary, prepared.
pub(super) struct Engine {
    factory: ParserFactory,
    vocab: usize,
    ends: Arc<[TokenId]>,
    /// The grammars that were compiled last, at their start, the newest first: a program has few and uses them often.
    compiled: Mutex<VecDeque<(String, llguidance::Matcher)>>,
}

impl Engine {
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let env = vocabulary::token_env(tokenizer)?;
        let mut factory =
            ParserFactory::new(&env, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices())
                .map_err(|error| Error::Internal(format!("grammar engine: {error}")))?;
        // It prints warnings otherwise.
        factory.quiet();
        *factory.limits_mut() = parser_limits();
        Ok(Self {
            factory,
            vocab: tokenizer.vocab_size(),
            ends: tokenizer.end_of_generation().into(),
            compiled: Mutex::default(),
        })
    }

    pub(super) fn answer(&self, constraint: &Constraint) -> Result<Follower> {
        let subject = "constraint";
        let (text, most) = match constraint {
            Constraint::JsonSchema(text) => (text, limits::ANSWER_SCHEMA_BYTES),
            Constraint::Regex(text) => (text, limits::REGEX_BYTES),
            Constraint::Lark(text) => (text, limits::LARK_BYTES),
        };
        check_size(subject, text.len(), most)?;
        let grammar = match constraint {
            Constraint::JsonSchema(text) => {
                TopLevelGrammar::from_json_schema(schema::for_json(text).map_err(|fault| refused(subject, fault))?)
            }
            Constraint::Regex(text) => regex(text).map_err(|error| failed(subject, error))?,
            Constraint::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        self.follower(subject, grammar, Ending::OfReply(self.ends.clone()))
    }

    pub(super) fn tool_call(&self, tools: &[Tool], controls: &Controls) -> Result<Follower> {
        let (Some(quote), Some(close)) = (controls.quote, controls.call_close) else {
            let what = "strict tool calls: the vocabulary has no `<|\"|>` or no `<tool_call|>`";
            return Err(Error::Unsupported(what.into()));
        };
        let subject = "tools";
        let bytes = tools.iter().map(|tool| tool.name.len() + tool.parameters_json.len()).sum();
        check_size(subject, bytes, limits::TOOLS_BYTES)?;
        let grammar = call::grammar(tools, quote, close).map_err(|fault| refused(subject, fault))?;
        self.follower(subject, TopLevelGrammar::from_lark(grammar), Ending::OfCall)
    }

    fn follower(&self, subject: &'static str, grammar: TopLevelGrammar, ending: Ending) -> Result<Follower> {
        let key = serde_json::to_string(&grammar).map_err(|error| failed(subject, error))?;
        let matcher = match self.known(&key) {
            Some(matcher) => matcher,
            None => {
                let matcher = self.compile(subject, grammar)?;
                self.keep(key, matcher.deep_clone());
                matcher
            }
        };
        Ok(Follower { subject, matcher, ending, mask: TokenMask::none(0), vocab: self.vocab, taken: 0, ended: false })
    }

    fn compile(&self, subject: &'static str, grammar: TopLevelGrammar) -> Result<llguidance::Matcher> {
        let compile = || {
            let mut matcher = llguidance::Matcher::new(self.factory.create_parser(grammar));
            // A grammar that is too much for the engine shows it at once; the engine keeps the mask for the first step.
            let _ = matcher.compute_mask_or_eos();
            matcher
        };
        let matcher = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("lemmy-grammar".into()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, compile);
            let thread = thread.map_err(|source| Error::Io { what: "cannot start a thread".into(), source })?;
            thread.join().map_err(|_| Error::Internal("the grammar engine panicked".into()))
        })?;
        match matcher.get_error() {
            Some(message) => Err(failed(subject, message)),
            None => Ok(matcher),
        }
    }

    /// A matcher at its start that shares nothing that changes.
    fn known(&self, key: &str) -> Option<llguidance::Matcher> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compiled.iter().position(|(known, _)| known == key)?;
        let entry = compiled.remove(place)?;
        let matcher = entry.1.deep_clone();
        compiled.push_front(entry);
        Some(matcher)
    }

    fn keep(&self, key: String, matcher: llguidance::Matcher) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.push_front((key, matcher));
        compiled.truncate(limits::GRAMMARS_KEPT);
    }
}

/// Bounds on the work of a grammar. The engine's authors count 50,000 units of the lexer's first work, 14,000 of its later
/// work and 20,000 items in a millisecond.
fn parser_limits() -> ParserLimits {
    ParserLimits {
        // An object of as many optional properties as the bounds allow needs about 4000.
        max_items_in_row: 10_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        // About 1.5 KB each.
        max_lexer_states: 50_000,
        max_grammar_size: 500_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

fn regex(text: &str) -> Result<TopLevelGrammar, String> {
    // A second look at it, since a grammar's text drops a backslash at the end.
    llguidance::derivre::RegexBuilder::new().mk_regex(text).map_err(|error| format!("{error:#}"))?;
    // Without any text there would be no regular expression but a comment in the grammar.
    Ok(TopLevelGrammar::from_regex(if text.is_empty() { "(?:)" } else { text }))
}

fn check_size(subject: &'static str, found: usize, most: usize) -> Result<()> {
    match found > most {
        true => Err(refused(subject, format!("found {found} bytes, expected at most {most}"))),
        false => Ok(()),
    }
}

fn refused(subject: &'static str, reason: String) -> Error {
    Error::Argument { name: subject, reason }
}

/// The engine's message without what it tells its developers.
fn failed(subject: &'static str, message: impl std::fmt::Display) -> Error {
    let message = format!("{message:#}");
    let reason = message.split("\n<").next().unwrap_or_default().trim();
    match reason.strip_prefix("panic: ") {
        // The engine caught it.
        Some(panic) => Error::Internal(format!("grammar engine, with these {subject}: {panic}")),
        None => refused(subject, reason.into()),
    }
}

/// How a text ends.
#[derive(Clone)]
enum Ending {
    /// With one of these tokens.
    OfReply(Arc<[TokenId]>),
    /// By itself.
    OfCall,
}

/// Follows a text.
#[derive(Clone)]
pub(super) struct Follower {
    /// The argument that the grammar came from.
    subject: &'static str,
    matcher: llguidance::Matcher,
    ending: Ending,
    mask: TokenMask,
    vocab: usize,
    /// Tokens that the engine has taken.
    taken: usize,
    /// Whether a token that ends a reply came. The engine never sees it.
    ended: bool,
}

impl Follower {
    pub(super) fn allowed(&mut self) -> Result<&TokenMask> {
        self.mask = match self.is_finished() {
            true => TokenMask::none(self.vocab),
            // After a text that cannot go on: the tokens that end a reply.
            false => {
                token_mask(self.matcher.compute_mask_or_eos().map_err(|error| failed(self.subject, error))?, self.vocab)
            }
        };
        Ok(&self.mask)
    }

    pub(super) fn accept(&mut self, id: TokenId) -> Result<()> {
        let refused =
            || Error::Argument { name: "token", reason: format!("found {id}, which the grammar forbids here") };
        // The engine does not survive an id that it does not know.
        if id as usize >= self.vocab || self.is_finished() {
            return Err(refused());
        }
        if self.ending.is(id) {
            self.ended = self.allowed()?.contains(id);
            return if self.ended { Ok(()) } else { Err(refused()) };
        }
        if self.matcher.try_consume_tokens(&[id]).map_err(|error| failed(self.subject, error))? == 0 {
            return Err(refused());
        }
        self.taken += 1;
        Ok(())
    }

    pub(super) fn rollback(&mut self, tokens: usize) -> Result<()> {
        let of_engine = tokens - usize::from(self.ended && tokens > 0);
        if of_engine > self.taken {
            let reason = format!("found {tokens}, expected at most {}", self.taken + usize::from(self.ended));
            return Err(Error::Argument { name: "tokens", reason });
        }
        self.matcher.rollback(of_engine).map_err(|error| failed(self.subject, error))?;
        self.taken -= of_engine;
        self.ended &= tokens == 0;
        Ok(())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.ended || (!self.ending.is_open() && self.matcher.is_stopped() && !self.matcher.is_error())
    }
}

impl Ending {
    fn is(&self, id: TokenId) -> bool {
        matches!(self, Self::OfReply(ends) if ends.contains(&id))
    }

    /// Whether a token comes after the text.
    fn is_open(&self) -> bool {
        matches!(self, Self::OfReply(ends) if !ends.is_empty())
    }
}

fn token_mask(set: SimpleVob, vocab: usize) -> TokenMask {
    let mut words = Vec::from(set);
    // The engine has room for one more token, which it scribbles on.
    words.truncate(vocab.div_ceil(32));
    if let Some(last) = words.last_mut().filter(|_| !vocab.is_multiple_of(32)) {
        *last &= (1 << (vocab % 32)) - 1;
    }
    TokenMask::from_words(words)
}
