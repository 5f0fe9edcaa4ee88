//! What a person says about the hub by flags, and in the environment.

use std::path::PathBuf;

/// Flags of commands that may take a model from the hub. The help of `lemmy pull` tells of them: they would crowd that of all
/// others.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct HubArgs {
    /// Ask no hub: take what is there
    #[arg(long, hide = true)]
    pub(crate) offline: bool,
    /// Ask the hub for a newer version
    #[arg(long, hide = true)]
    pub(crate) update: bool,
    /// Download more than 1 GiB without asking
    #[cfg(feature = "pull")]
    #[arg(long, hide = true)]
    pub(crate) yes: bool,
    /// File of the repository
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) hf_file: Option<String>,
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) cache_dir: Option<PathBuf>,
    #[cfg(feature = "pull")]
    #[arg(long, value_name = "TOKEN", hide = true)]
    pub(crate) hf_token: Option<String>,
}

/// Where models are kept.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Folder of downloaded models (default: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// Whether the environment forbids to ask.
pub(crate) fn is_offline() -> bool {
    ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().any(|name| {
        let value = std::env::var(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "on" | "yes" | "true")
    })
}
