//! Beginning a reply, and what the caller asks of it.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::ptr::{null, null_mut};

use lemmy_core::{
    Constraint, GenerateOptions, Message, Model, Part, Source, StepHook, Thinking, TokenEvent, ToolChoice,
};

use crate::cancel::LemmyCancel;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::image::LemmyImage;
use crate::reply::{LemmyEvent, LemmyEventFn, LemmyTopToken};
use crate::sampler::LemmySamplerOptions;
use crate::session::{LemmySession, with};
use crate::text::NUL_TERMINATED;
use crate::value::{self, DEFAULT, DEFAULT_64};
use crate::{chat, text, versioned};

/// Sees the logits before a token is sampled; 0 to go on.
pub type LemmyLogitsFn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, position: u64, logits: *mut f32, count: usize) -> i32>;

/// Options of a reply.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyGenerateOptions {
    struct_size: usize,
    max_tokens: u64,
    seed: u64,
    sampler: *const LemmySamplerOptions,
    stop: *const *const c_char,
    stop_count: usize,
    thinking: u32,
    thinking_budget: u32,
    constraint_kind: u32,
    tool_choice: u32,
    constraint: *const c_char,
    constraint_len: usize,
    tool_name: *const c_char,
    logprobs: u32,
    speculate: u32,
    single_tool_call: u32,
    penalize_reply_only: u32,
    cancel: *mut LemmyCancel,
    on_logits: LemmyLogitsFn,
    on_token: LemmyEventFn,
    user_data: *mut c_void,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyGenerateOptions {
    const FIRST_SIZE: usize = 136;
}

impl versioned::Options for LemmyGenerateOptions {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        max_tokens: DEFAULT_64,
        seed: DEFAULT_64,
        sampler: null(),
        stop: null(),
        stop_count: 0,
        thinking: 0,
        thinking_budget: DEFAULT,
        constraint_kind: 0,
        tool_choice: 0,
        constraint: null(),
        constraint_len: NUL_TERMINATED,
        tool_name: null(),
        logprobs: DEFAULT,
        speculate: 0,
        single_tool_call: 0,
        penalize_reply_only: 0,
        cancel: null_mut(),
        on_logits: None,
        on_token: None,
        user_data: null_mut(),
    };
    const RESERVED: Option<usize> = None;
}

impl LemmyGenerateOptions {
    /// # Safety
    ///
    /// Pointers are as the header says; those of the hook until the reply is over.
    unsafe fn options(&self, model: &Model) -> Result<GenerateOptions, Failure> {
        let mut options = GenerateOptions::new();
        options.max_tokens = value::set_64(self.max_tokens).map(value::count);
        options.seed = value::set_64(self.seed);
        options.thinking = match (value::flag("thinking", self.thinking)?, value::set(self.thinking_budget)) {
            (false, _) => Thinking::Off,
            (true, None) => Thinking::On,
            (true, Some(tokens)) => Thinking::Budget(tokens),
        };
        options.logprobs = value::set(self.logprobs).map(|top| byte("logprobs", top)).transpose()?;
        options.speculate = Some(byte("speculate", self.speculate)?).filter(|&tokens| tokens > 0);
        options.single_tool_call = value::flag("single_tool_call", self.single_tool_call)?;
        options.penalize_reply_only = value::flag("penalize_reply_only", self.penalize_reply_only)?;
        // SAFETY: as promised.
        unsafe {
            if !self.sampler.is_null() {
                let sampler: LemmySamplerOptions = versioned::read("sampler", self.sampler)?;
                options.sampler = Some(sampler.over(model.info().sampling.clone())?);
            }
            for &stop in text::array("stop", self.stop, self.stop_count)? {
                options.stop.push(text::name("stop", stop)?.to_owned());
            }
            options.constraint = self.constraint()?;
            options.tool_choice = self.tool_choice()?;
            options.cancel = LemmyCancel::token(self.cancel);
        }
        if self.on_logits.is_some() || self.on_token.is_some() {
            options = options.hook(Hook {
                on_logits: self.on_logits,
                on_token: self.on_token,
                user_data: UserData(self.user_data),
                top: Vec::new(),
                is_stopped: false,
            });
        }
        Ok(options)
    }

