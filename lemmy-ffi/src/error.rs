//! Status numbers and the error object.

use std::ffi::{CStr, CString, c_char};
use std::fmt;

use lemmy_core::{Error, ErrorKind, GgufError};

use crate::guard::guard_value;

/// 0, a state of the C interface (1 to 99), or the number of an [`ErrorKind`].
///
/// An integer and not an enum: the width of a C enum and what becomes of unknown values differ by language.
pub type LemmyStatus = i32;

pub(crate) const OK: LemmyStatus = 0;

/// What a call can fail with.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's own failure.
    Core(Error),
    /// Another call on this object has not returned yet.
    Busy(&'static str),
    /// The caller's array is too small.
    Buffer { name: &'static str, needed: usize, capacity: usize },
    /// Something is set in options that this library does not know.
    Field { name: &'static str, offset: usize },
    /// The object is not in a state for this call.
    State(&'static str),
}

impl Failure {
    /// A bad argument: what was found, and what is allowed.
    pub(crate) fn argument(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Core(Error::Argument { name, reason: reason.into() })
    }

    pub(crate) fn status(&self) -> LemmyStatus {
        match self {
            Self::Core(error) => error.kind() as LemmyStatus,
            Self::Busy(_) => own::BUSY,
            Self::Buffer { .. } => own::BUFFER,
            Self::Field { .. } => own::FIELD,
            Self::State(_) => own::STATE,
        }
    }

    fn value(&self, which: u32) -> Option<u64> {
        let number = |n: usize| u64::try_from(n).ok();
        match (self, which) {
            (Self::Buffer { needed, .. }, value::NEEDED) => number(*needed),
            (Self::Buffer { capacity, .. }, value::CAPACITY) => number(*capacity),
            (Self::Field { offset, .. }, value::POSITION) => number(*offset),
            (Self::Core(error), _) => value_of(error, which),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(error) => error.fmt(f),
            Self::Busy(what) => write!(f, "the {what} is busy: another call on it has not returned yet"),
            Self::Buffer { name, needed, capacity } => {
                write!(f, "{name} is too small: found room for {capacity}, expected {needed}")
            }
            Self::Field { name, offset } => {
                write!(f, "{name}: what is set at byte {offset} is not known to this version of the library")
            }
            Self::State(what) => f.write_str(what),
        }
    }
}

fn value_of(error: &Error, which: u32) -> Option<u64> {
    let number = |n: usize| u64::try_from(n).ok();
    match (error, which) {
        (Error::OutOfMemory { needed, .. }, value::NEEDED) => Some(*needed),
        (Error::OutOfMemory { limit, .. }, value::LIMIT) => Some(*limit),
        (Error::ContextFull { used, .. }, value::USED) => number(*used),
        (Error::ContextFull { requested, .. }, value::REQUESTED) => number(*requested),
        (Error::ContextFull { capacity, .. }, value::CAPACITY) => number(*capacity),
        (Error::RewindTooFar { to, .. }, value::REQUESTED) => number(*to),
        (Error::RewindTooFar { oldest, .. }, value::LIMIT) => number(*oldest),
        (Error::Gguf { source: GgufError::Malformed { at, .. }, .. }, value::POSITION) => Some(*at),
        _ => None,
    }
}

/// States that only the C interface knows: 1 to 99.
mod own {
    use super::LemmyStatus;
    pub(super) const BUSY: LemmyStatus = 1;
    pub(super) const BUFFER: LemmyStatus = 2;
    pub(super) const FIELD: LemmyStatus = 3;
    pub(super) const STATE: LemmyStatus = 4;
}

/// Numbers that an error may carry: `LEMMY_VALUE_*`.
mod value {
    pub(super) const NEEDED: u32 = 1;
    pub(super) const LIMIT: u32 = 2;
    pub(super) const USED: u32 = 3;
    pub(super) const REQUESTED: u32 = 4;
    pub(super) const CAPACITY: u32 = 5;
    pub(super) const POSITION: u32 = 6;
}

/// What went wrong in one call. Belongs to the caller.
pub struct LemmyError {
    failure: Failure,
    message: CString,
}

impl LemmyError {
    pub(crate) fn into_raw(failure: Failure) -> *mut Self {
        // Names out of a file may hold NUL; in C it would end the message there.
        let text = failure.to_string().replace('\0', "\u{fffd}");
        let message = CString::new(text).unwrap_or_default();
        Box::into_raw(Box::new(Self { failure, message }))
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        self.message.to_str().unwrap_or_default()
    }
}

fn name(status: LemmyStatus) -> &'static CStr {
    const OWN: &[(LemmyStatus, &CStr)] =
        &[(OK, c"Ok"), (own::BUSY, c"Busy"), (own::BUFFER, c"Buffer"), (own::FIELD, c"Field"), (own::STATE, c"State")];
    const NAMES: &[(ErrorKind, &CStr)] = &[
        (ErrorKind::Io, c"Io"),
        (ErrorKind::FileChanged, c"FileChanged"),
        (ErrorKind::Gguf, c"Gguf"),
        (ErrorKind::Unsupported, c"Unsupported"),
        (ErrorKind::OutOfMemory, c"OutOfMemory"),
        (ErrorKind::ContextFull, c"ContextFull"),
        (ErrorKind::RewindTooFar, c"RewindTooFar"),
        (ErrorKind::Session, c"Session"),
        (ErrorKind::Template, c"Template"),
        (ErrorKind::Image, c"Image"),
        (ErrorKind::Cancelled, c"Cancelled"),
        (ErrorKind::Argument, c"Argument"),
        (ErrorKind::Numeric, c"Numeric"),
        (ErrorKind::Forked, c"Forked"),
        (ErrorKind::Internal, c"Internal"),
    ];
    let own = OWN.iter().find(|(number, _)| *number == status).map(|(_, name)| *name);
    let core = || NAMES.iter().find(|(kind, _)| *kind as LemmyStatus == status).map(|(_, name)| *name);
    own.or_else(core).unwrap_or(c"Unknown")
}

/// Name of a status, for instance `ContextFull`; `Unknown` for a number that this library does not know. Static.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_status_name(status: LemmyStatus) -> *const c_char {
    guard_value(c"Unknown".as_ptr(), || name(status).as_ptr())
}

/// The status that the failed call returned; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_error_code(error: Option<&LemmyError>) -> LemmyStatus {
    guard_value(ErrorKind::Internal as LemmyStatus, || error.map_or(OK, |error| error.failure.status()))
}

