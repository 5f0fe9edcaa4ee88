//! The way back to where a reply began.
//!
//! The next turn shows the model a history without its thoughts, so it goes back to where they began, and a person may
//! edit what he asked. Both must work after a reply that is longer than the slack of the rings. So when the first row is
//! about to be overwritten that such a step back needs, the rows are copied out, once; a step back copies them in. That is
//! at most a window and [`REACH`] positions of the sliding layers (the global ones keep everything), for the last reply,
//! and nothing at all for replies that are shorter than the slack.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use super::Session;
use crate::error::{Error, Result, try_vec};

/// Positions before the reply that can be gone back to, so that what was asked can be edited.
const REACH: usize = 512;
/// The least that can be gone back to: the empty thought that tells the model not to think is not part of the history.
const NEAR: usize = 8;

/// What a step back needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    /// The positions to which one can go back.
    places: Range<usize>,
    /// Of each sliding layer the rows before them, once they would have been lost.
    saved: Option<Arc<Vec<LayerRows>>>,
}

/// Rows of a layer as [`KvStore::export`](crate::backend::KvStore::export) gives them.
#[derive(Debug)]
struct LayerRows {
    layer: usize,
    positions: Range<usize>,
    bytes: Vec<u8>,
}

impl Mark {
    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.saved.iter().flat_map(|saved| saved.iter()).map(|rows| rows.bytes.capacity() as u64).sum()
    }

    /// The farthest place up to `to` to which the saved rows lead back.
    fn back_to(&self, to: usize) -> Option<usize> {
        let last = self.places.end.checked_sub(1)?;
        (self.saved.is_some() && self.places.start <= to).then_some(to.min(last))
    }

    /// The session forgets everything from `to` on.
    fn cut(&mut self, to: usize) {
        if to < self.places.start {
            *self = Self::default();
        } else {
            self.places.end = self.places.end.min(to + 1);
        }
    }
}

impl Session {
    /// A reply begins at `at`; what comes before `read` was there already.
    pub(super) fn set_mark(&mut self, read: usize, at: usize) {
        // A reply to what was read just before, by itself: the mark of that reading reaches back farther.
        let is_same = at - read <= 1 && self.mark.saved.is_none() && self.mark.places.contains(&read);
        let start = if is_same { self.mark.places.start } else { read };
        // What is farther than the slack is lost while the prompt is being read.
        let reach = REACH.min(self.positions.slack());
        let low = start.min(at.saturating_sub(NEAR)).max(at.saturating_sub(reach)).max(self.positions.oldest_rewind());
        self.mark = Mark { places: low..at + 1, saved: None };
    }

    /// The farthest place up to `to` to which the session can go back.
    pub(super) fn reachable(&self, to: usize) -> usize {
        if self.positions.can_rewind(to) { to } else { self.mark.back_to(to).unwrap_or(0) }
    }

    /// A batch of `n` is about to be written: saves the rows that the way back needs, if this is when they go. Without
    /// memory for them there is no way back, and the next turn reads more.
    pub(super) fn keep_mark(&mut self, n: usize) {
        let low = self.mark.places.start;
        if self.mark.places.is_empty() || self.mark.saved.is_some() || !self.positions.would_lose(low, n) {
            return;
        }
        self.mark.cut(self.positions.len());
        if self.mark.places.is_empty() {
            return;
        }
        match self.saved_rows() {
            Ok(rows) => self.mark.saved = Some(Arc::new(rows)),
            Err(_) => self.mark = Mark::default(),
        }
    }

    /// Forgets everything from position `to` on, which is not inside a picture.
    pub(super) fn cut(&mut self, to: usize) -> Result<()> {
        if self.positions.can_rewind(to) || self.mark.back_to(to) != Some(to) {
            self.positions.rewind(to)?;
        } else {
            self.bring_back(to)?;
        }
        self.mark.cut(to);
        if to < self.tokens.len() {
            self.unread = None;
        }
        self.tokens.truncate(to);
        self.pictures.retain(|picture| picture.at < to);
        Ok(())
    }

    /// Goes back to a place that only the saved rows lead to.
    fn bring_back(&mut self, to: usize) -> Result<()> {
        for rows in self.mark.saved.iter().flat_map(|saved| saved.iter()) {
            let read = self.cache.import(rows.layer, rows.positions.clone(), &mut rows.bytes.as_slice());
            read.map_err(|e| Error::Internal(format!("rows of layer {}: {e}", rows.layer)))?;
        }
        self.positions.restore(self.mark.places.start, to);
        Ok(())
    }

    fn saved_rows(&self) -> Result<Vec<LayerRows>> {
        let layers = &self.model.plan().spec.layers;
        let sliding = layers.iter().enumerate().filter_map(|(i, layer)| Some((i, layer.window?)));
        let export = |layer, positions: Range<usize>, to: &mut dyn Write| {
            let written = self.cache.export(layer, positions, to);
            written.map_err(|e| Error::Internal(format!("rows of layer {layer}: {e}")))
        };
        let mut sizes = Vec::new();
        for (layer, window) in sliding {
            let positions = (self.mark.places.start + 1).saturating_sub(window)..self.positions.len();
            let mut size = Count(0);
            export(layer, positions.clone(), &mut size)?;
            sizes.push((layer, positions, size.0));
        }
        let total = sizes.iter().map(|(_, _, size)| *size as u64).sum::<u64>();
        let estimate = self.model.estimate_for(&self.kv)?.total();
        self.model.check_memory("the model, a session and its way back", estimate.saturating_add(total))?;
        let fill = |(layer, positions, size): (usize, Range<usize>, usize)| {
            let mut bytes = try_vec(size, 0, "the way back to where a reply began")?;
            export(layer, positions.clone(), &mut bytes.as_mut_slice())?;
            Ok(LayerRows { layer, positions, bytes })
        };
        sizes.into_iter().map(fill).collect()
    }
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
