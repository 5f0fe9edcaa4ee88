//! A reply: what a session is doing, its events, its end.

use std::ffi::{c_char, c_void};
use std::ptr::null;

use lemmy_core::chat::Zone;
use lemmy_core::{Event, Finish, FinishReason, GenerateOptions, Message, Session, Source, TokenEvent, TokenId};

use crate::answer;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::session::{LemmySession, with};
use crate::text::Lent;
use crate::value::DEFAULT;
use crate::versioned::{self, Out};

/// A session and its reply.
pub(crate) struct State {
    pub(crate) session: Session,
    /// Whether messages wait for a reply.
    pub(crate) is_asked: bool,
    phase: Phase,
    lent: Texts,
}

enum Phase {
    /// No reply, or one that failed.
    Idle,
    /// A reply is in the making. `was_asked`: messages waited for it, and do so again if it says nothing.
    Running {
        was_asked: bool,
    },
    Over(Finish),
}

impl State {
    pub(crate) fn new(session: Session) -> Self {
        let last = session.chat().messages.last();
        let is_asked = matches!(last, Some(Message::User(_) | Message::ToolResult { .. }));
        Self { session, is_asked, phase: Phase::Idle, lent: Texts::default() }
    }

    pub(crate) fn fork(&self) -> Result<Self, Failure> {
        Ok(Self { is_asked: self.is_asked, ..Self::new(self.session.fork()?) })
    }

    pub(crate) fn is_generating(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Begins a reply.
    pub(crate) fn begin(&mut self, source: Source, options: GenerateOptions) -> Result<(), Failure> {
        self.halt();
        self.session.begin(source, options)?;
        self.phase = Phase::Running { was_asked: self.is_asked };
        self.is_asked = false;
        Ok(())
    }

    /// Stops the reply in the making.
    pub(crate) fn halt(&mut self) {
        match self.session.stop() {
            Some(finish) => self.end(finish),
            None if self.is_generating() => self.phase = Phase::Idle,
            None => {}
        }
    }

    /// There is no reply any more, and nothing waits for one.
    pub(crate) fn forget(&mut self) {
        self.phase = Phase::Idle;
        self.is_asked = false;
    }

    fn end(&mut self, finish: Finish) {
        if let Phase::Running { was_asked } = self.phase {
            self.is_asked |= was_asked && finish.usage.generated == 0;
        }
        self.phase = Phase::Over(finish);
    }

    fn finish(&self) -> Result<&Finish, Failure> {
        match &self.phase {
            Phase::Over(finish) => Ok(finish),
            Phase::Running { .. } => Err(Failure::State("the reply is not over yet")),
            Phase::Idle => Err(Failure::State("no reply was begun, or it has failed")),
        }
    }

    /// The next event. Its pointers are good until the next call.
    fn next(&mut self) -> Result<LemmyEvent, Failure> {
        while let Phase::Running { was_asked } = self.phase {
            match self.session.step() {
                Ok(Some(Event::Finished(finish))) => self.end(finish),
                Ok(Some(event)) => {
                    if let Some(event) = self.lent.show(&event) {
                        return Ok(event);
                    }
                }
                Ok(None) => self.phase = Phase::Idle,
                Err(error) => {
                    (self.phase, self.is_asked) = (Phase::Idle, was_asked);
                    return Err(error.into());
                }
            }
        }
        let reason = reason(self.finish()?.reason);
        Ok(LemmyEvent { finish_reason: reason, ..LemmyEvent::new(kind::FINISHED) })
    }
}

/// `LEMMY_EVENT_*`.
mod kind {
    pub(super) const PREFILL: u32 = 1;
    pub(super) const THINKING: u32 = 2;
    pub(super) const TEXT: u32 = 3;
    pub(super) const TOOL_CALL: u32 = 4;
    pub(super) const TOKEN: u32 = 5;
    pub(super) const WARNING: u32 = 6;
    pub(super) const FINISHED: u32 = 7;
}

/// `LEMMY_FINISH_*`.
fn reason(reason: FinishReason) -> u32 {
    match reason {
        FinishReason::Stop => 1,
        FinishReason::Length => 2,
        FinishReason::ToolCalls => 3,
        FinishReason::Cancelled => 4,
        FinishReason::ContextFull => 5,
        _ => 0,
    }
}

/// `LEMMY_ZONE_*`.
fn zone(zone: Zone) -> u32 {
    match zone {
        Zone::Text => 1,
        Zone::Thought => 2,
        Zone::Call => 3,
    }
}

/// A token that might have come.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyTopToken {
    token: u32,
    reserved: u32,
    logprob: f64,
}

/// One step of a reply.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyEvent {
    struct_size: usize,
    kind: u32,
    token: u32,
    text: *const c_char,
    text_len: usize,
    logprob: f64,
    done: u64,
    total: u64,
    tool_id: *const c_char,
    tool_name: *const c_char,
    tool_arguments: *const c_char,
    tool_arguments_len: usize,
    top: *const LemmyTopToken,
    top_count: usize,
    zone: u32,
    finish_reason: u32,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyEvent {
    const FIRST_SIZE: usize = 112;
}

