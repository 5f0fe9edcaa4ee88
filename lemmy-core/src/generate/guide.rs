//! Which tokens may come next: the answer's grammar, the tools' grammars, the choice of tools, the budget of thoughts.
//!
//! | where the reply stands | with a constraint, or with tools required | else |
//! |---|---|---|
//! | in a thought | anything but an end or a call | anything |
//! | before the answer | the constraint's beginning, or a call (required: only that); a thought, if one was asked for | anything |
//! | in the answer | what the constraint allows | anything |
//! | in a call | what the tools' schemas allow | the same if a tool is strict, else anything |
//! | after a call | another call, or the end | anything |
//!
//! So a constrained reply with tools is either the answer or calls, and the answer comes when the tools have answered.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::{GenerateOptions, Thinking, ToolChoice};
use crate::TokenId;
use crate::chat::{Controls, StartState, Tool, Zone};
use crate::error::{Error, Result};
use crate::grammar::Matcher;
use crate::model::Model;
use crate::sampler::{Sampler, TokenMask};

/// Follows a reply and says what may come next.
#[derive(Debug)]
pub(super) struct Guide {
    model: Model,
    controls: Controls,
    stage: Stage,
    /// Follows the answer, if it has to look like something.
    answer: Option<Matcher>,
    choice: Choice,
    /// Tools that may be called, if calls have to follow a grammar.
    tools: Option<Vec<Tool>>,
    /// Follows the call that is being written or the first that comes.
    call: Option<Matcher>,
    has_tools: bool,
    /// Whether a thought may come before an answer that has to look like something.
    may_think: bool,
    /// Tokens that may be thought, and tokens that were.
    budget: Option<u32>,
    thought: u32,
}

/// How far the visible part of a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was said but thoughts.
    Start,
    /// The answer has begun.
    Answer,
    /// A call was made.
    Called,
}

/// Whether tools are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Never,
    Free,
    Must,
}

/// What may come.
enum Rule<'m> {
    /// Everything but these.
    AllBut(Vec<TokenId>),
    /// Only these.
    Only(Cow<'m, TokenMask>),
}

impl Guide {
    /// For a reply that begins so.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a choice of tools that are not there, and what compiling a grammar can fail with:
    /// [`Error::Unsupported`] without the feature `grammar`.
    pub(super) fn new(model: &Model, start: StartState, tools: &[Tool], options: &GenerateOptions) -> Result<Self> {
        let controls = Controls::new(model.tokenizer());
        let (choice, allowed) = choose(&options.tool_choice, tools)?;
        if choice == Choice::Must && controls.call_open.is_none() {
            return Err(Error::Unsupported("tool calls: the vocabulary has no `<|tool_call>`".into()));
        }
        let is_masked = match choice {
            Choice::Must => true,
            Choice::Free => allowed.iter().any(|tool| tool.strict) && controls.call_open.is_some(),
            Choice::Never => false,
        };
        let answer = match &options.constraint {
            Some(constraint) => Some(model.grammars()?.answer(constraint)?),
            None => None,
        };
        let mut guide = Self {
            model: model.clone(),
            controls,
            stage: Stage::Start,
            answer,
            choice,
            has_tools: !allowed.is_empty(),
            tools: is_masked.then(|| allowed.to_vec()),
            call: None,
            may_think: start == StartState::Model && options.thinking.is_wanted(),
            budget: if let Thinking::Budget(tokens) = options.thinking { Some(tokens) } else { None },
            thought: 0,
        };
        // What is wrong with a schema is told before anything is read.
        guide.prepare_call()?;
        Ok(guide)
    }

    /// The token that has to come, whatever the model wants: a thought that has used up its budget is closed.
    pub(super) fn forced(&self, zone: Zone) -> Option<TokenId> {
        self.controls.channel_close.filter(|_| zone == Zone::Thought && self.is_spent())
    }

