//! What the tower made of pictures, so that the next turn need not look again.

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::layout::{Budget, Layout};

/// A picture's file and its budget, as a name for what the tower makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageKey([u8; 32]);

impl ImageKey {
    /// SHA-256 of the budget and the file's bytes.
    pub fn new(bytes: &[u8], budget: Budget) -> Self {
        let mut hash = Sha256::new();
        hash.update((budget.soft_tokens() as u64).to_le_bytes());
        hash.update(bytes);
        Self(hash.finalize().into())
    }

    /// As [`bytes`](Self::bytes) gave it.
    pub(crate) fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A picture's soft tokens: rows of the language model's hidden width, which enter it as they are. Clones share them.
#[derive(Clone, PartialEq)]
pub struct SoftTokens {
    layout: Layout,
    rows: Arc<[f32]>,
}

impl SoftTokens {
    /// The rows of a picture of this layout.
    pub fn new(layout: Layout, rows: impl Into<Arc<[f32]>>) -> Self {
        Self { layout, rows: rows.into() }
    }

    /// The picture's sizes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.layout.soft_tokens()
    }

    /// Never: a picture has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows, one after another.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }
}

impl std::fmt::Debug for SoftTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} soft tokens", self.len())
    }
}

/// Keeps the soft tokens of the pictures last used, up to a number of bytes.
#[derive(Debug, Clone)]
pub struct SoftCache {
    most: usize,
    held: usize,
    /// The one last used stands last.
    entries: VecDeque<(ImageKey, SoftTokens)>,
}

impl SoftCache {
    /// Bytes that [`default`](Self::default) keeps: twenty pictures of 280 soft tokens of width 2816.
    pub const DEFAULT_BYTES: usize = 64 << 20;

    /// Keeps up to `most` bytes of soft tokens; 0 keeps none.
    pub fn new(most: usize) -> Self {
        Self { most, held: 0, entries: VecDeque::new() }
    }

    /// The soft tokens of this key, if they are still there.
    pub fn get(&mut self, key: &ImageKey) -> Option<SoftTokens> {
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let entry = self.entries.remove(at)?;
        let soft = entry.1.clone();
        self.entries.push_back(entry);
        Some(soft)
    }

    /// Keeps these; drops what was not used for longest where room is short. What is larger than the whole cache is not
    /// kept.
    pub fn insert(&mut self, key: ImageKey, soft: SoftTokens) {
        if let Some(at) = self.entries.iter().position(|(k, _)| *k == key) {
            self.remove(at);
        }
        let needed = size_of_val(soft.rows());
        if needed > self.most {
            return;
        }
        while self.held + needed > self.most {
            self.remove(0);
        }
        self.held += needed;
        self.entries.push_back((key, soft));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.held = 0;
    }

    fn remove(&mut self, at: usize) {
        if let Some((_, soft)) = self.entries.remove(at) {
            self.held -= size_of_val(soft.rows());
        }
    }
}

impl Default for SoftCache {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn soft(value: f32) -> SoftTokens {
        SoftTokens::new(Layout::exact(48, 48).unwrap(), vec![value; 256])
    }

    fn key(name: &str) -> ImageKey {
        ImageKey::new(name.as_bytes(), Budget::default())
    }

    #[test]
    fn a_key_is_the_bytes_and_the_budget() {
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
        assert_ne!(key("a"), ImageKey::new(b"a", Budget::MAX));
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut cache = SoftCache::new(2 * 1024 + 100);
        cache.insert(key("a"), soft(1.0));
        cache.insert(key("b"), soft(2.0));
        assert_eq!(cache.get(&key("a")), Some(soft(1.0)));
        cache.insert(key("c"), soft(3.0));
        assert_eq!(cache.get(&key("b")), None);
        assert_eq!((cache.get(&key("a")), cache.get(&key("c"))), (Some(soft(1.0)), Some(soft(3.0))));
        assert_eq!(cache.bytes(), 2048);
        cache.insert(key("a"), soft(4.0));
        assert_eq!((cache.get(&key("a")), cache.bytes()), (Some(soft(4.0)), 2048));
        cache.clear();
        assert_eq!((cache.get(&key("a")), cache.bytes()), (None, 0));
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let mut cache = SoftCache::new(1000);
        cache.insert(key("a"), soft(1.0));
        assert_eq!((cache.get(&key("a")), cache.bytes()), (None, 0));
    }
}
