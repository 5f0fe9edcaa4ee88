//! The command line of Lemmy: `lemmy run model.gguf "Once upon a time"`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
