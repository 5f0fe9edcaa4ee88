//! The threads behind a pool, and how a call hands them its work.
//!
//! A call opens a *job*: one closure that each worker runs once, if it comes in time. The caller runs it too and then
//! closes the job; it waits only for workers that have begun, so a worker that the system has not woken yet delays
//! nobody. All waiting is a bounded spin and then sleep.

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::deck::Deck;
use crate::error::{Error, Result};

/// The threads of one pool. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// One call at a time.
    turns: Mutex<()>,
    /// The process in which the threads exist.
    pid: u32,
}

/// How a call may use the crew.
pub(super) enum Turn<'a> {
    /// The calling thread is this worker of the crew and is at work already.
    Nested(usize),
    /// The crew is the caller's until this is dropped.
    Mine(Mine<'a>),
}

/// One call's exclusive use of the crew.
pub(super) struct Mine<'a> {
    shared: &'a Shared,
    _turn: MutexGuard<'a, ()>,
}

struct Shared {
    /// Number of the job, whether workers may still begin it, and how many are at it; see the constants below.
    state: AtomicU64,
    quit: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    deck: Deck,
    /// Workers wait here for a job.
    idle: Gate,
    /// A caller waits here for its workers.
    done: Gate,
    /// First panic of the present job.
    panic: Mutex<Option<String>>,
    /// Mark of each worker's thread; that of worker 0 is the present caller's, or 0.
    marks: Box<[AtomicUsize]>,
    spin: Duration,
}

type Job = *const (dyn Fn(usize) + Sync);

// SAFETY: all fields but `job` are `Send` and `Sync`. `job` is written only while no job is open and no worker is at one,
// and read only by a worker that has entered (see `Shared::enter`); the change of `state` orders the two. What it points
// to is `Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Bits of `Shared::state`: workers at the job, job open, number of the job.
const AT_WORK: u64 = OPEN - 1;
const OPEN: u64 = 1 << 16;
const NUMBER: u64 = OPEN << 1;

impl Crew {
    /// A crew of up to `threads`, the caller included. `pin`: CPUs to bind the started threads to.
    pub(super) fn start(threads: usize, spin: Duration, pin: &[usize]) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            quit: AtomicBool::new(false),
            job: UnsafeCell::new(None),
            deck: Deck::new(threads),
            idle: Gate::default(),
            done: Gate::default(),
            panic: Mutex::new(None),
            marks: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            spin,
        });
        let mut crew = Self { shared, handles: Vec::new(), turns: Mutex::new(()), pid: std::process::id() };
        for worker in 1..threads {
            let shared = Arc::clone(&crew.shared);
            let thread = std::thread::Builder::new().name(format!("lemmy-{worker}"));
            // No more threads to be had: those that there are do all the work.
            let Ok(handle) = thread.spawn(move || shared.serve(worker)) else { break };
            if let Some(&cpu) = pin.iter().cycle().nth(worker) {
                bind(&handle, cpu)?;
            }
            crew.handles.push(handle);
        }
        Ok(crew)
    }

    pub(super) fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Waits until no other thread's call runs.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        if std::process::id() != self.pid {
            return Err(Error::Forked);
        }
        let here = thread_mark();
        if let Some(worker) = self.shared.marks.iter().position(|mark| mark.load(Ordering::Relaxed) == here) {
            return Ok(Turn::Nested(worker));
        }
        let turn = lock(&self.turns);
        if let Some(mark) = self.shared.marks.first() {
            mark.store(here, Ordering::Relaxed);
        }
        Ok(Turn::Mine(Mine { shared: &self.shared, _turn: turn }))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let handles = std::mem::take(&mut self.handles);
        if std::process::id() != self.pid {
            // A forked child: the threads are not here, and nothing about their handles can be relied on.
            std::mem::forget(handles);
            return;
        }
        self.shared.quit.store(true, Ordering::SeqCst);
        self.shared.idle.notify();
        for handle in handles {
            // A worker catches the panics of its jobs; there is nothing in its result.
            let _ = handle.join();
        }
    }
}