/// What went wrong, in English; empty for null. Lives as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_error_message(error: Option<&LemmyError>) -> *const c_char {
    guard_value(c"".as_ptr(), || error.map_or(c"".as_ptr(), |error| error.message.as_ptr()))
}

/// Reads one of the numbers `LEMMY_VALUE_*`: 1 and `*out`, or 0 if the error does not carry it.
///
/// # Safety
///
/// `out` is null or may be written to. It may hold nothing yet, so it is no reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_error_value(error: Option<&LemmyError>, which: u32, out: *mut u64) -> i32 {
    guard_value(0, || match error.and_then(|error| error.failure.value(which)) {
        Some(value) if !out.is_null() => {
            // SAFETY: not null, and the caller says that it may be written to.
            unsafe { out.write(value) };
            1
        }
        _ => 0,
    })
}

/// Frees an error.
///
/// # Safety
///
/// `error` is null or came from this library and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_error_free(error: *mut LemmyError) {
    guard_value((), || {
        if !error.is_null() {
            // SAFETY: not null, made by `LemmyError::into_raw`, and the caller gives it back once.
            drop(unsafe { Box::from_raw(error) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(failure: impl Into<Failure>, which: u32) -> Option<u64> {
        let object = LemmyError::into_raw(failure.into());
        let mut out = 99;
        // SAFETY: just made, not freed yet; `out` is a variable of ours.
        let found = unsafe { lemmy_error_value(Some(&*object), which, &mut out) };
        // SAFETY: as above; this is the only free.
        unsafe { lemmy_error_free(object) };
        (found == 1).then_some(out)
    }

    #[test]
    fn numbers_can_be_read() {
        let full = || Error::ContextFull { used: 1, requested: 2, capacity: 3 };
        assert_eq!([3, 4, 5, 1, 0].map(|which| read(full(), which)), [Some(1), Some(2), Some(3), None, None]);
        let memory = || Error::OutOfMemory { what: "weights".into(), needed: 10, limit: 5 };
        assert_eq!([1, 2, 6].map(|which| read(memory(), which)), [Some(10), Some(5), None]);
        let gguf = GgufError::Malformed { at: 12, what: "x".into(), found: "y".into(), expected: "z".into() };
        assert_eq!(read(Error::Gguf { file: "f".into(), source: gguf }, 6), Some(12));
        assert_eq!(read(Error::Cancelled, 1), None);
        let buffer = || Failure::Buffer { name: "ids", needed: 7, capacity: 2 };
        assert_eq!([1, 5, 2].map(|which| read(buffer(), which)), [Some(7), Some(2), None]);
        assert_eq!(read(Failure::Field { name: "options", offset: 40 }, 6), Some(40));
    }

    #[test]
    fn null_is_no_error() {
        assert_eq!(lemmy_error_code(None), 0);
        // SAFETY: null is allowed; the message of no error is a static string.
        unsafe {
            assert_eq!(lemmy_error_value(None, 1, std::ptr::null_mut()), 0);
            lemmy_error_free(std::ptr::null_mut());
            assert!(CStr::from_ptr(lemmy_error_message(None)).is_empty());
        }
    }

    #[test]
    fn message_may_hold_nul() {
        let object = LemmyError::into_raw(Error::Unsupported("a\0b".into()).into());
        // SAFETY: just made; freed once.
        unsafe {
            assert_eq!((*object).text(), "unsupported: a\u{fffd}b");
            lemmy_error_free(object);
        }
    }
}
