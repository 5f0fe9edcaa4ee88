//! Sampling: options, and a sampler of the caller's own.

use std::mem::offset_of;
use std::ptr::null;
use std::sync::Mutex;

use lemmy_core::{Sampler, SamplerParams, Stage};

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::{guard, guard_value};
use crate::model::LemmyModel;
use crate::text::Slot;
use crate::value::{self, ALL_TOKENS, DEFAULT, DEFAULT_64};
use crate::{answer, handle, text, versioned};

/// How tokens are picked.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmySamplerOptions {
    struct_size: usize,
    temperature: f32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    top_k: u32,
    repeat_last: u32,
    seed: u64,
    order: [u32; 8],
    order_count: u32,
    reserved: u32,
    bias_ids: *const u32,
    bias_values: *const f32,
    bias_count: usize,
    suppress: *const u32,
    suppress_count: usize,
}

/// `LEMMY_SAMPLER_*`, from 1.
const STAGES: [Stage; 5] = [Stage::Penalties, Stage::TopK, Stage::TopP, Stage::MinP, Stage::Temperature];

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmySamplerOptions {
    const FIRST_SIZE: usize = 128;
}

impl versioned::Options for LemmySamplerOptions {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        temperature: f32::NAN,
        top_p: f32::NAN,
        min_p: f32::NAN,
        repeat_penalty: f32::NAN,
        frequency_penalty: f32::NAN,
        presence_penalty: f32::NAN,
        top_k: DEFAULT,
        repeat_last: DEFAULT,
        seed: DEFAULT_64,
        order: [0; 8],
        order_count: DEFAULT,
        reserved: 0,
        bias_ids: null(),
        bias_values: null(),
        bias_count: 0,
        suppress: null(),
        suppress_count: 0,
    };
    const RESERVED: Option<usize> = Some(offset_of!(Self, reserved));
}

impl LemmySamplerOptions {
    /// These options over `params`.
    ///
    /// # Safety
    ///
    /// Pointers are as the header says.
    pub(crate) unsafe fn over(&self, mut params: SamplerParams) -> Result<SamplerParams, Failure> {
        for (value, place) in [
            (self.temperature, &mut params.temperature),
            (self.top_p, &mut params.top_p),
            (self.min_p, &mut params.min_p),
            (self.repeat_penalty, &mut params.repeat_penalty),
            (self.frequency_penalty, &mut params.frequency_penalty),
            (self.presence_penalty, &mut params.presence_penalty),
        ] {
            if !value.is_nan() {
                *place = value;
            }
        }
        params.top_k = value::set(self.top_k).unwrap_or(params.top_k);
        params.repeat_last = match value::set(self.repeat_last) {
            Some(ALL_TOKENS) => u32::MAX,
            Some(last) => last,
            None => params.repeat_last,
        };
        params.seed = value::set_64(self.seed).or(params.seed);
        if let Some(count) = value::set(self.order_count) {
            let order = self.order.get(..count as usize);
            let order = order.ok_or_else(|| {
                Failure::argument("order_count", format!("found {count}, expected at most {}", self.order.len()))
            })?;
            params.order = order.iter().map(|&number| stage(number)).collect::<Result<_, _>>()?;
        }
        // SAFETY: as promised.
        let (ids, values, suppress) = unsafe {
            (
                text::array("bias_ids", self.bias_ids, self.bias_count)?,
                text::array("bias_values", self.bias_values, self.bias_count)?,
                text::array("suppress", self.suppress, self.suppress_count)?,
            )
        };
        params.bias = ids.iter().copied().zip(values.iter().copied()).collect();
        if !self.suppress.is_null() {
            params.suppress = suppress.to_vec();
        }
        Ok(params)
    }

    /// What these parameters say; arrays are borrowed.
    fn of(params: &SamplerParams) -> Self {
        let mut order = [0; 8];
        for (place, stage) in order.iter_mut().zip(&params.order) {
            let number = STAGES.iter().position(|known| known == stage).map_or(0, |at| at + 1);
            *place = number as u32;
        }
        Self {
            struct_size: size_of::<Self>(),
            temperature: params.temperature,
            top_p: params.top_p,
            min_p: params.min_p,
            repeat_penalty: params.repeat_penalty,
            frequency_penalty: params.frequency_penalty,
            presence_penalty: params.presence_penalty,
            top_k: params.top_k,
            repeat_last: params.repeat_last.min(ALL_TOKENS),
            seed: params.seed.unwrap_or(DEFAULT_64),
            order,
            order_count: params.order.len() as u32,
            suppress: params.suppress.as_ptr(),
            suppress_count: params.suppress.len(),
            ..<Self as versioned::Options>::DEFAULT
        }
    }
}

fn stage(number: u32) -> Result<Stage, Failure> {
    match number.checked_sub(1) {
        Some(place) => value::choice("order", place, &STAGES),
        None => Err(Failure::argument("order", "found 0, expected LEMMY_SAMPLER_*")),
    }
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_options_init(options: *mut LemmySamplerOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// The model's recommendation.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_sampler_defaults(
    model: *mut LemmyModel,
    out: *mut LemmySamplerOptions,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            let model = handle::get("model", model)?;
            Ok(LemmySamplerOptions::of(&model.model.info().sampling))
        })
    }
}

/// Picks tokens. Has one owner.
pub struct LemmySampler {
    inside: Mutex<Sampler>,
}

/// A sampler with these options.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_new(
    options: *const LemmySamplerOptions,
    sampler: *mut *mut LemmySampler,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("sampler", sampler), || {
            let options: LemmySamplerOptions = versioned::read("options", options)?;
            let made = Sampler::new(&options.over(SamplerParams::default())?)?;
            Ok(LemmySampler { inside: Mutex::new(made) })
        })
    }
}

/// A token for one row of logits.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_sample(
    sampler: *mut LemmySampler,
    logits: *const f32,
    count: usize,
    out_id: *mut u32,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out_id", out_id, value::NO_TOKEN)?;
            let sampler = handle::get("sampler", sampler)?;
            let logits = text::array("logits", logits, count)?;
            out.set(handle::lock("sampler", &sampler.inside)?.sample(logits)?);
            Ok(())
        })
    }
}

/// Tells the penalties what was said.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_accept(
    sampler: *mut LemmySampler,
    id: u32,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let sampler = handle::get("sampler", sampler)?;
            handle::lock("sampler", &sampler.inside)?.accept(id);
            Ok(())
        })
    }
}

/// The seed in use.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_seed(
    sampler: *mut LemmySampler,
    out_seed: *mut u64,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out_seed", out_seed, 0)?;
            let sampler = handle::get("sampler", sampler)?;
            out.set(handle::lock("sampler", &sampler.inside)?.seed());
            Ok(())
        })
    }
}

/// Frees a sampler.
///
/// # Safety
///
/// Null, or a sampler that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_sampler_free(sampler: *mut LemmySampler) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(sampler) });
}
