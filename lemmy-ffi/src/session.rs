//! Sessions: options, messages, tokens.

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use lemmy_core::chat::messages_to_json;
use lemmy_core::{
    Error, Event, FinishReason, GenerateOptions, KvType, Model, Session, SessionBuilder, Thinking, ToolChoice,
};

use crate::buffer::LemmyBuffer;
use crate::cancel::LemmyCancel;
use crate::chat::{self, LemmyChatOptions};
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::{guard, guard_value};
use crate::image::LemmyImage;
use crate::model::{LemmyModel, Progress};
use crate::reply::State;
use crate::text::{NUL_TERMINATED, Slot};
use crate::value::{self, DEFAULT, DEFAULT_64};
use crate::versioned::Out;
use crate::{answer, handle, text, versioned};

/// One conversation. Has one owner.
pub struct LemmySession {
    inside: Mutex<State>,
}

impl From<State> for LemmySession {
    fn from(state: State) -> Self {
        Self { inside: Mutex::new(state) }
    }
}

impl From<Session> for LemmySession {
    fn from(session: Session) -> Self {
        State::new(session).into()
    }
}

/// Runs a call on a session, alone.
///
/// # Safety
///
/// As for [`handle::get`].
pub(crate) unsafe fn with<T>(
    session: *mut LemmySession,
    call: impl FnOnce(&mut State) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // SAFETY: as promised.
    let session = unsafe { handle::get("session", session) }?;
    let mut inside = handle::lock("session", &session.inside)?;
    call(&mut inside)
}

/// `LEMMY_KV_*`.
pub(crate) const KV_TYPES: &[KvType] = &[KvType::F16, KvType::F32, KvType::Q8_0];

/// Options of a session.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmySessionOptions {
    struct_size: usize,
    context: u64,
    kv_type: u32,
    batch: u32,
    rewind_window: u32,
    reserved: u32,
    system: *const c_char,
    system_len: usize,
    tools_json: *const c_char,
    tools_len: usize,
    cancel: *mut LemmyCancel,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmySessionOptions {
    const FIRST_SIZE: usize = 72;
}

impl versioned::Options for LemmySessionOptions {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        context: DEFAULT_64,
        kv_type: 0,
        batch: DEFAULT,
        rewind_window: DEFAULT,
        reserved: 0,
        system: null(),
        system_len: NUL_TERMINATED,
        tools_json: null(),
        tools_len: NUL_TERMINATED,
        cancel: null_mut(),
    };
    const RESERVED: Option<usize> = Some(offset_of!(Self, reserved));
}

impl LemmySessionOptions {
    /// # Safety
    ///
    /// Pointers are as the header says.
    pub(crate) unsafe fn builder(&self, model: &Model) -> Result<SessionBuilder, Failure> {
        let mut builder = model.session().kv_type(value::choice("kv_type", self.kv_type, KV_TYPES)?);
        if let Some(context) = value::set_64(self.context) {
            builder = builder.context(value::count(context));
        }
        if let Some(batch) = value::set(self.batch) {
            builder = builder.batch(batch as usize);
        }
        if let Some(tokens) = value::set(self.rewind_window) {
            builder = builder.rewind_window(tokens as usize);
        }
        // SAFETY: as promised.
        unsafe {
            if let Some(system) = text::optional("system", self.system, self.system_len)? {
                builder = builder.system(system);
            }
            if let Some(tools) = chat::read_tools(self.tools_json, self.tools_len)? {
                builder = builder.tools(tools);
            }
            if let Some(cancel) = LemmyCancel::token(self.cancel) {
                builder = builder.cancel(cancel);
            }
        }
        Ok(builder)
    }
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_options_init(options: *mut LemmySessionOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// Makes a session.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_new(
    model: *mut LemmyModel,
    options: *const LemmySessionOptions,
    session: *mut *mut LemmySession,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("session", session), || {
            let model = handle::get("model", model)?;
            let options: LemmySessionOptions = versioned::read("options", options)?;
            Ok(options.builder(&model.model)?.build()?.into())
        })
    }
}

/// Frees a session.
///
/// # Safety
///
/// Null, or a session that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_free(session: *mut LemmySession) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(session) });
}

/// Adds messages.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_add(
    session: *mut LemmySession,
    messages_json: *const c_char,
    messages_len: usize,
    images: *const *mut LemmyImage,
    image_count: usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let messages = chat::read_messages((messages_json, messages_len), (images, image_count))?;
            with(session, |state| {
                state.halt();
                for message in messages {
                    state.session.add(message);
                    state.is_asked = true;
                }
                Ok(())
            })
        })
    }
}