impl LemmyEvent {
    fn new(kind: u32) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            kind,
            token: 0,
            text: null(),
            text_len: 0,
            logprob: 0.0,
            done: 0,
            total: 0,
            tool_id: null(),
            tool_name: null(),
            tool_arguments: null(),
            tool_arguments_len: 0,
            top: null(),
            top_count: 0,
            zone: 0,
            finish_reason: 0,
        }
    }

    /// A token as it is; `top` keeps the alternatives.
    pub(crate) fn token(token: &TokenEvent, top: &mut Vec<LemmyTopToken>) -> Self {
        let entry = |&(token, logprob): &(TokenId, f64)| LemmyTopToken { token, reserved: 0, logprob };
        top.clear();
        top.extend(token.top.iter().map(entry));
        Self {
            token: token.id,
            text: token.bytes.as_ptr().cast(),
            text_len: token.bytes.len(),
            logprob: token.logprob.unwrap_or(f64::NAN),
            top: top.as_ptr(),
            top_count: top.len(),
            zone: zone(token.zone),
            ..Self::new(kind::TOKEN)
        }
    }
}

/// What the last event points to.
#[derive(Default)]
struct Texts {
    text: Lent,
    id: Lent,
    name: Lent,
    top: Vec<LemmyTopToken>,
}

impl Texts {
    /// An event for C; `None` for a kind that C has no number for.
    fn show(&mut self, event: &Event) -> Option<LemmyEvent> {
        Some(match event {
            Event::Prefill { done, total } => {
                LemmyEvent { done: *done as u64, total: *total as u64, ..LemmyEvent::new(kind::PREFILL) }
            }
            Event::Thinking(text) => self.text(kind::THINKING, text),
            Event::Text(text) => self.text(kind::TEXT, text),
            Event::Warning(text) => self.text(kind::WARNING, text),
            Event::ToolCall(call) => {
                let (tool_arguments, tool_arguments_len) = self.text.keep(call.arguments_json.as_bytes());
                LemmyEvent {
                    tool_id: self.id.keep_name(&call.id),
                    tool_name: self.name.keep_name(&call.name),
                    tool_arguments,
                    tool_arguments_len,
                    ..LemmyEvent::new(kind::TOOL_CALL)
                }
            }
            Event::Token(token) => {
                let (text, text_len) = self.text.keep(&token.bytes);
                LemmyEvent { text, text_len, ..LemmyEvent::token(token, &mut self.top) }
            }
            _ => return None,
        })
    }

    fn text(&mut self, kind: u32, text: &str) -> LemmyEvent {
        let (text, text_len) = self.text.keep(text.as_bytes());
        LemmyEvent { text, text_len, ..LemmyEvent::new(kind) }
    }
}

/// How a reply ended.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyFinish {
    struct_size: usize,
    reason: u32,
    stop: u32,
    seed: u64,
    prompt: u64,
    cached: u64,
    generated: u64,
    thinking: u64,
    drafted: u64,
    accepted: u64,
    prefill_us: u64,
    decode_us: u64,
}

// SAFETY: numbers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyFinish {
    const FIRST_SIZE: usize = 88;
}

impl LemmyFinish {
    fn new(finish: &Finish) -> Self {
        let usage = &finish.usage;
        Self {
            struct_size: size_of::<Self>(),
            reason: reason(finish.reason),
            stop: finish.stop.map_or(DEFAULT, |place| place as u32),
            seed: finish.seed,
            prompt: usage.prompt as u64,
            cached: usage.cached as u64,
            generated: usage.generated as u64,
            thinking: usage.thinking as u64,
            drafted: usage.drafted as u64,
            accepted: usage.accepted as u64,
            prefill_us: usage.prefill.as_micros() as u64,
            decode_us: usage.decode.as_micros() as u64,
        }
    }
}

/// Sees an event; 0 to go on.
pub type LemmyEventFn = Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const LemmyEvent) -> i32>;

/// The next event of the reply.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_next(
    session: *mut LemmySession,
    out: *mut LemmyEvent,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { answer::filled(error, out, || with(session, State::next)) }
}

/// Runs the reply to its end.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_run(
    session: *mut LemmySession,
    on_event: LemmyEventFn,
    user_data: *mut c_void,
    out: *mut LemmyFinish,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Out::optional("out", out)?;
            let finish = with(session, |state| {
                loop {
                    let event = state.next()?;
                    if on_event.is_some_and(|call| call(user_data, &event) != 0) {
                        state.halt();
                        break;
                    }
                    if event.kind == kind::FINISHED {
                        break;
                    }
                }
                Ok(LemmyFinish::new(state.finish()?))
            })?;
            if let Some(out) = out {
                out.write(&finish);
            }
            Ok(())
        })
    }
}

/// Ends the reply in the making.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_stop(session: *mut LemmySession, error: *mut *mut LemmyError) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            with(session, |state| {
                state.halt();
                Ok(())
            })
        })
    }
}

/// How the last reply ended.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_finish(
    session: *mut LemmySession,
    out: *mut LemmyFinish,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { answer::filled(error, out, || with(session, |state| Ok(LemmyFinish::new(state.finish()?)))) }
}