impl Mine<'_> {
    pub(super) fn deck(&self) -> &Deck {
        &self.shared.deck
    }

    /// Runs `work(worker)` once on the caller and at most once on each other worker; returns when all that began are done.
    pub(super) fn together(&self, work: &(dyn Fn(usize) + Sync)) -> Result<()> {
        let shared = self.shared;
        let job: *const (dyn Fn(usize) + Sync + '_) = work;
        // SAFETY: only the lifetime changes. Workers call `job` between `enter` and `leave`; below we let nobody enter
        // any more and wait until all have left before `work`'s borrow ends, and nothing in between can unwind.
        let job: Job = unsafe { std::mem::transmute(job) };
        // SAFETY: we hold the turn, and the last one ended with no open job and nobody at work.
        unsafe { *shared.job.get() = Some(job) };
        let number = shared.state.load(Ordering::Relaxed) & !(NUMBER - 1);
        shared.state.store(number.wrapping_add(NUMBER) | OPEN, Ordering::SeqCst);
        shared.idle.notify();

        shared.perform(0, work);

        shared.state.fetch_and(!OPEN, Ordering::SeqCst);
        shared.done.wait_until(shared.spin, || shared.state.load(Ordering::SeqCst) & AT_WORK == 0);
        match lock(&shared.panic).take() {
            None => Ok(()),
            Some(message) => Err(Error::Internal(message)),
        }
    }
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        if let Some(mark) = self.shared.marks.first() {
            mark.store(0, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// A worker's life.
    fn serve(&self, worker: usize) {
        if let Some(mark) = self.marks.get(worker) {
            mark.store(thread_mark(), Ordering::Relaxed);
        }
        let mut last = 0;
        loop {
            self.idle.wait_until(self.spin, || self.quit.load(Ordering::SeqCst) || self.offers_more_than(last));
            if self.quit.load(Ordering::SeqCst) {
                return;
            }
            if let Some((number, job)) = self.enter(last) {
                last = number;
                // SAFETY: we have entered, so the caller keeps the closure alive until we leave.
                self.perform(worker, unsafe { &*job });
                self.leave();
            }
        }
    }

    fn offers_more_than(&self, last: u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        state & OPEN != 0 && state / NUMBER != last
    }

    /// Begins the open job, if there is one with another number than `last`.
    fn enter(&self, last: u64) -> Option<(u64, Job)> {
        let mut state = self.state.load(Ordering::SeqCst);
        while state & OPEN != 0 && state / NUMBER != last {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst) {
                // SAFETY: the job was open at the exchange, which also counts us in: its caller wrote `job` before and
                // nobody writes it again until we leave.
                Ok(_) => return unsafe { *self.job.get() }.map(|job| (state / NUMBER, job)),
                Err(now) => state = now,
            }
        }
        None
    }

    fn leave(&self) {
        let before = self.state.fetch_sub(1, Ordering::SeqCst);
        if before & (AT_WORK | OPEN) == 1 {
            self.done.notify();
        }
    }

    /// Runs a job's closure. A panic ends the whole job early and is kept for the caller.
    fn perform(&self, worker: usize, work: &(dyn Fn(usize) + Sync)) {
        if let Err(Error::Internal(message)) = alone(|| work(worker)) {
            self.deck.stop();
            lock(&self.panic).get_or_insert(message);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").field("state", &self.state).field("spin", &self.spin).finish_non_exhaustive()
    }
}

/// Runs `work` here; a panic becomes [`Error::Internal`].
pub(super) fn alone(work: impl FnOnce()) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let message = message_of(&*payload);
        // A payload's own destructor may panic too; the payload of that panic is given up.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        Error::Internal(message)
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    format!("panic in a worker: {}", text.unwrap_or("no message"))
}

/// Where threads wait for something that others change: a bounded spin, then sleep.
#[derive(Debug, Default)]
struct Gate {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Gate {
    /// Waits until `ready()`, which must read with `SeqCst` what others change with `SeqCst` before they `notify`.
    ///
    /// Either the sleeper's last look comes after the change, or its `sleepers += 1` comes before the notifier's look at
    /// `sleepers`; then the notifier takes the lock, which the sleeper gives up only by falling asleep.
    fn wait_until(&self, spin: Duration, ready: impl Fn() -> bool) {
        if spin_until(spin, &ready) {
            return;
        }
        let mut guard = lock(&self.lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn notify(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.wake.notify_all();
        }
    }
}

/// Looks for at most `limit`; a pause instruction lasts 10 to 140 cycles, so the clock decides and not a count.
fn spin_until(limit: Duration, ready: &impl Fn() -> bool) -> bool {
    const LOOKS_PER_CLOCK: usize = 64;
    let mut start = None;
    loop {
        for _ in 0..LOOKS_PER_CLOCK {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() >= limit {
            return false;
        }
    }
}

/// Nothing of ours panics while it holds a lock, and the data under ours is sound at any moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that no two living threads share, and never 0: the address of a thread-local byte.
fn thread_mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

#[cfg(target_os = "linux")]
fn bind(handle: &JoinHandle<()>, cpu: usize) -> Result<()> {
    use std::os::unix::thread::JoinHandleExt;
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(Error::Argument {
            name: "pin",
            reason: format!("found CPU {cpu}, highest is {}", libc::CPU_SETSIZE - 1),
        });
    }
    // SAFETY: `cpu_set_t` is plain bits, for which zero is the empty set; `cpu` is in its range.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the handle is not joined yet, so the thread's id is valid; `set` lives during the call.
    match unsafe { libc::pthread_setaffinity_np(handle.as_pthread_t(), size_of_val(&set), &set) } {
        0 => Ok(()),
        code => Err(Error::Io {
            what: format!("cannot bind a thread to CPU {cpu}"),
            source: std::io::Error::from_raw_os_error(code),
        }),
    }
}

#[cfg(not(target_os = "linux"))]
fn bind(_handle: &JoinHandle<()>, _cpu: usize) -> Result<()> {
    Err(Error::Unsupported("binding threads to CPUs on this system".into()))
}
