//! The wall that no panic crosses.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use lemmy_core::Error;

use crate::error::{Failure, LemmyError, LemmyStatus, OK};

/// Runs a fallible export. The error, if any, goes to `*error` (where the caller wants one), which is null otherwise.
///
/// # Safety
///
/// `error` is null or may be written to.
pub(crate) unsafe fn guard(error: *mut *mut LemmyError, body: impl FnOnce() -> Result<(), Failure>) -> LemmyStatus {
    let failure = match catch(body) {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(panic) => Some(Error::Internal(panic).into()),
    };
    let status = failure.as_ref().map_or(OK, Failure::status);
    if !error.is_null() {
        let object = failure.map_or(std::ptr::null_mut(), LemmyError::into_raw);
        // SAFETY: not null, and the caller says that it may be written to. Nothing is read: it may hold anything.
        unsafe { error.write_unaligned(object) };
    }
    status
}

/// Runs an export that cannot fail; `fallback` is its answer should it panic nevertheless.
pub(crate) fn guard_value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch(body).unwrap_or(fallback)
}

/// Runs `body`; a panic becomes its message and place.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    // Unwind safety: whoever gets an error from a panic gets no half-made object with it.
    let result = catch_unwind(AssertUnwindSafe(body));
    DEPTH.set(depth);
    result.map_err(|payload| {
        let message = describe(payload.as_ref());
        discard(payload);
        message
    })
}

thread_local! {
    /// How many guards this thread is inside of.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic of this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes where a panic happened and prints nothing: stderr is the host's.
///
/// The hook is global to a copy of the standard library, and a C library has one of its own.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let outside = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Unit tests share their copy with the test runner, which wants to print its own panics.
            if cfg!(test) && DEPTH.get() == 0 {
                return outside(info);
            }
            let place = info.location().map(|location| format!("{}:{}", location.file(), location.line()));
            // Nothing where the thread is at its end and has none any more: here it may not panic.
            let _ = PLACE.try_with(|last| *last.borrow_mut() = place);
        }));
    });
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let place = PLACE.try_with(RefCell::take).ok().flatten().unwrap_or_else(|| "an unknown place".into());
    let what = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(what), _) => what,
        (_, Some(what)) => what.as_str(),
        _ => "no message",
    };
    format!("panic at {place}: {what}")
}

/// Drops a panic's payload, whose own destructor may panic; that one's payload is given up.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]
    use super::*;
    use std::ptr::null_mut;

    fn run(body: impl FnOnce() -> Result<(), Failure>) -> (LemmyStatus, Option<LemmyError>) {
        // What an uninitialised variable of the caller may hold; it must not be read.
        let mut error = std::ptr::dangling_mut::<LemmyError>();
        // SAFETY: `error` is a variable of ours.
        let status = unsafe { guard(&mut error, body) };
        // SAFETY: the guard wrote null or an object, which is taken back once.
        (status, (!error.is_null()).then(|| *unsafe { Box::from_raw(error) }))
    }

    #[test]
    fn success_gives_no_error() {
        let (status, error) = run(|| Ok(()));
        assert_eq!(status, 0);
        assert!(error.is_none());
    }

    #[test]
    fn errors_keep_their_number_and_text() {
        let (status, error) = run(|| Err(Error::ContextFull { used: 7, requested: 5, capacity: 10 }.into()));
        assert_eq!(status, 500);
        assert_eq!(error.unwrap().text(), "context full: 7 used + 5 requested > 10");
    }

    #[test]
    fn panic_becomes_an_error_with_its_place() {
        let (status, error) = run(|| panic!("number {}", 42));
        assert_eq!(status, 900);
        let text = error.unwrap().text().to_owned();
        assert!(text.contains("guard.rs:") && text.ends_with(": number 42"), "{text}");
    }

    #[test]
    fn payload_that_panics_when_dropped_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        let (status, error) = run(|| std::panic::panic_any(Bomb));
        assert_eq!(status, 900);
        assert!(error.unwrap().text().ends_with("no message"));
    }

    #[test]
    fn nobody_has_to_take_the_error() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { guard(null_mut(), || Err(Error::Cancelled.into())) }, 800);
        // SAFETY: as above.
        assert_eq!(unsafe { guard(null_mut(), || panic!("nobody listens")) }, 900);
    }

    /// A thread's objects are freed when it ends, perhaps after what the guard keeps for this thread.
    #[test]
    fn panic_at_the_end_of_a_thread_is_contained() {
        struct Late(std::sync::mpsc::Sender<LemmyStatus>);
        impl Drop for Late {
            fn drop(&mut self) {
                // SAFETY: null is allowed.
                let _ = self.0.send(unsafe { guard(null_mut(), || panic!("late")) });
            }
        }
        thread_local! {
            static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
        }
        let (send, received) = std::sync::mpsc::channel();
        let early = move || {
            // First to be used, last to be dropped.
            LATE.set(Some(Late(send)));
            // SAFETY: null is allowed.
            unsafe { guard(null_mut(), || panic!("early")) }
        };
        assert_eq!(std::thread::spawn(early).join().unwrap(), 900);
        assert_eq!(received.recv().unwrap(), 900);
    }

    #[test]
    fn values_have_a_fallback() {
        assert_eq!(guard_value(1, || 2), 2);
        assert_eq!(guard_value(1, || panic!("no value")), 1);
    }
}
