//! Bytes of one file, over several connections at once and still in order.
//!
//! The file is cut into ranges; each connection fetches one after the other. Whoever writes gets the bytes in the order
//! of the file: what comes early waits in memory, and no range far ahead of the writer is begun. So the part on disk
//! is always a plain beginning of the file, which any tool can go on from, and its digest grows with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lemmy_core::CancelToken;

use super::api::{Hub, Trouble, backoff};
use super::name::Repo;
use crate::cli::failure::{Failure, Result};

/// Bytes of a range, where there are several connections. With the ranges that may be begun this bounds the memory.
const RANGE: u64 = 16 << 20;
/// Bytes that are handed over at once.
const PIECE: usize = 64 << 10;
/// Pieces that wait for the writer.
const PIECES: usize = 64;
/// Times that a connection may break without having brought [`PROGRESS`].
const BREAKS: u32 = 5;
/// Times that a range may find its place expired.
const EXPIRED: u32 = 5;
/// What a connection must bring to count as a good one.
const PROGRESS: u64 = 1 << 20;

/// Where a file comes from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) hub: Arc<Hub>,
    pub(super) repo: Repo,
    pub(super) address: String,
    pub(super) size: u64,
    /// Where the address led to, for the next ranges; such places expire.
    led_to: Mutex<Option<String>>,
}

/// Why bytes do not come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server cannot begin in the middle, or begins elsewhere: only the whole file will do.
    NoRanges,
    /// The writer wants no more.
    Stopped,
    Trouble(Trouble),
}

impl<T: Into<Trouble>> From<T> for Broken {
    fn from(trouble: T) -> Self {
        Self::Trouble(trouble.into())
    }
}

enum Message {
    Bytes(u64, Vec<u8>),
    End(u64, Result<(), Broken>),
}

impl Source {
    pub(super) fn new(hub: Arc<Hub>, repo: Repo, address: String, size: u64) -> Self {
        Self { hub, repo, address, size, led_to: Mutex::default() }
    }

