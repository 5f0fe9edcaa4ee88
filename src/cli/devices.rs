//! `lemmy devices`: what can compute here.

use serde_json::json;

use super::Context;
use super::failure::Result;
use super::system;
use super::units::bytes;

/// Show what can compute here
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy devices
  lemmy devices --json")]
pub(crate) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// Backends that other builds may have, and why they are of no use in this one.
const ABSENT: [(&str, &str); 2] = [("gpu", "not part of this build"), ("cuda", "not part of this build")];

pub(crate) fn execute(args: &Args, context: &mut Context) -> Result<()> {
    let name = system::cpu().unwrap_or_else(|| std::env::consts::ARCH.into());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let free = system::available_memory();
    if args.json {
        let cpu = json!({
            "backend": "cpu", "usable": true, "name": name, "isa": system::isa(), "threads": threads,
            "available_bytes": free,
        });
        let absent = ABSENT.iter().map(|(backend, why)| json!({ "backend": backend, "usable": false, "reason": why }));
        let devices: Vec<_> = [cpu].into_iter().chain(absent).collect();
        return context.out.json(&json!({ "devices": devices }));
    }
    let free = free.map_or_else(String::new, |free| format!(", {} free", bytes(free)));
    context.out.text(&format!("cpu   {name}: {}, {threads} threads{free}\n", system::isa()))?;
    ABSENT.iter().try_for_each(|(backend, why)| context.out.text(&format!("{backend:<5} not usable: {why}\n")))
}