    /// # Safety
    ///
    /// Pointers are as the header says.
    unsafe fn constraint(&self) -> Result<Option<Constraint>, Failure> {
        let kind: fn(String) -> Constraint = match self.constraint_kind {
            0 => return Ok(None),
            1 => Constraint::JsonSchema,
            2 => Constraint::Regex,
            3 => Constraint::Lark,
            other => return Err(Failure::argument("constraint_kind", format!("found {other}, expected 0 to 3"))),
        };
        // SAFETY: as promised.
        let text = unsafe { text::read("constraint", self.constraint, self.constraint_len) }?;
        Ok(Some(kind(text.into())))
    }

    /// # Safety
    ///
    /// Pointers are as the header says.
    unsafe fn tool_choice(&self) -> Result<ToolChoice, Failure> {
        Ok(match self.tool_choice {
            0 => ToolChoice::Auto,
            1 => ToolChoice::None,
            2 => ToolChoice::Required,
            // SAFETY: as promised.
            3 => ToolChoice::Named(unsafe { text::name("tool_name", self.tool_name) }?.into()),
            other => return Err(Failure::argument("tool_choice", format!("found {other}, expected 0 to 3"))),
        })
    }
}

fn byte(name: &'static str, value: u32) -> Result<u8, Failure> {
    u8::try_from(value).map_err(|_| Failure::argument(name, format!("found {value}, expected at most 255")))
}

/// What the caller gave for its callbacks.
struct UserData(*mut c_void);

// SAFETY: it is handed back on the thread that makes the call, and only there; what it means is the caller's business.
unsafe impl Send for UserData {}

/// The caller's functions.
struct Hook {
    on_logits: LemmyLogitsFn,
    on_token: LemmyEventFn,
    user_data: UserData,
    /// Kept, so that a token costs no allocation.
    top: Vec<LemmyTopToken>,
    /// Whether `on_logits` wants no more.
    is_stopped: bool,
}

impl StepHook for Hook {
    fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
        if let Some(call) = self.on_logits {
            // SAFETY: the caller says that it may be called until the reply is over.
            self.is_stopped |= unsafe { call(self.user_data.0, pos as u64, logits.as_mut_ptr(), logits.len()) } != 0;
        }
    }

    fn on_token(&mut self, token: &TokenEvent) -> ControlFlow<()> {
        if let Some(call) = self.on_token {
            let event = LemmyEvent::token(token, &mut self.top);
            // SAFETY: as above; the event lives until it returns.
            self.is_stopped |= unsafe { call(self.user_data.0, &event) } != 0;
        }
        if self.is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_generate_options_init(options: *mut LemmyGenerateOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// Begins the reply to a user's text and pictures.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_send(
    session: *mut LemmySession,
    text: *const c_char,
    text_len: usize,
    images: *const *mut LemmyImage,
    image_count: usize,
    options: *const LemmyGenerateOptions,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let options: LemmyGenerateOptions = versioned::read("options", options)?;
            let text = text::read("text", text, text_len)?;
            let images = chat::read_images(images, image_count)?;
            let parts = images.into_iter().map(Part::Image).chain([Part::Text(text.into())]);
            let message = Message::User(parts.collect());
            with(session, |state| {
                let options = options.options(state.session.model())?;
                state.begin(message.into(), options)
            })
        })
    }
}

/// Begins the reply to what the session has.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_generate(
    session: *mut LemmySession,
    options: *const LemmyGenerateOptions,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let options: LemmyGenerateOptions = versioned::read("options", options)?;
            with(session, |state| {
                let options = options.options(state.session.model())?;
                // Stopping the reply in the making may leave messages waiting.
                state.halt();
                let source = if state.is_asked { Source::Turn(Vec::new()) } else { Source::Here };
                state.begin(source, options)
            })
        })
    }
}
