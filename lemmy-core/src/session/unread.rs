//! What of a prompt is still to be read.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::check_ids;
use super::pictures::Picture;
use crate::TokenId;
use crate::error::Result;

/// The rest of a prompt: tokens, and pictures among them.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Position of the first of the tokens.
    at: usize,
    ids: Vec<TokenId>,
    pictures: VecDeque<Picture>,
}

/// What comes next of it.
#[derive(Debug)]
pub(super) enum Next<'u> {
    /// Tokens that are none of a picture's.
    Tokens(&'u [TokenId]),
    /// A picture, which is read as a whole.
    Picture(&'u Picture),
}

impl Unread {
    /// A prompt from position `at` on, where no picture is cut. Its pictures are decoded.
    ///
    /// # Errors
    ///
    /// What is wrong with a token or a picture.
    pub(super) fn new(ids: &[TokenId], pictures: Vec<Picture>, at: usize, vocab: usize) -> Result<Self> {
        let mut pictures: VecDeque<_> = pictures.into_iter().filter(|picture| picture.place.at >= at).collect();
        let mut from = at;
        for picture in &pictures {
            check_ids(ids.get(from..picture.place.at).unwrap_or_default(), vocab)?;
            from = picture.place.end();
        }
        check_ids(ids.get(from..).unwrap_or_default(), vocab)?;
        pictures.iter_mut().try_for_each(Picture::decode)?;
        Ok(Self { at, ids: ids.get(at..).unwrap_or_default().to_vec(), pictures })
    }

    /// Tokens.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tokens before the next picture.
    pub(super) fn run(&self) -> usize {
        self.pictures.front().map_or(self.ids.len(), |picture| picture.place.at - self.at)
    }

    /// What comes next: at most `most` tokens, or a picture.
    pub(super) fn next(&self, most: usize) -> Option<Next<'_>> {
        match self.pictures.front() {
            Some(picture) if picture.place.at == self.at => Some(Next::Picture(picture)),
            _ => self.ids.get(..most.min(self.run())).filter(|ids| !ids.is_empty()).map(Next::Tokens),
        }
    }

    /// The picture that comes next, if one does.
    pub(super) fn picture(&mut self) -> Option<&mut Picture> {
        self.pictures.front_mut().filter(|picture| picture.place.at == self.at)
    }

    /// So many of the tokens have been read.
    pub(super) fn took(&mut self, n: usize) {
        self.ids.drain(..n.min(self.ids.len()));
        self.at += n;
        while self.pictures.front().is_some_and(|picture| picture.place.at < self.at) {
            self.pictures.pop_front();
        }
    }
}
