//! Load, tokenize, forward, sample: Lemmy / Gemma 4 26B-A4B inside your own program.
//!
//! ```no_run
//! use lemmy_core::{Model, Sampler, Special};
//!
//! let model = Model::open("model.gguf")?;
//! let mut session = model.session().context(4096).build()?;
//! let mut sampler = Sampler::new(&model.info().sampling)?;
//! let mut text = model.tokenizer().stream();
//!
//! let mut ids = model.tokenizer().encode_prompt("Once upon a time", Special::Text);
//! for _ in 0..100 {
//!     let next = sampler.sample(session.forward(&ids)?.last())?;
//!     if model.tokenizer().end_of_generation().contains(&next) {
//!         break;
//!     }
//!     print!("{}", text.push(next));
//!     ids = vec![next];
//! }
//! # Ok::<(), lemmy_core::Error>(())
//! ```
//!
//! - A [`Model`] is immutable and shared: a clone is a reference count. Loading shows its progress, can be cancelled,
//!   can run on a thread of its own ([`ModelBuilder`]), and tells beforehand how much memory it will take.
//! - A [`Session`] is one conversation: its past in a cache that never grows beyond what was reserved. It can be rewound,
//!   forked and cancelled; a call that fails says what is missing and leaves the session usable.
//! - A [`Tokenizer`] comes with the model. What a user typed goes in as [`Special::Text`] and cannot become a control
//!   token.
//! - A [`Sampler`] draws with its own generator: same parameters, seed and logits, same tokens, for ever.
//!
//! Nothing is global, nothing is printed, nothing panics by design; every failure is an [`Error`] that names the file,
//! key, tensor or argument. Results do not depend on the number of threads, on how a prompt was cut into batches, nor on
//! other sessions.
//!
//! Modules stand in the order in which they may use each other: each uses only what is above it. To read the forward
//! pass, read [`plan::Spec`], [`plan::Step`], then `backend/cpu/exec.rs`.

pub mod error;
pub mod limits;
pub mod threads;
pub mod quant;
pub mod gguf;
pub mod requantize;
pub mod tokenizer;
pub mod vision;
pub mod chat;
pub mod sampler;
pub mod grammar;
pub mod plan;
pub mod kv;
#[doc(hidden)]
pub mod backend;
pub mod model;
pub mod generate;
pub mod session;
pub mod schedule;

pub use chat::{Chat, ChatTemplate, Image, Message, Part, Tool, ToolCall, ToolOutput};
pub use error::{Error, ErrorKind, GgufError, Result};
pub use generate::{Event, Finish, FinishReason, GenerateOptions, StepHook, Thinking, TokenEvent, ToolChoice, Usage};
pub use grammar::Constraint;
pub use model::{LoadMode, LoadProgress, LoadStage, LoadTask, MemoryEstimate, Model, ModelBuilder, ModelInfo, Vision};
pub use sampler::{Sampler, SamplerParams, Stage};
pub use schedule::{JobId, Refused, Scheduler, SchedulerStats};
pub use session::{Generation, KvType, Logits, Session, SessionBuilder, Source, SyncReport};
pub use threads::{CancelToken, ThreadPool, ThreadPoolBuilder};
pub use tokenizer::{DecoderState, Special, TextDecoder, Tokenizer};

/// Index of a token in the vocabulary.
pub type TokenId = u32;
