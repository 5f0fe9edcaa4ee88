//! Which conversation goes where: a slot keeps the cache of one, so that its next turn is read from where it differs.

use std::cmp::Reverse;

use lemmy_core::{Session, TokenId};

/// A place for one conversation.
struct Slot {
    /// Its session; `None` while a job has it.
    session: Option<Session>,
    /// When it was given out last, in jobs.
    used: u64,
    /// Whose requests it has read.
    owner: usize,
}

/// What others may know of a slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotState {
    pub(crate) is_processing: bool,
    /// Number of the job that has it, or had it last.
    pub(crate) task: Option<u64>,
    /// Tokens of that job's prompt that were read, without those that were there.
    pub(crate) read: usize,
}

/// All slots.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Jobs so far.
    given: u64,
}

/// What choosing a slot depends on.
pub(super) struct Wanted<'j> {
    pub(super) ids: &'j [TokenId],
    pub(super) slot: Option<usize>,
    pub(super) owner: usize,
}

impl Slots {
    pub(super) fn new(sessions: Vec<Session>) -> Self {
        let slot = |session| Slot { session: Some(session), used: 0, owner: 0 };
        Self { slots: sessions.into_iter().map(slot).collect(), given: 0 }
    }

    /// The idle slot that has read most of a prompt; among equals the one that was idle longest. One that has read
    /// nearly nothing of it keeps its conversation if another is empty. `None` if there is none to choose from.
    pub(super) fn choose(&self, wanted: &Wanted<'_>) -> Option<usize> {
        let mut idle = self.slots.iter().enumerate().filter_map(|(i, slot)| Some((i, slot, slot.session.as_ref()?)));
        if let Some(forced) = wanted.slot {
            return idle.map(|(i, ..)| i).find(|&i| i == forced);
        }
        let known = |slot: &Slot, session: &Session| match slot.owner == wanted.owner {
            true => common(session.tokens(), wanted.ids),
            false => 0,
        };
        let mut empty = None;
        let best = idle
            .by_ref()
            .map(|(i, slot, session)| {
                if session.tokens().is_empty() {
                    empty = empty.or(Some(i));
                }
                (known(slot, session), Reverse(slot.used), i)
            })
            .max_by_key(|&(known, used, _)| (known, used))?;
        let is_barely_known = best.0 * 10 < wanted.ids.len();
        Some(empty.filter(|_| is_barely_known).unwrap_or(best.2))
    }

    /// Gives a slot's session out, and the number of the job that takes it. What another key's requests have read is
    /// forgotten, and everything if nothing is to be `reused`.
    pub(super) fn give(&mut self, i: usize, owner: usize, reused: bool) -> Option<(Session, u64)> {
        let slot = self.slots.get_mut(i)?;
        let mut session = slot.session.take()?;
        if !reused || slot.owner != owner {
            // Back to the start is always possible.
            let _ = session.rewind(0);
        }
        self.given += 1;
        (slot.used, slot.owner) = (self.given, owner);
        Some((session, self.given))
    }

    /// Takes a session back.
    pub(super) fn put(&mut self, i: usize, session: Session) {
        if let Some(slot) = self.slots.get_mut(i) {
            slot.session = Some(session);
        }
    }

    /// Slots whose session is out.
    pub(super) fn out(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.session.is_none()).map(|(i, _)| i)
    }

    /// Whether any slot is idle.
    pub(super) fn has_idle(&self) -> bool {
        self.slots.iter().any(|slot| slot.session.is_some())
    }

    /// The sessions that are here.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_ref())
    }
}

/// Length of what two prompts begin with.
fn common(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lemmy_core::Model;

    use super::*;

    fn slots(read: &[&[TokenId]]) -> Slots {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/tiny-q4_k_m.gguf");
        let model = Model::open(tiny).unwrap();
        let sessions = read.iter().map(|ids| {
            let mut session = model.session().context(64).build().unwrap();
            session.prefill(ids, &mut |_, _| {}).unwrap();
            session
        });
        Slots::new(sessions.collect())
    }

    fn choice(slots: &Slots, ids: &[TokenId]) -> Option<usize> {
        slots.choose(&Wanted { ids, slot: None, owner: 0 })
    }

    #[test]
    fn the_longest_common_beginning_wins() {
        let mut slots = slots(&[&[5, 6], &[5, 6, 7, 8], &[]]);
        assert_eq!(choice(&slots, &[5, 6, 7, 9]), Some(1));
        // Less than a tenth of the prompt is no reason to give a conversation up while a slot is empty.
        let long: Vec<TokenId> = [5].into_iter().chain(std::iter::repeat_n(9, 20)).collect();
        assert_eq!(choice(&slots, &long), Some(2));
        assert_eq!(choice(&slots, &[9, 9]), Some(2));
        let (session, _) = slots.give(2, 0, true).unwrap();
        assert_eq!(choice(&slots, &[9, 9]), Some(1));
        slots.put(2, session);
        assert_eq!(slots.choose(&Wanted { ids: &[9], slot: Some(0), owner: 0 }), Some(0));
    }

    #[test]
    fn what_one_key_has_read_is_not_told_to_another() {
        let mut slots = slots(&[&[5, 6, 7, 8]]);
        let (session, _) = slots.give(0, 0, true).unwrap();
        assert_eq!(session.tokens().len(), 4);
        slots.put(0, session);
        let (session, _) = slots.give(0, 1, true).unwrap();
        assert!(session.tokens().is_empty());
        slots.put(0, session);
        assert!(slots.has_idle() && slots.out().next().is_none());
    }
}
