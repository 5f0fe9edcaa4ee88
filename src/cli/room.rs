//! How much room a session gets, and in which numbers: flags that every command has which makes sessions.

use clap::ValueEnum;
use lemmy_core::{KvType, Model};

use super::output::note;
use super::system::available_memory;

/// Room that is taken at most without being asked for.
const MOST: usize = 32_768;
/// Less than this is not offered: better an error that says what is missing.
const LEAST: usize = 512;

/// Numbers of the cache of keys and values.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    /// Numbers of the cache: f16, f32 or q8_0
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "f16",
        env = "LEMMY_KV_TYPE",
        hide_env = true,
        hide_possible_values = true,
        hide_default_value = true
    )]
    kv_type: KvArg,
}

/// Number types that a cache may have.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KvArg {
    F16,
    F32,
    #[value(name = "q8_0")]
    Q8,
}

impl CacheArgs {
    pub(crate) fn kv_type(&self) -> KvType {
        match self.kv_type {
            KvArg::F16 => KvType::F16,
            KvArg::F32 => KvType::F32,
            KvArg::Q8 => KvType::Q8_0,
        }
    }
}

/// Room of a conversation.
#[derive(Debug, clap::Args)]
pub(crate) struct RoomArgs {
    /// Room of a conversation in tokens (default: the model's, at most 32768)
    #[arg(short, long, value_name = "N", env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    ctx_size: Option<u32>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl RoomArgs {
    pub(crate) fn kv_type(&self) -> KvType {
        self.cache.kv_type()
    }

    /// Positions of each of so many sessions: as asked, or the model's own, cut to what is usual and to what fits in
    /// memory.
    pub(crate) fn size(&self, model: &Model, sessions: usize) -> usize {
        if let Some(asked) = self.ctx_size {
            return usize::try_from(asked).unwrap_or(usize::MAX);
        }
        let own = model.info().context;
        let mut size = own.min(MOST);
        let free = available_memory().unwrap_or(u64::MAX);
        while size > LEAST && session_bytes(model, size, self.kv_type()).saturating_mul(sessions as u64) > free {
            size = (size / 2).max(LEAST);
        }
        if size < own {
            note(format_args!("note: room for {size} tokens of the model's {own} (-c sets it)"));
        }
        size
    }
}

fn session_bytes(model: &Model, size: usize, kv: KvType) -> u64 {
    model.estimate_with(size, kv).map_or(u64::MAX, |e| e.kv_per_session.saturating_add(e.scratch))
}
