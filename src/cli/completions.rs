//! `lemmy completions` and `lemmy man`: what shells and `man` want to know, from the parser's own description.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::{Failure, Result};
use super::{Cli, Context};

/// Write completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy completions bash > ~/.local/share/bash-completion/completions/lemmy
  lemmy completions zsh > ~/.zfunc/_lemmy
  lemmy completions fish > ~/.config/fish/completions/lemmy.fish")]
pub(crate) struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

/// Write manual pages
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A page for the program and one for each command.

Examples:
  lemmy man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder to write them to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn execute(args: &Args, context: &mut Context) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lemmy", &mut script);
    context.out.raw(&script)
}

pub(crate) fn man(args: &ManArgs, context: &mut Context) -> Result<()> {
    let fail = |e: std::io::Error| Failure::io(format_args!("cannot write to {}", args.folder.display()), &e);
    std::fs::create_dir_all(&args.folder).map_err(fail)?;
    clap_mangen::generate_to(Cli::command().version(env!("CARGO_PKG_VERSION")), &args.folder).map_err(fail)?;
    context.out.text(&format!("{}\n", args.folder.join("lemmy.1").display()))
}
