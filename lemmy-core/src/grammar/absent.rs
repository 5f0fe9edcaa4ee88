//! Stands for the engine in builds without the feature `grammar`: no value of these types can be made.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use super::Constraint;
use crate::TokenId;
use crate::chat::{Controls, Tool};
use crate::error::{Error, Result};
use crate::sampler::TokenMask;
use crate::tokenizer::Tokenizer;

pub(super) struct Engine(Infallible);

impl Engine {
    pub(super) fn new(_: &Tokenizer) -> Result<Self> {
        Err(Error::Unsupported(
            "structured output and strict tool calls need a build with the feature `grammar`".into(),
        ))
    }

    pub(super) fn answer(&self, _: &Constraint) -> Result<Follower> {
        match self.0 {}
    }

    pub(super) fn tool_call(&self, _: &[Tool], _: &Controls) -> Result<Follower> {
        match self.0 {}
    }
}

#[derive(Clone)]
pub(super) struct Follower(Infallible);

impl Follower {
    pub(super) fn allowed(&mut self) -> Result<&TokenMask> {
        match self.0 {}
    }

    pub(super) fn accept(&mut self, _: TokenId) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn rollback(&mut self, _: usize) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn is_finished(&self) -> bool {
        match self.0 {}
    }
}
