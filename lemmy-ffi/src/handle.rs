//! Objects that C holds: a pointer is one reference of an `Arc`.
//!
//! Every call holds a reference of its own while it runs, so that a callback may give an object back that is at work.

use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use lemmy_core::Error;

use crate::error::Failure;

/// A reference for C, which may use it on any thread and on many at once: that it can is checked here.
pub(crate) fn give<T: Send + Sync>(object: T) -> *mut T {
    Arc::into_raw(Arc::new(object)).cast_mut()
}

/// A reference to an object of C's, for the time of a call.
///
/// # Safety
///
/// `at` is null or came from [`give`] and was not given back more often than it was retained.
pub(crate) unsafe fn get<T>(name: &'static str, at: *mut T) -> Result<Arc<T>, Failure> {
    // SAFETY: as promised.
    unsafe { get_optional(at) }.ok_or_else(|| Failure::argument(name, format!("found null, expected a {name}")))
}

/// As [`get`]; nothing for null.
///
/// # Safety
///
/// As for [`get`].
pub(crate) unsafe fn get_optional<T>(at: *mut T) -> Option<Arc<T>> {
    (!at.is_null()).then(|| {
        // SAFETY: not null, so it is a reference that C still holds: the count is at least one, and becomes one more,
        // which the new `Arc` takes.
        unsafe {
            Arc::increment_strong_count(at);
            Arc::from_raw(at)
        }
    })
}

/// One more reference for C.
///
/// # Safety
///
/// As for [`get`].
pub(crate) unsafe fn retain<T>(at: *mut T) -> *mut T {
    // SAFETY: as promised.
    unsafe { get_optional(at) }.map_or(null_mut(), |object| Arc::into_raw(object).cast_mut())
}

/// Takes a reference of C's back.
///
/// # Safety
///
/// As for [`get`]; C does not use this reference any more.
pub(crate) unsafe fn release<T>(at: *mut T) {
    if !at.is_null() {
        // SAFETY: not null, so it is a reference that C held and gives up now.
        drop(unsafe { Arc::from_raw(at) });
    }
}

/// The inside of an object that serves one call at a time.
pub(crate) fn lock<'a, T>(name: &'static str, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, Failure> {
    match mutex.try_lock() {
        Ok(inside) => Ok(inside),
        Err(TryLockError::WouldBlock) => Err(Failure::Busy(name)),
        Err(TryLockError::Poisoned(_)) => {
            let what = format!("an earlier call on this {name} ended in the middle; only freeing it is left");
            Err(Error::Internal(what).into())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::guard::guard;

    #[test]
    fn references_are_counted() {
        let at = give(5);
        // SAFETY: given once, retained once, released twice.
        unsafe {
            let mine = get("thing", at).unwrap();
            assert_eq!(Arc::strong_count(&mine), 2);
            assert_eq!(retain(at), at);
            assert_eq!(Arc::strong_count(&mine), 3);
            release(at);
            release(at);
            assert_eq!((*mine, Arc::strong_count(&mine)), (5, 1));
        }
    }

    #[test]
    fn null_is_refused_or_nothing() {
        // SAFETY: null is allowed.
        unsafe {
            assert!(get("model", null_mut::<u8>()).unwrap_err().to_string().contains("model: found null"));
            assert!(retain(null_mut::<u8>()).is_null());
            release(null_mut::<u8>());
        }
    }

    #[test]
    fn an_object_that_panicked_answers_internal() {
        let object = Mutex::new(1);
        let call = || {
            let mut inside = lock("session", &object)?;
            *inside += 1;
            panic!("in the middle")
        };
        // SAFETY: nobody takes the error.
        assert_eq!(unsafe { guard(null_mut(), call) }, 900);
        let again = lock("session", &object).unwrap_err();
        assert_eq!(again.status(), 900);
        assert!(again.to_string().contains("session"), "{again}");
    }

    #[test]
    fn a_second_call_is_refused() {
        let object = Mutex::new(1);
        let _inside = lock("session", &object).unwrap();
        assert_eq!(lock("session", &object).unwrap_err().status(), 1);
    }
}
