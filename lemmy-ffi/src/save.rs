//! Sessions as bytes.

use std::ffi::{c_char, c_void};
use std::io::{self, BufReader, BufWriter, Read, Write};

use lemmy_core::{Error, SessionBuilder};

use crate::cancel::LemmyCancel;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::model::LemmyModel;
use crate::session::{LemmySession, with};
use crate::{answer, handle, text};

/// Takes bytes; 0 when it has them.
pub type LemmyWriteFn = Option<unsafe extern "C" fn(user_data: *mut c_void, data: *const u8, size: usize) -> i32>;

/// Gives bytes and their number; 0 if that went well.
pub type LemmyReadFn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, data: *mut u8, capacity: usize, out_size: *mut usize) -> i32>;

/// Bytes between us and the caller.
const BUFFER: usize = 1 << 20;

/// The caller's function as a writer.
struct Writer {
    call: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> i32,
    user_data: *mut c_void,
    is_stopped: bool,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_stopped {
            // The buffer in front of us tries to give away what it holds once more when it is dropped.
            return Err(io::ErrorKind::Other.into());
        }
        // SAFETY: the caller of the export says that it may be called.
        match unsafe { (self.call)(self.user_data, bytes.as_ptr(), bytes.len()) } {
            0 => Ok(bytes.len()),
            _ => {
                self.is_stopped = true;
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The caller's function as a reader.
struct Reader {
    call: unsafe extern "C" fn(*mut c_void, *mut u8, usize, *mut usize) -> i32,
    user_data: *mut c_void,
    is_stopped: bool,
}

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut size = 0;
        // SAFETY: the caller of the export says that it may be called.
        match unsafe { (self.call)(self.user_data, bytes.as_mut_ptr(), bytes.len(), &mut size) } {
            0 if size <= bytes.len() => Ok(size),
            0 => Err(io::Error::other("the read function gave more bytes than there was room for")),
            _ => {
                self.is_stopped = true;
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

/// A stop that the caller asked for is no failure of reading or writing.
fn stopped<T>(result: Result<T, Error>, is_stopped: bool) -> Result<T, Failure> {
    if is_stopped { Err(Error::Cancelled.into()) } else { Ok(result?) }
}

/// Options for bringing a session back.
///
/// # Safety
///
/// Pointers are as the header says.
unsafe fn builder(model: *mut LemmyModel, cancel: *mut LemmyCancel) -> Result<SessionBuilder, Failure> {
    // SAFETY: as promised.
    let (model, cancel) = unsafe { (handle::get("model", model)?, LemmyCancel::token(cancel)) };
    let builder = model.model.session();
    Ok(match cancel {
        Some(cancel) => builder.cancel(cancel),
        None => builder,
    })
}

/// Saves a session to a file.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_save_file(
    session: *mut LemmySession,
    path: *const c_char,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let path = text::name("path", path)?;
            with(session, |state| Ok(state.session.save_file(path)?))?;
            Ok(())
        })
    }
}

/// Brings a session back from a file.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_restore_file(
    model: *mut LemmyModel,
    path: *const c_char,
    cancel: *mut LemmyCancel,
    session: *mut *mut LemmySession,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("session", session), || {
            let path = text::name("path", path)?;
            Ok(builder(model, cancel)?.restore_file(path)?.into())
        })
    }
}

/// Saves a session through a function.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_save(
    session: *mut LemmySession,
    write: LemmyWriteFn,
    user_data: *mut c_void,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let call = write.ok_or_else(|| Failure::argument("write", "found null, expected a function"))?;
            with(session, |state| {
                let mut writer = Writer { call, user_data, is_stopped: false };
                let result = state.session.save(&mut BufWriter::with_capacity(BUFFER, &mut writer));
                stopped(result.map(|_| ()), writer.is_stopped)
            })
        })
    }
}

/// Brings a session back through a function.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_restore(
    model: *mut LemmyModel,
    read: LemmyReadFn,
    user_data: *mut c_void,
    cancel: *mut LemmyCancel,
    session: *mut *mut LemmySession,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("session", session), || {
            let call = read.ok_or_else(|| Failure::argument("read", "found null, expected a function"))?;
            let builder = builder(model, cancel)?;
            let mut reader = Reader { call, user_data, is_stopped: false };
            let result = builder.restore(&mut BufReader::with_capacity(BUFFER, &mut reader));
            Ok(stopped(result, reader.is_stopped)?.into())
        })
    }
}