    /// Hands the bytes from `from` on to `write`, in order, to the end of the file.
    pub(super) fn stream(
        self: &Arc<Self>,
        from: u64,
        connections: usize,
        cancel: &CancelToken,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<(), Broken> {
        let length = if connections > 1 { RANGE } else { self.size };
        let mut ranges = (0_u64..).map_while(|number| {
            let begin = from.checked_add(number.checked_mul(length)?)?;
            (begin < self.size).then(|| (number, begin, self.size.min(begin.saturating_add(length))))
        });
        let (jobs, taken) = channel();
        let (pieces, arriving) = sync_channel(PIECES);
        let taken = Arc::new(Mutex::new(taken));
        for range in ranges.by_ref().take(connections.saturating_mul(2)) {
            let _ = jobs.send(range);
        }
        for _ in 0..connections {
            let (source, taken, pieces) = (self.clone(), taken.clone(), pieces.clone());
            thread::Builder::new()
                .name("download".into())
                .spawn(move || source.work(&taken, &pieces))
                .map_err(|e| Failure::io("cannot start a thread", &e))?;
        }
        // The writer alone keeps the far end open, so that it hears when no worker is left.
        drop(pieces);
        self.in_order(from, &jobs, &mut ranges, &arriving, cancel, write)
    }

    fn in_order(
        &self,
        from: u64,
        jobs: &Sender<(u64, u64, u64)>,
        ranges: &mut dyn Iterator<Item = (u64, u64, u64)>,
        arriving: &Receiver<Message>,
        cancel: &CancelToken,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<(), Broken> {
        let mut at = from;
        let mut current = 0;
        let mut early: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut ended = BTreeSet::new();
        while at < self.size {
            if cancel.is_cancelled() {
                return Err(Broken::Stopped);
            }
            match arriving.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Bytes(range, bytes)) if range == current => {
                    write(&bytes)?;
                    at += bytes.len() as u64;
                }
                Ok(Message::Bytes(range, bytes)) => early.entry(range).or_default().push(bytes),
                Ok(Message::End(range, Ok(()))) => {
                    ended.insert(range);
                }
                Ok(Message::End(_, Err(broken))) => return Err(broken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::failed("internal", "a download's threads ended early").into());
                }
            }
            while ended.remove(&current) {
                current += 1;
                if let Some(next) = ranges.next() {
                    let _ = jobs.send(next);
                }
                for bytes in early.remove(&current).unwrap_or_default() {
                    write(&bytes)?;
                    at += bytes.len() as u64;
                }
            }
        }
        Ok(())
    }

    /// Fetches one range after the other until there are no more, or nobody takes the bytes.
    fn work(&self, jobs: &Mutex<Receiver<(u64, u64, u64)>>, pieces: &SyncSender<Message>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, from, to)) = job else { return };
            let mut send = |bytes: Vec<u8>| pieces.send(Message::Bytes(number, bytes)).is_ok();
            let end = match self.fetch(from, to, &mut send) {
                Err(Broken::Stopped) => return,
                end => end,
            };
            if pieces.send(Message::End(number, end)).is_err() {
                return;
            }
        }
    }

    /// Fetches a range, going on where a connection broke.
    fn fetch(&self, from: u64, to: u64, send: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), Broken> {
        let mut at = from;
        let (mut breaks, mut expired) = (0, 0);
        while at < to {
            let before = at;
            let place = self.led_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match self.connect(&mut at, to, place.as_deref(), send) {
                Ok(()) => {}
                // A place that was led to has expired: the hub knows another, and so may a connection beside this one.
                Err(Broken::Trouble(Trouble::Failed(failure))) => match &place {
                    Some(place) if expired < EXPIRED => {
                        self.forget_place(place);
                        expired += 1;
                    }
                    _ => return Err(failure.into()),
                },
                Err(Broken::Trouble(trouble)) => {
                    breaks = if at - before >= PROGRESS { 0 } else { breaks + 1 };
                    if breaks > BREAKS {
                        return Err(trouble.into());
                    }
                    if let Some(place) = place.filter(|_| breaks > 1) {
                        self.forget_place(&place);
                    }
                    if breaks > 0 {
                        thread::sleep(backoff(breaks - 1));
                    }
                }
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    /// Forgets a place, unless another has taken its place in the meantime.
    fn forget_place(&self, place: &str) {
        self.led_to.lock().unwrap_or_else(PoisonError::into_inner).take_if(|known| known == place);
    }

    /// One connection's bytes, from `at` on.
    fn connect(
        &self,
        at: &mut u64,
        to: u64,
        place: Option<&str>,
        send: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), Broken> {
        let is_whole = *at == 0 && to == self.size;
        let address = place.unwrap_or(&self.address);
        let answer = self.hub.get(&self.repo, address, (!is_whole).then_some((*at, to)))?;
        let header = |name: &str| answer.response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(encoding) = header("content-encoding").filter(|encoding| *encoding != "identity") {
            let message =
                format!("{}: found bytes in the encoding {encoding:?} (expected them as they are)", self.repo);
            return Err(Failure::failed("hub", message).into());
        }
        let begins = header("content-range").map(|range| begin_of(range, self.size));
        match (answer.response.status().as_u16(), begins) {
            (200, _) if is_whole => {}
            (206, Some(Some(begin))) if begin == *at => {}
            _ => return Err(Broken::NoRanges),
        }
        if answer.url != self.address {
            *self.led_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.url);
        }
        let mut body = answer.response.into_body().into_reader();
        while *at < to {
            let mut piece = vec![0; PIECE.min(usize::try_from(to - *at).unwrap_or(PIECE))];
            let read = match body.read(&mut piece) {
                Ok(0) => return Err(self.hub.unreachable(&"it ended the connection early").into()),
                Ok(read) => read,
                Err(e) => return Err(self.hub.unreachable(&e).into()),
            };
            piece.truncate(read);
            if !send(piece) {
                return Err(Broken::Stopped);
            }
            *at += read as u64;
        }
        Ok(())
    }
}

/// Where `bytes 5-9/10` begins, if it is of a file of this size.
fn begin_of(range: &str, size: u64) -> Option<u64> {
    let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (begin, _) = range.split_once('-')?;
    (total == "*" || total.parse() == Ok(size)).then(|| begin.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::hub::{Endpoint, HubName};

    #[test]
    fn one_connection_does_not_forget_the_place_that_another_has_found() {
        let hub = Arc::new(Hub::new(Endpoint::from_environment().unwrap(), None));
        let repo = HubName::parse("org/repo").unwrap().unwrap().repo;
        let source = Source::new(hub, repo, "http://a/file".into(), 10);
        *source.led_to.lock().unwrap() = Some("new".into());
        source.forget_place("old");
        assert_eq!(source.led_to.lock().unwrap().as_deref(), Some("new"));
        source.forget_place("new");
        assert_eq!(*source.led_to.lock().unwrap(), None);
    }

    #[test]
    fn ranges() {
        assert_eq!(begin_of("bytes 5-9/10", 10), Some(5));
        assert_eq!(begin_of("bytes 5-9/*", 10), Some(5));
        assert_eq!(begin_of("bytes 5-9/11", 10), None);
        assert_eq!(begin_of("bytes */10", 10), None);
        assert_eq!(begin_of("5-9/10", 10), None);
    }
}
