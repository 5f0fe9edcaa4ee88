//! Where the messages of earlier conversations are kept, for Up and Ctrl-R.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/lemmy/history`, or `~/.local/state/lemmy/history`; `None` where there is neither, or no folder can
/// be made.
pub(super) fn file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let folder = state.join("lemmy");
    make(&folder).ok()?;
    Some(folder.join("history"))
}

/// Makes a folder that only its owner may read, if it is not there.
fn make(folder: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