/// What reading a conversation took.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmySyncReport {
    struct_size: usize,
    reused: u64,
    prefilled: u64,
}

// SAFETY: numbers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmySyncReport {
    const FIRST_SIZE: usize = 24;
}

/// Makes the messages the session's own.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_sync(
    session: *mut LemmySession,
    messages_json: *const c_char,
    messages_len: usize,
    images: *const *mut LemmyImage,
    image_count: usize,
    options: *const LemmyChatOptions,
    out: *mut LemmySyncReport,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Out::optional("out", out)?;
            let options: LemmyChatOptions = versioned::read("options", options)?;
            let messages = chat::read_messages((messages_json, messages_len), (images, image_count))?;
            let report = with(session, |state| {
                let chat = options.chat(messages, &state.session.chat().tools)?;
                sync(state, chat, options.progress())
            })?;
            if let Some(out) = out {
                out.write(&report);
            }
            Ok(())
        })
    }
}

/// Reads a conversation as a reply does that says nothing: so it can be stopped between two batches.
fn sync(state: &mut State, chat: lemmy_core::Chat, progress: Option<Progress>) -> Result<LemmySyncReport, Failure> {
    state.halt();
    let thinking = if chat.thinking { Thinking::On } else { Thinking::Off };
    let options = GenerateOptions::new().max_tokens(0).thinking(thinking).tool_choice(ToolChoice::None);
    let report = state.session.begin(chat, options)?;
    let was_asked = state.is_asked;
    state.forget();
    let is_read = read_prompt(&mut state.session, progress);
    // Where it could not be read, the conversation is the one before.
    state.is_asked = is_read.is_ok() || was_asked;
    is_read?;
    Ok(LemmySyncReport {
        struct_size: size_of::<LemmySyncReport>(),
        reused: report.reused as u64,
        prefilled: report.prefilled as u64,
    })
}

/// Runs a reply that says nothing.
fn read_prompt(session: &mut Session, progress: Option<Progress>) -> Result<(), Failure> {
    while let Some(event) = session.step()? {
        match event {
            Event::Prefill { done, total } => {
                let told = progress.map(|progress| progress.tell(Progress::PROMPT, done as u64, total as u64));
                if told.is_some_and(|flow| flow.is_break()) {
                    session.stop();
                    return Err(Error::Cancelled.into());
                }
            }
            Event::Finished(finish) if finish.reason == FinishReason::Cancelled => {
                return Err(Error::Cancelled.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The conversation so far.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_messages(
    session: *mut LemmySession,
    json: *mut *mut LemmyBuffer,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::buffer(error, ("json", json), || {
            with(session, |state| Ok(messages_to_json(&state.session.chat().messages)?))
        })
    }
}

/// Facts about a session.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmySessionInfo {
    struct_size: usize,
    position: u64,
    capacity: u64,
    memory: u64,
    messages: u64,
    is_generating: u32,
    reserved: u32,
}

// SAFETY: numbers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmySessionInfo {
    const FIRST_SIZE: usize = 48;
}

/// Facts about a session.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_info(
    session: *mut LemmySession,
    out: *mut LemmySessionInfo,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            with(session, |state| {
                Ok(LemmySessionInfo {
                    struct_size: size_of::<LemmySessionInfo>(),
                    position: state.session.tokens().len() as u64,
                    capacity: state.session.capacity() as u64,
                    memory: state.session.memory(),
                    messages: state.session.chat().messages.len() as u64,
                    is_generating: state.is_generating().into(),
                    reserved: 0,
                })
            })
        })
    }
}

/// The tokens that it has read.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_tokens(
    session: *mut LemmySession,
    ids: *mut u32,
    capacity: usize,
    out_count: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let count = Slot::new("out_count", out_count, 0)?;
            with(session, |state| text::fill("ids", state.session.tokens(), (ids, capacity), count))
        })
    }
}

/// Forgets all tokens from a position on.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_rewind(
    session: *mut LemmySession,
    position: u64,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            with(session, |state| {
                state.halt();
                Ok(state.session.rewind(value::count(position))?)
            })
        })
    }
}

/// A second session with the same past.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_fork(
    session: *mut LemmySession,
    other: *mut *mut LemmySession,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { answer::object(error, ("other", other), || Ok(with(session, |state| state.fork())?.into())) }
}

/// Begins anew.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_clear(session: *mut LemmySession, error: *mut *mut LemmyError) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            with(session, |state| {
                state.session.clear()?;
                state.forget();
                Ok(())
            })
        })
    }
}
