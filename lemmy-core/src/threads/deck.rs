//! Who does what: contiguous shares with stealing, or one counter. No locks.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The work of one call, in units that the pool numbers from 0.
///
/// `Relaxed` suffices throughout: the crew's own hand-over orders `deal` before every `take`, and the compare-exchange
/// alone decides who owns a unit.
#[derive(Debug)]
pub(super) struct Deck {
    shares: Box<[Share]>,
    counter: AtomicUsize,
    stopped: AtomicBool,
}

/// What is left of one worker's share: `end << 32 | start`. On a pair of cache lines of its own, as its owner changes it often.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share(AtomicU64);

impl Deck {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shares: (0..workers).map(|_| Share::default()).collect(),
            counter: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Gives each worker one contiguous share of `0..units`.
    pub(super) fn deal(&self, units: u32) {
        self.stopped.store(false, Ordering::Relaxed);
        let (units, workers) = (u64::from(units), self.shares.len() as u64);
        for (i, share) in (0..).zip(&self.shares) {
            share.0.store(pack(units * i / workers, units * (i + 1) / workers), Ordering::Relaxed);
        }
    }

    /// The next piece for `worker`: from the front of its own share, else from the far end of the fullest other one.
    /// Pieces are a quarter of what is left, so they are long at first and even things out at last.
    pub(super) fn take(&self, worker: usize) -> Option<Range<u32>> {
        let own = self.shares.get(worker)?;
        if let Some(piece) = self.cut(own, |left, piece| (left.start + piece..left.end, left.start..left.start + piece))
        {
            return Some(piece);
        }
        loop {
            let fullest = self.shares.iter().max_by_key(|share| share.left().len())?;
            if fullest.left().is_empty() {
                return None;
            }
            if let Some(piece) =
                self.cut(fullest, |left, piece| (left.start..left.end - piece, left.end - piece..left.end))
            {
                return Some(piece);
            }
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
        }
    }

    /// Replaces a share by the first half of `split(left, piece)`'s answer and returns the second.
    fn cut(&self, share: &Share, split: impl Fn(Range<u32>, u32) -> (Range<u32>, Range<u32>)) -> Option<Range<u32>> {
        let mut seen = share.0.load(Ordering::Relaxed);
        loop {
            let left = unpack(seen);
            if left.is_empty() || self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let piece = (left.end - left.start).div_ceil(4);
            let (rest, taken) = split(left, piece);
            let rest = pack(u64::from(rest.start), u64::from(rest.end));
            match share.0.compare_exchange_weak(seen, rest, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(taken),
                Err(now) => seen = now,
            }
        }
    }

    pub(super) fn start_counting(&self) {
        self.stopped.store(false, Ordering::Relaxed);
        self.counter.store(0, Ordering::Relaxed);
    }

    /// The next number below `n`.
    pub(super) fn next(&self, n: usize) -> Option<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.counter.fetch_add(1, Ordering::Relaxed)).filter(|&item| item < n)
    }

    /// Ends the call early: nothing more is dealt.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Share {
    fn left(&self) -> Range<u32> {
        unpack(self.0.load(Ordering::Relaxed))
    }
}

fn pack(start: u64, end: u64) -> u64 {
    end << 32 | start
}

fn unpack(share: u64) -> Range<u32> {
    share as u32..(share >> 32) as u32
}
