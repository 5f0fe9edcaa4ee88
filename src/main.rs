//! The command line of Lemmy: `lemmy run model.gguf "Once upon a time"`.

mod cli;
#[cfg(feature = "serve")]
mod server;

fn main() -> std::process::ExitCode {
    cli::main()
}
