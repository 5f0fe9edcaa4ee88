//! Messages as JSON, and the prompt that they become.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};

use lemmy_core::chat::{RenderOptions, messages_from_json_with_images, tools_from_json};
use lemmy_core::{Chat, Image, Message, Tool};

use crate::buffer::LemmyBuffer;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::image::LemmyImage;
use crate::model::{LemmyModel, LemmyProgressFn, Progress};
use crate::text::NUL_TERMINATED;
use crate::{answer, handle, text, value, versioned};

/// How a list of messages becomes a prompt.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyChatOptions {
    struct_size: usize,
    tools_json: *const c_char,
    tools_len: usize,
    thinking: u32,
    preserve_thinking: u32,
    add_generation_prompt: u32,
    reserved: u32,
    on_progress: LemmyProgressFn,
    user_data: *mut c_void,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyChatOptions {
    const FIRST_SIZE: usize = 56;
}

impl versioned::Options for LemmyChatOptions {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        tools_json: null(),
        tools_len: NUL_TERMINATED,
        thinking: 0,
        preserve_thinking: 0,
        add_generation_prompt: 1,
        reserved: 0,
        on_progress: None,
        user_data: null_mut(),
    };
    const RESERVED: Option<usize> = Some(offset_of!(Self, reserved));
}

impl LemmyChatOptions {
    /// The whole conversation; `tools` when the options have none.
    ///
    /// # Safety
    ///
    /// Pointers are as the header says.
    pub(crate) unsafe fn chat(&self, messages: Vec<Message>, tools: &[Tool]) -> Result<Chat, Failure> {
        // SAFETY: as promised.
        let tools = match unsafe { read_tools(self.tools_json, self.tools_len) }? {
            Some(own) => own,
            None => tools.to_vec(),
        };
        let thinking = value::flag("thinking", self.thinking)?;
        let preserve_thinking = value::flag("preserve_thinking", self.preserve_thinking)?;
        Ok(Chat { messages, tools, thinking, preserve_thinking })
    }

    /// # Safety
    ///
    /// Pointers are as the header says.
    pub(crate) unsafe fn progress(&self) -> Option<Progress> {
        // SAFETY: as promised.
        unsafe { Progress::new(self.on_progress, self.user_data) }
    }
}

/// Tools as JSON, if there are any.
///
/// # Safety
///
/// Pointers are as the header says.
pub(crate) unsafe fn read_tools(json: *const c_char, len: usize) -> Result<Option<Vec<Tool>>, Failure> {
    // SAFETY: as promised.
    let json = unsafe { text::optional("tools_json", json, len) }?;
    Ok(json.map(tools_from_json).transpose()?)
}

/// Messages as JSON, and the pictures that they speak of.
///
/// # Safety
///
/// Pointers are as the header says.
pub(crate) unsafe fn read_messages(
    (json, len): (*const c_char, usize),
    (images, count): (*const *mut LemmyImage, usize),
) -> Result<Vec<Message>, Failure> {
    // SAFETY: as promised.
    let (json, images) = unsafe { (text::read("messages_json", json, len)?, read_images(images, count)?) };
    Ok(messages_from_json_with_images(json, &images)?)
}

/// Pictures that go with messages.
///
/// # Safety
///
/// Pointers are as the header says.
pub(crate) unsafe fn read_images(images: *const *mut LemmyImage, count: usize) -> Result<Vec<Image>, Failure> {
    // SAFETY: as promised.
    let images = unsafe { text::array("images", images, count) }?;
    // SAFETY: as promised.
    images.iter().map(|&image| Ok(unsafe { handle::get("image", image) }?.image.clone())).collect()
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_chat_options_init(options: *mut LemmyChatOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// The text of a prompt.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_render_chat(
    model: *mut LemmyModel,
    messages_json: *const c_char,
    messages_len: usize,
    options: *const LemmyChatOptions,
    text: *mut *mut LemmyBuffer,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::buffer(error, ("text", text), || {
            let model = handle::get("model", model)?;
            let options: LemmyChatOptions = versioned::read("options", options)?;
            let chat = options.chat(read_messages((messages_json, messages_len), (null(), 0))?, &[])?;
            let render = match value::flag("add_generation_prompt", options.add_generation_prompt)? {
                true => RenderOptions::for_generation(),
                false => RenderOptions::default(),
            };
            Ok(model.model.chat_template().render(&chat, &render)?)
        })
    }
}
