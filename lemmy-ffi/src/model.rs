//! Loading models, and facts about them.

use std::ffi::{CString, c_char, c_void};
use std::mem::offset_of;
use std::ops::ControlFlow;
use std::ptr::{null, null_mut};

use lemmy_core::{LoadMode, LoadStage, Model, ModelBuilder};

use crate::cancel::LemmyCancel;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::{guard, guard_value};
use crate::pool::LemmyPool;
use crate::text::{NUL_TERMINATED, Slot};
use crate::value::{self, DEFAULT_64, NO_TOKEN};
use crate::{answer, handle, text, versioned};

/// Weights, tokenizer and chat template of a file. Shared.
pub struct LemmyModel {
    pub(crate) model: Model,
    name: CString,
    architecture: CString,
    backend: CString,
    types: CString,
    template: CString,
    template_warning: Option<CString>,
}

impl LemmyModel {
    fn new(model: Model) -> Self {
        let info = model.info();
        let types: Vec<String> = info.types.iter().map(|(dtype, _)| dtype.to_string()).collect();
        let template = model.chat_template();
        Self {
            name: lent(&info.name),
            architecture: lent(&info.architecture),
            backend: lent(&info.backend),
            types: lent(&types.join(",")),
            template: lent(template.source()),
            template_warning: template.warning().as_deref().map(lent),
            model,
        }
    }
}

/// A text that lives as long as the model. Files may have NUL in theirs; in C it would end there.
fn lent(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Told how far a call has come; 0 to go on.
pub type LemmyProgressFn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, stage: u32, done: u64, total: u64) -> i32>;

/// A progress function and what goes with it.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    call: unsafe extern "C" fn(*mut c_void, u32, u64, u64) -> i32,
    user_data: *mut c_void,
}

// SAFETY: it is called on the thread that made the call it belongs to, which alone decides what the pointer means.
unsafe impl Send for Progress {}

impl Progress {
    /// `LEMMY_STAGE_PROMPT`.
    pub(crate) const PROMPT: u32 = 4;

    /// # Safety
    ///
    /// `function` may be called with `user_data` while the value lives.
    pub(crate) unsafe fn new(function: LemmyProgressFn, user_data: *mut c_void) -> Option<Self> {
        function.map(|call| Self { call, user_data })
    }

    pub(crate) fn tell(&self, stage: u32, done: u64, total: u64) -> ControlFlow<()> {
        // SAFETY: by the promise to `new`.
        match unsafe { (self.call)(self.user_data, stage, done, total) } {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// Options for loading.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyModelOptions {
    struct_size: usize,
    mmproj_path: *const c_char,
    pool: *mut LemmyPool,
    cancel: *mut LemmyCancel,
    chat_template: *const c_char,
    chat_template_len: usize,
    memory_limit: u64,
    on_progress: LemmyProgressFn,
    user_data: *mut c_void,
    load_mode: u32,
    reserved: u32,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyModelOptions {
    const FIRST_SIZE: usize = 80;
}

impl versioned::Options for LemmyModelOptions {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        mmproj_path: null(),
        pool: null_mut(),
        cancel: null_mut(),
        chat_template: null(),
        chat_template_len: NUL_TERMINATED,
        memory_limit: DEFAULT_64,
        on_progress: None,
        user_data: null_mut(),
        load_mode: 0,
        reserved: 0,
    };
    const RESERVED: Option<usize> = Some(offset_of!(Self, reserved));
}

impl LemmyModelOptions {
    /// # Safety
    ///
    /// Pointers are as the header says, and stay so until the model is loaded.
    pub(crate) unsafe fn builder(&self, path: &str) -> Result<ModelBuilder, Failure> {
        let mode = value::choice("load_mode", self.load_mode, &[LoadMode::Mmap, LoadMode::Read])?;
        let mut builder = Model::builder(path).load_mode(mode);
        // SAFETY: as promised.
        unsafe {
            if !self.mmproj_path.is_null() {
                builder = builder.mmproj(text::name("mmproj_path", self.mmproj_path)?);
            }
            if let Some(pool) = handle::get_optional(self.pool) {
                builder = builder.threads(pool.threads());
            }
            if let Some(cancel) = LemmyCancel::token(self.cancel) {
                builder = builder.cancel(cancel);
            }
            if let Some(template) = text::optional("chat_template", self.chat_template, self.chat_template_len)? {
                builder = builder.chat_template(template);
            }
            if let Some(progress) = Progress::new(self.on_progress, self.user_data) {
                builder = builder.on_progress(move |p| progress.tell(stage(p.stage), p.done, p.total));
            }
        }
        Ok(match value::set_64(self.memory_limit) {
            Some(bytes) => builder.memory_limit(bytes),
            None => builder,
        })
    }
}

/// `LEMMY_STAGE_*`.
fn stage(stage: LoadStage) -> u32 {
    match stage {
        LoadStage::File => 1,
        LoadStage::Tokenizer => 2,
        LoadStage::Weights => 3,
        _ => 0,
    }
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_options_init(options: *mut LemmyModelOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// Loads a model file.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_load(
    path: *const c_char,
    options: *const LemmyModelOptions,
    model: *mut *mut LemmyModel,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("model", model), || {
            let path = text::name("path", path)?;
            let options: LemmyModelOptions = versioned::read("options", options)?;
            Ok(LemmyModel::new(options.builder(path)?.load()?))
        })
    }
}

/// Another reference.
///
/// # Safety
///
/// Null, or a model that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_retain(model: *mut LemmyModel) -> *mut LemmyModel {
    // SAFETY: as promised.
    guard_value(null_mut(), || unsafe { handle::retain(model) })
}

/// Gives a reference back.
///
/// # Safety
///
/// Null, or a model that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_release(model: *mut LemmyModel) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(model) });
}

/// Facts about a model.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyModelInfo {
    struct_size: usize,
    name: *const c_char,
    architecture: *const c_char,
    backend: *const c_char,
    types: *const c_char,
    template_warning: *const c_char,
    parameters: u64,
    file_bytes: u64,
    context: u64,
    vocab: u32,
    bos: u32,
    has_vision: u32,
    reserved: u32,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyModelInfo {
    const FIRST_SIZE: usize = 88;
}

/// Facts about a model.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_info(
    model: *mut LemmyModel,
    out: *mut LemmyModelInfo,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            let handle = handle::get("model", model)?;
            let (info, tokenizer) = (handle.model.info(), handle.model.tokenizer());
            Ok(LemmyModelInfo {
                struct_size: size_of::<LemmyModelInfo>(),
                name: handle.name.as_ptr(),
                architecture: handle.architecture.as_ptr(),
                backend: handle.backend.as_ptr(),
                types: handle.types.as_ptr(),
                template_warning: handle.template_warning.as_ref().map_or(null(), |text| text.as_ptr()),
                parameters: info.parameters,
                file_bytes: info.file_bytes,
                context: info.context as u64,
                vocab: tokenizer.vocab_size() as u32,
                bos: tokenizer.bos().unwrap_or(NO_TOKEN),
                has_vision: handle.model.vision().is_some().into(),
                reserved: 0,
            })
        })
    }
}

/// Its chat template.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_chat_template(
    model: *mut LemmyModel,
    out: *mut *const c_char,
    out_len: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out", out, null())?;
            let out_len = Slot::new("out_len", out_len, 0)?;
            let model = handle::get("model", model)?;
            out.set(model.template.as_ptr());
            out_len.set(model.template.count_bytes());
            Ok(())
        })
    }
}