    /// Picks the next token among those that may come. Logits of tokens that may not are changed.
    pub(super) fn pick(&mut self, zone: Zone, logits: &mut [f32], sampler: &mut Sampler) -> Result<TokenId> {
        match self.rule(zone)? {
            Rule::AllBut(never) => {
                for id in never {
                    if let Some(logit) = logits.get_mut(id as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                sampler.sample(logits)
            }
            Rule::Only(mask) => {
                for (id, logit) in (0..).zip(logits.iter_mut()) {
                    if !mask.contains(id) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                sampler.sample(logits)
            }
        }
    }

    /// A token came, and took the reply from one zone to another.
    pub(super) fn accept(&mut self, id: TokenId, before: Zone, after: Zone) -> Result<()> {
        match (before, after) {
            (Zone::Thought, Zone::Thought) => self.thought = self.thought.saturating_add(1),
            (Zone::Thought, _) | (_, Zone::Thought) => self.may_think = false,
            (Zone::Call, _) => {
                if let Some(call) = &mut self.call {
                    call.accept(id)?;
                }
                if after != Zone::Call {
                    self.call = None;
                }
            }
            (Zone::Text, Zone::Call) => {
                self.stage = Stage::Called;
                self.prepare_call()?;
            }
            (Zone::Text, Zone::Text) => {
                if self.stage == Stage::Start {
                    self.stage = Stage::Answer;
                }
                if let Some(answer) = &mut self.answer
                    && self.stage == Stage::Answer
                    && !self.controls.ends.contains(&id)
                {
                    answer.accept(id)?;
                }
            }
        }
        Ok(())
    }

    fn rule(&mut self, zone: Zone) -> Result<Rule<'_>> {
        let vocab = self.model.tokenizer().vocab_size();
        let is_guided = self.answer.is_some() || self.choice == Choice::Must;
        match zone {
            Zone::Call => match &mut self.call {
                Some(call) => Ok(Rule::Only(Cow::Borrowed(call.allowed()?))),
                None => Ok(Rule::AllBut(Vec::new())),
            },
            Zone::Thought if is_guided => {
                Ok(Rule::AllBut(self.controls.ends.iter().copied().chain(self.controls.call_open).collect()))
            }
            Zone::Thought => Ok(Rule::AllBut(self.never())),
            Zone::Text if !is_guided => Ok(Rule::AllBut(self.never())),
            Zone::Text => match self.stage {
                Stage::Start => {
                    let thought = self.controls.channel_open.filter(|_| self.may_think && !self.is_spent());
                    let call = self.controls.call_open.filter(|_| self.has_tools && self.choice != Choice::Never);
                    let beside = thought.into_iter().chain(call);
                    match &mut self.answer {
                        Some(answer) if self.choice != Choice::Must => {
                            let mut mask = Cow::Borrowed(answer.allowed()?);
                            beside.for_each(|id| mask.to_mut().insert(id));
                            Ok(Rule::Only(mask))
                        }
                        _ => Ok(only(vocab, beside)),
                    }
                }
                Stage::Answer => match &mut self.answer {
                    Some(answer) => Ok(Rule::Only(Cow::Borrowed(answer.allowed()?))),
                    None => Ok(Rule::AllBut(Vec::new())),
                },
                Stage::Called => Ok(only(vocab, self.controls.ends.iter().copied().chain(self.controls.call_open))),
            },
        }
    }

    /// Tokens that may not come where all else may.
    fn never(&self) -> Vec<TokenId> {
        let call = self.controls.call_open.filter(|_| self.choice == Choice::Never);
        let thought = self.controls.channel_open.filter(|_| self.is_spent());
        call.into_iter().chain(thought).collect()
    }

    fn is_spent(&self) -> bool {
        self.budget.is_some_and(|budget| self.thought >= budget)
    }

    fn prepare_call(&mut self) -> Result<()> {
        if let (Some(tools), None) = (&self.tools, &self.call) {
            self.call = Some(self.model.grammars()?.tool_call(tools, &self.controls)?);
        }
        Ok(())
    }
}

fn only(vocab: usize, ids: impl Iterator<Item = TokenId>) -> Rule<'static> {
    let mut mask = TokenMask::none(vocab);
    ids.for_each(|id| mask.insert(id));
    Rule::Only(Cow::Owned(mask))
}

/// Whether tools are called, and which of them.
fn choose<'t>(choice: &ToolChoice, tools: &'t [Tool]) -> Result<(Choice, &'t [Tool])> {
    let refuse = |found: String| {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let reason = format!("found {found}, expected one of the {} tools: {}", tools.len(), names.join(", "));
        Err(Error::Argument { name: "tool_choice", reason })
    };
    match choice {
        ToolChoice::Auto => Ok((Choice::Free, tools)),
        ToolChoice::None => Ok((Choice::Never, tools)),
        ToolChoice::Required if tools.is_empty() => refuse("`required`".into()),
        ToolChoice::Required => Ok((Choice::Must, tools)),
        ToolChoice::Named(name) => match tools.iter().find(|tool| tool.name == *name) {
            Some(tool) => Ok((Choice::Must, std::slice::from_ref(tool))),
            None => refuse(format!("`{name:.64}`")),
        },
    }
}
